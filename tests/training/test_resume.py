"""Killed at any moment, also while it writes a checkpoint, a run ends as if nothing had been."""

from __future__ import annotations

import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bladerunner_ae.training.checkpoints import checkpoint_manager, checkpoint_steps
from tests.helpers.commands import Commands, start
from tests.helpers.tiny_training import arguments, tiny_flags, tiny_trainer, train_here
from tests.helpers.training_checks import check_same_checkpoint

Process = subprocess.Popen[str]


# They spend much of their time with checkpoints.
SHORTER = {
    "steps": 40, "checkpoint_every": 3, "ema": 0.9, "sample_every": 20, "log_every": 5,
}  # fmt: skip
# Checkpoints: as many as are kept, more new ones are never there at once.
MISSED = 3
LONGER = {**SHORTER, "steps": 200, "objective": "vae_gan"}


def still_running(process: Process) -> Iterator[None]:
    """Comes back again and again while a process runs; its end is a failure."""
    while process.poll() is None:
        yield
        time.sleep(0.0005)
    pytest.fail(f"it ended too early: {process.communicate()[1]}")


def after_some_steps(process: Process, run: Path, randomly: random.Random) -> str:
    """Wait until this process has trained, then for anything up to some steps more."""
    before = checkpoint_steps(run)
    for _ in still_running(process):
        if checkpoint_steps(run) not in ([], before):
            break
    delay = randomly.uniform(0.0, 0.5)
    time.sleep(delay)
    return f"{delay:.4f} s after a checkpoint"


def while_writing(process: Process, run: Path, randomly: random.Random) -> str:
    """Wait until a checkpoint is half written, or for three that were so unnoticed."""
    folder = run / "checkpoints"
    before = {path.name for path in folder.glob("step-*")}
    for _ in still_running(process):
        names = {path.name for path in folder.glob("step-*")} - before
        whole = {name.removesuffix(".index") for name in names if name.endswith(".index")}
        if any(name.split(".")[0] not in whole for name in names):
            return "while a checkpoint was written"
        if len(whole) >= MISSED:
            break
    return "just after a checkpoint"


def kill(
    command: list[str], run: Path, when: Callable[[Process, Path, random.Random], str],
    randomly: random.Random,
) -> str:  # fmt: skip
    """Start the command and end it by SIGKILL; return in words when that was."""
    process = start("train", *command)
    try:
        said = when(process, run, randomly)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL, "it had ended before"
    left = sorted(path.name for path in (run / "checkpoints").glob("*"))
    return f"{said}, which left {left}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "moments"),
    [
        pytest.param(SHORTER, (after_some_steps, while_writing), id="shorter"),
        pytest.param(LONGER, (while_writing, after_some_steps) * 4, id="longer"),
    ],
)
def test_run_killed_at_random_ends_with_the_same_weights(
    options: dict[str, Any], moments: tuple[Any, ...], small_records: Path, tmp_path: Path,
    commands: Commands,
) -> None:  # fmt: skip
    seed = random.SystemRandom().randrange(2**32)
    randomly = random.Random(seed)
    run, unbroken = tmp_path / "run", tmp_path / "unbroken"
    command = arguments(tiny_flags(small_records, run, **options))
    killed = [kill(command, run, when, randomly) for when in moments]
    result = commands.run("train", *command)
    story = f"seed {seed}: killed {'; '.join(killed)}"
    assert result.code == 0, f"{result.err}\n{story}"
    assert "resuming from step" in result.err, story
    train_here(tiny_flags(small_records, unbroken, **options))
    last = f"checkpoints/step-{options['steps']}"
    try:
        check_same_checkpoint(run / last, unbroken / last)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{story}") from None
    files = sorted(path.name for path in (run / "checkpoints").glob("*"))
    assert len(files) == 7, f"three checkpoints of two files and their list, not {files}; {story}"


@pytest.mark.parametrize("listed", ["all", "stale", "none", "damaged"])
def test_what_a_kill_leaves_half_done_is_tidied_up(listed: str, tmp_path: Path) -> None:
    """At every moment: while writing, before the list is brought up to date, while deleting."""
    folder = tmp_path / "checkpoints"
    trainer = tiny_trainer("vae", run_eagerly=True)
    manager = checkpoint_manager(trainer, tmp_path)
    for step in (1, 2, 3, 4):
        if step == 4 and listed == "stale":
            shutil.copy(folder / "checkpoint", tmp_path / "earlier")
        manager.save(checkpoint_number=step)
    if listed == "stale":
        shutil.move(tmp_path / "earlier", folder / "checkpoint")
    elif listed == "none":
        (folder / "checkpoint").unlink()
    elif listed == "damaged":
        (folder / "checkpoint").write_bytes(b"\xff\x00 no list")
    for orphan in ("step-1.data-00000-of-00001", "step-5.data-00000-of-00001"):
        shutil.copy(folder / "step-4.data-00000-of-00001", folder / orphan)
    (folder / "step-5_temp").mkdir()
    whole = (folder / "step-4.index").read_bytes()
    for step, size in ((6, 0), (7, 4), (8, len(whole) - 1)):
        data = f"step-{step}.data-00000-of-00001"
        shutil.copy(folder / "step-4.data-00000-of-00001", folder / data)
        (folder / f"step-{step}.index").write_bytes(whole[:size])
    assert checkpoint_steps(tmp_path) == [2, 3, 4]
    manager = checkpoint_manager(trainer, tmp_path)
    for step in (5, 6):
        manager.save(checkpoint_number=step)
    assert checkpoint_steps(tmp_path) == [4, 5, 6]
    assert len(list(folder.iterdir())) == 7, sorted(folder.iterdir())
