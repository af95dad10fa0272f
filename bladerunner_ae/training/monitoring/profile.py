"""`--profile_steps=a,b`: what processors did in these steps, for TensorBoard's profile page."""

import sys
from typing import Any

import keras
import tensorflow as tf

from bladerunner_ae.training.logs import RunLog
from bladerunner_ae.training.monitoring.event_files import FOLDER
from tfrecords import storage

_DONE = "profiled_steps.txt"


class Profile(keras.callbacks.Callback):
    """Takes one profile of the steps (first, last), counted from 1, over all starts of a run.

    A run that is resumed within the range profiles the rest of it. Where several steps are taken at
    once, the range is widened to whole executions. A profile that has not ended when the log is
    closed is dropped.
    """

    def __init__(self, log: RunLog, steps: tuple[int, int] | None) -> None:
        super().__init__()
        self._log, self._folder, self._steps = log, log.run / FOLDER, steps
        self._running = False
        if steps and f"{steps[0]},{steps[1]}" in self._done():
            self._steps = None
        log.opened.callback(self._drop)

    def on_train_batch_begin(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        following = self._log.step + 1
        if self._steps is None or self._running:
            return
        if self._steps[0] <= following <= self._steps[1]:
            try:
                tf.profiler.experimental.start(str(self._folder))
                self._running = True
            except tf.errors.OpError as error:
                self._steps = None
                print(f"no profile is taken: {error.message}", file=sys.stderr)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        if self._running and self._steps and self._log.step >= self._steps[1]:
            tf.profiler.experimental.stop()
            self._running = False
            lines = [*self._done(), f"{self._steps[0]},{self._steps[1]}"]
            storage.write_text(self._folder / _DONE, "\n".join(lines) + "\n")
            self._steps = None

    def _drop(self) -> None:
        if self._running:
            self._running = False
            tf.profiler.experimental.stop(save=False)

    def _done(self) -> list[str]:
        path = self._folder / _DONE
        return storage.read_text(path, "replace").split() if storage.is_file(path) else []
