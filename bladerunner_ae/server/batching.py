"""Batches of several clients' requests for one run of the model.

A batch is closed when it is full, or when its time is up and a thread is free to run it. So a
request that comes alone waits no longer than `timeout`, and batches grow while all threads are
busy. Only requests of one signature and with rows of the same shape go together: one that does not
fit cannot spoil the others. If a batch fails, its requests run once more, one by one, so that only
the one at fault gets the error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field

from bladerunner_ae.server.saved_model import Arrays, Signature, join
from bladerunner_ae.server.serving_errors import invalid
from bladerunner_ae.server.versions import Version

Run = Callable[[Version, Signature, Arrays], Awaitable[Arrays]]


@dataclass(eq=False)
class _Task:
    inputs: Arrays
    rows: int
    answer: asyncio.Future[Arrays]


@dataclass(eq=False)
class _Batch:
    version: Version
    signature: Signature
    tasks: list[_Task] = field(default_factory=list)
    rows: int = 0
    due: bool = False


class Batcher:
    """Collector of requests; for the thread of the event loop."""

    def __init__(self, run: Run, most_rows: int, timeout: float, threads: int) -> None:
        """Prepare for `threads` batches at once; a request waits `timeout` seconds for others."""
        self._run, self._most_rows, self._timeout = run, most_rows, timeout
        self._threads, self._running = threads, 0
        self._open: dict[Hashable, _Batch] = {}
        self._closed: list[_Batch] = []
        self._tasks: set[asyncio.Task[None]] = set()  # the loop itself holds them weakly

    async def submit(
        self, version: Version, signature: Signature, inputs: Arrays, rows: int
    ) -> Arrays:
        """Run a request together with others; ServingError or tf.errors.OpError on failure."""
        loop = asyncio.get_running_loop()
        shapes = ((name, array.dtype.str, array.shape[1:]) for name, array in inputs.items())
        key = (version, signature.name, *shapes)
        batch = self._open.get(key)
        if batch and batch.rows + rows > self._most_rows:
            self._closed.append(self._open.pop(key))
            batch = None
        if batch is None:
            batch = self._open[key] = _Batch(version, signature)
            loop.call_later(self._timeout, self._end_waiting, batch)
        task = _Task(inputs, rows, loop.create_future())
        batch.tasks.append(task)
        batch.rows += rows
        if batch.rows >= self._most_rows:
            self._closed.append(self._open.pop(key))
        self._start()
        return await task.answer

    def _end_waiting(self, batch: _Batch) -> None:
        batch.due = True
        self._start()

    def _start(self) -> None:
        """Start batches while there are threads for them, the oldest first."""
        while self._running < self._threads:
            if not self._closed:
                due = next((key for key, batch in self._open.items() if batch.due), None)
                if due is None:
                    return
                self._closed.append(self._open.pop(due))
            batch = self._closed.pop(0)
            self._running += 1
            task = asyncio.get_running_loop().create_task(self._work(batch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work(self, batch: _Batch) -> None:
        try:
            # A client that has gone, or waited long enough, needs no answer.
            tasks = [task for task in batch.tasks if not task.answer.done()]
            if tasks:
                await self._answer(batch, tasks)
        finally:
            self._running -= 1
            self._start()

    async def _answer(self, batch: _Batch, tasks: list[_Task]) -> None:
        try:
            inputs = tasks[0].inputs if len(tasks) == 1 else join([task.inputs for task in tasks])
            outputs = await self._run(batch.version, batch.signature, inputs)
            if len(tasks) > 1:
                _check(outputs, sum(task.rows for task in tasks))
        except Exception as error:
            if len(tasks) == 1:
                _fail(tasks[0], error)
                return
            for task in tasks:
                await self._answer(batch, [task])
            return
        first = 0
        for task in tasks:
            rows = outputs
            if len(tasks) > 1:
                rows = {name: array[first : first + task.rows] for name, array in outputs.items()}
            first += task.rows
            if not task.answer.done():
                task.answer.set_result(rows)


def _fail(task: _Task, error: Exception) -> None:
    if not task.answer.done():
        task.answer.set_exception(error)


def _check(outputs: Arrays, rows: int) -> None:
    if any(not array.ndim or len(array) != rows for array in outputs.values()):
        raise invalid("The outputs of a batch have another number of rows than its inputs")
