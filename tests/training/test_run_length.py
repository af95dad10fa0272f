"""How long a run is by default, and schedules whose length changes while they run."""

import dataclasses
from typing import Any

import keras
import numpy as np
import pytest

from bladerunner_ae.errors import UsageError
from bladerunner_ae.objectives.base import ramp
from bladerunner_ae.runs.films import FilmUse
from bladerunner_ae.runs.presets import PRESETS
from bladerunner_ae.training.run_length import (
    RunLength,
    decided,
    is_open,
    length_asked,
    pass_frames,
    refitted,
)
from bladerunner_ae.training.trainer import make_schedule
from tests.helpers.tiny_training import tiny_train

TRAILER, FEATURE = 1323, 168_480


@pytest.mark.parametrize(
    ("preset", "frames", "on_cpu", "asked", "expected"),
    [
        ("preview", TRAILER, True, {}, {"steps": 500, "epochs": 3.0, "minutes": None}),
        ("preview", 10_000, True, {}, {"steps": 938, "epochs": 3.0, "minutes": None}),
        ("preview", FEATURE, True, {}, {"steps": 15_795, "epochs": 3.0, "minutes": 38.0}),
        ("preview", FEATURE, False, {}, {"steps": 15_795, "epochs": 3.0, "minutes": None}),
        ("base", FEATURE, True, {}, {"steps": 84_240, "epochs": 6.0, "minutes": None}),
        ("base", TRAILER, False, {}, {"steps": 5000, "epochs": 6.0, "minutes": None}),
        ("preview", FEATURE, True, {"steps": 7}, {"steps": 7}),
        ("preview", TRAILER, True, {"epochs": 2.0}, {"steps": 83, "epochs": 2.0}),
        ("preview", TRAILER, True, {"epochs": 0.001}, {"steps": 1, "epochs": 0.001}),
        ("preview", FEATURE, False, {"minutes": 9.0}, {"steps": 15_795, "minutes": 9.0}),
    ],
)
def test_length_of_a_run(
    preset: str, frames: int, on_cpu: bool, asked: dict[str, Any], expected: dict[str, Any]
) -> None:
    chosen = PRESETS[preset]
    assert length_asked(chosen, {**chosen.train, **asked}, frames, on_cpu) == expected


@pytest.mark.parametrize("epochs", [0.0, -1.0, float("nan"), float("inf")])
def test_no_number_of_passes(epochs: float) -> None:
    with pytest.raises(UsageError, match=r"--epochs=.*: give a finite number above 0"):
        length_asked(PRESETS["preview"], {"batch_size": 32, "epochs": epochs}, TRAILER, True)


def test_a_pass_shows_the_film_of_smallest_weight_once() -> None:
    films = [film_use(100, 2.0, held_out=((0, 10),)), film_use(40, 1.0), film_use(8, 4.0)]
    assert pass_frames(films) == 2 * 90 + 40 + 4 * 8
    assert pass_frames(films[:1]) == 90


def film_use(frames: int, weight: float, held_out: Any = ()) -> FilmUse:
    given = {"name": "film", "film_id": "1", "frames": frames, "weight": weight,
             "held_out": held_out}  # fmt: skip
    left = {
        field.name: None
        for field in dataclasses.fields(FilmUse)
        if field.name not in given and field.default is dataclasses.MISSING
    }
    return FilmUse(**given, **left)


@pytest.mark.parametrize(("steps", "warmup"), [(500, 100), (84_240, 0), (7, 2), (1, 0)])
def test_an_unchanged_length_has_the_usual_schedule(steps: int, warmup: int) -> None:
    train = tiny_train(steps=steps, warmup_steps=warmup, constant_learning_rate=False)
    usual = keras.optimizers.schedules.CosineDecay(
        initial_learning_rate=1e-5 if warmup else 1e-3,
        decay_steps=max(steps - warmup, 1),
        alpha=0.01,
        warmup_target=1e-3 if warmup else None,
        warmup_steps=warmup,
    )
    ours = make_schedule(train)
    at = sorted({0, 1, warmup - 1, warmup, steps // 3, steps // 2, steps - 1, steps} - {-1})
    np.testing.assert_allclose([ours(n) for n in at], [usual(n) for n in at], rtol=1e-6)
    length = RunLength(train)
    assert [float(length.progress(n)) for n in at] == [np.float32(n) / steps for n in at]
    assert [length.done(n) for n in at] == [n / steps for n in at]


@pytest.mark.parametrize("changes", [[(40, 60)], [(40, 300)], [(5, 50), (30, 200), (90, 110)]])
def test_a_changed_length_leaves_no_step_in_any_schedule(changes: list[tuple[int, int]]) -> None:
    train = tiny_train(steps=100, warmup_steps=20, constant_learning_rate=False, minutes=1.0)
    train = decided(train, 100, 20)
    length = RunLength(train)
    rate = make_schedule(train, length=length)
    rates, parts, kl = [], [], []
    for step in range(1000):
        if changes and changes[0][0] == step:
            before = (float(rate(step)), float(length.progress(step)))
            length.change(*changes.pop(0))
            after = (float(rate(step)), float(length.progress(step)))
            assert after == pytest.approx(before, rel=1e-6)
            assert length.done(step) == pytest.approx(after[1], abs=1e-6)
        if step == length.steps:
            break
        rates.append(float(rate(step)))
        parts.append(float(length.progress(step)))
        kl.append(float(ramp(length.progress(step), 0.0, 0.5)))
    assert step == length.steps == length.config.steps and not changes
    assert np.argmax(rates) == 20 and max(rates) == pytest.approx(1e-3)
    assert (np.diff(rates[20:]) < 0).all() and (np.diff(rates[:20]) > 0).all()
    assert (np.diff(parts) > 0).all() and (np.diff(kl) >= 0).all() and max(kl) == 1.0
    assert float(rate(step)) == pytest.approx(1e-5, rel=1e-3)
    assert float(length.progress(step)) == 1.0 and length.done(step) == 1.0


def test_a_change_is_kept_as_data() -> None:
    train = tiny_train(steps=900, minutes=5.0)
    assert is_open(train) and not is_open(tiny_train(steps=9))
    train = decided(train, 120, 100)
    assert (train.steps, train.warmup_steps, train.length) == (120, 40, ((0, 120),))
    changed = refitted(refitted(train, 50, 90), 70, 200)
    assert changed.length == ((0, 120), (50, 90), (70, 200)) and changed.steps == 200
    # Resumed from an earlier checkpoint than that of the last change.
    assert refitted(changed, 60, 80).length == ((0, 120), (50, 90), (60, 80))
    assert refitted(tiny_train(steps=9, minutes=1.0), 4, 4).length == ((0, 4),)
    again = RunLength(changed)
    step_by_step = RunLength(train)
    step_by_step.change(50, 90)
    step_by_step.change(70, 200)
    assert [again.done(n) for n in range(200)] == [step_by_step.done(n) for n in range(200)]
