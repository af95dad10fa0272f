"""Threads with a short queue: items made ahead of their use, or processed while more are made."""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")

# How often a thread that waits checks whether the other side has stopped.
_POLL_SECONDS = 0.1


class _End:
    """End of the items, with the exception that ended them, if any."""

    def __init__(self, error: BaseException | None = None) -> None:
        self.error = error


class _Channel(Generic[Item]):
    """A bounded queue between two threads, of which either can stop the other."""

    def __init__(self, size: int) -> None:
        self._queue: queue.Queue[Item | _End] = queue.Queue(maxsize=size)
        self.stopped = threading.Event()

    def put(self, item: Item | _End) -> bool:
        """Queue an item; False if the channel was stopped instead."""
        while not self.stopped.is_set():
            try:
                self._queue.put(item, timeout=_POLL_SECONDS)
                return True
            except queue.Full:
                continue
        return False

    def get(self) -> Item | _End:
        """Take the next item; the end if the channel was stopped."""
        while not self.stopped.is_set():
            try:
                return self._queue.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                continue
        return _End()


class Prefetch(Generic[Item]):
    """Items of an iterator, fetched (at most `ahead`) and finally closed by a thread.

    The iterator must not be used elsewhere; its exception is raised where the items are taken.
    """

    def __init__(self, items: Iterator[Item], ahead: int) -> None:
        self._items = items
        self._channel = _Channel[Item](ahead)
        self._thread = threading.Thread(target=self._run, name="prefetch", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Item]:
        return self

    def __next__(self) -> Item:
        item = self._channel.get()
        if not isinstance(item, _End):
            return item
        self.close()
        raise item.error or StopIteration

    def close(self) -> None:
        """Stop the thread and drop what it has fetched. Idempotent."""
        self._channel.stopped.set()
        self._thread.join()

    def _run(self) -> None:
        end = _End()
        try:
            for item in self._items:
                if not self._channel.put(item):
                    break
        except BaseException as error:
            end = _End(error)
        finally:
            close = getattr(self._items, "close", None)
            if close is not None:
                close()
        self._channel.put(end)


class Background(Generic[Item]):
    """Processing of items by a function in another thread; a context manager.

    Leaving without an exception waits until all items are processed, leaving with one drops those
    that wait. An exception of the function is raised by `put` or at the end.

    Args:
        work: called with each item, in order.
        waiting: at most this many items wait; `put` blocks until there is room.
        interrupt: called on leaving with an exception; makes a `work` that waits return or raise.
    """

    def __init__(
        self, work: Callable[[Item], None], waiting: int, interrupt: Callable[[], None]
    ) -> None:
        self._work, self._interrupt = work, interrupt
        self._channel = _Channel[Item](waiting)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="background", daemon=True)
        self._thread.start()

    def put(self, item: Item | _End) -> None:
        if not self._channel.put(item) and self._error is not None:
            raise self._error

    def __enter__(self) -> "Background[Item]":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._channel.put(_End())
        else:
            self._channel.stopped.set()
            self._interrupt()
        self._thread.join()
        if kind is None and self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            while not isinstance(item := self._channel.get(), _End):
                self._work(item)
        except BaseException as error:
            self._error = error
            self._channel.stopped.set()
