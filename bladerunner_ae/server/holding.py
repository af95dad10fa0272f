"""How many bytes all requests hold together: bodies, messages and answers on their way.

Small ones always pass. Where the large ones want more than there is, the one that has cost most so
far, its bytes times its seconds, has to go if it still waits for its client: that is whoever
stalls, sooner or later, and never whoever has just come with little. What is being worked on
stays; if there is nothing else, the newcomer is refused.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from bladerunner_ae.server.errors import Code, ServingError

SMALL = 64 << 10
"""Bytes that a request may hold in any case."""


class Holdings:
    """The shares of all requests; use it in the event loop's thread."""

    def __init__(self, most: int) -> None:
        """Makes it.

        Args:
            most: bytes that the large ones may hold together.
        """
        self._most = most
        self._large: set[Share] = set()

    @contextmanager
    def share(self) -> Iterator[Share]:
        """What a request holds, until the block ends."""
        share = Share(self)
        try:
            yield share
        finally:
            self._large.discard(share)

    def make_room(self, share: Share) -> None:
        """Sees to it that a share fits.

        Raises:
            ServingError: there is no room for it.
        """
        if share.bytes <= SMALL:
            self._large.discard(share)
            return
        self._large.add(share)
        while sum(other.bytes for other in self._large) > self._most:
            costliest = max((other for other in self._large if other.is_droppable),
                            key=Share.cost, default=share)  # fmt: skip
            self._large.discard(costliest)
            if costliest is share:
                raise too_much()
            costliest.drop()


class Share:
    """Bytes that one request holds.

    Attributes:
        bytes: how many.
        dropped: whether it had to go.
    """

    def __init__(self, holdings: Holdings) -> None:
        self._holdings = holdings
        self._since = time.monotonic()
        self._wait: asyncio.Timeout | None = None
        self.bytes = 0
        self.dropped = False

    def resize(self, size: int) -> None:
        """Holds so many bytes from now on.

        Raises:
            ServingError: there is no room for them.
        """
        self.bytes = size
        self._holdings.make_room(self)

    @asynccontextmanager
    async def waiting(self, seconds: float | None) -> AsyncIterator[None]:
        """Waits for the client within the block, in which the share may be dropped.

        Raises:
            TimeoutError: it took longer, or `dropped`.
        """
        async with asyncio.timeout(seconds) as self._wait:
            try:
                yield
            finally:
                self._wait = None

    @property
    def is_droppable(self) -> bool:
        """Whether it waits for its client."""
        return self._wait is not None

    def cost(self) -> float:
        """Bytes times seconds."""
        return self.bytes * (time.monotonic() - self._since)

    def drop(self) -> None:
        """Ends its waiting."""
        if self._wait is not None:
            self.dropped = True
            self._wait.reschedule(0.0)
            self._wait = None


def too_much() -> ServingError:
    """The server holds as much as it may: 503, UNAVAILABLE."""
    return ServingError(Code.UNAVAILABLE, "Too much data of other requests is held; try again")
