"""Threads with a short queue."""

import threading
from collections.abc import Iterator

import pytest

from bladerunner_ae.film.reading.threads import Background, Prefetch


def failing() -> Iterator[int]:
    yield 1
    raise ValueError("broken")


def test_prefetch_gives_all_items_then_the_error() -> None:
    assert list(Prefetch(iter(range(50)), ahead=2)) == list(range(50))
    items = Prefetch(failing(), ahead=2)
    assert next(items) == 1
    with pytest.raises(ValueError, match="broken"):
        next(items)
    assert list(items) == []


def test_prefetch_closes_its_iterator() -> None:
    closed = threading.Event()

    def endless() -> Iterator[int]:
        try:
            while True:
                yield 0
        finally:
            closed.set()

    items = Prefetch(endless(), ahead=1)
    assert next(items) == 0
    items.close()
    items.close()
    assert closed.is_set() and list(items) == []


def test_background_processes_all_items_in_order() -> None:
    done = list[int]()
    with Background(done.append, waiting=1, interrupt=lambda: None) as background:
        for number in range(20):
            background.put(number)
    assert done == list(range(20))


def test_background_raises_what_its_work_raised() -> None:
    for count in (1, 1000):
        work = Background[int](lambda number: 1 // number, waiting=1, interrupt=lambda: None)
        with pytest.raises(ZeroDivisionError), work:
            for _ in range(count):
                work.put(0)


def test_background_interrupts_on_an_exception() -> None:
    interrupted = threading.Event()

    def wait(_: int) -> None:
        interrupted.wait()

    work = Background[int](wait, 1, interrupt=interrupted.set)
    with pytest.raises(KeyError), work:
        work.put(0)
        raise KeyError
    assert interrupted.is_set()
