"""`--profile_steps=a,b`: what processors did in these steps, for TensorBoard's profile page."""

import sys

import tensorflow as tf

from bladerunner_ae.training.monitoring.event_files import FOLDER
from tfrecords import storage
from tfrecords.storage import Location

_DONE = "profiled_steps.txt"


class Profile:
    """Takes one profile of a range of steps, over all starts of a run.

    A run that goes on from within the range takes the rest of it. Where several steps are taken in
    one go, whole goes are taken.

    Args:
        run: run folder.
        steps: first and last step, counted from 1; None: takes no profile.
    """

    def __init__(self, run: Location, steps: tuple[int, int] | None) -> None:
        self._folder, self._steps, self._running = run / FOLDER, steps, False
        if steps and f"{steps[0]},{steps[1]}" in self._done():
            self._steps = None

    def before_step(self, done: int) -> None:
        """Starts if the next step is in the range.

        Args:
            done: steps taken so far.
        """
        if self._steps is None or self._running or not self._steps[0] <= done + 1 <= self._steps[1]:
            return
        try:
            tf.profiler.experimental.start(str(self._folder))
            self._running = True
        except tf.errors.OpError as error:
            self._steps = None
            print(f"no profile is taken: {error.message}", file=sys.stderr)

    def after_step(self, done: int) -> None:
        """Stops and writes the profile after the last step of the range."""
        if self._running and self._steps and done >= self._steps[1]:
            tf.profiler.experimental.stop()
            self._running = False
            lines = [*self._done(), f"{self._steps[0]},{self._steps[1]}"]
            storage.write_text(self._folder / _DONE, "\n".join(lines) + "\n")
            self._steps = None

    def close(self) -> None:
        """Drops a profile that has not come to its end; may be called again."""
        if self._running:
            self._running = False
            tf.profiler.experimental.stop(save=False)

    def _done(self) -> list[str]:
        path = self._folder / _DONE
        return storage.read_text(path, "replace").split() if storage.is_file(path) else []
