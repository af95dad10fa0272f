"""Signals at any moment of a command, also while it is imported; output without a reader."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from bladerunner_ae.command_line import signals
from tests.helpers.commands import ROOT, run_python, start_python

SAID = {
    signal.SIGINT: "interrupted; the same command resumes or starts over cleanly",
    signal.SIGTERM: "stopped; the same command resumes or starts over cleanly",
}
COMMANDS = {
    "make_tfrecords": ["tools/make_tfrecords.py", "--film=nowhere.mp4", "--output_dir=nowhere"],
    "inspect_records": ["tools/inspect_records.py", "nowhere"],
    "reassemble_film": ["tools/reassemble_film.py", "--film=no", "--model=no", "--output=no.mp4"],
    "make_film": ["tools/make_film.py", "--film=nowhere.mp4"],
    "train": ["-m", "bladerunner_ae.train", "--data=nowhere", "--model_dir=nowhere"],
    "evaluate": ["-m", "bladerunner_ae.evaluate", "--data=nowhere", "--model=nowhere"],
    "export": ["-m", "bladerunner_ae.export", "--model_dir=nowhere"],
    "a console script": ["-c"],  # see `_start`
}
# As pip writes them.
SCRIPT = "import sys\nfrom tools.make_tfrecords import cli\nsys.exit(cli())\n"


def _start(name: str, folder: Path) -> subprocess.Popen[str]:
    arguments = COMMANDS[name]
    if arguments == ["-c"]:
        script = folder / "bladerunner-make-tfrecords"
        script.write_text(SCRIPT)
        arguments = [str(script), *COMMANDS["make_tfrecords"][1:]]
    return start_python(*arguments, env={**os.environ, "PYTHONPATH": str(ROOT)})


def _wait_for_handlers(process: subprocess.Popen[str]) -> None:
    """Wait until SIGTERM is caught: Python's own start is not ours."""
    status = Path(f"/proc/{process.pid}/status")
    if not status.exists():
        time.sleep(0.3)
        return
    while process.poll() is None:
        (caught,) = (line for line in status.read_text().splitlines() if line[:6] == "SigCgt")
        if int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.002)


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("delay", [0.0, pytest.param(0.1, marks=pytest.mark.slow), 0.4])
def test_signals_while_importing(name: str, delay: float, tmp_path: Path) -> None:
    for number, said in SAID.items():
        process = _start(name, tmp_path)
        _wait_for_handlers(process)
        time.sleep(delay)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=60)
        assert "Traceback" not in stderr and "KeyboardInterrupt" not in stderr, stderr
        if delay == 0.0 or process.returncode == 128 + number:
            *before, last = stderr.strip().splitlines()
            assert last == said and process.returncode == 128 + number
            # Later than at once it may have said already that its input is not there.
            assert not any(before) or (delay and before[0][:7] == "error: "), stderr
        else:  # it was quicker: it has found that its input is not there, and may be ending
            assert process.returncode in (1, 2, -number) and stderr.startswith("error: "), stderr


def test_a_library_handles_no_signals() -> None:
    code = (
        "import signal, tools.make_tfrecords, bladerunner_ae.train\n"
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler\n"
        "assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL\n"
    )
    assert run_python("-c", code).returncode == 0


def test_ignored_signals_stay_ignored() -> None:
    before = {number: signal.getsignal(number) for number in SAID}
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with signals.working():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            with pytest.raises(signals.Terminated):
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(1)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize("number", SAID)
def test_only_later_signals_are_a_second_request(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    times = iter((10.0, 10.9, 11.1))
    monkeypatch.setattr(signals.time, "monotonic", lambda: next(times))
    request = signals.StopRequest()
    assert request.number is None
    assert [request.repeats(each) for each in (number, 15, 2)] == [False, False, True]
    assert request.number == number


def make_tfrecords(flag: str, unbuffered: str, **options: Any) -> tuple[int, str]:
    """Return the exit code and stderr."""
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    done = run_python("tools/make_tfrecords.py", flag, env=environment, **options)
    return done.returncode, done.stderr


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_output_without_a_reader_ends_the_command(flag: str, unbuffered: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    assert make_tfrecords(flag, unbuffered, stdout=writing) == (141, "")
    os.close(writing)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_output_that_cannot_be_written_is_one_line(unbuffered: str) -> None:
    with open("/dev/full", "wb") as full:
        code, stderr = make_tfrecords("--help", unbuffered, stdout=full)
    assert code == 3 and stderr.count("\n") == 1
    assert stderr.startswith("error: stdout: the disk is full; free some space")


def test_no_output_at_all() -> None:
    done = subprocess.run(
        ["sh", "-c", f"exec '{sys.executable}' tools/make_tfrecords.py --version >&-"],
        cwd=ROOT, stderr=subprocess.PIPE, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
