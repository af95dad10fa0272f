"""Schedules at their corners and between."""

import dataclasses

import pytest
import tensorflow as tf

from bladerunner_ae.objectives import base, make_objective
from bladerunner_ae.runs.run_config import Reading, RunConfig
from bladerunner_ae.training.resume import rate_change
from tests.helpers.tiny_training import tiny_model, tiny_train


@pytest.mark.parametrize(
    ("progress", "start", "end", "expected"),
    [(0.0, 0.2, 0.6, 0.0), (0.2, 0.2, 0.6, 0.0), (0.3, 0.2, 0.6, 0.25), (0.6, 0.2, 0.6, 1.0),
     (1.0, 0.2, 0.6, 1.0), (0.49, 0.5, 0.5, 0.0), (0.5, 0.5, 0.5, 1.0), (0.0, 0.0, 0.0, 1.0)],
)  # fmt: skip
def test_ramp(progress: float, start: float, end: float, expected: float) -> None:
    assert float(base.ramp(tf.constant(progress), start, end)) == pytest.approx(expected)


def run_of(steps: int, objective: str) -> RunConfig:
    weights = dataclasses.asdict(make_objective(objective))  # type: ignore[call-overload]
    train = tiny_train(steps=steps, constant_learning_rate=False)
    return RunConfig(
        "preview", objective, weights, tiny_model(), train, films=(), reading=Reading()
    )


def test_other_steps_move_the_adversary_and_say_so() -> None:
    def runs(weight: float) -> list[RunConfig]:
        weights = {"adversarial_start": 0.6, "adversarial_weight": weight}
        return [dataclasses.replace(run_of(n, "dream"), weights=weights) for n in (500, 2000)]

    earlier, now = runs(0.002)
    told = rate_change(earlier, now, 400)
    assert "--steps was 500 and is 2000 now" in told
    assert "the adversary comes in at step 1200 instead of 300" in told
    assert "adversary" not in rate_change(*runs(0.0), 400)
    assert "adversary" not in rate_change(run_of(500, "vae"), run_of(2000, "vae"), 400)


def test_weights_follow_the_schedule() -> None:
    objective = make_objective(
        "dream", {"kl_weight": 1e-3, "kl_warmup": 0.5, "adversarial_weight": 0.02,
                  "adversarial_start": 0.5, "adversarial_ramp": 0.2, "feature_weight": 0.1}
    )  # fmt: skip
    at = [objective.weights_now(progress, 0.5) for progress in (0.0, 0.25, 0.6, 1.0)]
    assert [found["weight/kl"] for found in at] == pytest.approx([0, 5e-4, 1e-3, 1e-3])
    adversarial = [found["weight/adversarial"] for found in at]
    assert adversarial == pytest.approx([0, 0, 0.005, 0.01], abs=1e-8)
    features = [found["weight/feature"] for found in at]
    assert features == pytest.approx([0, 0, 0.05, 0.1], abs=1e-7)
    always = {"weight/kl", "weight/noise", "weight/band", "weight/free_bits"}
    judged = {"weight/adversarial", "weight/feature", "weight/r1"}
    assert set(at[0]) == always | judged
    assert set(make_objective("dream").weights_now(1.0, 1.0)) == always


@pytest.mark.parametrize(
    ("objective", "curve"),
    [("vae_gan", "adversarial"), ("patch_gan", "adversarial"), ("broad2016", "gan_scale")],
)
def test_watchdog_lowers_adversarial_weights(objective: str, curve: str) -> None:
    whole, half = (make_objective(objective).weights_now(0.5, scale) for scale in (1.0, 0.5))
    lowered = f"weight/{curve}"
    assert half == {**whole, lowered: whole[lowered] / 2} and whole[lowered] > 0


def test_the_noise_of_broad2016_falls_in_quarters() -> None:
    objective = make_objective("broad2016", {"noise": 2.0, "noise_decay": 0.5})
    at = (0.0, 0.24, 0.25, 0.49, 0.5, 0.75, 1.0)
    found = [objective.weights_now(progress, 1.0)["weight/noise"] for progress in at]
    assert found == pytest.approx([2.0, 2.0, 1.0, 1.0, 0.5, 0.25, 0.25])
    still = make_objective("broad2016", {"noise_decay": 1.0})
    assert still.weights_now(1.0, 1.0)["weight/noise"] == 1.0
