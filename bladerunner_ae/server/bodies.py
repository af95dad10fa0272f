"""Bodies of HTTP requests: received completely or not at all."""

from __future__ import annotations

import zlib

from starlette.requests import Request

from bladerunner_ae.server.limits import Share, too_much
from bladerunner_ae.server.serving_errors import Code, ServingError, TooLargeError, invalid


async def receive(request: Request, share: Share, most: int, seconds: float) -> bytes:
    """Return a request's body, of at most `most` bytes, compressed as it came.

    ServingError if it is too large, came too slowly, or was dropped for others;
    starlette.requests.ClientDisconnect if the rest will never come.
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
            Code.DEADLINE_EXCEEDED, f"The request was not complete after {seconds:g} s", http=408
        ) from None
    return bytes(body)


def is_compressed(request: Request) -> bool:
    return "gzip" in request.headers.get("content-encoding", "")


def decompress(body: bytes, most: int) -> bytes:
    """Decompress gzip; ServingError if it is none, or larger than `most`."""
    gzip = zlib.decompressobj(wbits=31)
    try:
        found = gzip.decompress(body, most + 1)
    except zlib.error as error:
        raise invalid(f"The body cannot be decompressed: {error}") from None
    if len(found) > most:
        raise TooLargeError(most)
    if not gzip.eof or gzip.unused_data:
        problem = "there is more after its end" if gzip.eof else "it is cut short"
        raise invalid(f"The body cannot be decompressed: {problem}")
    return found
