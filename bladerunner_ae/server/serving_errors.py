"""Errors that a client gets: a canonical code and a message.

The codes are gRPC's, the HTTP status of each is that of TensorFlow Serving (`http_server.cc`).
"""

from __future__ import annotations

import enum
import json

from starlette.responses import Response


class Code(enum.IntEnum):
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
    """Request that cannot be answered.

    `http` is the status of `code` unless a request is refused by HTTP's own rules.
    """

    def __init__(self, code: Code, message: str, http: int | None = None) -> None:
        super().__init__(message)
        self.code, self.message = code, message
        self.http = http or _HTTP[code]

    def __reduce__(self) -> tuple[type[ServingError], tuple[Code, str, int]]:
        """Allow pickling, to send it to another process."""
        return ServingError, (self.code, self.message, self.http)


class TooLargeError(ServingError):
    """Request of more bytes than it may have: 413."""

    def __init__(self, most: int) -> None:
        size = f"{most / (1 << 20):.4g} MiB" if most >= 1 << 20 else f"{most} bytes"
        super().__init__(
            Code.RESOURCE_EXHAUSTED,
            f"The request is larger than {size}, the most that --max_body_mb and the model's "
            "signatures with --max_batch_size rows allow",
            http=413,
        )


def invalid(message: str) -> ServingError:
    """Return an error of the request itself: 400, INVALID_ARGUMENT."""
    return ServingError(Code.INVALID_ARGUMENT, message)


def not_found(message: str) -> ServingError:
    """Return the error of a model or version that does not exist: 404, NOT_FOUND."""
    return ServingError(Code.NOT_FOUND, message)


def from_exception(error: Exception) -> ServingError:
    """Return an exception as a client gets it; those of TensorFlow keep their code and message."""
    if isinstance(error, ServingError):
        return error
    if isinstance(error, TimeoutError):
        return ServingError(Code.DEADLINE_EXCEEDED, "There was no answer within --run_seconds")
    code, message = getattr(error, "error_code", None), getattr(error, "message", None)
    if isinstance(code, int) and isinstance(message, str):  # tf.errors.OpError
        return ServingError(Code(code) if code in _HTTP else Code.UNKNOWN, message)
    return ServingError(Code.INTERNAL, f"unexpected {type(error).__name__}: {error}")


def error_response(error: ServingError, close: bool) -> Response:
    """Return an HTTP response; `close` hangs up, as the request's rest is not wanted."""
    headers = {"connection": "close"} if close else {}
    return Response(
        json.dumps({"error": error.message}) + "\n", error.http, headers, "application/json"
    )
