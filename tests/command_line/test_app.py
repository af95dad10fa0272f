"""Exit codes, one-line errors and help of every command; progress on a terminal and elsewhere."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

import bladerunner_ae
from bladerunner_ae.command_line import progress as progress_module
from bladerunner_ae.command_line.progress import Progress
from bladerunner_ae.command_line.tensorflow_import import set_up_tensorflow

ROOT = Path(__file__).resolve().parent.parent.parent

# A command like ours. --do names what its main does.
COMMAND = '''\
"""Does what it is told.

Examples:
  python command.py --do=nothing
"""
import errno, sys, time
from absl import flags
from bladerunner_ae import errors
from bladerunner_ae.command_line.app import run
from tfrecords.errors import RecordsError

_DO = flags.DEFINE_string("do", None, "what to do,\\n   exactly", required=True)
_TIMES = flags.DEFINE_integer("times", 3, "how often")

def wait():
    try:
        print("ready", flush=True)
        time.sleep(30)
    finally:
        print("tidied up", flush=True)

DEEDS = {
    "nothing": lambda: None,
    "return": lambda: 7,
    "print": lambda: print("result", _TIMES.value),
    "usage": lambda: (_ for _ in ()).throw(errors.UsageError("--a contradicts --b")),
    "input": lambda: (_ for _ in ()).throw(errors.InputError("a.mp4: is empty")),
    "output": lambda: (_ for _ in ()).throw(errors.OutputError("b.mp4: a frame is missing")),
    "records": lambda: (_ for _ in ()).throw(RecordsError("data: no film.json")),
    "missing": lambda: open("no such film.mp4"),
    "full": lambda: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left", "c.mp4")),
    "memory": lambda: (_ for _ in ()).throw(MemoryError("Unable to allocate 3 GiB")),
    "escapes": lambda: (_ for _ in ()).throw(
        errors.InputError("a\\x1b]0;owned\\x07\\nb.mp4: \\x9b2J")),
    "print escapes": lambda: print("\\x1b[2J, \\u202e, \\xfcmlaut\\tand a line"),
    "in the way": lambda: (_ for _ in ()).throw(errors.ReplaceableError("a: exists")),
    "fault": lambda: {}["a key\\nof two lines"],
    "long fault": lambda: (_ for _ in ()).throw(ValueError("x" * 1000 + "\\nsecond line")),
    "interrupt": lambda: (_ for _ in ()).throw(KeyboardInterrupt()),
    "wait": wait,
}

def main():
    return DEEDS[_DO.value]()

def cli():
    run(main, less_memory="--threads=1 takes less")

if __name__ == "__main__":
    cli()
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("command")
    (path / "command.py").write_text(COMMAND, encoding="utf-8")
    return path


def _start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _run(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Returns exit code, stdout and stderr."""
    process = _start(folder, *(arguments if arguments[0] == "-c" else ("command.py", *arguments)))
    stdout, stderr = process.communicate(timeout=30)
    return process.returncode, stdout, stderr


@pytest.mark.parametrize(
    ("deed", "expected"),
    [
        ("nothing", (0, "", "")),
        ("return", (7, "", "")),
        ("print", (0, "result 3\n", "")),
        ("usage", (1, "", "error: --a contradicts --b\n")),
        ("input", (2, "", "error: a.mp4: is empty\n")),
        ("output", (3, "", "error: b.mp4: a frame is missing\n")),
        ("records", (2, "", "error: data: no film.json\n")),
        ("missing", (2, "", "error: no such film.mp4: No such file or directory\n")),
        (
            "full",
            (
                3,
                "",
                "error: c.mp4: the disk is full; free some space and run the same command again\n",
            ),
        ),
        ("memory", (3, "", "error: out of memory; --threads=1 takes less\n")),
        ("escapes", (2, "", "error: a\\x1b]0;owned\\x07\\nb.mp4: \\u009b2J\n")),
        ("print escapes", (0, "\\x1b[2J, \\u202e, \xfcmlaut\tand a line\n", "")),
        ("in the way", (2, "", "error: a: exists\n")),
    ],
)
def test_what_main_does_decides_the_exit(
    folder: Path, deed: str, expected: tuple[int, str, str]
) -> None:
    assert _run(folder, f"--do={deed}") == expected


