"""The import of TensorFlow in a command: quiet, unless something matters, and interruptible."""

import os
import signal
import subprocess
from pathlib import Path

import pytest

from bladerunner_ae.command_line.tensorflow_import import set_up_tensorflow
from tests.helpers.commands import environment, run_python, start_python


def test_the_log_level_that_the_user_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    set_up_tensorflow()
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "3"
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    set_up_tensorflow()
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0"


IMPORTS = """
import os, sys
from bladerunner_ae.command_line.tensorflow_import import slow_imports
sys.path.insert(0, {folder!r})
os.write(2, b"before\\n")
with slow_imports():
    import tensorflow
print("after", tensorflow.what, file=sys.stderr)
"""
CHATTER = """
import os, sys
os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called are written\\n")
os.write(2, b"I0000 00:00:1795416278.688620   15379 port.cc:153] oneDNN operations are on.\\n")
os.write(2, b"E0000 00:00:1758131045.203198 37 dnn.cc:8579] Unable to register cuDNN factory\\n")
os.write(2, b"E0000 00:00:1758131045.203198 37 core.cc:12] the disk is on fire\\n")
print("of Python's own", file=sys.stderr)
what = "done"
{more}
"""


def import_another_tensorflow(folder: Path, more: str = "") -> subprocess.CompletedProcess[str]:
    (folder / "tensorflow.py").write_text(CHATTER.format(more=more))
    return run_python("-c", IMPORTS.format(folder=str(folder)), env=environment())


def test_an_import_may_say_what_matters(tmp_path: Path) -> None:
    done = import_another_tensorflow(tmp_path)
    assert done.stderr.splitlines() == [
        "before", "E0000 00:00:1758131045.203198 37 core.cc:12] the disk is on fire",
        "of Python's own", "after done",
    ]  # fmt: skip


def test_an_import_that_fails_says_why(tmp_path: Path) -> None:
    done = import_another_tensorflow(tmp_path, "raise ImportError('no such library')")
    assert done.returncode == 1
    assert "I0000" not in done.stderr and "the disk is on fire" in done.stderr
    assert done.stderr.endswith("ImportError: no such library\n")


def test_tensorflow_itself_is_silent_where_onednn_is_on(tmp_path: Path) -> None:
    program = IMPORTS.format(folder=str(tmp_path)).replace("tensorflow.what", "''")
    done = run_python("-c", program, env=environment() | {"TF_ENABLE_ONEDNN_OPTS": "1"})
    assert done.stderr.splitlines() == ["before", "after "]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_import_with_its_line(tmp_path: Path, number: signal.Signals) -> None:
    """An import that would swallow an exception, while a command works."""
    (tmp_path / "tensorflow.py").write_text(
        "import time\nprint('importing', flush=True)\n"
        "try: time.sleep(60)\nexcept BaseException: pass\n"
    )
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from bladerunner_ae.command_line import signals, tensorflow_import\n"
        "with signals.working(), tensorflow_import.slow_imports(): import tensorflow"
    )
    process = start_python("-c", code, env=environment())
    assert process.stdout is not None and process.stdout.readline() == "importing\n"
    process.send_signal(number)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert stderr.strip().endswith("; the same command resumes or starts over cleanly")
