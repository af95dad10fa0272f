"""Objectives: who learns from what. A new one is a file, a line below and a flagfile."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from bladerunner_ae.errors import UsageError
from bladerunner_ae.objectives.base import Batch, Objective, Outcome
from bladerunner_ae.objectives.broad2016 import Broad2016
from bladerunner_ae.objectives.dream import Dream
from bladerunner_ae.objectives.patch_gan import PatchGan
from bladerunner_ae.objectives.vae import Vae
from bladerunner_ae.objectives.vae_gan import VaeGan

__all__ = [
    "REGISTRY",
    "Batch",
    "Objective",
    "Outcome",
    "make_objective",
    "mastered",
    "objective_of_run",
]

REGISTRY: dict[str, type[Any]] = {
    kind.name: kind for kind in (Dream, Vae, VaeGan, PatchGan, Broad2016)
}

# Objective -> weights that earlier versions had.
_RETIRED = {"dream": ("detail_weight",)}


def make_objective(name: str, weights: Mapping[str, float] | None = None) -> Objective:
    """Builds the objective called `name` with some of its weights changed.

    Raises:
        UsageError: there is no such objective, it has no such weight, or one is out of its range.
    """
    if name not in REGISTRY:
        raise UsageError(f"--objective={name}: choose one of {', '.join(REGISTRY)}")
    kind = REGISTRY[name]
    known = _weights(kind)
    for weight in weights or {}:
        if weight not in known:
            others = [other for other, kind in REGISTRY.items() if weight in _weights(kind)]
            where = f"; --{weight} belongs to {', '.join(others)}" if others else ""
            raise UsageError(
                f"objective {name} has no weight --{weight}; it has {', '.join(sorted(known))}"
                f"{where}"
            )
    return kind(**(weights or {}))


def objective_of_run(name: str, weights: Mapping[str, float]) -> Objective:
    """Builds the objective of a run folder, which an earlier version may have made.

    Weights that objectives no longer have are left out: what is exported or fine-tuned does not
    depend on them. A run that had one cannot go on, since `RunConfig.differences` names it.
    """
    kept = {key: value for key, value in weights.items() if key not in _RETIRED.get(name, ())}
    return make_objective(name, kept)


def _weights(kind: type[Any]) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


def mastered(name: str) -> float:
    """Returns the "gan" term below which an objective's discriminator has nothing left to learn.

    0 where its probabilities say that by themselves, as those of cross-entropies do.
    """
    return getattr(REGISTRY[name], "mastered", 0.0)
