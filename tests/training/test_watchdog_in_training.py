"""Each of the watchdog's verdicts, provoked in a real run; and runs that it leaves in peace."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from bladerunner_ae import objectives
from bladerunner_ae.errors import OutputError
from bladerunner_ae.objectives import Batch, Outcome
from bladerunner_ae.objectives.vae import Vae
from bladerunner_ae.runs.folder import open_run
from bladerunner_ae.training import fit as training
from bladerunner_ae.training.checkpoints import checkpoint_steps, restore
from bladerunner_ae.training.trainer import Trainer
from tests.helpers.tiny_training import (
    AT_ONCE,
    checkpoint_values,
    film_images,
    forget_after,
    take_steps,
    tiny_flags,
    tiny_run,
    tiny_trainer,
)
from tests.helpers.training_checks import check_same_checkpoint, own_gradients

QUICK = {"checkpoint_every": 10, "sample_every": 10, "log_every": 10}


def fit(
    records: Path, run: Path, spoil: Callable[[Trainer], None] = lambda trainer: None,
    linear_path: bool = False, **flags: Any,
) -> Trainer:  # fmt: skip
    """Train as the command does, from random weights; `spoil` may change them before."""
    asked = tiny_flags(records, run, **{**QUICK, **flags})
    config = tiny_run(asked)
    model = dataclasses.replace(config.model, linear_path=linear_path).resolve()
    config = dataclasses.replace(config, model=model)
    open_run(run, config, overwrite=False)
    trainer = training.build_trainer(config)
    start = restore(trainer, run)
    spoil(trainer)
    training.fit(trainer, config, [records], run, start)
    return trainer


def said(run: Path) -> dict[str, list[int]]:
    """Return kind -> steps of the verdicts in metrics.jsonl, which log.txt must hold too."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    found: dict[str, list[int]] = {}
    text = (run / "log.txt").read_text()
    for line in lines:
        if "watchdog" in line:
            found.setdefault(line["watchdog"], []).append(line["step"])
            assert f"step {line['step']}: watchdog: {line['wrong']}; {line['cure']}\n" in text
    assert text.count("watchdog: ") == sum(map(len, found.values()))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["vae", pytest.param("vae_gan", marks=pytest.mark.slow)])
