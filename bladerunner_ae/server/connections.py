"""Ports, and deadlines for HTTP clients, for which uvicorn has no option.

By itself uvicorn waits without end for the head of a request, and for a client to take its answer.
Set up for uvicorn 0.30 to 0.54, whose connections are inspected here.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import resource
import socket
import time
from typing import Any

import uvicorn

from bladerunner_ae.errors import InputError

_FILES = 65_536


async def hang_up_on_late_requests(server: uvicorn.Server, seconds: float) -> None:
    """Close connections whose next request has no complete head after so many seconds.

    Runs until it is cancelled. Idle connections are left to uvicorn's `timeout_keep_alive`.
    """
    since: dict[Any, float] = {}
    while True:
        await asyncio.sleep(seconds / 8)
        now = time.monotonic()
        late = (one for one in server.server_state.connections if _awaits_head(one))
        since = {one: since.get(one, now) for one in late}
        for connection, start in since.items():
            if now - start >= seconds:
                connection.transport.close()


def _awaits_head(connection: Any) -> bool:
    """Whether a uvicorn protocol has no request, or the beginning of its next one."""
    cycle = connection.cycle
    return cycle is None or (cycle.response_complete and not connection.timeout_keep_alive_task)


def drop_stalled_clients(listening: socket.socket, seconds: float) -> None:
    """Let the kernel end connections whose client takes nothing of its answer for so long.

    Connections inherit it from the listening socket. Only Linux has it; elsewhere the answers of
    such clients count towards `Limits.held_bytes`, and the largest are dropped.
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * seconds))


def in_use(host: str, port: int, flag: str) -> str:
    return f"{host}:{port}: is in use by another program; choose another with --{flag}"


def listen(host: str, port: int, flag: str = "port") -> socket.socket:
    """Bind a port, 0 for a free one; InputError, which names `flag`, if it is in use."""
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
    """Raise InputError unless a port is free, before minutes are spent on loading models."""
    if port > 0:
        listen(host, port, flag).close()


def allow_many_connections() -> None:
    """Raise the limit on open files as far as possible; 1,024 is usual."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
