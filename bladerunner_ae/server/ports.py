"""Ports to listen at, and how many connections there may be. Needs no TensorFlow."""

from __future__ import annotations

import contextlib
import errno
import resource
import socket

from bladerunner_ae.errors import InputError

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
