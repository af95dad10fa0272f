"""Requests on their way to the session: limits, threads, time."""

from __future__ import annotations

import asyncio
import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bladerunner_ae.server.batching import Batcher
from bladerunner_ae.server.metrics import Metrics
from bladerunner_ae.server.saved_model import Arrays, Signature, rows
from bladerunner_ae.server.statuses import Code, ServingError, invalid
from bladerunner_ae.server.versions import Version


@dataclass(frozen=True)
class Limits:
    """What a server takes on.

    Attributes:
        batch_rows: of a request, and of several together.
        waiting: requests that wait or run.
        body_bytes: of one request.
        held_bytes: of all bodies that are being received or parsed.
        read_seconds: for a request to arrive whole, and between two pieces of an answer taken.
        run_seconds: for a request to be answered.
        stop_seconds: for all requests to be answered when the server is to stop.
    """

    batch_rows: int = 128
    waiting: int = 4096
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
        self._limits, self._metrics = limits, metrics
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="run")
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
        if size is not None and size > self._limits.batch_rows:
            raise invalid(
                f"Task size {size} is larger than maximum input batch size "
                f"{self._limits.batch_rows}"
            )
        if self.waiting >= self._limits.waiting:
            raise ServingError(
                Code.UNAVAILABLE,
                "The batch scheduling queue to which this task was submitted is full",
            )
        self._count(1)
        try:
            with version.in_use():
                async with asyncio.timeout(self._limits.run_seconds):
                    if self._batcher is None:
                        return await self._in_thread(version, signature, inputs)
                    if size is None:
                        raise invalid(_why_no_batch(inputs))
                    return await self._batcher.submit(version, signature, inputs, size)
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        self.waiting += change
        self._metrics.waiting.set(self.waiting)

    async def _in_thread(self, version: Version, signature: Signature, inputs: Arrays) -> Arrays:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Arrays] = loop.create_future()
        # A thread cannot be stopped, so the version stays open for it whoever stops waiting.
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
                    outputs = self._work(version, signature, inputs)
                except Exception as caught:
                    error = caught
            with contextlib.suppress(RuntimeError):  # the loop ended before the thread did
                loop.call_soon_threadsafe(finish, outputs, error)

        self._pool.submit(work)
        return await answer

    def _work(self, version: Version, signature: Signature, inputs: Arrays) -> Arrays:
        start = time.perf_counter()
        outputs = version.saved_model.run(signature, inputs)
        self._metrics.run(version.model, rows(inputs) or 1, time.perf_counter() - start)
        return outputs

    def close(self) -> None:
        """Lets go of the threads once they are done."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def _why_no_batch(inputs: Arrays) -> str:
    if any(not array.ndim for array in inputs.values()):
        return "Batching Run() input tensors must have at least one dimension"
    return "Batching Run() input tensors must have equal 0th-dimension size"