@pytest.mark.parametrize(("deed", "hints"), [("in the way", 1), ("input", 0), ("full", 0)])
def test_a_caller_s_hint_comes_behind_what_overwriting_cures(
    folder: Path, monkeypatch: pytest.MonkeyPatch, deed: str, hints: int
) -> None:
    monkeypatch.setenv("BLADERUNNER_AE_OVERWRITE_HINT", "hint: OVERWRITE=1")
    _, _, stderr = _run(folder, f"--do={deed}")
    assert stderr.count("hint: OVERWRITE=1\n") == hints
    assert stderr.startswith("error: ")


@pytest.mark.parametrize(("deed", "kind"), [("fault", "KeyError"), ("long fault", "ValueError")])
def test_a_fault_of_ours_is_one_short_line(folder: Path, deed: str, kind: str) -> None:
    code, stdout, stderr = _run(folder, f"--do={deed}")
    assert (code, stdout) == (3, "")
    assert stderr.startswith(f"error: unexpected {kind}: ")
    assert stderr.endswith("(--verbosity=1 shows the traceback)\n")
    assert stderr.count("\n") == 1
    assert len(stderr) < 500


@pytest.mark.parametrize("deed", ["input", "fault"])
def test_the_traceback_on_request(folder: Path, deed: str) -> None:
    _, _, stderr = _run(folder, f"--do={deed}", "--verbosity=1")
    assert "Traceback (most recent call last)" in stderr
    assert stderr.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--do=nothing", "--time=4"], "Unknown command line flag 'time'"),
        (["--do=nothing", "--times=often"], "--times=often"),
        ([], "--do"),
        (["--do=nothing", "film.mp4"], "unexpected argument 'film.mp4'"),
        (["--flagfile=no such file.flags"], "no such file.flags"),
    ],
)
def test_wrong_usage_is_one_line(folder: Path, arguments: list[str], words: str) -> None:
    process = _start(folder, "command.py", *arguments)
    stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout) == (1, "")
    assert stderr.startswith("error: ")
    assert words in stderr
    assert "--help" in stderr
    assert stderr.count("\n") == 1


def test_later_flags_win_over_the_flagfile(folder: Path) -> None:
    (folder / "my.flags").write_text("# a comment\n--do=print\n--times=5\n", encoding="utf-8")
    assert _run(folder, "--flagfile=my.flags")[1] == "result 5\n"
    assert _run(folder, "--flagfile=my.flags", "--times=6")[1] == "result 6\n"


@pytest.mark.parametrize("flag", ["-h", "-help", "--help", "--helpshort", "--helpfull"])
def test_help(folder: Path, flag: str) -> None:
    code, stdout, stderr = _run(folder, "--times=no number", flag)
    assert (code, stderr) == (0, "")
    assert stdout.startswith("Does what it is told.\n\nExamples:\n  python command.py")
    assert "Flags of command.py:\n  --do\n      what to do, exactly\n  --times\n" in stdout
    assert "how often (default: 3)" in stdout
    assert "--flagfile=FILE" in stdout and "143 SIGTERM" in stdout


def test_help_of_an_installed_command_shows_its_flags(folder: Path) -> None:
    program = "import sys; sys.argv[0] = 'bin/bladerunner-command'; import command; command.cli()"
    code, stdout, _ = _run(folder, "-c", program, "--help")
    assert code == 0
    assert stdout.startswith("Does what it is told.")
    assert "Flags of bladerunner-command:\n  --do\n" in stdout


def test_version_names_what_decides_the_results(folder: Path) -> None:
    code, stdout, _ = _run(folder, "--version")
    assert code == 0
    assert stdout.startswith(f"bladerunner_ae {bladerunner_ae.__version__}, ")
    for name in ("tensorflow", "keras", "moviepy", "av", "imageio-ffmpeg"):
        assert f"{name} " in stdout.replace("-cpu", "")


def test_interrupt(folder: Path) -> None:
    code, stdout, stderr = _run(folder, "--do=interrupt")
    assert (code, stdout) == (130, "")
    assert stderr.strip().startswith("interrupted")
    assert "Traceback" not in stderr


