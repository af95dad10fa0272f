"""Requests on their way to the session: limits, threads, time.

Requests with large pictures, which can take seconds, have one thread of their own, within
TensorFlow as well, so that the others get their turn however many there are.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from concurrent.futures import ThreadPoolExecutor

import simplejpeg

from bladerunner_ae.server.batching import Batcher
from bladerunner_ae.server.limits import Limits
from bladerunner_ae.server.metrics import Metrics
from bladerunner_ae.server.saved_model import PICTURES, REQUESTS, Arrays, Signature, rows
from bladerunner_ae.server.serving_errors import Code, ServingError, invalid
from bladerunner_ae.server.versions import Version

_PNG_START, _JPEG_START = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_UNKNOWN_PIXELS = 1 << 25  # the largest picture that our models take
_LARGE_PICTURES = 1 << 21  # full HD; reading it takes some hundredths of a second
_BATCHED_PICTURES = 1 << 18  # a hundred such requests may run together


class Runner:
    """Runner of requests in threads; for the thread of the event loop."""

    def __init__(
        self, limits: Limits, threads: int, metrics: Metrics, batch_timeout: float | None
    ) -> None:
        """Prepare; without `batch_timeout`, seconds to wait for others, each request runs alone."""
        self.limits, self._metrics = limits, metrics
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="run")
        self._picture_pool = ThreadPoolExecutor(1, thread_name_prefix="pictures")
        self._waiting_pixels = 0
        self._batcher = None
        if batch_timeout is not None:
            self._batcher = Batcher(self._in_thread, limits.batch_rows, batch_timeout, threads)
        self.waiting = 0

    async def run(self, version: Version, signature: Signature, inputs: Arrays) -> Arrays:
        """Run a request; tf.errors.OpError if the graph cannot do it.

        ServingError if it is too large, there are too many, or it took too long.
        """
        size = rows(inputs)
        if size is not None and size > self.limits.batch_rows:
            raise invalid(
                f"The request has {size} rows, more than --max_batch_size={self.limits.batch_rows}"
            )
        if self.waiting >= self.limits.waiting:
            raise ServingError(Code.UNAVAILABLE, "Too many requests wait; try again")
        pixels = self._check_pixels(inputs)
        large = pixels if pixels > _LARGE_PICTURES else 0
        self._count(1, large)
        try:
            with version.in_use():
                async with asyncio.timeout(self.limits.run_seconds):
                    if large:
                        return await self._submit(
                            self._picture_pool, PICTURES, version, signature, inputs
                        )
                    if self._batcher is None or pixels > _BATCHED_PICTURES:
                        return await self._in_thread(version, signature, inputs)
                    if size is None:
                        raise invalid("With --batching all inputs need the same number of rows")
                    return await self._batcher.submit(version, signature, inputs, size)
        finally:
            self._count(-1, -large)

    def _check_pixels(self, inputs: Arrays) -> int:
        found = count_pixels(inputs)
        if found > self.limits.pixels:
            raise invalid(
                f"The pictures of the request have {found} pixels together, more than "
                f"--max_pixels={self.limits.pixels}"
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
        # The thread may run on after the client has gone, so the version stays open until it ends.
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
            if not answer.done():  # else its client has gone meanwhile
                start = time.perf_counter()
                try:
                    outputs = version.saved_model.run(
                        signature, inputs, end - time.monotonic(), within
                    )
                    seconds = time.perf_counter() - start
                    self._metrics.run(version.model, rows(inputs) or 1, seconds)
                except Exception as caught:
                    error = caught
            with contextlib.suppress(RuntimeError):  # the loop ended before the thread did
                loop.call_soon_threadsafe(finish, outputs, error)

        pool.submit(work)
        return await answer

    def close(self) -> None:
        for pool in (self._pool, self._picture_pool):
            pool.shutdown(wait=False, cancel_futures=True)


def count_pixels(inputs: Arrays) -> int:
    """Return the pixels of all PNG and JPEG files among a request's strings, together.

    A file of some kilobytes can hold a picture that takes seconds to read; its first bytes tell.
    """
    strings = (array for array in inputs.values() if array.dtype == object)
    return sum(_pixels(file) for array in strings for file in array.ravel().tolist())


def _pixels(file: bytes) -> int:
    if file.startswith(_PNG_START):  # and the first chunk's name; then width and height
        return int.from_bytes(file[16:20], "big") * int.from_bytes(file[20:24], "big")
    if not file.startswith(_JPEG_START):
        return 0
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(file, strict=False)
    except (ValueError, KeyError):  # damaged, or of an unusual kind
        return _UNKNOWN_PIXELS
    return height * width
