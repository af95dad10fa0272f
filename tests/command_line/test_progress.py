"""Progress: plain lines, or a bar on a terminal."""

import fcntl
import io
import os
import pty
import struct
import sys
import termios
import time

import pytest

from bladerunner_ae.command_line import progress as progress_module
from bladerunner_ae.command_line.progress import Progress


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
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
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
    assert all(part in text for part in ("convert: 100%", "10/10", "loss 0.5"))
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
