"""SIGTERM and Ctrl-C in a training loop: at the end of the step, not in the middle of it.

`command_line/signals.py` is about commands, whose work is undone when they are interrupted; here
it is kept. While a loop runs, this module's handlers take the place of that module's.
"""

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType

import tensorflow as tf

from bladerunner_ae.command_line.signals import LINES, TOGETHER_SECONDS, is_working

# Building the graph of a large network takes longer than a machine that is wanted back may wait.
_NOTHING_TO_KEEP_SECONDS = 5.0
_NOTHING_TO_KEEP = "stopped before a step was done; the same command goes on from there"


class Preempted(SystemExit):
    """SIGTERM: the machine is wanted back. With its checkpoint written the run exits with 0."""

    def __init__(self) -> None:
        super().__init__(0)


class Preemption:
    """Answers SIGTERM and Ctrl-C; use as a context manager round the training loop.

    After `begin`, while steps run and what they leave is noted down, the answer waits until `check`
    is called; before (while TensorFlow builds the graph) and in `at_once` it comes at once. The
    answer is an exception, `Preempted` or `KeyboardInterrupt`.

    A second signal, more than a second after the first, ends the process at once with one line and
    128 plus its number, even in the middle of a long step or of writing the checkpoint. One before
    the first step that TensorFlow, which builds the graph in native code, lets nobody answer for
    five seconds ends it with one line and the usual code: there is nothing to keep yet.

    Args:
        steps_done: asked from another thread; one call may do several steps before `begin`.
    """

    def __init__(self, steps_done: Callable[[], int] = lambda: 0) -> None:
        self._steps_done, self._first_step = steps_done, 0
        self._asked: int | None = None
        self._waits = self._begun = False
        self._noted: list[int] = []
        self._open = contextlib.ExitStack()

    @property
    def came(self) -> bool:
        """Whether a signal came."""
        return self._asked is not None

    def begin(self) -> None:
        """From here on the answer waits for `check`."""
        self._waits = self._begun = True

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """In here, where nothing is lost, the answer comes at once."""
        waited, self._waits = self._waits, False
        try:
            self.check()
            yield
        finally:
            self._waits = waited

    def check(self) -> None:
        """Answers a signal that came meanwhile.

        Raises:
            Preempted: it was SIGTERM.
            KeyboardInterrupt: it was Ctrl-C.
        """
        if self._asked is not None:
            raise Preempted if self._asked == signal.SIGTERM else KeyboardInterrupt

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._asked is None:
            # Of those that came during native code Python calls the lowest number's handler first.
            self._asked = self._noted[0] if self._noted else number
            if not self._waits:
                self.check()

    def __enter__(self) -> "Preemption":
        self._first_step = self._steps_done()
        if threading.current_thread() is threading.main_thread():  # no other may handle signals
            self._listen()
            for number in LINES:
                if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
                    self._open.callback(signal.signal, number, signal.signal(number, self._handle))
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.close()
        if self.came and is_working():
            # All is written and the command is leaving: nothing may change its exit code now.
            for number in LINES:
                signal.signal(number, signal.SIG_IGN)

    def _listen(self) -> None:
        """Has a thread wait for the second signal.

        Python's handlers wait until native code returns, and a step is native code. Python notes
        every signal in a file descriptor at the moment that it comes.
        """
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        self._open.callback(os.close, reading)
        listener = threading.Thread(target=self._watch, args=(reading,), daemon=True)
        listener.start()
        self._open.callback(listener.join)
        self._open.callback(os.close, writing)  # which ends the thread
        self._open.callback(_restore_wakeup, signal.set_wakeup_fd(writing))

    def _advanced(self) -> bool:
        return self._steps_done() != self._first_step

    def _watch(self, reading: int) -> None:
        """Notes every signal; ends the process where a person or a machine waits in vain."""
        first: float | None = None
        while True:
            patience = _NOTHING_TO_KEEP_SECONDS if first and not self._begun else None
            if not select.select([reading], [], [], patience)[0]:
                if self._asked is None and not self._begun and not self._advanced():
                    os.write(2, f"{_NOTHING_TO_KEEP}\n".encode())
                    os._exit(0 if self._noted[0] == signal.SIGTERM else 128 + self._noted[0])
            elif not (byte := os.read(reading, 1)):
                return
            elif (number := byte[0]) in set(LINES):
                self._noted.append(number)
                first = first or time.monotonic()
                # The first one itself is no second one: no time lies between.
                if time.monotonic() - first > TOGETHER_SECONDS:
                    os.write(2, f"{LINES[signal.Signals(number)]}\n".encode())
                    os._exit(128 + number)


def _restore_wakeup(earlier: int) -> None:
    signal.set_wakeup_fd(earlier)


class SharedPreemption(Preemption):
    """Has all workers stop at the same step when one of them is asked to.

    Each step tells every worker whether any was asked before it. The answer is given one step
    later, when that number is there without waiting for it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.begin()  # nobody leaves at once, for the others would wait
        self._heard: list[tf.Tensor] = []
        self._agreed = False

    @property
    def asked(self) -> bool:
        """Whether a signal came to this worker."""
        return self._asked is not None

    @property
    def came(self) -> bool:
        """Whether all workers know that one of them was asked; only then they stop together."""
        return self._agreed

    def hear(self, asked: tf.Tensor) -> None:
        """Notes what a step has told; float32 scalar, above 0 if a worker was asked."""
        self._heard.append(asked)
        if len(self._heard) > 1 and float(self._heard.pop(0)) > 0.0 and not self._agreed:
            self._agreed = True
            if self._asked is None:
                self._asked = signal.SIGTERM
                print("another worker was asked to stop", file=sys.stderr)

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Nothing is answered at once here either."""
        yield

    def check(self) -> None:
        """Answers when all workers know; see `Preemption.check`."""
        if self._agreed:
            super().check()
