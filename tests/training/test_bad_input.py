"""Requests that training refuses, and films that have little to teach."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from bladerunner_ae.errors import UsageError
from bladerunner_ae.training import fit as training
from bladerunner_ae.training.distributed import devices as strategies
from bladerunner_ae.training.trainer import Trainer
from tests.helpers.commands import Commands, Result
from tests.helpers.parameters import some_slow
from tests.helpers.small_records import card_maker, encode, write_numbered_film
from tests.helpers.tiny_training import (
    AT_ONCE,
    OBJECTIVES,
    arguments,
    tiny_flags,
    tiny_run,
    tiny_train,
    train_here,
    untrained_run,
)
from tests.helpers.training_checks import reconstruct
from tfrecords.schema import Frame
from tfrecords.writer import FilmWriter

OTHER_FILM = "fedcba9876543210"


def contents(folder: Path) -> dict[Path, bytes]:
    """Return every file below a folder with its content."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write_still_film(directory: Path, frames: int, grey: int) -> Path:
    """Write records of frames of one grey."""
    with FilmWriter(directory, frames, num_shards=1) as writer:
        for index in range(frames):
            encoded = encode(np.full((24, 32, 3), grey, np.uint8), "png")
            writer.write(Frame(encoded, "png", 24, 32, index, 1001 * index - 5, OTHER_FILM))
        writer.commit(card_maker(24, 32, OTHER_FILM), overwrite=False)
    return directory


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return records of another film, of twice the size."""
    folder = tmp_path_factory.mktemp("larger") / "larger"
    write_numbered_film(folder, 12, 48, 64, film_id=OTHER_FILM)
    return folder


REFUSED: list[tuple[dict[str, Any], int, str]] = [
    ({"objective": "vae", "gamma": 2.0}, 1, "objective vae has no weight --gamma; it has kl_w"),
    ({"objective": "nothing"}, 1, "--objective=nothing: choose one of dream, vae, vae_gan"),
    ({"objective": "dream", "gamma": 2.0}, 1, "--gamma belongs to vae_gan, broad2016"),
    ({"kl_weight": "nan"}, 1, "--kl_weight=nan: give a finite number, 0 or above"),
    ({"noise": -1}, 1, "--noise=-1: give a finite number, 0 or above"),
    ({"objective": "dream", "adversarial_start": 1.5}, 1, "--adversarial_start=1.5: give a part"),
    ({"data_weights": "nan"}, 1, "--data_weights=nan: give one number above 0"),
    ({"holdout": 0.1, "holdout_seconds": 60}, 2, "48 frames are too few to hold out one of 10"),
    ({"holdout": 0.1, "holdout_seconds": -1}, 1, "--holdout_seconds=-1: give 0 or more"),
    ({"holdout_seconds": 2}, 1, "--holdout=0.1 how much of the film; give both"),
    ({"holdout": "nan"}, 1, "--holdout=nan: give a fraction"),
    ({"device": "tpu"}, 1, "--device"),
    ({"learning_rate": 0}, 1, "--learning_rate=0: give a finite number above 0"),
    ({"clip_norm": -1}, 1, "--clip_norm=-1: give a finite number, 0 (never) or above"),
    ({"ema": 1}, 1, "--ema=1: give 0 (none) to below 1"),
    ({"steps_per_execution": 0}, 1, "--steps_per_execution=0: give 1 or more"),
    ({"watchdog": "bark"}, 1, "--watchdog=bark: choose warn, act, stop or off"),
    (
        {"linear_path": False, "refinement_blocks": 3},
        1,
        "--refinement_blocks=3 correct what the linear path draws, and these networks have none; a",
    ),
    ({"refit_linear_path": True}, 1, "--refit_linear_path belongs to --fine_tune_from=RUN"),
    ({"fine_tune_from": "nowhere"}, 2, "nowhere: "),
    ({"steps": "many"}, 1, "--steps"),
    ({"preset": "huge"}, 1, "--preset=huge: choose one of preview, base, large"),
    ({"strategy": "tpu"}, 1, "--strategy=tpu"),
    ({"holdout": 0.01}, 2, "too few shots (2)"),
    (
        {"preset": "base"},
        2,
        "frames of 24x32 do not fit 4 halvings: convert the film again with --multiple=16",
    ),
    ({"data": "/no/such/folder"}, 2, "/no/such/folder"),
]
# Refused where others above are, with another value or for another flag.
REFUSED_ALIKE: list[tuple[dict[str, Any], int, str]] = [
    ({"objective": "dreams"}, 1, "--objective=dreams: choose one of dream, vae, vae_gan, patch_g"),
    ({"learning_rate": "nan"}, 1, "--learning_rate=nan: give a finite number above 0"),
    ({"clip_norm": "inf"}, 1, "--clip_norm=inf: give a finite number, 0 (never) or above"),
    ({"ema": "nan"}, 1, "--ema=nan: give 0 (none) to below 1"),
    ({"jit": "perhaps"}, 1, "--jit=perhaps: choose auto, on or off"),
    ({"batch_size": 0}, 1, "--batch_size=0: give 1 or more"),
    ({"steps": 0}, 1, "--steps=0: give 1 or more"),
    ({"objective": "gan"}, 1, "--objective=gan: choose one of"),
    ({"gamma": 2}, 1, "vae has no weight --gamma"),
    ({"holdout": 1.5}, 1, "--holdout=1.5"),
    ({"precision": "float8"}, 1, "--precision=float8"),
]


@pytest.mark.parametrize(
    ("changes", "code", "named"),
    [*REFUSED, *(pytest.param(*case, marks=pytest.mark.slow) for case in REFUSED_ALIKE)],
)
def test_refused_options_are_one_line_and_leave_nothing(
    changes: dict[str, Any], code: int, named: str, tmp_path: Path, small_records: Path,
    commands: Commands,
) -> None:  # fmt: skip
    run = tmp_path / "run"
    result = commands.run("train", *arguments(tiny_flags(small_records, run, **changes)))
    assert result.code == code, result.err
    assert named in result.error
    assert not run.exists()


@pytest.mark.parametrize("flag", ["model_dir", "data", "fine_tune_from"])
def test_a_folder_whose_name_is_no_utf8(
    flag: str, tmp_path: Path, small_records: Path, commands: Commands
) -> None:
    strange = Path(os.fsdecode(bytes(tmp_path) + b"/caf\xe9"))
    if flag == "data":
        shutil.copytree(small_records, strange)
    flags = {**tiny_flags(small_records, tmp_path / "run"), flag: strange}
    result = commands.run("train", *arguments(flags))
    assert result.code == 2, result.err
    assert "caf\ufffd: the name is not UTF-8" in result.error and "rename" in result.error
    assert not (tmp_path / "run").exists() and (flag == "data" or not strange.exists())


def test_a_gpu_that_is_not_there(tmp_path: Path, small_records: Path, commands: Commands) -> None:
    if tf.config.list_physical_devices("GPU"):
        pytest.skip("this machine has one")
    flags = tiny_flags(small_records, tmp_path / "run", device="gpu")
    result = commands.run("train", *arguments(flags))
    assert result.code == 1
    assert "--device=gpu: TensorFlow finds no GPU on this machine; leave it out" in result.error
    assert not (tmp_path / "run").exists()


def test_a_batch_that_the_devices_cannot_share() -> None:
    replicas = strategies.choose_strategy("mirrored").num_replicas_in_sync
    assert replicas == 2
    with pytest.raises(UsageError, match=r"--batch_size=9 does not divide by 2 devices; give a"):
        training.check_replicas(tiny_train(batch_size=9), replicas)


def test_records_of_two_sizes(
    tmp_path: Path, small_records: Path, larger: Path, commands: Commands
) -> None:
    flags = tiny_flags(small_records, tmp_path / "run", data=[small_records, larger])
    result = commands.run("train", *arguments(flags))
    assert result.code == 2
    assert result.error == (
        f"error: {larger}: frames are 48x64 but those of {small_records} are 24x32; convert one "
        "of the films again with --height=24 --width=32"
    )
    assert not (tmp_path / "run").exists()


def test_a_film_of_another_size_leaves_a_run_as_it_is(
    trained_run: tuple[Path, Result], tmp_path: Path, larger: Path, commands: Commands
) -> None:
    run = Path(shutil.copytree(trained_run[0], tmp_path / "run"))
    before = contents(run)
    result = commands.run("train", *arguments(tiny_flags(larger, run)))
    assert result.code == 2
    assert "holds another run" in result.error and "height: 24 -> 48" in result.error
    assert contents(run) == before


def test_checkpoint_of_other_architecture_leaves_run_unchanged(
    trained_run: tuple[Path, Result], small_records: Path, tmp_path: Path, commands: Commands
) -> None:
    run, other = Path(shutil.copytree(trained_run[0], tmp_path / "run")), tmp_path / "other"
    untrained_run(tiny_flags(small_records, other, "vae_gan"))
    shutil.rmtree(run / "checkpoints")
    shutil.copytree(other / "checkpoints", run / "checkpoints")
    before = contents(run)
    flags = tiny_flags(small_records, run, holdout=0.17, steps=8)
    result = commands.run("train", *arguments(flags))
    assert result.code == 2
    assert "checkpoints/step-1: does not fit this run" in result.error
    after = contents(run)
    for name in ("config.json", "flags.txt"):  # they say what was asked for last
        before.pop(run / name), after.pop(run / name)
    assert after == before


@pytest.mark.parametrize("objective", some_slow("vae_gan", of=OBJECTIVES))
def test_a_black_film_comes_back_black_and_is_called_so(
    objective: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = write_still_film(tmp_path / "film", 30, grey=0)
    flags = tiny_flags(records, tmp_path / "run", objective, steps=30, sample_every=10)
    trainer = train_here(flags)
    black = np.zeros((4, 24, 32, 3), np.uint8)
    assert reconstruct(trainer, black).max() <= 1
    err = capsys.readouterr().err
    assert err.count("the film is black: all that can be learnt of it is black") == 1
    assert "watchdog" not in err


@pytest.mark.slow
@pytest.mark.parametrize("objective", some_slow("dream", of=("dream", "vae_gan")))
def test_black_film_without_linear_path_has_no_adversary(objective: str, tmp_path: Path) -> None:
    for grey, scale in ((0, 0.0), (2, 1.0)):
        records = write_still_film(tmp_path / f"film_{grey}", 30, grey)
        flags = tiny_flags(records, tmp_path / f"run_{grey}", objective, steps=1)
        trainer = train_here({**flags, **AT_ONCE.get(objective, {}), "linear_path": False})
        assert float(trainer.state.adversarial_scale) == scale


@pytest.mark.parametrize("frames", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_film_of_a_frame_or_two_is_learnt(
    frames: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = write_still_film(tmp_path / "film", frames, grey=90)
    trainer = train_here(tiny_flags(records, tmp_path / "run", steps=10))
    grey = np.full((2, 24, 32, 3), 90, np.uint8)
    assert np.abs(reconstruct(trainer, grey).astype(int) - 90).max() <= 3
    said = "the film has a single frame" if frames == 1 else "there is one picture to learn"
    assert said in capsys.readouterr().err


class Narrow(Trainer):
    """A trainer whose steps fail with the error that the class has."""

    error: Exception

    def fit(self, *_: Any, **__: Any) -> None:
        raise self.error


@pytest.mark.parametrize("error", [MemoryError(), tf.errors.ResourceExhaustedError(
    None, None, "OOM when allocating tensor")])  # fmt: skip
def test_batch_that_does_not_fit_is_named(
    error: Exception, small_records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "Trainer", Narrow)
    monkeypatch.setattr(Narrow, "error", error, raising=False)
    flags = tiny_flags(small_records, tmp_path / "run", batch_size=24)
    with pytest.raises(UsageError, match=r"^out of memory: --batch_size=24 does not fit; give a s"):
        train_here(flags)


@pytest.mark.parametrize(
    "number", [errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.EIO]
)
def test_full_disk_is_not_full_memory(number: int, small_records: Path, tmp_path: Path) -> None:
    full = tf.errors.ResourceExhaustedError(None, None, f"x.index; {os.strerror(number)}")
    config = tiny_run(tiny_flags(small_records, tmp_path / "run"))
    assert training._explained(full, config, []) is None
