"""The weights of an objective's terms as they are at one moment of a run."""

from collections.abc import Mapping

from bladerunner_ae.objectives import base

_ADVERSARIAL = ("adversarial_weight", "gan_scale")
_LATE = ("adversarial_weight", "feature_weight")
_SCHEDULE = ("adversarial_start", "adversarial_ramp", "kl_warmup")


def weights_now(
    weights: Mapping[str, float], progress: float, adversarial_scale: float
) -> dict[str, float]:
    """Returns what each term is multiplied by, by name for the logs: "weight/kl" and so on.

    "weight/noise" is the standard deviation of the posterior sample, in units of the posterior's.

    Args:
        weights: of the objective, as `RunConfig.weights` has them.
        progress: part of the run's steps that has been taken, 0..1.
        adversarial_scale: what the watchdog has left of the adversarial weight, 0..1.
    """
    found = {}
    unasked = "adversarial_start" in weights and not any(weights.get(name) for name in _LATE)
    for name, value in weights.items():
        if unasked and name in (*_LATE, "r1_weight"):  # dream, without an adversary
            continue
        if name in _SCHEDULE or not isinstance(value, int | float):
            continue
        share = 1.0
        if name in _ADVERSARIAL:
            share = adversarial_scale
        if name in _LATE and "adversarial_start" in weights:
            start = weights["adversarial_start"]
            share *= float(base.ramp(progress, start, start + weights["adversarial_ramp"]))
        if name == "kl_weight" and "kl_warmup" in weights:
            share *= float(base.ramp(progress, 0.0, weights["kl_warmup"]))
        found[f"weight/{name.removesuffix('_weight')}"] = float(value) * share
    return found
