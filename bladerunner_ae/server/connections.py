"""HTTP connections that do not take for ever and bodies that do not get too large.

TensorFlow Serving leaves this to libevent, which ends a connection that sends nothing for 50
seconds and takes a body of any size.
"""

from __future__ import annotations

import asyncio
import fcntl
import math
import sys
import termios
import zlib
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from bladerunner_ae.server.running import Limits
from bladerunner_ae.server.statuses import Code, ServingError, invalid

Receive = Callable[[], Awaitable[Any]]


class ClientGoneError(Exception):
    """The client hung up before its request was whole; there is nobody to answer."""


def protocol(seconds: float) -> type[H11Protocol]:
    """Uvicorn's HTTP/1.1, which hangs up on who does not go on.

    That is a client which has not finished a request's head after so many seconds, or takes nothing
    of its answer for as long: the answer would stay in memory as long as the client likes.
    """

    class Protocol(H11Protocol):
        def __init__(self, *arguments: Any, **others: Any) -> None:
            super().__init__(*arguments, **others)
            self._hang_up: asyncio.TimerHandle | None = None
            self._look_again: asyncio.TimerHandle | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._wait_for_head()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is None or self.cycle.response_complete:
                self._wait_for_head()
            else:
                self._stop_waiting()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            self._stop_looking()
            super().connection_lost(exc)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._look(math.inf)

        def resume_writing(self) -> None:
            self._stop_looking()
            super().resume_writing()

        def _look(self, before: float) -> None:
            """Comes back again and again while an answer is being taken; it may take its time."""
            left = self.transport.get_write_buffer_size() + _in_kernel(self.transport)
            if left < before:
                self._look_again = self.loop.call_later(seconds, self._look, left)
            else:
                self.transport.abort()

        def _stop_looking(self) -> None:
            if self._look_again is not None:
                self._look_again.cancel()
                self._look_again = None

        def _wait_for_head(self) -> None:
            if self._hang_up is None and not self.transport.is_closing():
                self._hang_up = self.loop.call_later(seconds, self.transport.close)

        def _stop_waiting(self) -> None:
            if self._hang_up is not None:
                self._hang_up.cancel()
                self._hang_up = None

    return Protocol


def _in_kernel(transport: Any) -> int:
    """Returns how many bytes of an answer the kernel holds that the client has not taken.

    It takes them in heaps of a megabyte or more, so without these a client on a slow line would
    seem to take nothing for a while.
    """
    try:
        found = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
    except OSError:  # not every system tells
        return 0
    return int.from_bytes(found, sys.byteorder)


class Bodies:
    """Receives the bodies of requests, within the limits; use it in the event loop's thread."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._held = 0

    @contextmanager
    def holding(self) -> Iterator[Holding]:
        """What is received in here counts until the block ends."""
        holding = Holding()
        try:
            yield holding
        finally:
            self._held -= holding.bytes

    async def receive(self, scope: Any, receive: Receive, holding: Holding) -> bytes:
        """Returns a request's body, unpacked if it came as gzip.

        Raises:
            ServingError: it is too large, or came too slowly.
            ClientGoneError: it will never be whole.
        """
        headers = dict(scope["headers"])
        announced = headers.get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > self._limits.body_bytes:
            raise self._too_large()
        try:
            async with asyncio.timeout(self._limits.read_seconds):
                body = await self._receive(receive, holding)
        except TimeoutError:
            raise ServingError(
                Code.DEADLINE_EXCEEDED,
                f"The request was not whole after {self._limits.read_seconds:g} s",
                http=408,
            ) from None
        if b"gzip" in headers.get(b"content-encoding", b""):
            return self._unpacked(body, holding)
        return body

    async def _receive(self, receive: Receive, holding: Holding) -> bytes:
        parts: list[bytes] = []
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientGoneError
            part = message.get("body", b"")
            self._hold(len(part), holding)
            parts.append(part)
            if not message.get("more_body", False):
                return parts[0] if len(parts) == 1 else b"".join(parts)

    def _hold(self, size: int, holding: Holding) -> None:
        holding.bytes += size
        self._held += size
        if holding.bytes > self._limits.body_bytes:
            raise self._too_large()
        if self._held > self._limits.held_bytes:
            raise ServingError(
                Code.UNAVAILABLE, "Too much data of other requests is being received; try again"
            )

    def _unpacked(self, body: bytes, holding: Holding) -> bytes:
        unpacker = zlib.decompressobj(wbits=31)
        try:
            found = unpacker.decompress(body, self._limits.body_bytes + 1 - holding.bytes)
        except zlib.error as error:
            raise invalid(f"Failed to uncompress the gzipped body: {error}") from None
        if unpacker.unconsumed_tail:
            raise self._too_large()
        if not unpacker.eof or unpacker.unused_data:
            what = "it goes on after its end" if unpacker.eof else "it is cut short"
            raise invalid(f"Failed to uncompress the gzipped body: {what}")
        self._hold(len(found), holding)
        return found

    def _too_large(self) -> ServingError:
        most = self._limits.body_bytes
        size = f"{most >> 20} MiB" if most >= 1 << 20 else f"{most} bytes"
        return ServingError(Code.RESOURCE_EXHAUSTED, f"The request is larger than {size}", http=413)


class Holding:
    """Bytes that one request holds."""

    def __init__(self) -> None:
        self.bytes = 0
