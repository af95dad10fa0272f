"""Ctrl-C and SIGTERM: one line and their exit code, at whatever moment they come.

A command imports this module before all others, which may take seconds to import:

    import bladerunner_ae.command_line.signals  # first: signals are one line from here on

While modules are imported there is nothing to tidy up, and an exception raised there may get lost
in native code or come out as another one; so a signal ends the process at once. While the command
works it is an exception, so that temporary files are removed and checkpoints written on the way
out. Nothing happens where a module is imported by something else than one of our commands, such as
a test: signals are not a library's business.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

LINES = {
    signal.SIGINT: "\ninterrupted; the same command goes on or starts over cleanly",
    signal.SIGTERM: "stopped; the same command goes on or starts over cleanly",
}
_PACKAGES = ("bladerunner_ae", "bladerunner_ae_tools", "tools")
_IMPORTS = ("<frozen importlib._bootstrap>", "<frozen importlib._bootstrap_external>")
PARENT = "BLADERUNNER_AE_PARENT"
"""Environment variable: number of the end of a pipe whose other end only the calling command has.
When that command is gone, even by SIGKILL, this one is asked to stop as by SIGTERM."""

TOGETHER_SECONDS = 1.0
"""Signals that come within this time are one. Whoever ends a job often signals twice at once:
`timeout` and Slurm the process and its group, a terminal's Ctrl-C our parent too, which then passes
SIGTERM on to us."""

stderr = 2  # the file descriptor that says so
_working = False
_came: signal.Signals | None = None


class Terminated(SystemExit):
    """SIGTERM came while a command was working."""


@contextmanager
def working() -> Iterator[None]:
    """Until the block ends, signals are `KeyboardInterrupt` and `Terminated`.

    Outside of it they end the process at once.
    """
    global _working
    _watch()
    _working = True
    try:
        yield
    finally:
        _working = False


def is_working() -> bool:
    """Whether a command of ours is at work."""
    return _working


def signal_that_came() -> signal.Signals | None:
    """The signal that interrupted the work, if one did."""
    return _came


def _watch() -> None:
    """Handles both signals, unless whoever started us had them ignored, as nohup does."""
    for number in LINES:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _handle)


def _handle(number: int, frame: FrameType | None) -> None:
    if not _working or _imports(frame):
        os.write(stderr, f"{LINES[signal.Signals(number)]}\n".encode())
        os._exit(128 + number)
    global _came
    _came = signal.Signals(number)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise Terminated(128 + number)


def _watch_parent() -> None:
    """Ends this command with the one that has called it, if that one has asked for it."""
    number = os.environ.pop(PARENT, "")  # not for this command's own children
    if number.isdecimal():
        threading.Thread(target=_wait_for_end, args=(int(number),), daemon=True).start()


def _wait_for_end(descriptor: int) -> None:
    try:
        while os.read(descriptor, 1):
            pass
    except OSError:  # a number of something else
        return
    os.kill(os.getpid(), signal.SIGTERM)


def _imports(frame: FrameType | None) -> bool:
    """Whether a module is being imported where the signal found us."""
    while frame is not None:
        if frame.f_code.co_filename in _IMPORTS:
            return True
        frame = frame.f_back
    return False


def _is_command() -> bool:
    """Whether this process was started as one of our commands."""
    started = os.path.abspath(getattr(sys.modules.get("__main__"), "__file__", None) or "")
    folder, name = os.path.split(started)
    top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    ours = [os.path.join(top, package) for package in _PACKAGES]
    return name.startswith("bladerunner-") or folder in ours


if _is_command():
    _watch()
    _watch_parent()
