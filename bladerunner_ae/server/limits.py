"""Limits of a server for one request, and for all of them together.

Small requests always pass. Where the large ones want more bytes than there are, the one that has
cost most so far, its bytes times its seconds, is dropped if it still waits for its client: that is
sooner or later one that stalls, and never one that has just come with little. Requests being
worked on stay; if there is nothing else to drop, the newcomer is refused.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from bladerunner_ae.protocol.tensors import STRING
from bladerunner_ae.server.serving_errors import Code, ServingError

SMALL = 64 << 10
"""Bytes that a request may hold in any case."""
_BYTES_AN_ITEM = 64  # a double has 24 digits at most; the rest is for white space
_BYTES_AN_UNKNOWN_ITEM = 8
_SPARE_ITEMS = 1024


@dataclass(frozen=True)
class Limits:
    """Limits of a server.

    Attributes:
        batch_rows: of a request, and of several together.
        waiting: requests that wait or run.
        pixels: of all pictures in a request.
        waiting_pixels: of the requests with many of them that wait or run.
        body_bytes: of one request. Each value of a tensor takes one at least.
        held_bytes: of all large bodies, messages and answers in transit.
        read_seconds: for a request to arrive, and for a client to take more of an answer.
        run_seconds: for a request to be answered.
        stop_seconds: for all requests to be answered when the server is to stop.
    """

    batch_rows: int = 128
    waiting: int = 4096
    pixels: int = 1 << 26
    waiting_pixels: int = 1 << 27
    body_bytes: int = 64 << 20
    held_bytes: int = 256 << 20
    read_seconds: float = 50.0  # as TensorFlow Serving
    run_seconds: float = 30.0
    stop_seconds: float = 30.0


@dataclass(frozen=True)
class Sizes:
    """Most bytes of a body, values of a tensor, and JSON values, lists and objects of a body."""

    bytes: int
    values: int
    items: int


def sizes_of(definitions: Iterable[Any], rows: int, most: int) -> Sizes:
    """Return the most that the most demanding of `SignatureDef`s can want, for so many rows.

    `most` bytes of a body are the only bound of strings and unknown dimensions.
    """
    found = [_sizes_of_one(definition, rows, most) for definition in definitions]

    def largest(values: Iterable[int], spare: int) -> int:
        return min(max(values, default=0) + spare, most)

    return Sizes(
        largest((one.bytes for one in found), SMALL),
        largest((one.values for one in found), _SPARE_ITEMS),
        largest((one.items for one in found), _SPARE_ITEMS),
    )


def _sizes_of_one(definition: Any, rows: int, most: int) -> Sizes:
    values, items, has_strings = 0, rows * (1 + len(definition.inputs)), False
    for info in definition.inputs.values():
        shape = [dim.size for dim in info.tensor_shape.dim]
        if shape and shape[0] < 0:
            shape[0] = rows
        if info.tensor_shape.unknown_rank or min(shape, default=0) < 0:
            return Sizes(most, most, most // _BYTES_AN_UNKNOWN_ITEM)
        values = max(values, math.prod(shape))
        # Its lists, the lists in these, and so on to the values themselves.
        items += sum(math.prod(shape[:depth]) for depth in range(len(shape) + 1))
        if info.dtype == STRING:
            has_strings = True
            items += math.prod(shape)  # {"b64": "..."}
    return Sizes(most if has_strings else items * _BYTES_AN_ITEM, values, items)


class Holdings:
    """Bytes that all requests hold; for the thread of the event loop."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._large: set[Share] = set()

    @contextmanager
    def share(self) -> Iterator[Share]:
        """Give a request its share until the block ends."""
        share = Share(self)
        try:
            yield share
        finally:
            self._large.discard(share)

    def make_room(self, share: Share) -> None:
        """Drop others until a share fits; ServingError if it does not."""
        if share.bytes <= SMALL:
            self._large.discard(share)
            return
        self._large.add(share)
        while sum(other.bytes for other in self._large) > self._most:
            waiting = (other for other in self._large if other.is_waiting)
            costliest = max(waiting, key=Share.cost, default=share)
            self._large.discard(costliest)
            if costliest is share:
                raise too_much()
            costliest.drop()


class Share:
    """Bytes that one request holds, and whether it was dropped for others."""

    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings
        self._since = time.monotonic()
        self._wait: asyncio.Timeout | None = None
        self.bytes = 0
        self.dropped = False

    def resize(self, size: int) -> None:
        """Hold so many bytes from now on; ServingError if there is no room for them."""
        self.bytes = size
        self._holdings.make_room(self)

    @asynccontextmanager
    async def waiting(self, seconds: float | None) -> AsyncIterator[None]:
        """Wait for the client within the block; TimeoutError if it took longer or was dropped."""
        async with asyncio.timeout(seconds) as self._wait:
            try:
                yield
            finally:
                self._wait = None

    @property
    def is_waiting(self) -> bool:
        """Whether it waits for its client, so that it may be dropped."""
        return self._wait is not None

    def cost(self) -> float:
        """Bytes times seconds so far."""
        return self.bytes * (time.monotonic() - self._since)

    def drop(self) -> None:
        if self._wait is not None:
            self.dropped = True
            self._wait.reschedule(0.0)
            self._wait = None


def too_much() -> ServingError:
    """Return the error of a server that holds as much as it may: 503, UNAVAILABLE."""
    return ServingError(Code.UNAVAILABLE, "Other requests hold too much data; try again")
