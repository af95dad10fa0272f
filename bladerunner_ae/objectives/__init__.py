"""Objectives: loss of each network. A new one is a file, a line below and a flagfile."""

from collections.abc import Mapping

from bladerunner_ae.errors import UsageError
from bladerunner_ae.objectives.base import Batch, Objective, Outcome
from bladerunner_ae.objectives.broad2016 import Broad2016
from bladerunner_ae.objectives.dream import Dream
from bladerunner_ae.objectives.patch_gan import PatchGan
from bladerunner_ae.objectives.vae import Vae
from bladerunner_ae.objectives.vae_gan import VaeGan
from bladerunner_ae.runs.fields import options_of

__all__ = [
    "REGISTRY",
    "Batch",
    "Objective",
    "Outcome",
    "make_objective",
    "objective_of_run",
    "weight_help",
]

REGISTRY: dict[str, type[Objective]] = {
    kind.name: kind for kind in (Dream, Vae, VaeGan, PatchGan, Broad2016)
}

# Objective -> weights that earlier versions had.
_RETIRED = {"dream": ("detail_weight",)}


def make_objective(name: str, weights: Mapping[str, float] | None = None) -> Objective:
    """Build an objective with some weights changed; UsageError for unknown names and bad values."""
    if name not in REGISTRY:
        raise UsageError(f"--objective={name}: choose one of {', '.join(REGISTRY)}")
    kind = REGISTRY[name]
    known = options_of(kind)
    for weight in weights or {}:
        if weight not in known:
            others = [other for other, kind in REGISTRY.items() if weight in options_of(kind)]
            where = f"; --{weight} belongs to {', '.join(others)}" if others else ""
            raise UsageError(
                f"objective {name} has no weight --{weight}; it has {', '.join(sorted(known))}"
                f"{where}"
            )
    return kind(**(weights or {}))


def objective_of_run(name: str, weights: Mapping[str, float]) -> Objective:
    """Build the objective of a run folder, which an earlier version may have made.

    Weights that objectives no longer have are left out: what is exported or fine-tuned does not
    depend on them. A run that had one cannot be resumed, since `RunConfig.differences` names it.
    """
    kept = {key: value for key, value in weights.items() if key not in _RETIRED.get(name, ())}
    return make_objective(name, kept)


def weight_help() -> dict[str, str]:
    """Return the help of every weight of any objective, with its defaults, by name."""
    found: dict[str, dict[str, list[str]]] = {}
    for kind in REGISTRY.values():
        for name, option in options_of(kind).items():
            uses = found.setdefault(name, {}).setdefault(option.help, [])
            uses.append(f"{kind.name} {getattr(kind, name):g}")
    return {
        name: " ".join(f"{text} ({', '.join(uses)})." for text, uses in texts.items())
        for name, texts in found.items()
    }
