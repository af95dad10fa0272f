"""Batches: which requests are joined, which wait, and which get the error."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np
import pytest

from bladerunner_ae.server.batching import Batcher
from bladerunner_ae.server.serving_errors import invalid

VERSION: Any = object()


class Signature:
    """A signature, as far as a batcher uses it."""

    def __init__(self, name: str = "s") -> None:
        self.name = name


class Model:
    """Doubles its input while `let` is set."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.let = asyncio.Event()
        self.let.set()

    async def run(self, version: Any, signature: Any, inputs: Any) -> Any:
        self.sizes.append(len(inputs["x"]))
        await self.let.wait()
        if (inputs["x"] < 0).any():
            raise invalid("negative")
        if signature.name == "sums":
            return {"y": inputs["x"].sum(axis=0)}
        return {"y": 2 * inputs["x"]}


def run(test: Callable[[Model], Awaitable[None]]) -> None:
    async def main() -> None:
        await test(Model())

    asyncio.run(main())


def ask(batcher: Batcher, *values: float, name: str = "s", width: int = 1) -> asyncio.Task[Any]:
    inputs = {"x": np.array([[value] * width for value in values])}
    signature: Any = Signature(name)
    return asyncio.ensure_future(batcher.submit(VERSION, signature, inputs, len(values)))


async def answers(*tasks: asyncio.Task[Any]) -> list[list[float]]:
    return [(await task)["y"][:, 0].tolist() for task in tasks]


def test_simultaneous_requests_run_together() -> None:
    async def test(model: Model) -> None:
        batcher = Batcher(model.run, 8, 0.0, 1)
        found = await answers(ask(batcher, 1), ask(batcher, 2, 3), ask(batcher, 4))
        assert found == [[2], [4, 6], [8]]
        assert model.sizes == [4]

    run(test)


def test_batches_grow_while_all_threads_are_busy() -> None:
    async def test(model: Model) -> None:
        model.let.clear()
        batcher = Batcher(model.run, 4, 0.0, 1)
        first = ask(batcher, 1)
        while not model.sizes:
            await asyncio.sleep(0)
        later = [ask(batcher, value) for value in range(2, 8)]
        for _ in range(20):
            await asyncio.sleep(0)
        assert model.sizes == [1]
        model.let.set()
        assert await answers(first, *later) == [[2 * value] for value in range(1, 8)]
        assert model.sizes == [1, 4, 2]

    run(test)


def test_a_full_batch_does_not_wait() -> None:
    async def test(model: Model) -> None:
        batcher = Batcher(model.run, 2, 3600.0, 1)
        waiting = ask(batcher, 9)
        assert await answers(waiting, ask(batcher, 1)) == [[18], [2]]
        assert model.sizes == [2]

    run(test)


def test_a_request_too_large_for_a_batch_begins_another() -> None:
    async def test(model: Model) -> None:
        batcher = Batcher(model.run, 4, 0.0, 2)
        found = await answers(ask(batcher, 1, 2, 3), ask(batcher, 4, 5))
        assert found == [[2, 4, 6], [8, 10]] and model.sizes == [3, 2]

    run(test)


def test_only_equal_signatures_and_shapes_are_batched() -> None:
    async def test(model: Model) -> None:
        batcher = Batcher(model.run, 8, 0.0, 1)
        await answers(ask(batcher, 1), ask(batcher, 2, name="t"), ask(batcher, 3, width=2))
        assert model.sizes == [1, 1, 1]

    run(test)


def test_errors_reach_only_the_request_at_fault() -> None:
    async def test(model: Model) -> None:
        batcher = Batcher(model.run, 8, 0.0, 1)
        good, bad, other = ask(batcher, 1), ask(batcher, -1), ask(batcher, 2)
        assert await answers(good, other) == [[2], [4]]
        with pytest.raises(Exception, match="negative"):
            await bad
        assert model.sizes == [3, 1, 1, 1]

    run(test)


def test_outputs_without_rows_run_one_by_one() -> None:
    async def test(model: Model) -> None:
        batcher = Batcher(model.run, 8, 0.0, 1)
        first, second = ask(batcher, 1, 2, name="sums"), ask(batcher, 3, name="sums")
        assert (await first)["y"].tolist() == [3] and (await second)["y"].tolist() == [3]

    run(test)


def test_nothing_runs_for_clients_that_have_gone() -> None:
    async def test(model: Model) -> None:
        model.let.clear()
        batcher = Batcher(model.run, 8, 0.0, 1)
        first = ask(batcher, 1)
        while not model.sizes:
            await asyncio.sleep(0)
        gone, stays = ask(batcher, 2, 3), ask(batcher, 4)
        await asyncio.sleep(0)
        gone.cancel()
        model.let.set()
        assert await answers(first, stays) == [[2], [8]]
        assert model.sizes == [1, 1]

    run(test)
