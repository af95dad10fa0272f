"""Limits of a request: bytes, values, pixels, time."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from benchmarks.attacks.__main__ import large_png
from bladerunner_ae.protocol.tensors import count_fields
from bladerunner_ae.server import saved_model
from bladerunner_ae.server.json_process import JsonProcess, parse, refuse_too_many_items
from bladerunner_ae.server.limits import Limits, Sizes, sizes_of
from bladerunner_ae.server.metrics import Metrics
from bladerunner_ae.server.running import Runner, count_pixels
from bladerunner_ae.server.serving_errors import Code, ServingError
from bladerunner_ae.server.versions import Version
from tests.helpers.small_model import save_model
from tests.helpers.small_records import encode
from tests.helpers.tiny_exports import LATENT

ROOM = Sizes(bytes=1 << 20, values=1 << 20, items=1000)
TYPES = {"serving_default": {"x": 1}, "mix": {"a": 3, "b": 10}, "text": {"t": 7}}


def definitions(model: saved_model.SavedModel) -> list[Any]:
    return [signature.definition for signature in model.signatures.values()]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> saved_model.SavedModel:
    return saved_model.load(save_model(tmp_path_factory.mktemp("small")))


@pytest.fixture(scope="module")
def encoder(tiny_export: Path) -> saved_model.SavedModel:
    return saved_model.load(tiny_export / "encoder" / "1")


def test_sizes_follow_from_the_signatures(tiny_export: Path, encoder: Any, small: Any) -> None:
    decoder = saved_model.load(tiny_export / "decoder" / "1")
    found = sizes_of(definitions(decoder), 8, 1 << 26)
    latents = json.dumps({"instances": np.full((8, LATENT), -1 / 3).tolist()}, indent=8).encode()
    assert len(latents) < found.bytes < 1 << 17
    assert 8 * LATENT < found.values < 2000
    refuse_too_many_items(latents, found.items)
    # Files may have any length, and unknown dimensions any number of values.
    found = sizes_of(definitions(encoder), 8, 1 << 26)
    assert found.bytes == 1 << 26 and 8 * 24 * 32 * 3 < found.values < 1 << 16
    found = sizes_of(definitions(small), 8, 1 << 26)
    assert found.bytes == found.values == 1 << 26
    assert found.items == (1 << 23) + 1024
    assert sizes_of(definitions(small), 8, 1000) == Sizes(1000, 1000, 1000)


@pytest.mark.parametrize("value", [b"[]", b"{}", b"0", b"[[", b'"a"'])
def test_values_are_counted_before_parsing(value: bytes) -> None:
    refuse_too_many_items(b",".join([value] * 100), 1000)
    with pytest.raises(ServingError, match="more values than the model's signatures") as caught:
        refuse_too_many_items(b",".join([value] * 1100), 1000)
    assert caught.value.http == 413


def test_strings_are_not_counted() -> None:
    text = json.dumps({"instances": ['[{,"\\' * 3000]}).encode()
    refuse_too_many_items(text, 10)
    assert parse(text.replace(b"instances", b"inputs"), False, {"serving_default": {"t": 7}},
                 Sizes(1 << 20, 100, 10)).inputs["t"].shape == (1,)  # fmt: skip


def test_large_bodies_are_parsed_in_another_process() -> None:
    """Arrays and errors are those of parsing in this process."""
    body = json.dumps({"signature_name": "mix", "instances": [{"a": 5, "b": True}] * 50}).encode()

    async def main() -> None:
        parser = JsonProcess()
        ours = parse(body, False, TYPES, ROOM)
        for _ in range(2):
            found = await parser.parse(body, False, TYPES, ROOM, 60.0)
            assert (found.signature, found.in_rows) == ("mix", True)
            for name, array in ours.inputs.items():
                assert found.inputs[name].dtype == array.dtype
                np.testing.assert_array_equal(found.inputs[name], array)
        for wrong, words in (
            (b"[", "The body is not JSON: Expecting value: line 1 column 2"),
            (b'{"instances":[' + b"0," * 1000 + b"0]}", "more values than"),
            (b'{"signature_name":"x","instances":[1]}', 'The model has no signature "x"'),
        ):
            with pytest.raises(ServingError, match=re.escape(words)):
                await parser.parse(wrong, False, TYPES, ROOM, 60.0)
        with pytest.raises(TimeoutError):
            await parser.parse(body, False, TYPES, ROOM, 0.0)
        assert (await parser.parse(body, False, TYPES, ROOM, 60.0)).signature == "mix"
        await parser.close()

    asyncio.run(main())


def test_pixels_of_files() -> None:
    picture = np.zeros((30, 40, 3), np.uint8)
    jpeg, png = encode(picture), encode(picture, "png")
    assert [count_pixels({"x": np.array([file], object)}) for file in (jpeg, png)] == [1200] * 2
    many = {"x": np.array([[png, jpeg], [b"text", b""]], object), "y": np.zeros(9)}
    assert count_pixels(many) == 2400
    assert count_pixels({"x": np.array([large_png(5792)], object)}) == 5792**2
    # What cannot be told counts as the largest.
    assert count_pixels({"x": np.array([jpeg[:20], png[:17]], object)}) == 1 << 25


def runner(**limits: Any) -> Runner:
    return Runner(Limits(**limits), 1, Metrics(), None)


def version(model: saved_model.SavedModel) -> Version:
    return Version("x", 1, model, ())  # type: ignore[arg-type]


def test_many_pixels_are_refused(encoder: Any) -> None:
    def files(*sides: int) -> Any:
        return {"image_bytes": np.array([large_png(side) for side in sides], object)}

    async def main() -> None:
        running = runner(pixels=2000 * 2000, waiting_pixels=3000 * 1000)
        signature = encoder.signatures["encode_bytes"]
        assert len((await running.run(version(encoder), signature, files(30, 40)))["latent"]) == 2
        with pytest.raises(
            ServingError, match="have 4410000 pixels together, more than --max_pixels=4000000"
        ):
            await running.run(version(encoder), signature, files(2100))
        with pytest.raises(ServingError, match="have 4500000"):
            await running.run(version(encoder), signature, files(1500, 1500))
        one, other = await asyncio.gather(
            *(running.run(version(encoder), signature, files(1500, 1)) for _ in range(2)),
            return_exceptions=True,
        )
        assert isinstance(one, dict)  # alone it may wait, two may not
        assert isinstance(other, ServingError) and other.code is Code.UNAVAILABLE
        running.close()

    asyncio.run(main())


def test_large_pictures_do_not_delay_others(encoder: Any) -> None:
    """Even with a single thread, a later small request is answered first."""

    async def main() -> None:
        running, order = runner(), []

        async def ask(name: str, signature: str, inputs: Any) -> None:
            await running.run(version(encoder), encoder.signatures[signature], inputs)
            order.append(name)

        files = {"image_bytes": np.array([large_png(5700)] * 2, object)}
        large = asyncio.ensure_future(ask("large", "encode_bytes", files))
        await asyncio.sleep(0.1)
        await ask("small", "encode", {"image": np.zeros((1, 24, 32, 3), np.uint8)})
        await large
        assert order == ["small", "large"]
        running.close()

    asyncio.run(main())


def test_runs_end_at_their_deadline(small: Any, encoder: Any) -> None:
    """Otherwise the only thread would be busy for hours."""

    async def main() -> None:
        signature = small.signatures["work"]
        for running in (runner(run_seconds=0.3), Runner(Limits(run_seconds=0.3), 1, Metrics(), 0)):
            with pytest.raises((TimeoutError, tf.errors.DeadlineExceededError)):
                await running.run(
                    version(small), signature, {"turns": np.array([2**31 - 1], np.int32)}
                )
            while True:
                try:
                    found = await running.run(
                        version(small), signature, {"turns": np.array([1], np.int32)}
                    )
                    break
                except (TimeoutError, tf.errors.DeadlineExceededError):
                    continue  # on a busy machine
            assert found["done"].tolist() == [1]
            running.close()

    asyncio.run(asyncio.wait_for(main(), 120))


def test_fields_of_messages_are_counted() -> None:
    field = b"\x1a\x01x"
    assert count_fields(field * 10 + b"\x08\x96\x01" + b"\x0d1234" + b"\x0912345678", 13) == 13
    for data in (field * 14, b"\x1a\x05x", b"\x0b", b"\x08\x80", b"\x0d1"):
        with pytest.raises(ValueError):
            count_fields(data, 13)
