"""Temporary folders: one a process, removed at its end, or by the next if it was killed."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

import pytest

from bladerunner_ae.command_line import temporary_files
from tests.helpers.commands import start_python

PROGRAM = """
import os, sys, tempfile
from bladerunner_ae.command_line.temporary_files import use_own_folder
use_own_folder()
use_own_folder()
file = tempfile.NamedTemporaryFile(prefix="__autograph_generated_file", suffix=".py", delete=False)
print(file.name, flush=True)
sys.stdin.readline()
"""


def start(folder: Path) -> tuple[subprocess.Popen[str], Path]:
    environment = {**os.environ, "TMPDIR": str(folder)}
    process = start_python("-c", PROGRAM, env=environment, stdin=subprocess.PIPE)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_the_next_process_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    (tmp_path / f"bladerunner_ae-{os.getuid()}-link").symlink_to(tmp_path)
    (tmp_path / "precious").write_text("mine")
    killed, left = start(tmp_path)
    living, used = start(tmp_path)
    assert left.parent.parent == used.parent.parent == tmp_path and left.parent != used.parent
    killed.kill()
    killed.communicate()
    assert left.exists()
    third, _ = start(tmp_path)
    assert not left.parent.exists() and used.exists(), "a living process keeps its own"
    for process in (living, third):
        process.communicate("end\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [f"bladerunner_ae-{os.getuid()}-link", "precious"]
    )


def test_a_folder_that_cannot_be_made_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(prefix: str) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(tempfile, "mkdtemp", full)
    temporary_files.use_own_folder()
    assert tempfile.tempdir == str(tmp_path)
