"""The length of a run and the part of it that is done, on which every schedule depends.

A run's length is known at its start, or, with --minutes, once a few steps are timed; on a machine
of another speed it changes again. So it is a variable that schedules read. When it changes, the
part that is done stays, and the rest of every schedule is stretched over the steps that are left:
no schedule jumps or turns back.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from bladerunner_ae.errors import UsageError
from bladerunner_ae.runs.config import TrainConfig
from bladerunner_ae.runs.films import FilmUse
from bladerunner_ae.runs.presets import Preset, preset
from bladerunner_ae.runs.run_config import RunConfig

# Steps that even a slow processor takes in the minutes that a preset allows one.
_SURELY_IN_TIME = 2000


def length_asked(chosen: Preset, asked: dict[str, Any], pass_frames: float, on_cpu: bool) -> Any:
    """Return the fields of `TrainConfig` that say how long a run is to be: name -> value.

    With "minutes", "steps" is only the most (besides "epochs"), or an estimate (without).

    Args:
        chosen: preset, whose length is taken where none is asked for.
        asked: "batch_size", and at most one of "steps", "epochs" and "minutes".
        pass_frames: frames seen in one pass.
        on_cpu: whether the preset's bound for processors counts.

    Raises:
        UsageError: a number of passes that is none, or no whole step.
    """
    if asked.get("steps") is not None:
        return {"steps": asked["steps"]}
    batches = pass_frames / max(asked["batch_size"], 1)
    if asked.get("epochs") is not None:
        epochs = asked["epochs"]
        if not 0.0 < epochs * batches < 2**53:
            raise UsageError(f"--epochs={epochs:g}: give a finite number above 0")
        return {"steps": math.ceil(epochs * batches), "epochs": epochs}
    steps = default_steps(chosen, batches)
    if asked.get("minutes") is not None:
        return {"steps": steps, "minutes": asked["minutes"]}
    bounded = on_cpu and steps > _SURELY_IN_TIME
    return {
        "steps": steps,
        "epochs": chosen.epochs,
        "minutes": chosen.most_cpu_minutes if bounded else None,
    }


def default_steps(chosen: Preset, batches: float) -> int:
    """Return the steps of a run of the preset's length, for so many batches in a pass."""
    return max(math.ceil(chosen.epochs * batches), chosen.least_steps)


def most_steps(config: RunConfig) -> int | None:
    """Return the steps beyond which a run does not go though it has time; None: no bound."""
    if config.train.epochs is None:
        return None
    return default_steps(preset(config.preset), pass_frames(config.films) / config.train.batch_size)


def pass_frames(films: Sequence[FilmUse]) -> float:
    """Return the frames of one pass, in which each of the film of smallest weight is seen once."""
    least = min(film.weight for film in films)
    return sum((film.frames - film.held_out_frames) * film.weight / least for film in films)


class RunLength:
    """Steps of a run, which may be set again while it trains.

    Construct in the strategy's scope. `config` is what was asked and what it came to; see
    `TrainConfig.length`.
    """

    def __init__(self, config: TrainConfig) -> None:
        self._config = config
        self._corner = tf.Variable(_last_corner(config), trainable=False, dtype=tf.float32)

    @property
    def config(self) -> TrainConfig:
        return self._config

    @property
    def steps(self) -> int:
        """Steps of the run in all, as far as is known."""
        return self._config.steps

    def set(self, config: TrainConfig) -> None:
        """Take another length; not to be called in a step."""
        self._config = config
        self._corner.assign(_last_corner(config))

    def change(self, step: int, steps: int) -> None:
        """From `step` on, let the run be `steps` long; what was done until there stays as it is."""
        self.set(refitted(self._config, step, steps))

    def done(self, step: int) -> float:
        """Return the part of the run, 0..1, that its first `step` steps are."""
        first, part, _, _, steps, _ = _last_corner(self._config)
        return _on_the_way(step, first, part, steps)

    def progress(self, step: tf.Tensor) -> tf.Tensor:
        """Return the same as a float32 scalar; for use in a step."""
        first, part, _, _, steps, _ = tf.unstack(tf.convert_to_tensor(self._corner))
        return part + (1.0 - part) * (tf.cast(step, tf.float32) - first) / (steps - first)

    def risen(self, step: tf.Tensor) -> tf.Tensor:
        """Return the part of the warm-up, 0..1, that is done before this step; 1 without one."""
        warmup = tf.unstack(tf.convert_to_tensor(self._corner))[5]
        step = tf.cast(step, tf.float32)
        return tf.where(step < warmup, step / tf.maximum(warmup, 1.0), 1.0)

    def decayed(self, step: tf.Tensor) -> tf.Tensor:
        """Return the part of the run behind the warm-up, 0..1, that is done before this step."""
        _, _, first, part, steps, _ = tf.unstack(tf.convert_to_tensor(self._corner))
        way = (tf.cast(step, tf.float32) - first) / tf.maximum(steps - first, 1.0)
        return part + (1.0 - part) * tf.clip_by_value(way, 0.0, 1.0)


def decided(config: TrainConfig, steps: int, preset_warmup: int) -> TrainConfig:
    """Return a configuration with minutes, once the number of its steps is known."""
    return dataclasses.replace(
        config, steps=steps, warmup_steps=warmup(preset_warmup, steps), length=((0, steps),)
    )


def refitted(config: TrainConfig, step: int, steps: int) -> TrainConfig:
    """Return a configuration whose run is `steps` long from `step` on."""
    length = [piece for piece in config.length if piece[0] < step or piece[0] == 0]
    length = [*length, (step, steps)] if step and length else [(0, steps)]
    return dataclasses.replace(config, steps=steps, length=tuple(length))


def is_open(config: TrainConfig) -> bool:
    """Return whether it is still to be found out how many steps the run has."""
    return config.minutes is not None and not config.length


def warmup(steps: int, of: int) -> int:
    """Return the steps of a warm-up in a run of `of` steps: at most a third of them."""
    return min(steps, of // 3)


def _last_corner(config: TrainConfig) -> tuple[float, float, float, float, float, float]:
    """Return where the last change was, and what it leads to.

    (step, part of the run done by then, step, part of the decay done by then, steps, warm-up). The
    second step is the end of the warm-up, if that comes later.
    """
    (_, steps), *changes = config.length or ((0, config.steps),)
    warmup_steps = config.warmup_steps
    first, done, decay_first, decay_done = 0, 0.0, warmup_steps, 0.0
    for step, changed in changes:
        done = _on_the_way(step, first, done, steps)
        decay_done = _on_the_way(step, decay_first, decay_done, steps)
        first, decay_first, steps = step, max(step, warmup_steps), changed
    last = max(steps, first + 1)  # ended by its clock at the very step
    return (*map(float, (first, done, decay_first, decay_done, last, warmup_steps)),)  # type: ignore[return-value]


def _on_the_way(step: float, first: float, part: float, last: float) -> float:
    way = (step - first) / max(last - first, 1)
    return part + (1.0 - part) * min(max(way, 0.0), 1.0)
