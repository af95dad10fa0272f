"""Pictures written beside training: all, in order, before a checkpoint, and no error is lost."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorboard.util import tensor_util

from bladerunner_ae.errors import OutputError
from bladerunner_ae.evaluation.prior_samples import draw_normal
from bladerunner_ae.evaluation.sheets import SHOWN, interpolation_sheet, prior_sheet
from bladerunner_ae.training.callbacks import Watched
from bladerunner_ae.training.checkpoints import checkpoint_steps
from bladerunner_ae.training.monitoring import picture_queue as module
from bladerunner_ae.training.monitoring.event_files import Summaries
from bladerunner_ae.training.monitoring.latents import show_latents
from bladerunner_ae.training.monitoring.picture_queue import PictureQueue
from bladerunner_ae.training.monitoring.probes import Dream
from bladerunner_ae.training.resume import has_finished
from tests.helpers.tiny_training import (
    FEW_LAYERS,
    film_images,
    tiny_flags,
    tiny_networks,
    train_here,
)
from tests.training.monitoring.test_event_files import logged


def even(level: int) -> Callable[[], Image.Image]:
    return lambda: Image.new("RGB", (5, 3), (level, level, level))


@pytest.fixture
def summaries(tmp_path: Path) -> Iterator[Summaries]:
    made = Summaries(tmp_path, 0)
    yield made
    made.close()


def levels(run: Path, name: str) -> list[tuple[int, int]]:
    """(step, grey level) of the pictures in TensorBoard."""
    found = []
    for event in logged(run).Tensors(name):
        width, height, png = tensor_util.make_ndarray(event.tensor_proto)
        picture = np.asarray(Image.open(io.BytesIO(png)))
        assert (int(height), int(width)) == picture.shape[:2]
        found.append((event.step, int(picture[0, 0, 0])))
    return found


def test_pictures_come_in_order_and_files_with_them(tmp_path: Path, summaries: Summaries) -> None:
    queue = PictureQueue(summaries)
    for step in range(30):
        queue.add("grey", even(step), step, tmp_path / f"{step}.png" if step % 2 else None)
    queue.close()
    summaries.close()
    assert levels(tmp_path, "grey") == [(step, step) for step in range(30)]
    files = {int(path.stem): path for path in tmp_path.glob("*.png")}
    assert sorted(files) == list(range(1, 30, 2))
    assert all(np.unique(np.asarray(Image.open(p))) == [step] for step, p in files.items())


def test_add_blocks_only_for_a_full_queue(summaries: Summaries) -> None:
    go_on, added = threading.Event(), []
    queue = PictureQueue(summaries)

    def slow() -> Image.Image:
        assert go_on.wait(60)
        return even(0)()

    def add() -> None:
        for number in range(module._WAITING + 1):
            queue.add("grey", slow, number)
            added.append(number)

    adder = threading.Thread(target=add)
    adder.start()
    adder.join(2)
    assert adder.is_alive() and len(added) == module._WAITING
    go_on.set()
    adder.join(60)
    queue.wait()
    assert len(added) == module._WAITING + 1 and not queue._taken


def test_errors_are_raised_once_and_other_pictures_written(
    tmp_path: Path, summaries: Summaries
) -> None:
    queue = PictureQueue(summaries)
    queue.add("grey", even(1), 1, tmp_path / "1.png")
    queue.add("grey", even(2), 2, tmp_path / "missing" / "2.png")
    queue.add("grey", even(3), 3, tmp_path / "3.png")
    with pytest.raises(OSError, match="missing"):
        queue.wait()
    queue.wait()
    queue.add("grey", even(4), 4, tmp_path / "missing" / "4.png")
    queue.add("grey", even(5), 5)
    with pytest.raises(OSError, match="missing"):
        queue.wait()
    queue.close()
    queue.close()
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["1.png", "3.png"]


def test_samples_and_ways_are_what_their_names_say() -> None:
    """Decoded together, and the same as each by itself."""
    networks, frames = tiny_networks(**FEW_LAYERS), film_images(24)[::3]
    probes: Any = SimpleNamespace(originals=frames, names=[str(n) for n in range(len(frames))])
    model = networks.autoencoder
    mean, log_var = model.encode(frames)
    drawn: dict[str, Image.Image] = {}
    queue: Any = SimpleNamespace(add=lambda name, draw, step: drawn.update({name: draw()}))
    nothing: Any = SimpleNamespace(histogram=lambda *arguments: None)
    show_latents(nothing, queue, networks, probes, Dream(mean, log_var, frames), 0)
    expected = {
        "samples_of_prior": prior_sheet(draw_normal(model, SHOWN)),
        "ways_between_frames": interpolation_sheet(model, frames, probes.names),
    }
    assert drawn.keys() == expected.keys()
    for name, sheet in expected.items():
        np.testing.assert_allclose(np.asarray(drawn[name]), np.asarray(sheet), atol=2)


@pytest.mark.slow
def test_a_checkpoint_waits_for_the_pictures_before_it(
    small_records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw, save = module.to_png, tf.train.CheckpointManager.save
    there: list[list[str]] = []

    def slowly(image: Image.Image) -> bytes:
        time.sleep(0.3)
        return draw(image)

    def saved(self: Any, *args: Any, **options: Any) -> Any:
        there.append(sorted(path.name for path in (tmp_path / "run" / "samples").glob("*.png")))
        return save(self, *args, **options)

    monkeypatch.setattr(module, "to_png", slowly)
    monkeypatch.setattr(tf.train.CheckpointManager, "save", saved)
    changes = {"sample_every": 2, "checkpoint_every": 2, **FEW_LAYERS}
    train_here(tiny_flags(small_records, tmp_path / "run", steps=4, **changes))
    names = [f"step-{step:07d}.png" for step in (0, 2, 4)]
    assert there == [names[:2], names]


def test_unwritable_picture_ends_training_in_one_line(
    small_records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No step is lost: the weights are saved first."""
    write = module.storage.write_bytes

    def full(path: Path, data: bytes) -> None:
        if path.name == "step-0000002.png":
            raise OutputError(f"{path}: no space left on the disk")
        write(path, data)

    monkeypatch.setattr(module.storage, "write_bytes", full)
    with pytest.raises(OutputError, match=r"step-0000002\.png: no space left"):
        train_here(tiny_flags(small_records, tmp_path / "run", sample_every=1, **FEW_LAYERS))
    assert checkpoint_steps(tmp_path / "run") == [2]


