"""Progress: plain lines, or a bar on a terminal."""

import fcntl
import io
import os
import pty
import struct
import sys
import termios
import time
from typing import Any

import pytest

from bladerunner_ae.command_line import progress as progress_module
from bladerunner_ae.command_line.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, as its only item."""
    now = [1000.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    return now


@pytest.mark.parametrize(
    ("total", "options", "updates", "lines"),
    [
        (
            400,
            {},
            [(1, 10)] * 20,
            ["100/400 frames (25 %), 10.0/s, 00:30 left, loss 0.5",
             "200/400 frames (50 %), 10.0/s, 00:20 left, loss 0.5",
             "200/400 frames (50 %), 10.0/s, 00:20 left"],
        ),
        # A resumed run counts its own rate, and a first step that compiles is no rate.
        (1000, {"unit": "steps", "done": 900}, [(50, 50)],
         ["950/1000 steps (95 %), 1.0/s, 00:50 left, loss 0.5",
          "950/1000 steps (95 %), 1.0/s, 00:50 left"]),
        (100, {"unit": "steps"}, [(30, 1)] + [(0.5, 1)] * 20,
         ["1/100 steps (1 %), 0.0/s, loss 0.5", "21/100 steps (21 %), 2.0/s, 00:39 left, loss 0.5",
          "21/100 steps (21 %), 2.0/s, 00:39 left"]),
        (None, {}, [(20, 40)], ["40 frames, 2.0/s, loss 0.5", "40 frames, 2.0/s"]),
        (10, {}, [(11, 0)], ["0/10 frames (0 %), 0.0/s, loss 0.5", "0/10 frames (0 %), 0.0/s"]),
    ],
)  # fmt: skip
def test_progress_in_plain_lines(
    clock: list[float], capsys: pytest.CaptureFixture[str], total: int | None,
    options: dict[str, Any], updates: list[tuple[float, int]], lines: list[str],
) -> None:  # fmt: skip
    with Progress("work", total, **options) as progress:
        for seconds, count in updates:
            clock[0] += seconds
            progress.update(count, note="loss 0.5")
    out, err = capsys.readouterr()
    assert (out, err.splitlines()) == ("", [f"work: {line}" for line in lines])


def test_progress_that_breaks_off_claims_no_end(capsys: pytest.CaptureFixture[str]) -> None:
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
