"""Bodies of requests: received whole or not at all, and never too many of them."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from bladerunner_ae.server.connections import Bodies, ClientGoneError
from bladerunner_ae.server.running import Limits
from bladerunner_ae.server.statuses import ServingError

LIMITS = Limits(body_bytes=100, held_bytes=150, read_seconds=0.05)


def messages(*parts: bytes, last: str = "http.request") -> Callable[[], Awaitable[Any]]:
    """A client that sends its body in parts, and nothing more."""
    waiting = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    waiting.append({"type": last, "body": b"", "more_body": False})

    async def receive() -> Any:
        if not waiting:
            await asyncio.sleep(3600)
        return waiting.pop(0)

    return receive


def scope(**headers: str) -> Any:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return {"headers": pairs}


def receive(bodies: Bodies, *parts: bytes, last: str = "http.request", **headers: str) -> bytes:
    async def main() -> bytes:
        with bodies.holding() as holding:
            return await bodies.receive(scope(**headers), messages(*parts, last=last), holding)

    return asyncio.run(main())


def test_parts_become_a_body() -> None:
    bodies = Bodies(LIMITS)
    assert receive(bodies, b"ab", b"", b"c") == b"abc"
    assert receive(bodies, gzip.compress(b"abc"), content_encoding="gzip") == b"abc"


def test_gzip_that_is_cut_short_or_goes_on() -> None:
    packed = gzip.compress(b"abc")
    for body, why in ((packed[:-3], "cut short"), (packed + b"x", "goes on after its end")):
        with pytest.raises(ServingError, match=f"Failed to uncompress .* {why}"):
            receive(Bodies(LIMITS), body, content_encoding="gzip")


def test_too_large() -> None:
    bodies = Bodies(LIMITS)
    for parts, headers in (
        ((b"x" * 60, b"x" * 60), {}),
        ((), {"content_length": "101"}),
        ((gzip.compress(b"x" * 10_000),), {"content_encoding": "gzip"}),
    ):
        with pytest.raises(ServingError, match="larger than 100 bytes") as caught:
            receive(bodies, *parts, **headers)
        assert caught.value.http == 413
    assert receive(bodies, b"x" * 100) == b"x" * 100  # nothing of them is held any more


def test_too_slow() -> None:
    async def main() -> None:
        bodies = Bodies(LIMITS)

        async def never() -> Any:
            await asyncio.sleep(3600)

        with bodies.holding() as holding, pytest.raises(ServingError) as caught:
            await bodies.receive(scope(), never, holding)
        assert caught.value.http == 408

    asyncio.run(main())


def test_hung_up() -> None:
    with pytest.raises(ClientGoneError):
        receive(Bodies(LIMITS), b"ab", last="http.disconnect")


def test_all_together_hold_no_more_than_they_may() -> None:
    async def main() -> None:
        bodies = Bodies(LIMITS)
        with bodies.holding() as first:
            await bodies.receive(scope(), messages(b"x" * 90), first)
            with bodies.holding() as second, pytest.raises(ServingError) as caught:
                await bodies.receive(scope(), messages(b"x" * 90), second)
            assert caught.value.http == 503
        with bodies.holding() as third:
            assert len(await bodies.receive(scope(), messages(b"x" * 90), third)) == 90

    asyncio.run(main())
