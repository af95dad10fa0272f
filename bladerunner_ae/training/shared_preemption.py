"""SIGTERM and Ctrl-C where several processes train one run: all of them stop at the same step."""

import contextlib
import signal
import sys
from collections.abc import Iterator

import tensorflow as tf

from bladerunner_ae.training.stopping import Preemption


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
