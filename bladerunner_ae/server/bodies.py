"""The bodies of HTTP requests: received whole or not at all."""

from __future__ import annotations

import zlib

from starlette.requests import Request

from bladerunner_ae.server.errors import Code, ServingError, invalid
from bladerunner_ae.server.holding import Share, too_much


class TooLargeError(ServingError):
    """A body that has more bytes than it may: 413."""

    def __init__(self, most: int) -> None:
        size = f"{most / (1 << 20):.4g} MiB" if most >= 1 << 20 else f"{most} bytes"
        super().__init__(
            Code.RESOURCE_EXHAUSTED,
            f"The request is larger than {size}, the most that --max_body_mb and the model's "
            "signatures with --max_batch_size rows allow",
            http=413,
        )


async def receive(request: Request, share: Share, most: int, seconds: float) -> bytes:
    """Returns a request's body, packed as it came.

    Args:
        request: the request.
        share: what it holds of the server.
        most: bytes that it may have.
        seconds: that it may take.

    Raises:
        ServingError: it is too large, came too slowly, or others had to be let through.
        starlette.requests.ClientDisconnect: it will never be whole.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > most:
        raise TooLargeError(most)
    body = bytearray()
    try:
        async with share.waiting(seconds):
            async for part in request.stream():
                share.resize(len(body) + len(part))
                body += part
                if len(body) > most:
                    raise TooLargeError(most)
    except TimeoutError:
        if share.dropped:
            raise too_much() from None
        raise ServingError(
            Code.DEADLINE_EXCEEDED, f"The request was not whole after {seconds:g} s", http=408
        ) from None
    return bytes(body)


def is_packed(request: Request) -> bool:
    """Whether a request's body comes as gzip."""
    return "gzip" in request.headers.get("content-encoding", "")


def unpacked(body: bytes, most: int) -> bytes:
    """Unpacks gzip.

    Raises:
        ServingError: it is none, or larger than `most`.
    """
    unpacker = zlib.decompressobj(wbits=31)
    try:
        found = unpacker.decompress(body, most + 1)
    except zlib.error as error:
        raise invalid(f"Failed to uncompress the gzipped body: {error}") from None
    if len(found) > most:
        raise TooLargeError(most)
    if not unpacker.eof or unpacker.unused_data:
        what = "it goes on after its end" if unpacker.eof else "it is cut short"
        raise invalid(f"Failed to uncompress the gzipped body: {what}")
    return found
