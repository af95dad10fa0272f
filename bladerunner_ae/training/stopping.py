"""SIGTERM and Ctrl-C in a training loop: answered at the end of a step, so that no work is lost."""

import contextlib
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType

import tensorflow as tf

from bladerunner_ae.command_line import signals

# Before the first step TensorFlow builds the graph, which may take longer than a signal may wait.
_NOTHING_TO_KEEP_SECONDS = 5.0
_NOTHING_TO_KEEP = "stopped before a step was done; the same command resumes from there"


class Preempted(SystemExit):
    """SIGTERM came. With its checkpoint written the run exits with 0."""

    def __init__(self) -> None:
        super().__init__(0)


class Preemption:
    """Answers SIGTERM and Ctrl-C around the training loop, by `Preempted` or `Interrupted`.

    After `begin` the answer waits for `check`; before (while TensorFlow builds the graph) and
    inside `at_once` it comes at once.

    A second signal, more than a second after the first, ends the process at once with one line and
    128 plus its number, even during a step or while the checkpoint is written. If native code does
    not return for five seconds after a signal before the first step, the process ends with one line
    and the usual code: there is nothing to keep. `steps_done` is called from another thread; the
    first call of the step may do several steps.
    """

    def __init__(self, steps_done: Callable[[], int] = lambda: 0) -> None:
        self._steps_done, self._first_step = steps_done, 0
        self._asked: int | None = None
        self._waits = self._begun = False
        self._request = signals.StopRequest()
        self._open = contextlib.ExitStack()

    @property
    def came(self) -> bool:
        return self._asked is not None

    def begin(self) -> None:
        """Let the answer wait for `check` from now on."""
        self._waits = self._begun = True

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Answer at once inside the block, where nothing is lost."""
        waited, self._waits = self._waits, False
        try:
            self.check()
            yield
        finally:
            self._waits = waited

    def check(self) -> None:
        """Answer a signal that came meanwhile: raise Preempted or Interrupted; `fit` says so."""
        if self._asked is not None:
            raise Preempted if self._asked == signal.SIGTERM else signals.Interrupted

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._asked is None:
            # Of signals that came during native code Python handles the lowest number first.
            self._asked = self._request.number or number
            if not self._waits:
                self.check()

    def __enter__(self) -> "Preemption":
        self._first_step = self._steps_done()
        if threading.current_thread() is threading.main_thread():  # no other may handle signals
            self._listen()
            self._open.enter_context(signals.handled_by(self._handle))
        return self

    def __exit__(self, *exception: object) -> None:
        self._open.close()
        if self.came:  # everything is written
            signals.ignore_in_command()

    def _listen(self) -> None:
        """Start a thread that waits for a second signal.

        A step is native code, and Python's handlers wait until it returns. The wakeup descriptor
        gets every signal's number at once.
        """
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        self._open.callback(os.close, reading)
        listener = threading.Thread(target=self._watch, args=(reading,), daemon=True)
        listener.start()
        self._open.callback(listener.join)
        self._open.callback(os.close, writing)  # which ends the thread
        self._open.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(writing))

    def _advanced(self) -> bool:
        return self._steps_done() != self._first_step

    def _watch(self, reading: int) -> None:
        """Note every signal; end the process on a second one, or if there is nothing to keep."""
        request = self._request
        while True:
            patience = _NOTHING_TO_KEEP_SECONDS if request.number and not self._begun else None
            if not select.select([reading], [], [], patience)[0]:
                if self._asked is None and not self._begun and not self._advanced():
                    os.write(2, f"{_NOTHING_TO_KEEP}\n".encode())
                    assert request.number is not None
                    os._exit(0 if request.number == signal.SIGTERM else 128 + request.number)
            elif not (byte := os.read(reading, 1)):
                return
            elif byte[0] in set(signals.LINES) and request.repeats(byte[0]):
                signals.end_process(byte[0])


class SharedPreemption(Preemption):
    """Stops all workers at the same step when one of them is asked to.

    Each step tells every worker whether any was asked before it; they answer one step later, when
    that number has arrived without waiting for it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.begin()  # if one left at once, the others would wait
        self._heard: list[tf.Tensor] = []
        self._agreed = False

    @property
    def asked(self) -> bool:
        return self._asked is not None

    @property
    def came(self) -> bool:
        """Whether all workers know that one of them was asked, and so stop together."""
        return self._agreed

    def hear(self, asked: tf.Tensor) -> None:
        """Note a step's float32 scalar, above 0 if a worker was asked."""
        self._heard.append(asked)
        if len(self._heard) > 1 and float(self._heard.pop(0)) > 0.0 and not self._agreed:
            self._agreed = True
            if self._asked is None:
                self._asked = signal.SIGTERM
                print("another worker was asked to stop", file=sys.stderr)

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        yield

    def check(self) -> None:
        if self._agreed:
            super().check()
