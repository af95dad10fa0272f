"""Runs a function on items in a thread of its own, while the next items are being made."""

import queue
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Generic, TypeVar

Item = TypeVar("Item")

# How long a full queue is waited upon before looking whether the thread still works.
_PATIENCE_SECONDS = 0.1


class Background(Generic[Item]):
    """Hands items to a function in another thread; use as a context manager.

    Leaving without an exception waits until all items are done, leaving with one drops those that
    wait.

    Args:
        work: called with each item, in order.
        waiting: at most this many items wait; `put` blocks until there is room.
        interrupt: called on leaving with an exception; makes a `work` that waits for something
            return or raise soon.

    Raises:
        Exception: from `put` or at the end: whatever `work` raised.
    """

    def __init__(
        self, work: Callable[[Item], None], waiting: int, interrupt: Callable[[], None]
    ) -> None:
        self._work, self._interrupt = work, interrupt
        self._queue: queue.Queue[Item | None] = queue.Queue(maxsize=waiting)
        self._error: BaseException | None = None
        self._dropped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="background", daemon=True)
        self._thread.start()

    def put(self, item: Item) -> None:
        """Queues an item."""
        self._put(item)

    def __enter__(self) -> "Background[Item]":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._dropped.set()
            self._interrupt()
        else:
            self._put(None)
        self._thread.join()
        if kind is None and self._error is not None:
            raise self._error

    def _put(self, item: Item | None) -> None:
        while True:
            if self._error is not None:
                raise self._error
            try:
                return self._queue.put(item, timeout=_PATIENCE_SECONDS)
            except queue.Full:
                continue

    def _run(self) -> None:
        try:
            while not self._dropped.is_set():
                try:
                    item = self._queue.get(timeout=_PATIENCE_SECONDS)
                except queue.Empty:
                    continue
                if item is None:
                    return
                self._work(item)
        except BaseException as error:
            self._error = error
