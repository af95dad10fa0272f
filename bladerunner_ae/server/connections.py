"""HTTP connections that do not take for ever.

TensorFlow Serving leaves this to libevent, which ends a connection that sends nothing for 50
seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import math
import resource
import socket
import sys
import termios
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

from bladerunner_ae.errors import InputError


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


_FILES = 65_536


def in_use(host: str, port: int, flag: str) -> str:
    """The message about a port that another program has."""
    return f"{host}:{port}: is in use by another program; choose another with --{flag}"


def listen(host: str, port: int, flag: str = "port") -> socket.socket:
    """Binds a port.

    Args:
        host: an address or name.
        port: its number; 0 takes a free one.
        flag: how the person chose it.

    Raises:
        InputError: it cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off where it sees TCP; with it an answer takes 40 ms longer.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(2048)
    except (OSError, OverflowError) as error:
        listening.close()
        if getattr(error, "errno", None) == errno.EADDRINUSE:
            raise InputError(in_use(host, port, flag)) from None
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{host}:{port}: cannot be listened at ({reason}); choose with --host and --{flag}"
        ) from None
    return listening


def check(host: str, port: int, flag: str) -> None:
    """Makes sure that a port is free, before minutes are spent on loading models.

    Raises:
        InputError: it is not.
    """
    if port > 0:
        listen(host, port, flag).close()


def allow_many_connections() -> None:
    """Raises the limit on open files as far as it goes; 1,024 is usual."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
