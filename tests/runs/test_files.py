"""The run's own files in its folder; starting over loses no others."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bladerunner_ae.errors import InputError, UsageError
from bladerunner_ae.runs import files as run_files
from bladerunner_ae.runs.files import is_run_file, refuse_to_delete, set_aside, settle, settling
from tests.helpers.commands import ROOT, Commands, Result
from tests.helpers.tiny_training import arguments, tiny_flags
from tfrecords import storage

FOREIGN = ("dream.mp4", "notes.txt", "samples/mine.png", "checkpoints/step-2.keep",
           "data/film.json", "export/autoencoder/1/notes.txt", "old/config.json")  # fmt: skip
# What a new run has written, of which only some has an earlier one's name. A program of its own,
# without this module, which imports TensorFlow.
NEW_RUN = """
from pathlib import Path
def new_run(run):
    (run / "config.json").write_text("new")
    for name in ("samples/step-0000009.png", "log.txt", "checkpoints/checkpoint"):
        (run / name).parent.mkdir(exist_ok=True)
        (run / name).write_text("new")
"""
DIES = """
import os, sys
from bladerunner_ae.runs.files import set_aside, settle
left = [int(sys.argv[2])]
def dying(call):
    def step(*arguments, **keywords):
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), 9)
        return call(*arguments, **keywords)
    return step
os.rename, os.replace = dying(os.rename), dying(os.replace)
os.unlink, os.rmdir = dying(os.unlink), dying(os.rmdir)
run = Path(sys.argv[1])
set_aside(run)
new_run(run)
settle(run)
"""


@pytest.fixture
def run(trained_run: tuple[Path, Result], tmp_path: Path) -> Path:
    """A trained run with a person's files between its own."""
    folder = Path(shutil.copytree(trained_run[0], tmp_path / "run"))
    for name in FOREIGN:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("mine")
    return folder


def contents(run: Path) -> dict[str, bytes]:
    return {name: (run / name).read_bytes() for name in storage.files_below(run)}


def foreign(run: Path) -> list[str]:
    return [name for name in FOREIGN if (run / name).read_text() == "mine"]


def new_run(run: Path) -> None:
    """Leave what a new run has written."""
    names: dict[str, Any] = {}
    exec(NEW_RUN, names)
    names["new_run"](run)


def test_all_that_a_run_writes_is_known_by_its_name(trained_run: tuple[Path, Result]) -> None:
    written = storage.files_below(trained_run[0])
    assert [name for name in written if not is_run_file(name)] == []
    assert {"config.json", "report.html", "checkpoints/step-4.index"} <= set(written)


@pytest.mark.parametrize(
    ("name", "ours"),
    [("checkpoints/checkpoint.tmp4f9d", True),
     ("checkpoints/step-12_temp/part-00000-of-00001.data-00000-of-00001.tempstate123", True),
     ("samples/.step-0000001.png.partial", True),
     ("export/decoder/.partial-2/saved_model.pb", True),
     ("tensorboard/plugins/profile/1/a.pb", True),
     ("samples/step-1.jpg", False),
     ("film.mp4", False),
     ("data/config.json", False),
     ("export/film/1/saved_model.pb", False),
     (".notes.txt.partial", False),
     ("config.json~", False)],
)  # fmt: skip
def test_names(name: str, ours: bool) -> None:
    assert is_run_file(name) is ours


def test_what_is_set_aside_comes_back(run: Path) -> None:
    before = contents(run)
    set_aside(run)
    assert foreign(run) == [*FOREIGN]
    left = [name for name in storage.files_below(run) if not name.startswith(".replaced/")]
    assert sorted(left) == sorted([*FOREIGN, "config.json", "flags.txt"])
    assert not (run / "tensorboard").exists(), "emptied folders are removed"
    new_run(run)
    assert settle(run)
    assert contents(run) == before


def test_a_new_run_with_a_checkpoint_counts(run: Path) -> None:
    set_aside(run)
    new_run(run)
    (run / "checkpoints/step-9.index").write_bytes(run_files._INDEX_END)
    with settling(run):
        pass
    assert foreign(run) == [*FOREIGN]
    assert (run / "config.json").read_text() == "new" and not (run / "export/encoder").exists()
    assert not list(run.glob(".replaced*"))
    assert not settle(run)


@pytest.mark.parametrize("calls", [0, 3, 30, 60, 80, 100, 110])
def test_a_kill_at_any_moment_of_it_loses_nothing(run: Path, calls: int) -> None:
    """The process dies at a call that renames or removes; the next start puts the old run back."""
    before = contents(run)
    done = subprocess.run(
        [sys.executable, "-c", NEW_RUN + DIES, str(run), str(calls)], cwd=ROOT, check=False
    )
    assert done.returncode == -signal.SIGKILL
    settle(run)
    assert contents(run) == before


def test_links_inside_a_run_are_not_followed(run: Path, tmp_path: Path) -> None:
    before = contents(run)
    (run / "checkpoints").rename(tmp_path / "elsewhere")
    (run / "checkpoints").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"run/checkpoints: is not a folder but a file or a link"):
        set_aside(run)
    (run / "checkpoints").unlink()
    (tmp_path / "elsewhere").rename(run / "checkpoints")
    settle(run)
    assert contents(run) == before


def test_what_is_read_is_not_deleted(run: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(run / "samples")
    for path in (run / "samples", link, run / "data/../log.txt", run / "export"):
        with pytest.raises(UsageError, match=f"^--film={path}: belongs to the run in {run}, which"):
            refuse_to_delete(run, [("--film", path)])
    kept = [run / "data", run / "notes.txt", run / "flags.txt", run, tmp_path, tmp_path / "none"]
    refuse_to_delete(run, [("--film", path) for path in kept])


@pytest.mark.slow
def test_starting_over(run: Path, small_records: Path, tmp_path: Path, commands: Commands) -> None:
    """A run that fails before its first checkpoint restores the earlier one; links are followed."""
    before = contents(run)
    (tmp_path / "link").symlink_to("run")
    flags = [*arguments(tiny_flags(small_records, tmp_path / "link", seed=5)), "--overwrite"]
    failed = commands.run("train", *flags, "--learning_rate=1e30")
    assert failed.code == 3 and "the earlier run was put back" in failed.err, failed.err
    assert contents(run) == before
    done = commands.run("train", *flags, "--noreport")
    assert done.code == 0, done.err
    assert foreign(run) == [*FOREIGN] and not list(run.glob(".replaced*"))
    assert not (run / "report.html").exists()
    assert os.readlink(tmp_path / "link") == "run"