@pytest.mark.parametrize(("number", "word"), [("SIGINT", "interrupted"), ("SIGTERM", "stopped")])
def test_signals_leave_time_to_tidy_up(folder: Path, number: str, word: str) -> None:
    process = _start(folder, "command.py", "--do=wait")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.Signals[number])
    stdout, stderr = process.communicate(timeout=10)
    assert process.returncode == 128 + signal.Signals[number]
    assert stdout == "tidied up\n"
    assert stderr.strip() == f"{word}; the same command resumes or starts over cleanly"


def test_native_chatter_of_tensorflow_is_off_before_its_import(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)
    set_up_tensorflow()
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "3"
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    set_up_tensorflow()
    assert os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0", "what the user set stays"


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
    return subprocess.run(
        [sys.executable, "-c", IMPORTS.format(folder=str(folder))],
        cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip


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
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.stderr.splitlines() == ["before", "after "]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """Stands in for time.monotonic."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress_module.time, "monotonic", clock)
    return clock


def test_progress_in_plain_lines(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("convert", 400) as progress:
        for _ in range(20):
            clock.now += 1
            progress.update(10, note="loss 0.5")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [
        "convert: 100/400 frames (25 %), 10.0/s, 00:30 left, loss 0.5",
        "convert: 200/400 frames (50 %), 10.0/s, 00:20 left, loss 0.5",
        "convert: 200/400 frames (50 %), 10.0/s, 00:20 left",
    ]


def test_progress_of_a_resumed_run_counts_its_own_rate(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress("train", 1000, unit="steps", done=900) as progress:
        clock.now += 50
        progress.update(50)
    assert capsys.readouterr().err.splitlines()[0] == (
        "train: 950/1000 steps (95 %), 1.0/s, 00:50 left"
    )


def test_a_first_step_that_compiles_is_no_rate(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress("train", 100, unit="steps") as progress:
        clock.now += 30
        progress.update(1)
        for _ in range(20):
            clock.now += 0.5
            progress.update(1)
    assert capsys.readouterr().err.splitlines()[:2] == [
        "train: 1/100 steps (1 %), 0.0/s",
        "train: 21/100 steps (21 %), 2.0/s, 00:39 left",
    ]


def test_progress_of_unknown_length(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("convert", None) as progress:
        clock.now += 20
        progress.update(40)
    assert capsys.readouterr().err.splitlines()[-1] == "convert: 40 frames, 2.0/s"


def test_progress_that_has_not_begun_guesses_nothing(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress("convert", 10) as progress:
        clock.now += 11
        progress.update(0)
    assert capsys.readouterr().err.splitlines()[-1] == "convert: 0/10 frames (0 %), 0.0/s"


def test_progress_that_breaks_off_claims_no_end(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match="broken"), Progress("convert", 10) as progress:
        progress.update(3)
        raise ValueError("broken")
    assert capsys.readouterr().err == ""


def test_progress_is_a_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Progress("convert", 10) as progress:
        time.sleep(0.15)  # tqdm draws at most ten times a second
        progress.update(10, note="loss 0.5")
    text = terminal.getvalue()
    assert "convert: 100%" in text
    assert "10/10" in text
    assert "loss 0.5" in text
    assert text.endswith("\n")


@pytest.mark.parametrize(("columns", "figures"), [(50, 0), (80, 1), (100, 2), (200, 3), (0, 3)])
def test_a_bar_cuts_no_figure_in_two(
    monkeypatch: pytest.MonkeyPatch, columns: int, figures: int
) -> None:
    seen, terminal = pty.openpty()
    fcntl.ioctl(seen, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    note = ["loss 0.1234", "bands 0.123456", "detail 0.1234567"]
    with os.fdopen(seen, "rb"), os.fdopen(terminal, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        with Progress("train", 500, "steps") as progress:
            for _ in range(2):
                time.sleep(0.15)
                progress.update(10, note=", ".join(note))
        drawn = b""
        while not drawn.endswith(b"\n"):  # which closing the bar writes
            drawn += os.read(seen, 100_000)
    line = drawn.decode().rstrip().split("\r")[-1]
    assert columns == 0 or len(line) < columns
    assert line.partition("/s")[2].rstrip("]").strip(", ") == ", ".join(note[:figures])
