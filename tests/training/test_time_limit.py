"""Runs of so many minutes: the pace, what fits, and that they end as the steps that came out."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from bladerunner_ae.runs.folder import load_config
from bladerunner_ae.training import callbacks, fit, resume, time_limit
from bladerunner_ae.training.checkpoints import checkpoint_steps, restore
from bladerunner_ae.training.run_length import decided, refitted
from bladerunner_ae.training.time_limit import (
    LearningClock,
    Pace,
    seconds_spent,
    steps_in,
    steps_now,
    trial_pace,
)
from tests.helpers.commands import Commands
from tests.helpers.tiny_training import (
    AT_ONCE,
    arguments,
    film_images,
    forget_after,
    tiny_flags,
    tiny_run,
    tiny_trainer,
    train_here,
)
from tests.helpers.training_checks import check_same_checkpoint


@pytest.mark.parametrize(
    ("seconds", "pace", "at_once", "expected"),
    [(3600, 0.3, 1, 11_250), (3600, 0.3, 8, 11_248), (60, 0.5, 1, 82), (10, 5.0, 1, 0),
     (-5, 0.1, 1, 0)],
)  # fmt: skip
def test_steps_that_fit(seconds: float, pace: float, at_once: int, expected: int) -> None:
    assert steps_in(seconds, pace, at_once) == expected


@pytest.mark.parametrize(
    ("left", "pace", "expected"),
    [
        pytest.param(330.0, 0.3, 1000, id="as planned"),
        pytest.param(360.0, 0.3, 1000, id="a little early"),
        pytest.param(600.0, 0.3, 1945, id="much too early"),
        pytest.param(330.0, 0.6, 524, id="half the speed"),
        pytest.param(1.0, 0.3, 0, id="no time"),
    ],
)
def test_steps_are_set_again_only_where_they_must(left: float, pace: float, expected: int) -> None:
    found = steps_now(0, 1000, left, pace, limit=660.0)
    assert found == expected
    assert steps_now(50, 1050, left, pace, 660.0, at_once=1) == 50 + expected
    assert steps_now(50, 1050, left, pace, 660.0, at_once=7) in (1050, 50 + expected // 7 * 7)
    left_over = left - found * pace
    assert left_over >= min(15 * pace, left), "it would end too late"


def test_pace_of_a_machine_that_slows_down() -> None:
    pace, now = Pace(steps=1000, start=100, known=False), 50.0
    found: dict[int, float] = {}
    for step in range(101, 1001):
        now += 9.0 if step == 101 else (0.5 if step <= 500 else 1.0)  # the first step compiles
        if pace.is_due(step) and (seconds := pace.note(step, now)):
            found[step] = seconds
    assert min(found) == 125 and found[125] == pytest.approx(0.5)
    assert len(found) == 20
    assert found[max(s for s in found if s <= 500)] == pytest.approx(0.5)
    assert found[max(found)] == pytest.approx(1.0)
    assert not Pace(1000, 100, known=True).is_due(104)
    known = Pace(1000, 100, known=True)
    known.note(105, 1.0)
    assert not known.is_due(194) and known.is_due(195)


def test_clock_counts_all_starts(tmp_path: Path) -> None:
    times = [100.0]
    clock = LearningClock(tmp_path, now=lambda: times[0])
    times[0] = 105.0
    clock.write(always=False)
    assert seconds_spent(tmp_path) == 0.0
    times[0] = 112.5
    clock.write(always=False)
    assert seconds_spent(tmp_path) == 12.5
    times[0] = 113.0
    clock.write(always=False)
    assert seconds_spent(tmp_path) == 12.5
    again = LearningClock(tmp_path, now=lambda: times[0])
    times[0] = 120.0
    assert again.seconds == 19.5
    again.write()
    assert seconds_spent(tmp_path) == 19.5
    assert LearningClock(tmp_path, fresh=True, now=lambda: 1.0).seconds == 0.0


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}"]
    + [f'{{"learning_seconds": {value}}}' for value in ('"x"', "-1", "NaN", "1e300", "[]")],
)
def test_a_damaged_clock_is_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "time.json").write_text(text)
    assert seconds_spent(tmp_path) == 0.0


def test_trial_steps_leave_nothing_behind() -> None:
    trainer = tiny_trainer("dream", ema=0.9)
    assert set(AT_ONCE["dream"]) and trainer.networks.discriminator is not None
    variables = time_limit._variables(trainer)
    before = [variable.numpy().copy() for variable in variables]
    trainer.averages.networks.decoder.variables[0].assign_add(
        tf.ones_like(trainer.averages.networks.decoder.variables[0])
    )
    assert any(not np.array_equal(v.numpy(), b) for v, b in zip(variables, before, strict=True)), (
        "averages are among them"
    )
    before = [variable.numpy().copy() for variable in variables]
    batches = tf.data.Dataset.from_tensors({"image": film_images(2)}).repeat()
    pace = trial_pace(trainer, batches, left=600.0)
    assert 0.0 < pace < 10.0 and trainer.steps_done == 0
    for variable, value in zip(variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), value)


@pytest.fixture
def six_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let six steps fit from anywhere on, and few steps be enough to know the pace."""
    monkeypatch.setattr(fit, "steps_in", lambda seconds, pace, at_once: 6 // at_once * at_once)
    monkeypatch.setattr(callbacks, "steps_now", lambda step, steps, *_: steps)
    monkeypatch.setattr(time_limit, "WARM_STEPS", 1)
    monkeypatch.setattr(time_limit, "TIMED_STEPS", 2)


def minutes_flags(records: Path, run: Path, **changes: Any) -> dict[str, Any]:
    return tiny_flags(records, run, **{"steps": None, "minutes": 100.0, "ema": 0.9, **changes})


@pytest.mark.usefixtures("six_steps")
@pytest.mark.parametrize("at_once", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_minutes_are_the_steps_they_come_to(
    at_once: int, small_records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = {"steps_per_execution": at_once, "kl_warmup": 0.5, "objective": "dream"}
    train_here(minutes_flags(small_records, tmp_path / "minutes", **asked))
    assert "100 minutes: 6 steps, each of " in capsys.readouterr().err
    train_here(tiny_flags(small_records, tmp_path / "steps", **{**asked, "steps": 6, "ema": 0.9}))
    check_same_checkpoint(
        *(tmp_path / name / "checkpoints/step-6" for name in ("minutes", "steps"))
    )
    train = load_config(tmp_path / "minutes").train
    assert (train.minutes, train.steps, train.length) == (100.0, 6, ((0, 6),))
    assert train.warmup_steps == 2
    assert 0.0 < seconds_spent(tmp_path / "minutes") < 600.0
    log = (tmp_path / "minutes/log.txt").read_text()
    assert "training from step 0 to 6" in log and "all of step 6 is shown" in log


@pytest.mark.slow
@pytest.mark.usefixtures("six_steps")
def test_interrupted_at_the_same_speed_it_ends_with_the_same_weights(
    small_records: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    flags = minutes_flags(small_records, run)
    train_here(flags)
    forget_after(run, 4)
    asked = resume.kept_length(tiny_run(flags), load_config(run))
    assert asked.train.length == ((0, 6),)
    resumed = resume.length_at(asked, 4, time_is_up=False)
    trainer = fit.build_trainer(resumed)
    fit.fit(trainer, resumed, [small_records], run, restore(trainer, run))
    train_here(minutes_flags(small_records, tmp_path / "unbroken"))
    check_same_checkpoint(run / "checkpoints/step-6", tmp_path / "unbroken/checkpoints/step-6")


@pytest.mark.usefixtures("six_steps")
@pytest.mark.parametrize(("speed", "length"), [("slower", 4), ("faster", 9)])
def test_another_speed_sets_the_steps_again(
    speed: str, length: int, small_records: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    seen = []

    def changed(step: int, steps: int, *_: Any) -> int:
        seen.append((step, steps))
        return length if steps == 6 else steps

    monkeypatch.setattr(callbacks, "steps_now", changed)
    monkeypatch.setattr(callbacks.Pace, "is_due", lambda self, step: step > 1)
    run = tmp_path / "run"
    trainer = train_here(minutes_flags(small_records, run))
    assert seen[0] == (3, 6) and trainer.steps_done == length
    assert checkpoint_steps(run)[-1] == length
    assert load_config(run).train.length == ((0, 6), (3, length))
    assert f"the run is to be {length} steps long instead of 6" in capsys.readouterr().err
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["length/steps"] for line in lines if "length/steps" in line] == [length]
    rates = [line["learning_rate"] for line in lines if "learning_rate" in line]
    assert (np.diff(rates[2:]) < 0).all() and rates[-1] < 0.2 * max(rates)


def test_a_run_ends_where_its_time_is_up(small_records: Path, tmp_path: Path) -> None:
    config = tiny_run(minutes_flags(small_records, tmp_path))
    assert resume.length_at(config, 4, time_is_up=True).train.length == ((0, 4),)
    length = refitted(config.train, 0, 9)
    known = dataclasses.replace(config, train=length)
    ended = resume.length_at(known, 4, time_is_up=True).train
    assert ended.length == ((0, 9), (4, 4)) and ended.steps == 4
    assert resume.length_at(known, 9, time_is_up=True) == known
    assert resume.length_at(known, 4, time_is_up=False) == known
    assert resume.length_at(known, 0, time_is_up=True).train.length == ()


def test_more_minutes_open_the_length_again(small_records: Path, tmp_path: Path) -> None:
    def of(**changes: Any) -> Any:
        return tiny_run(minutes_flags(small_records, tmp_path, **changes))

    before = of()
    before = dataclasses.replace(before, train=decided(before.train, 9, 100))
    for minutes, kept in ((100.0, True), (50.0, True), (101.0, False)):
        found = resume.kept_length(of(minutes=minutes), before).train
        assert found.length == (((0, 9),) if kept else ()), minutes
        assert found.minutes == minutes
    by_steps = of(minutes=None, steps=9)
    assert resume.kept_length(by_steps, before) == by_steps
    assert resume.kept_length(of(), by_steps).train.length == ()
    assert resume.kept_length(of(), None) == of()
    told = resume.rate_change(by_steps, of(), 9)
    assert told.startswith("--minutes=100: the run gets another length, so from step 9 on")
    assert resume.rate_change(before, by_steps, 3) == "", "the same steps, asked otherwise"


@pytest.mark.parametrize(
    ("asked", "said"),
    [({"steps": 5, "minutes": 1.5}, "--steps=5 --minutes=1.5"),
     ({"epochs": 2, "minutes": 1}, "--epochs=2 --minutes=1"),
     ({"steps": 5, "epochs": 2, "minutes": 1}, "--steps=5 --epochs=2 --minutes=1")],
)  # fmt: skip
def test_one_length_at_most(
    asked: dict[str, Any], said: str, small_records: Path, tmp_path: Path, commands: Commands
) -> None:
    flags = {**tiny_flags(small_records, tmp_path / "run"), "steps": None, **asked}
    result = commands.run("train", *arguments({k: v for k, v in flags.items() if v is not None}))
    assert result.code == 1
    assert result.err.splitlines()[-1].endswith(
        f"{said}: each says how long to train; give one of them"
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_the_command_ends_in_time_and_goes_on_for_more(
    small_records: Path, tmp_path: Path, commands: Commands
) -> None:
    run = tmp_path / "run"
    asked = {"log_every": 100, "sample_every": 1000, "checkpoint_every": 1000, "report": False}

    def train(minutes: float) -> Any:
        flags = minutes_flags(small_records, run, minutes=minutes, **asked)
        return commands.run("train", *arguments({k: v for k, v in flags.items() if v is not None}))

    first = train(0.2)
    assert first.code == 0, first.err
    config = load_config(run).train
    assert config.minutes == 0.2 and checkpoint_steps(run)[-1] == config.steps >= 1
    again = train(0.2)
    assert again.code == 0 and f"already trained to step {config.steps}" in again.err
    more = train(0.6)
    assert more.code == 0, more.err
    assert f"resuming from step {config.steps}" in more.err and "another length" in more.err
    longer = load_config(run).train
    assert longer.steps > config.steps and longer.length[0][0] == 0  # a busy machine may end sooner
    assert checkpoint_steps(run)[-1] == longer.steps
    assert seconds_spent(run) > 12.0
