"""Bodies of requests: received completely or not at all, within the limits."""

from __future__ import annotations

import asyncio
import gzip
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request

from bladerunner_ae.server import bodies
from bladerunner_ae.server.limits import SMALL, Holdings
from bladerunner_ae.server.serving_errors import ServingError, TooLargeError


def request(*parts: bytes, last: str = "http.request", **headers: str) -> Request:
    """A client that sends its body in parts, and nothing more; without `last` it stalls."""
    waiting = [{"type": "http.request", "body": part, "more_body": True} for part in parts]
    if last:
        waiting.append({"type": last, "body": b"", "more_body": False})

    async def receive() -> Any:
        if not waiting:
            await asyncio.sleep(3600)
        return waiting.pop(0)

    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": pairs}, receive)


def receive(asked: Request, most: int = 100, seconds: float = 5.0) -> bytes:
    async def main() -> bytes:
        with Holdings(1000).share() as share:
            return await bodies.receive(asked, share, most, seconds)

    return asyncio.run(main())


def test_parts_become_a_body() -> None:
    assert receive(request(b"ab", b"", b"c")) == b"abc"
    assert receive(request(b"x" * 100)) == b"x" * 100


def test_gzip() -> None:
    packed = gzip.compress(b"abc")
    assert bodies.decompress(packed, 3) == b"abc"
    for body, why in (
        (packed[:-3], "cut short"),
        (packed + b"x", "there is more after its end"),
        (b"no gzip", "incorrect"),
    ):
        with pytest.raises(ServingError, match=f"cannot be decompressed: .*{why}"):
            bodies.decompress(body, 3)
    with pytest.raises(TooLargeError):
        bodies.decompress(gzip.compress(b"x" * 10_000_000), 1000)


def test_large_bodies_are_refused() -> None:
    for asked in (request(b"x" * 60, b"x" * 60), request(content_length="101")):
        with pytest.raises(ServingError, match="larger than 100 bytes") as caught:
            receive(asked)
        assert caught.value.http == 413


def test_slow_bodies_are_refused() -> None:
    with pytest.raises(ServingError, match=r"not complete after 0\.05 s") as caught:
        receive(request(b"ab", last=""), seconds=0.05)
    assert caught.value.http == 408


def test_disconnects_are_raised() -> None:
    with pytest.raises(ClientDisconnect):
        receive(request(b"ab", last="http.disconnect"))


def test_stalled_uploads_are_dropped_for_others() -> None:
    """The one that has held much for long is dropped; small and complete ones stay."""

    async def main() -> None:
        holdings, large = Holdings(3 * SMALL), b"x" * (SMALL + 1)

        async def upload(last: str) -> bytes:
            with holdings.share() as share:
                return await bodies.receive(request(large, last=last), share, 1 << 20, 60.0)

        with holdings.share() as whole:
            whole.resize(SMALL + 1)  # being worked on
            stalled = asyncio.ensure_future(upload(""))
            await asyncio.sleep(0.05)
            assert await upload("http.request") == large
            with pytest.raises(ServingError, match="Other requests hold too much data") as caught:
                await stalled
            assert caught.value.http == 503
            small = b"x" * SMALL
            with holdings.share() as other:
                other.resize(SMALL + 1)
                with pytest.raises(ServingError):  # no other request waits for its client
                    await upload("http.request")
                with holdings.share() as share:  # small ones pass all the same
                    assert await bodies.receive(request(small), share, 1 << 20, 60.0) == small
        assert await upload("http.request") == large  # nothing is held any more

    asyncio.run(main())


def test_bytes_and_seconds_decide_which_request_is_dropped() -> None:
    async def main() -> list[bool]:
        holdings = Holdings(20 * SMALL)
        ended: list[bool] = []

        async def hold(size: int, after: float) -> None:
            await asyncio.sleep(after)
            with holdings.share() as share:
                share.resize(size)
                try:
                    async with share.waiting(0.4):
                        await asyncio.sleep(60)
                except TimeoutError:
                    ended.append(share.dropped)

        # The largest is dropped for the last one, though another one has been there for longer.
        sizes = (2 * SMALL, 0.0), (15 * SMALL, 0.05), (10 * SMALL, 0.2)
        await asyncio.gather(*(hold(size, after) for size, after in sizes))
        return ended

    assert asyncio.run(main()) == [True, False, False]


def test_shares_are_released() -> None:
    holdings = Holdings(SMALL)
    for _ in range(3):
        with pytest.raises(ServingError), holdings.share() as share:
            share.resize(SMALL + 1)
    with holdings.share() as share:
        share.resize(SMALL)
