"""Exit codes, one-line errors and help of every command."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

import bladerunner_ae
from tests.helpers.commands import ROOT, run_python, start_python

# A command like ours. --do names what its main does.
COMMAND = '''\
"""Does what it is told.

Examples:
  python command.py --do=nothing
"""
import errno, sys, time
from absl import flags
from bladerunner_ae import errors
from bladerunner_ae.command_line import signals
from bladerunner_ae.command_line.app import run
from tfrecords.record_errors import RecordsError

_DO = flags.DEFINE_string("do", None, "what to do,\\n   exactly", required=True)
_TIMES = flags.DEFINE_integer("times", 3, "how often")
flags.DEFINE_string("output", "", "not given")
flags.DEFINE_multi_string("data", [], "folders")

def wait():
    try:
        print("ready", flush=True)
        time.sleep(30)
    finally:
        print("cleaned up", flush=True)

def stopped():
    print("stopped at step 3", file=sys.stderr)
    raise signals.Interrupted

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
    "stopped": stopped,
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
    (path / "binary.flags").write_bytes(b"\xff\xfe\x00")
    return path


def in_folder(folder: Path) -> dict[str, Any]:
    return {"cwd": folder, "env": {**os.environ, "PYTHONPATH": str(ROOT)}}


def run(folder: Path, *arguments: str) -> tuple[int, str, str]:
    """Return exit code, stdout and stderr."""
    given = arguments if arguments[:1] == ("-c",) else ("command.py", *arguments)
    done = run_python(*given, **in_folder(folder))
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("deed", "code", "stdout", "error"),
    [
        ("nothing", 0, "", ""),
        ("return", 7, "", ""),
        ("print", 0, "result 3\n", ""),
        ("print escapes", 0, "\\x1b[2J, \\u202e, \xfcmlaut\tand a line\n", ""),
        ("usage", 1, "", "--a contradicts --b"),
        ("input", 2, "", "a.mp4: is empty"),
        ("in the way", 2, "", "a: exists"),
        ("output", 3, "", "b.mp4: a frame is missing"),
        ("records", 2, "", "data: no film.json"),
        ("missing", 2, "", "no such film.mp4: No such file or directory"),
        ("full", 3, "", "c.mp4: the disk is full; free some space and run the same command again"),
        ("memory", 3, "", "out of memory; --threads=1 takes less"),
        ("escapes", 2, "", "a\\x1b]0;owned\\x07\\nb.mp4: \\u009b2J"),
    ],
)
def test_what_main_does_decides_the_exit(
    folder: Path, deed: str, code: int, stdout: str, error: str
) -> None:
    assert run(folder, f"--do={deed}") == (code, stdout, error and f"error: {error}\n")


@pytest.mark.parametrize(("deed", "hints"), [("in the way", 1), ("input", 0), ("full", 0)])
def test_a_callers_hint_follows_what_overwriting_fixes(
    folder: Path, monkeypatch: pytest.MonkeyPatch, deed: str, hints: int
) -> None:
    monkeypatch.setenv("BLADERUNNER_AE_OVERWRITE_HINT", "hint: OVERWRITE=1")
    _, _, stderr = run(folder, f"--do={deed}")
    assert stderr.count("hint: OVERWRITE=1\n") == hints
    assert stderr.startswith("error: ")


@pytest.mark.parametrize(("deed", "kind"), [("fault", "KeyError"), ("long fault", "ValueError")])
def test_a_fault_of_ours_is_one_short_line(folder: Path, deed: str, kind: str) -> None:
    code, stdout, stderr = run(folder, f"--do={deed}")
    assert (code, stdout, stderr.count("\n")) == (3, "", 1)
    assert stderr.startswith(f"error: unexpected {kind}: ")
    assert stderr.endswith("(--verbosity=1 shows the traceback)\n")
    assert len(stderr) < 500


@pytest.mark.parametrize("deed", ["input", "fault"])
def test_the_traceback_on_request(folder: Path, deed: str) -> None:
    _, _, stderr = run(folder, f"--do={deed}", "--verbosity=1")
    assert "Traceback (most recent call last)" in stderr
    assert stderr.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--do=nothing", "--time=4"], "Unknown command line flag 'time'"),
        (["--do=nothing", "--times=often"], "--times=often"),
        ([], "--do"),
        (["--do=nothing", "film.mp4"], "unexpected argument 'film.mp4'"),
        (["--flagfile=no such.flags"], "--flagfile=no such.flags: no such file; check the name"),
        (["--flagfile=."], "--flagfile=.: is a folder, not a file; check the name"),
        (["--flagfile=binary.flags"], "--flagfile: holds bytes that are no text"),
        (["--do=nothing", "--output="], "--output= is empty; give a path"),
        (["--do=nothing", "--data=a", "--data="], "--data= is empty; give a path"),
        (["--do=nothing", ""], "an argument is empty; give a path"),
        (["--do=nothing", "--output=memory://a/b"],
         "--output=memory://a/b: would be gone when the command ends; give a local folder or a "),
    ],
)  # fmt: skip
def test_wrong_usage_is_one_line(folder: Path, arguments: list[str], words: str) -> None:
    code, stdout, stderr = run(folder, *arguments)
    assert (code, stdout, stderr.count("\n")) == (1, "", 1)
    assert stderr.startswith("error: ") and words in stderr and "--help" in stderr


def test_later_flags_win_over_the_flagfile(folder: Path) -> None:
    (folder / "my.flags").write_text("# a comment\n--do=print\n--times=5\n", encoding="utf-8")
    assert run(folder, "--flagfile=my.flags")[1] == "result 5\n"
    assert run(folder, "--flagfile=my.flags", "--times=6")[1] == "result 6\n"


@pytest.mark.parametrize("flag", ["-h", "-help", "--help", "--helpshort", "--helpfull"])
def test_help(folder: Path, flag: str) -> None:
    code, stdout, stderr = run(folder, "--times=no number", flag)
    assert (code, stderr) == (0, "")
    assert stdout.startswith("Does what it is told.\n\nExamples:\n  python command.py")
    assert "Flags of command.py:\n  --data\n" in stdout
    assert "\n  --do\n      what to do, exactly\n  --output\n" in stdout
    assert "how often (default: 3)" in stdout
    assert "--flagfile=FILE" in stdout and "130 Ctrl-C, 143 SIGTERM.\nTraining that" in stdout


def test_help_of_an_installed_command_shows_its_flags(folder: Path) -> None:
    program = "import sys; sys.argv[0] = 'bin/bladerunner-command'; import command; command.cli()"
    code, stdout, _ = run(folder, "-c", program, "--help")
    assert code == 0 and stdout.startswith("Does what it is told.")
    assert "Flags of bladerunner-command:\n  --data\n" in stdout


def test_version_names_what_decides_the_results(folder: Path) -> None:
    code, stdout, _ = run(folder, "--version")
    assert code == 0 and stdout.startswith(f"bladerunner_ae {bladerunner_ae.__version__}, ")
    for name in ("tensorflow", "keras", "moviepy", "av", "imageio-ffmpeg"):
        assert f"{name} " in stdout.replace("-cpu", "")


def test_an_interrupt_that_was_reported_is_not_reported_again(folder: Path) -> None:
    assert run(folder, "--do=stopped") == (130, "", "stopped at step 3\n")


def test_interrupt(folder: Path) -> None:
    line = "\ninterrupted; the same command resumes or starts over cleanly\n"
    assert run(folder, "--do=interrupt") == (130, "", line)


@pytest.mark.parametrize(("number", "word"), [("SIGINT", "interrupted"), ("SIGTERM", "stopped")])
def test_signals_leave_time_to_clean_up(folder: Path, number: str, word: str) -> None:
    process = start_python("command.py", "--do=wait", **in_folder(folder))
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    process.send_signal(signal.Signals[number])
    stdout, stderr = process.communicate(timeout=10)
    assert (process.returncode, stdout) == (128 + signal.Signals[number], "cleaned up\n")
    assert stderr.strip() == f"{word}; the same command resumes or starts over cleanly"
