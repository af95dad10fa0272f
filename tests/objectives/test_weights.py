"""Weights with which nothing can be learnt are refused where an objective is made."""

from __future__ import annotations

import re

import pytest

from bladerunner_ae.errors import UsageError
from bladerunner_ae.objectives import REGISTRY, make_objective, weight_help
from bladerunner_ae.runs.fields import options_of

WEIGHTS = [(name, weight) for name, kind in REGISTRY.items() for weight in options_of(kind)]
PARTS = {
    "adversarial_start": "a part of the run, from 0 to below 1",
    "adversarial_ramp": "a part of the run, from 0 to 1",
    "kl_warmup": "a part of the run, from 0 to 1",
}
NUMBER = "a finite number, 0 or above"


def test_every_weight_has_a_flag_and_every_flag_a_weight() -> None:
    assert {weight for _, weight in WEIGHTS} == set(weight_help())


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-0.5"])
@pytest.mark.parametrize(("objective", "weight"), WEIGHTS)
def test_no_weight_may_be_negative_or_not_finite(objective: str, weight: str, value: str) -> None:
    line = re.escape(f"--{weight}={value}: give {PARTS.get(weight, NUMBER)}")
    with pytest.raises(UsageError, match=f"^{line}$"):
        make_objective(objective, {weight: float(value)})
    with pytest.raises(UsageError, match=f"^{line}$"):  # past the registry
        REGISTRY[objective](**{weight: float(value)})


@pytest.mark.parametrize(("objective", "weight"), WEIGHTS)
def test_zero_is_a_weight(objective: str, weight: str) -> None:
    # What is about dream's adversary is refused where it has none.
    others = {"feature_weight": 0.1, "adversarial_weight": 0.1} if objective == "dream" else {}
    assert getattr(make_objective(objective, {**others, weight: 0.0}), weight) == 0.0


@pytest.mark.parametrize(
    ("weight", "value", "fits"),
    [("adversarial_start", 0.99, True), ("adversarial_start", 1.0, False),
     ("adversarial_ramp", 1.0, True), ("adversarial_ramp", 1.01, False),
     ("kl_warmup", 1.0, True), ("kl_warmup", 2.0, False), ("free_bits", 2.0, True)],
)  # fmt: skip
def test_parts_of_a_run_are_parts(weight: str, value: float, fits: bool) -> None:
    weights = {"adversarial_weight": 0.1, weight: value}
    if fits:
        assert getattr(make_objective("dream", weights), weight) == value
    else:
        with pytest.raises(UsageError, match=f"^--{weight}={value:g}: give a part of the run"):
            make_objective("dream", weights)


@pytest.mark.parametrize(
    ("weight", "value"),
    [("adversarial_start", 0.0), ("adversarial_ramp", 0.0), ("r1_weight", 1.0)],
)
def test_what_is_about_an_adversary_needs_one(weight: str, value: float) -> None:
    line = f"^--{weight}={value:g} is about an adversary, .* give --adversarial_weight too"
    with pytest.raises(UsageError, match=line):
        make_objective("dream", {weight: value})
    for other in ("adversarial_weight", "feature_weight"):
        assert getattr(make_objective("dream", {other: 0.1, weight: value}), weight) == value


def test_a_weight_of_other_objectives_names_them() -> None:
    with pytest.raises(UsageError, match=r"dream has no weight --gamma; it has .*; --gamma belongs "
                       r"to vae_gan, broad2016$"):  # fmt: skip
        make_objective("dream", {"gamma": 1.0})
    with pytest.raises(UsageError, match=r"vae has no weight --depth; it has kl_weight, noise$"):
        make_objective("vae", {"depth": 1.0})
