"""Ctrl-C and SIGTERM: one line and exit code 128 plus the signal's number, at any moment.

While a command's modules are imported a signal ends the process at once: there is nothing to clean
up, and an exception raised there may be lost in native code. While the command works it is an
exception, so that temporary files are removed. Training (`training/stopping.py`) and the server
finish their step or their requests instead. A process that is none of our commands keeps its own
handlers: signals are not the business of a library.
"""

import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType

LINES = {
    signal.SIGINT: "\ninterrupted; the same command resumes or starts over cleanly",
    signal.SIGTERM: "stopped; the same command resumes or starts over cleanly",
}
PARENT = "BLADERUNNER_AE_PARENT"
"""Environment variable: descriptor of a pipe whose other end only the calling command has open.
When that command is gone, even by SIGKILL, this one is stopped as by SIGTERM."""
TOGETHER_SECONDS = 1.0

_TOOLS = ("bladerunner_ae_tools", "tools")
_working = False
_received: signal.Signals | None = None

Handler = Callable[[int, FrameType | None], None]


class Terminated(SystemExit):
    """SIGTERM came while a command was working."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C came, and the work that it stopped has said so."""


class StopRequest:
    """First signal, `number`, that asked to stop; those within `TOGETHER_SECONDS` are the same.

    Jobs are often signalled twice at once: `timeout` and Slurm signal the process and its group,
    and a terminal's Ctrl-C reaches our parent too, which passes SIGTERM on.
    """

    number: int | None = None

    def repeats(self, number: int) -> bool:
        """Note a signal; return whether it is a second request."""
        now = time.monotonic()
        if self.number is None:
            self.number, self._first = number, now
        return now - self._first > TOGETHER_SECONDS


@contextmanager
def handled_by(handler: Handler) -> Iterator[None]:
    """Have a handler answer both signals inside the block, unless they are ignored, as by nohup."""
    with ExitStack() as stack:
        if threading.current_thread() is threading.main_thread():  # no other may handle signals
            for number in _heeded():
                stack.callback(signal.signal, number, signal.signal(number, handler))
        yield


@contextmanager
def working() -> Iterator[None]:
    """Have signals raise `KeyboardInterrupt` and `Terminated` inside the block.

    Afterwards they end the process at once.
    """
    global _working
    end_process_on_signals()
    _working = True
    try:
        yield
    finally:
        _working = False


@contextmanager
def left_to_native_code() -> Iterator[None]:
    """Let Ctrl-C end a command at once while native code waits, maybe without end.

    Python's handlers wait until that code returns. It may install a handler for SIGTERM of its own,
    which is removed afterwards.
    """
    earlier = {number: signal.getsignal(number) for number in LINES}
    if _working and signal.SIGINT in _heeded():
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        if _working:
            for number, handler in earlier.items():
                signal.signal(number, handler)


def ignore_in_command() -> None:
    """Ignore signals from now on if a command is working: it is leaving, with its exit code."""
    if _working:
        for number in LINES:
            signal.signal(number, signal.SIG_IGN)


def end_process_on_signals() -> None:
    """Have signals end the process at once, except while a command works."""
    for number in _heeded():
        signal.signal(number, _handle)


def end_process(number: int, stderr: int = 2) -> None:
    os.write(stderr, f"{LINES[signal.Signals(number)]}\n".encode())
    os._exit(128 + number)


def received() -> signal.Signals | None:
    """Return the signal that interrupted the work, if one did."""
    return _received


def _heeded() -> list[signal.Signals]:
    return [number for number in LINES if signal.getsignal(number) != signal.SIG_IGN]


def _handle(number: int, frame: FrameType | None) -> None:
    if not _working:
        end_process(number)
    global _received
    _received = signal.Signals(number)
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise Terminated(128 + number)


def start_in_command() -> None:
    """Handle signals, and the end of the calling command, if this process is a command of ours."""
    if not _is_command():
        return
    end_process_on_signals()
    number = os.environ.pop(PARENT, "")  # not for this command's own children
    if number.isdecimal():
        threading.Thread(target=_stop_with_parent, args=(int(number),), daemon=True).start()


def _stop_with_parent(descriptor: int) -> None:
    try:
        while os.read(descriptor, 1):
            pass
    except OSError:  # the descriptor is something else's
        return
    os.kill(os.getpid(), signal.SIGTERM)


def _is_command() -> bool:
    """Whether Python was started as `bladerunner-NAME`, TOOLS/NAME.py or -m bladerunner_ae.NAME."""
    started = sys.argv[0] if sys.argv else ""
    if started == "-m":  # Python is still looking for the module
        return any(re.fullmatch(r"bladerunner_ae\.\w+", text) for text in sys.orig_argv)
    folder, name = os.path.split(os.path.abspath(started))
    top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return name.startswith("bladerunner-") or folder in [os.path.join(top, one) for one in _TOOLS]
