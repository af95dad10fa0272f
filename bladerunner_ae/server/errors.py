"""Errors that a client gets: a canonical code and a message.

The codes and their numbers are gRPC's; which HTTP status each becomes is TensorFlow Serving's
choice (`http_server.cc`).
"""

from __future__ import annotations

import enum


class Code(enum.IntEnum):
    """The canonical codes."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


_HTTP = {
    Code.OK: 200, Code.CANCELLED: 499, Code.UNKNOWN: 500, Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504, Code.NOT_FOUND: 404, Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403, Code.RESOURCE_EXHAUSTED: 429, Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409, Code.OUT_OF_RANGE: 400, Code.UNIMPLEMENTED: 501, Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503, Code.DATA_LOSS: 500, Code.UNAUTHENTICATED: 401,
}  # fmt: skip


class ServingError(Exception):
    """A request that cannot be answered.

    Attributes:
        code: why, as a canonical code.
        message: why, in words; the client gets it.
        http: HTTP status; that of the code unless a request is refused by HTTP's own rules.
    """

    def __init__(self, code: Code, message: str, http: int | None = None) -> None:
        super().__init__(message)
        self.code, self.message = code, message
        self.http = http or _HTTP[code]

    def __reduce__(self) -> tuple[type[ServingError], tuple[Code, str, int]]:
        """It can be sent to another process."""
        return ServingError, (self.code, self.message, self.http)

    def __str__(self) -> str:
        """The way messages inside messages look: `INVALID_ARGUMENT: what is wrong`."""
        return f"{self.code.name}: {self.message}"


def invalid(message: str) -> ServingError:
    """An error of the request itself: 400, INVALID_ARGUMENT."""
    return ServingError(Code.INVALID_ARGUMENT, message)


def not_found(message: str) -> ServingError:
    """No such model or version: 404, NOT_FOUND."""
    return ServingError(Code.NOT_FOUND, message)


def from_exception(error: Exception) -> ServingError:
    """What a client gets to know of an exception.

    Args:
        error: any; those of TensorFlow keep their code and message.
    """
    if isinstance(error, ServingError):
        return error
    if isinstance(error, TimeoutError):
        return ServingError(Code.DEADLINE_EXCEEDED, "Timed out waiting for notification")
    code, message = getattr(error, "error_code", None), getattr(error, "message", None)
    if isinstance(code, int) and isinstance(message, str):  # tf.errors.OpError
        return ServingError(Code(code) if code in _HTTP else Code.UNKNOWN, message)
    return ServingError(Code.INTERNAL, f"unexpected {type(error).__name__}: {error}")
