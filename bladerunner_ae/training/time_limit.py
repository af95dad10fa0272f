"""Runs of so many minutes: the clock of a run, trial steps, and how many steps fit.

At its start such a run takes some steps for trial, on its own frames, and then puts every variable
back, so that a run of so many minutes is the run of the number of steps that came out, to the bit.
While it trains, its pace is looked at about twenty times: should it end too late, as on a machine
that slows down or another one, or much too early, the number of steps is set again.
"""

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras

from bladerunner_ae.runs.files import TIME_NAME
from bladerunner_ae.training.logs import fetched
from bladerunner_ae.training.trainer import Trainer
from tfrecords import storage
from tfrecords.storage import Location

WARM_STEPS, TIMED_STEPS = 5, 20
"""Trial steps whose time does not count, in which TensorFlow compiles, and those that do."""

_LEAST_TIMED_STEPS = 3
_TRIAL_PART = 0.04  # of the time, once a few steps are timed
# Left free: for samples, measurements and checkpoints, which trial steps have none of, and for a
# pace that varies.
_MARGIN = 0.06
_OWN_MARGIN = 0.02  # of a pace measured in the run, which has all of that
_END_STEPS = 15  # pictures and measurements of the start and of the end take as long as these
_TOO_EARLY = 0.1  # of the time; less than that may be left over
_LOOKS = 20
_WRITE_EVERY_SECONDS = 10.0


class LearningClock:
    """Time that a run has spent on learning, over all its starts, kept in RUN/time.json.

    Args:
        run: folder to keep it in.
        fresh: start at 0, as a run of which no checkpoint is left.
        now: seconds since some moment.
    """

    def __init__(
        self, run: Location, fresh: bool = False, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._path, self._now, self._begun = run / TIME_NAME, now, now()
        self._earlier = 0.0 if fresh else seconds_spent(run)
        self._written_at = self._begun

    @property
    def seconds(self) -> float:
        """Seconds spent until now."""
        return self._earlier + self._now() - self._begun

    def write(self, always: bool = True) -> None:
        """Keep the time on the disk; unless `always`, only if that was some seconds ago."""
        if always or self._now() - self._written_at >= _WRITE_EVERY_SECONDS:
            self._written_at = self._now()
            storage.write_text(
                self._path, json.dumps({"learning_seconds": round(self.seconds, 1)}) + "\n"
            )


def seconds_spent(run: Location) -> float:
    """Return the seconds that a run has spent on learning; 0 if that is not known."""
    path = run / TIME_NAME
    try:
        seconds = float(json.loads(storage.read_text(path))["learning_seconds"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return 0.0
    return seconds if 0.0 <= seconds < 1e9 else 0.0


def steps_in(seconds: float, pace: float, at_once: int = 1) -> int:
    """Return how many steps fit into the time that is left, by the pace of trial steps.

    `pace` is in seconds a step, `at_once` the steps that are taken at once.
    """
    return _whole((seconds * (1.0 - _MARGIN) - 2 * _END_STEPS * pace) / pace, at_once)


def steps_now(
    step: int, steps: int, left: float, pace: float, limit: float, at_once: int = 1
) -> int:
    """Return how many steps a run should have, seen after `step` of `steps`; mostly `steps`.

    Args:
        left: seconds until its time is up.
        pace: seconds a step, measured in the run.
        limit: seconds that it has in all.
        at_once: steps that are taken at once.
    """
    usable = left - _END_STEPS * pace
    fitting = step + _whole(usable / pace, at_once)
    early = usable - (steps - step) * pace
    if fitting >= steps and early <= _TOO_EARLY * limit:
        return steps
    return step + _whole(usable * (1.0 - _OWN_MARGIN) / pace, at_once)


def _whole(steps: float, at_once: int) -> int:
    return max(int(steps) // at_once, 0) * at_once


class Pace:
    """Seconds a step of a run, from the times at which some of its steps were done.

    Args:
        steps: of the run.
        start: step that it starts from; the first few steps, in which TensorFlow compiles, do not
            count.
        known: whether the pace is known already, so that there is no hurry to look.
    """

    def __init__(self, steps: int, start: int, known: bool) -> None:
        self._first = start + WARM_STEPS
        self._between = max((steps - start) // _LOOKS, TIMED_STEPS)
        self._look_at = self._first + (2 * self._between if known else TIMED_STEPS)
        self._seen: list[tuple[int, float]] = []

    def is_due(self, step: int) -> bool:
        """Return whether `note` should be called after this step."""
        return step >= (self._look_at if self._seen else self._first)

    def note(self, step: int, now: float) -> float | None:
        """Note the time of a step; return the seconds a step of the later half, or None at first.

        So a machine that has become slower is soon noticed, and a short hitch is not believed.
        """
        self._seen.append((step, now))
        if len(self._seen) == 1:
            return None
        self._look_at = step + self._between
        before, then = self._seen[(len(self._seen) - 1) // 2]
        return max(now - then, 1e-9) / (step - before)


def trial_pace(trainer: Trainer, batches: Any, left: float, hurries: bool = True) -> float:
    """Take some steps and undo them; return the seconds that one took.

    `hurries`: take fewer where they would need much of the `left` seconds.
    """
    variables = _variables(trainer)
    kept = [variable.numpy() for variable in variables]
    timer = _StepTimer(trainer.steps_per_execution, left, hurries)
    try:
        trainer.fit(
            batches,
            steps_per_epoch=timer.most_steps,
            verbose=0,
            shuffle=False,
            callbacks=[timer],
        )
    finally:
        for variable, value in zip(variables, kept, strict=True):
            variable.assign(value)
    return timer.pace


def _variables(trainer: Trainer) -> list[Any]:
    """Return all that a step changes."""
    players = trainer.networks.players()
    found = [variable for network in players.values() for variable in network.variables]
    for name in trainer.objective.players:
        found += trainer.optimizer_of(name).variables
    if trainer.averages is not None:
        for network in trainer.averages.networks.players().values():
            found += network.variables
    return list({id(variable): variable for variable in found}.values())


class _StepTimer(keras.callbacks.Callback):
    """Times steps after the first ones; `hurries`: ends early where a step takes much of `left`."""

    def __init__(self, at_once: int, left: float, hurries: bool) -> None:
        super().__init__()
        self._at_once, self._left, self._hurries = at_once, left, hurries
        self._warm, timed = -(-WARM_STEPS // at_once), max(TIMED_STEPS // at_once, 1)
        self.most_steps = (self._warm + timed) * at_once
        self._begun = self._from = self._last = time.monotonic()
        self._done = self._from_done = 0

    @property
    def pace(self) -> float:
        """Seconds a step."""
        counted = max(self._done - self._from_done, 1) * self._at_once
        return max(self._last - self._from, 1e-6) / counted

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        fetched(logs or {"none": 0.0})  # waits for the device
        now = self._last = time.monotonic()
        self._done += 1
        timed = self._done - self._from_done
        enough = timed >= _LEAST_TIMED_STEPS and now - self._from > _TRIAL_PART * self._left
        if self._hurries and (enough or now - self._begun > self._left):
            self.model.stop_training = True
        elif self._done in (1, self._warm):
            self._from, self._from_done = now, self._done
