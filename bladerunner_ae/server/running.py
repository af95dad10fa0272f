"""Requests on their way to the session: limits, threads, time.

Requests with large pictures, which can take seconds, have one thread of their own, within
TensorFlow as well, so that however many there are the others get their turn.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bladerunner_ae.server import pictures
from bladerunner_ae.server.batching import Batcher
from bladerunner_ae.server.errors import Code, ServingError, invalid
from bladerunner_ae.server.metrics import Metrics
from bladerunner_ae.server.saved_model import PICTURES, REQUESTS, Arrays, Signature, rows
from bladerunner_ae.server.versions import Version

_LARGE_PICTURES = 1 << 21  # full HD; reading it takes some hundredths of a second
_BATCHED_PICTURES = 1 << 18  # a hundred such requests may run together


@dataclass(frozen=True)
class Limits:
    """What a server takes on.

    Attributes:
        batch_rows: of a request, and of several together.
        waiting: requests that wait or run.
        pixels: of all pictures in a request.
        waiting_pixels: of the requests with many of them that wait or run.
        body_bytes: of one request.
        held_bytes: of all large bodies, messages and answers on their way.
        read_seconds: for a request to arrive whole, and between two pieces of an answer taken.
        run_seconds: for a request to be answered.
        stop_seconds: for all requests to be answered when the server is to stop.
    """

    batch_rows: int = 128
    waiting: int = 4096
    pixels: int = 1 << 26
    waiting_pixels: int = 1 << 27
    body_bytes: int = 64 << 20
    held_bytes: int = 256 << 20
    read_seconds: float = 50.0  # as libevent, which TensorFlow Serving uses
    run_seconds: float = 30.0
    stop_seconds: float = 30.0

    @property
    def values(self) -> int:
        """The most values that a tensor may have: each takes a byte of a body at least."""
        return self.body_bytes


class Runner:
    """Runs requests in threads; use it in the event loop's thread."""

    def __init__(
        self, limits: Limits, threads: int, metrics: Metrics, batch_timeout: float | None
    ) -> None:
        """Makes one.

        Args:
            limits: what it takes on.
            threads: runs at once.
            metrics: where runs are counted.
            batch_timeout: seconds that a request waits for others to run with; None if each runs
                by itself.
        """
        self.limits, self._metrics = limits, metrics
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="run")
        self._picture_pool = ThreadPoolExecutor(1, thread_name_prefix="pictures")
        self._waiting_pixels = 0
        self._batcher = None
        if batch_timeout is not None:
            self._batcher = Batcher(self._in_thread, limits.batch_rows, batch_timeout, threads)
        self.waiting = 0

    async def run(self, version: Version, signature: Signature, inputs: Arrays) -> Arrays:
        """Runs a request.

        Raises:
            ServingError: it is too large, there are too many, or it took too long.
            tf.errors.OpError: the graph cannot do it.
        """
        size = rows(inputs)
        if size is not None and size > self.limits.batch_rows:
            raise invalid(
                f"Task size {size} is larger than maximum input batch size {self.limits.batch_rows}"
            )
        if self.waiting >= self.limits.waiting:
            raise ServingError(
                Code.UNAVAILABLE,
                "The batch scheduling queue to which this task was submitted is full",
            )
        pixels = self._count_pixels(inputs)
        large = pixels if pixels > _LARGE_PICTURES else 0
        self._count(1, large)
        try:
            with version.in_use():
                async with asyncio.timeout(self.limits.run_seconds):
                    if large:
                        return await self._with_pictures(version, signature, inputs)
                    if self._batcher is None or pixels > _BATCHED_PICTURES:
                        return await self._in_thread(version, signature, inputs)
                    if size is None:
                        raise invalid(_why_no_batch(inputs))
                    return await self._batcher.submit(version, signature, inputs, size)
        finally:
            self._count(-1, -large)

    def _count_pixels(self, inputs: Arrays) -> int:
        found = pictures.pixels(inputs)
        if found > self.limits.pixels:
            raise invalid(
                f"The pictures of a request may have {self.limits.pixels} pixels together, these "
                f"have {found}"
            )
        if found > _LARGE_PICTURES and self._waiting_pixels + found > self.limits.waiting_pixels:
            raise ServingError(
                Code.UNAVAILABLE, "Too many large pictures of other requests wait; try again"
            )
        return found

    def _count(self, change: int, pixels: int) -> None:
        self.waiting += change
        self._waiting_pixels += pixels
        self._metrics.waiting.set(self.waiting)

    async def _in_thread(self, version: Version, signature: Signature, inputs: Arrays) -> Arrays:
        return await self._submit(self._pool, REQUESTS, version, signature, inputs)

    async def _with_pictures(
        self, version: Version, signature: Signature, inputs: Arrays
    ) -> Arrays:
        return await self._submit(self._picture_pool, PICTURES, version, signature, inputs)

    async def _submit(
        self,
        pool: ThreadPoolExecutor,
        within: int,
        version: Version,
        signature: Signature,
        inputs: Arrays,
    ) -> Arrays:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Arrays] = loop.create_future()
        end = time.monotonic() + self.limits.run_seconds
        # The thread may go on for a moment, so the version stays open whoever stops waiting.
        version.users += 1

        def finish(outputs: Arrays | None, error: Exception | None) -> None:
            with version.in_use():
                version.users -= 1
            if answer.done():
                return
            if error is not None:
                answer.set_exception(error)
            elif outputs is not None:
                answer.set_result(outputs)

        def work() -> None:
            outputs, error = None, None
            if not answer.done():  # else its client has gone away meanwhile
                try:
                    outputs = self._work(version, signature, inputs, within, end)
                except Exception as caught:
                    error = caught
            with contextlib.suppress(RuntimeError):  # the loop ended before the thread did
                loop.call_soon_threadsafe(finish, outputs, error)

        pool.submit(work)
        return await answer

    def _work(
        self, version: Version, signature: Signature, inputs: Arrays, within: int, end: float
    ) -> Arrays:
        start = time.perf_counter()
        outputs = version.saved_model.run(signature, inputs, end - time.monotonic(), within)
        self._metrics.run(version.model, rows(inputs) or 1, time.perf_counter() - start)
        return outputs

    def close(self) -> None:
        """Lets go of the threads once they are done."""
        for pool in (self._pool, self._picture_pool):
            pool.shutdown(wait=False, cancel_futures=True)


def _why_no_batch(inputs: Arrays) -> str:
    if any(not array.ndim for array in inputs.values()):
        return "Batching Run() input tensors must have at least one dimension"
    return "Batching Run() input tensors must have equal 0th-dimension size"