@pytest.mark.slow
def test_run_with_unwritable_last_pictures_has_not_finished(
    small_records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where there is no checkpoint left to write that would wait for them."""
    run, write = tmp_path / "run", module.storage.write_bytes
    flags = tiny_flags(small_records, run)
    train_here(flags)
    assert has_finished(run, 4)
    (run / "metrics.jsonl").write_text("")

    def full(path: Path, data: bytes) -> None:
        if path.name == "prior.png":
            raise OutputError(f"{path}: no space left on the disk")
        write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(module.storage, "write_bytes", full)
        with pytest.raises(OutputError, match=r"prior\.png: no space left"):
            train_here(flags)
    assert not has_finished(run, 4)
    train_here(flags)
    assert has_finished(run, 4)


@pytest.mark.slow
def test_queued_pictures_are_written_when_training_fails(
    small_records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    draw, read = module.to_png, Watched.values

    def slowly(image: Image.Image) -> bytes:
        time.sleep(0.3)
        return draw(image)

    def breaks(self: Any) -> Any:
        if self.log.step == 3:
            raise OutputError("broken off")
        return read(self)

    monkeypatch.setattr(module, "to_png", slowly)
    monkeypatch.setattr(Watched, "values", breaks)
    with pytest.raises(OutputError, match="broken off"):
        train_here(tiny_flags(small_records, tmp_path / "run", sample_every=2, **FEW_LAYERS))
    for name in ("original_and_dream", "samples_of_prior", "ways_between_frames"):
        assert [event.step for event in logged(tmp_path / "run").Tensors(name)] == [0, 2], name
