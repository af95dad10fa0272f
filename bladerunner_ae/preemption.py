"""SIGTERM and Ctrl-C in a training loop: at the end of the step, not in the middle of it."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, NoReturn

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Preempted(SystemExit):
    """SIGTERM: the machine is wanted back. With its checkpoint written the run exits with 0."""

    def __init__(self) -> None:
        super().__init__(0)


class Preemption:
    """Answers the first SIGTERM or Ctrl-C; use as a context manager round the training loop.

    After `begin`, while steps run and what they leave is noted down, the answer waits until `check`
    is called; before (while TensorFlow builds the graph) and in `at_once` it comes at once. The
    answer is an exception, `Preempted` or `KeyboardInterrupt`. A second signal is answered as if
    this class did not exist.
    """

    def __init__(self) -> None:
        self._asked: int | None = None
        self._waits = False
        self._earlier: dict[int, Any] = {}

    def begin(self) -> None:
        """From here on the answer waits for `check`."""
        self._waits = True

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
            self._answer(self._asked)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        # Whatever comes next meets the handlers that were there before.
        self._restore()
        self._asked = number
        if not self._waits:
            self._answer(number)

    def _answer(self, number: int) -> NoReturn:
        raise Preempted if number == signal.SIGTERM else KeyboardInterrupt

    def _restore(self) -> None:
        for number, handler in self._earlier.items():
            signal.signal(number, handler)
        self._earlier = {}

    def __enter__(self) -> "Preemption":
        if threading.current_thread() is threading.main_thread():  # no other may handle signals
            for number in _SIGNALS:
                if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
                    self._earlier[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exception: object) -> None:
        self._restore()
