"""Threads with a short queue: items made ahead of their use, or worked off while more are made."""

import queue
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Generic, TypeVar

Item = TypeVar("Item")

# How long a full queue is waited upon before looking whether anybody still wants the items.
_PATIENCE_SECONDS = 0.1


class _End:
    """Marks the end of the items, with the exception that ended them, if any."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class Prefetch(Generic[Item]):
    """The items of an iterator, fetched ahead by a thread.

    An exception of the iterator is raised where the items are taken. The iterator is closed in the
    thread that runs it.

    Args:
        items: what to run; must not be touched by anybody else.
        ahead: at most this many items wait to be taken.
    """

    def __init__(self, items: Iterator[Item], ahead: int) -> None:
        self._items = items
        self._queue: queue.Queue[Item | _End] = queue.Queue(maxsize=ahead)
        self._stopped = threading.Event()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="prefetch", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        if self._ended:
            raise StopIteration
        item = self._queue.get()
        if isinstance(item, _End):
            self._ended = True
            self._thread.join()
            if item.error is not None:
                raise item.error
            raise StopIteration
        return item

    def close(self) -> None:
        """Stop the thread and drops what it has fetched. Harmless twice."""
        self._stopped.set()
        self._ended = True
        self._thread.join()

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            for item in self._items:
                if not self._put(item):
                    break
        except BaseException as problem:
            error = problem
        finally:
            close = getattr(self._items, "close", None)
            if close is not None:
                close()
        self._put(_End(error))

    def _put(self, item: Item | _End) -> bool:
        """Queue an item; False if nobody wants it any more."""
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=_PATIENCE_SECONDS)
                return True
            except queue.Full:
                continue
        return False


Done = TypeVar("Done")

# How long a full queue is waited upon before looking whether the thread still works.
_BACKGROUND_PATIENCE_SECONDS = 0.1


class Background(Generic[Done]):
    """Hands items to a function in another thread; use as a context manager.

    Leaving without an exception waits until all items are done, leaving with one drops those that
    wait.

    Args:
        waiting: at most this many items wait; `put` blocks until there is room.
        interrupt: called on leaving with an exception; makes a `work` that waits for something
            return or raise soon.
    """

    def __init__(
        self, work: Callable[[Done], None], waiting: int, interrupt: Callable[[], None]
    ) -> None:
        self._work, self._interrupt = work, interrupt
        self._queue: queue.Queue[Done | None] = queue.Queue(maxsize=waiting)
        self._error: BaseException | None = None
        self._dropped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="background", daemon=True)
        self._thread.start()

    def put(self, item: Done) -> None:
        """Queue an item."""
        self._put(item)

    def __enter__(self) -> "Background[Done]":
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

    def _put(self, item: Done | None) -> None:
        while True:
            if self._error is not None:
                raise self._error
            try:
                return self._queue.put(item, timeout=_BACKGROUND_PATIENCE_SECONDS)
            except queue.Full:
                continue

    def _run(self) -> None:
        try:
            while not self._dropped.is_set():
                try:
                    item = self._queue.get(timeout=_BACKGROUND_PATIENCE_SECONDS)
                except queue.Empty:
                    continue
                if item is None:
                    return
                self._work(item)
        except BaseException as error:
            self._error = error
