"""Figures of a film from numbers of its frames, with confidence intervals over its shots."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bladerunner_ae.evaluation.bit_rate import LatentMoments
from bladerunner_ae.evaluation.measurement import METRICS, Measured, Numbers

DRAWS = 1000
LEVEL = 0.95
_SEED = 20_040_526
_DECIMALS = {"psnr": 3, "vmaf": 2, "rate_bits": 2, "black_level": 3}

Stretches = Sequence[tuple[int, int]]
Figures = dict[str, Any]


def summarise(
    measured: Measured,
    labels: NDArray[np.str_],
    pieces: Stretches,
    subsets: Mapping[str, NDArray[np.bool_]] | None = None,
) -> Figures:
    """Summarise a pass over a film, the model as its first system.

    `pieces` are the frames of one shot and label each, of `measurement.stretches`; `subsets` are
    more groups, bool [frames] each, which may overlap. Returns plain JSON values {"groups": {label:
    figures}, "baselines": {name: {label: figures}}, "shots": [figures of the model]}. Figures are
    {"frames", "shots", metric: value or None, "confidence": {metric: [low, high] or None}}.
    """
    frames = measured.choice.frames
    weighted = {name: own.weighted(measured.choice) for name, own in measured.systems.items()}
    systems = {name: _groups(own, frames, labels, pieces) for name, own in weighted.items()}
    for name, subset in (subsets or {}).items():
        if (subset & frames).any():
            for system, own in weighted.items():
                systems[system] |= _groups(
                    own.only(subset), frames & subset, np.where(subset, name, ""), pieces
                )
    model, *_ = systems
    groups = systems.pop(model)
    whole = sum(measured.moments.values(), LatentMoments())
    for label, figures in groups.items():
        bits = measured.moments[label].bits_to(whole) if label in measured.moments else None
        figures["rate_bits_aggregated"] = rounded("rate_bits", bits)
    return {
        "groups": groups,
        "baselines": systems,
        "shots": _shots(weighted[model], frames, labels, pieces),
    }


def _groups(
    numbers: Numbers, frames: NDArray[np.bool_], labels: NDArray[np.str_], pieces: Stretches
) -> Figures:
    found: Figures = {}
    for label in sorted(set(labels[frames].tolist())):
        there = frames & (labels == label)
        own = [(start, end) for start, end in pieces if there[start:end].any()]
        figures: Figures = {"frames": int(there.sum()), "shots": len(own)}
        confidence: Figures = {}
        for name in METRICS:
            values, weights = (
                np.array([array[start:end].sum(dtype=np.float64) for start, end in own])
                for array in (numbers.values[name], numbers.weights[name])
            )
            figures[name] = rounded(name, ratio(values, weights))
            bounds = bootstrap(values, weights)
            confidence[name] = bounds and [rounded(name, bound) for bound in bounds]
        found[label] = {**figures, "confidence": confidence}
    return found


def ratio(values: NDArray[np.floating], weights: NDArray[np.floating]) -> float | None:
    """Return the sum of values over the sum of weights; None if that is 0."""
    total = float(weights.sum(dtype=np.float64))
    return float(values.sum(dtype=np.float64)) / total if total > 0 else None


def bootstrap(
    values: NDArray[np.float64], weights: NDArray[np.float64], draws: int = DRAWS
) -> tuple[float, float] | None:
    """Return the 95 % percentile interval of `ratio`; None for less than two shots with a weight.

    The bootstrap (Efron 1979) draws shots, [shots] sums over their frames, and not frames, because
    neighbouring frames are nearly the same. Its seed is fixed.
    """
    weighty = weights > 0
    if weighty.sum() < 2:
        return None
    random = np.random.default_rng(_SEED)
    shots = len(values)
    # How often each shot was drawn is all that its sums need.
    times = random.multinomial(shots, np.full(shots, 1.0 / shots), size=draws)
    sums, totals = times @ values, times @ weights
    estimates = sums[totals > 0] / totals[totals > 0]
    outside = 100.0 * (1.0 - LEVEL) / 2.0
    low, high = np.percentile(estimates, [outside, 100.0 - outside])
    return float(low), float(high)


def _shots(
    numbers: Numbers, frames: NDArray[np.bool_], labels: NDArray[np.str_], pieces: Stretches
) -> list[Figures]:
    return [
        {
            "first_frame": start,
            "label": str(labels[start]),
            "frames": int(frames[start:end].sum()),
            **{
                name: rounded(
                    name, ratio(numbers.values[name][start:end], numbers.weights[name][start:end])
                )
                for name in METRICS
            },
        }
        for start, end in pieces
        if frames[start:end].any()
    ]


def rounded(name: str, value: float | None) -> float | None:
    """Return a figure with its meaningful decimals; None if it is not finite."""
    if value is None or not math.isfinite(value):
        return None
    return round(value, _DECIMALS.get(name, 4)) + 0.0  # which makes 0 of -0