def test_healthy_run_raises_no_alarm(
    objective: str, small_records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(small_records, tmp_path / "run", linear_path=True, objective=objective, steps=80)
    # 48 frames are known by their principal components from the start: to end a little below them
    # is said at the end, and is all that is said.
    assert said(tmp_path / "run") in ({}, {"harm": [80]})
    assert capsys.readouterr().err.count("watchdog") == len(said(tmp_path / "run"))


class Bomb(Vae):
    """Its losses are NaN from the seventh step on."""

    def __call__(self, networks: Any, batch: Batch) -> Outcome:
        outcome = super().__call__(networks, batch)
        factor = tf.where(batch.step >= 6, np.nan, 1.0)
        loss = outcome.losses["decoder"] * factor
        return dataclasses.replace(outcome, losses={"encoder": loss, "decoder": loss})


def test_not_finite_stops_run_and_keeps_last_good_checkpoint(
    small_records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setitem(objectives.REGISTRY, "vae", Bomb)
    run = tmp_path / "run"
    with pytest.raises(OutputError, match=r"run: loss/encoder is nan in step 7, with it .*step 6 "
                       r"is whole\); start over with --overwrite and a lower"):  # fmt: skip
        fit(small_records, run, steps=20, checkpoint_every=3)
    assert checkpoint_steps(run) == [3, 6]
    values = checkpoint_values(run / "checkpoints" / "step-6")
    assert all(np.isfinite(value).all() for value in values.values())
    (step,) = said(run)["not_finite"]
    assert step in (7, 9), "at the next look, or the next checkpoint at the latest"
    assert capsys.readouterr().err.count("watchdog: ") == 1


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"learning_rate": 1e3}, "--learning_rate, "),
        pytest.param(
            {"objective": "vae_gan", "discriminator_learning_rate": 1e3},
            "--learning_rate or --discriminator_learning_rate, ",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_absurd_learning_rates_blow_training_up(
    flags: dict[str, Any], named: str, small_records: Path, tmp_path: Path
) -> None:
    said = rf"is (nan|inf) in step \d+.*: training has blown up .* a lower {named}"
    with pytest.raises(OutputError, match=said) as error:
        fit(small_records, tmp_path / "run", steps=40, linear_path=True, **flags)
    assert "no checkpoint was written yet" in str(error.value)
    assert checkpoint_steps(tmp_path / "run") == []


@pytest.mark.slow
def test_training_continues_without_a_watchdog(
    small_records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(objectives.REGISTRY, "vae", Bomb)
    fit(small_records, tmp_path / "run", steps=10, sample_every=1000, watchdog="off")
    assert said(tmp_path / "run") == {}
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").open()]
    (last,) = [line for line in lines if line["step"] == 10 and "loss/decoder" in line]
    assert last["loss/decoder"] is None, "JSON knows no NaN"


def saturate(trainer: Trainer) -> None:
    """Make the decoder's tanh give nothing but 1, whatever is put in."""
    layer = trainer.networks.decoder.get_layer("deconv_0")
    layer.set_weights([layer.kernel, np.full(layer.bias.shape, 1e3, np.float32)])


@pytest.mark.slow
def test_a_dead_decoder_is_named_once(
    small_records: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(small_records, tmp_path / "run", saturate, steps=50, sample_every=1000)
    found = said(tmp_path / "run")
    assert found["dead_decoder"] == [30]
    assert capsys.readouterr().err.count("the decoder has almost no gradient any more") == 1


@pytest.mark.slow
def test_weights_that_do_not_move_are_named(small_records: Path, tmp_path: Path) -> None:
    fit(small_records, tmp_path / "run", steps=30, learning_rate=1e-12)
    found = said(tmp_path / "run")
    assert found["still_encoder"] == found["still_decoder"] == [10]


@pytest.mark.slow
def test_pictures_that_are_all_the_same_are_noticed(small_records: Path, tmp_path: Path) -> None:
    """Random weights that hardly learn give the same grey for every frame."""
    fit(small_records, tmp_path / "run", steps=20, learning_rate=1e-6)
    assert said(tmp_path / "run") == {"collapse": [20], "vanished_latents": [20]}
    assert "encoder has hardly learnt" in (tmp_path / "run" / "log.txt").read_text()


@pytest.mark.slow
def test_latents_that_vanish_are_noticed(small_records: Path, tmp_path: Path) -> None:
    fit(small_records, tmp_path / "run", steps=60, learning_rate=3e-3, kl_weight=1e3)
    assert "vanished_latents" in said(tmp_path / "run")
    assert "the KL term outweighs the rest" in (tmp_path / "run" / "log.txt").read_text()


WINNING = {
    "objective": "vae_gan", "learning_rate": 1e-5, "discriminator_learning_rate": 5e-3,
    "steps": 140, "sample_every": 1000,
}  # fmt: skip


@pytest.mark.slow
def test_a_discriminator_that_wins_is_named_once(small_records: Path, tmp_path: Path) -> None:
    trainer = fit(small_records, tmp_path / "run", **WINNING)
    ((kind, steps),) = said(tmp_path / "run").items()
    assert kind == "discriminator_won" and len(steps) == 1
    assert float(trainer.state.adversarial_scale.numpy()) == 1.0


@pytest.mark.slow
def test_a_discriminator_of_hinge_loss_that_wins_is_named(
    small_records: Path, tmp_path: Path
) -> None:
    """It stops where it is sure enough, and that is less than 95 %."""
    flags = {**WINNING, "objective": "dream", "discriminator_learning_rate": 3e-4,
             "steps": 160}  # fmt: skip
    fit(small_records, tmp_path / "run", **flags, **AT_ONCE["dream"])
    assert set(said(tmp_path / "run")) == {"discriminator_won"}
    lines = map(json.loads, (tmp_path / "run" / "metrics.jsonl").open())
    last = [line for line in lines if "term/gan" in line][-1]
    assert last["term/gan"] < 0.1 and last["term/p_reconstruction"] > 0.05


@pytest.mark.slow
def test_act_lowers_the_weight_at_the_same_steps_after_a_resume(
    small_records: Path, tmp_path: Path
) -> None:
    run, broken = tmp_path / "run", tmp_path / "broken"
    trainer = fit(small_records, run, **WINNING, watchdog="act")
    steps = said(run)["discriminator_won"]
    assert len(steps) >= 2 and set(said(run)) == {"discriminator_won"}
    scale = float(trainer.state.adversarial_scale.numpy())
    assert scale == 0.5 ** len(steps)
    # Cut off in the middle of waiting for the first verdict.
    cut = steps[0] - 20
    fit(small_records, broken, **{**WINNING, "checkpoint_every": cut}, watchdog="act")
    forget_after(broken, cut)
    assert checkpoint_steps(broken) == [cut]
    fit(small_records, broken, **WINNING, watchdog="act")
    check_same_checkpoint(run / "checkpoints/step-140", broken / "checkpoints/step-140")


def test_a_scale_of_nothing_silences_the_adversarial_term() -> None:
    trainer = tiny_trainer("vae_gan", run_eagerly=True)
    own = own_gradients(trainer, film_images(4))["decoder"]
    norm = np.sqrt(sum(np.square(value).sum() for value in own))
    trainer.state.adversarial_scale.assign(1e6)
    logs = take_steps(trainer, film_images(4))
    assert logs["gradient_norm/decoder"] > 100 * norm
    assert logs["gradient_norm/discriminator"] < 10, "its own loss is none of this"


def test_stop_writes_a_checkpoint_and_the_next_start_trains_on(
    small_records: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    asked = {"steps": 30, "learning_rate": 1e-6, "watchdog": "stop", "checkpoint_every": 1000}
    with pytest.raises(OutputError, match="stopped at step 20 because frames that are unlike"):
        fit(small_records, run, **asked)
    assert checkpoint_steps(run) == [20]
    assert fit(small_records, run, **asked).steps_done == 30
    assert said(run)["collapse"] == [20]
