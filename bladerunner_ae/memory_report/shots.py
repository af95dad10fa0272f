"""From frames to shots: how well each is remembered, and whether motion has to do with it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bladerunner_ae.memory_report.measure import FilmMemory
from bladerunner_ae.memory_report.parts import Part

FEWEST = 5
"""Fewer shots than this say nothing about a relation."""

_DRAWS, _SEED = 2000, 20_170_415


@dataclass(frozen=True)
class ShotMemory:
    """What is remembered of a part of a film.

    Attributes:
        part: which frames.
        measured: how many of them were looked at.
        weight: how many frames of the film these stand for.
        seconds: when it begins, from the film's first frame.
        length: seconds it lasts.
        psnr, ssim: means over its frames, dB and -1..1.
        motion: mean change from frame to frame, grey levels; None where no two neighbours were
            looked at.
        shown: the frame that stands for it: its PSNR is nearest to the mean.
        shown_psnr: that frame's PSNR, dB.
    """

    part: Part
    measured: int
    weight: float
    seconds: float
    length: float
    psnr: float
    ssim: float
    motion: float | None
    shown: int
    shown_psnr: float


def shot_memories(films: Sequence[FilmMemory], parts: Sequence[Part]) -> list[ShotMemory]:
    """Sums up each part of which a frame was looked at, in the order of `parts`."""
    found = []
    for part in parts:
        film = films[part.film]
        first, after = np.searchsorted(film.frames, [part.start, part.end])
        if first == after:
            continue
        own = slice(int(first), int(after))
        weights = film.weights[own]
        psnr = film.psnr[own].astype(np.float64)
        mean = _mean(psnr, weights)
        moving = np.isfinite(film.motion[own])
        shown = int(np.abs(psnr - mean).argmin())
        found.append(
            ShotMemory(
                part=part,
                measured=int(after - first),
                weight=float(weights.sum(dtype=np.float64)),
                seconds=float(film.seconds[first] - (film.frames[first] - part.start)
                              / float(film.card.frame_rate)),
                length=(part.end - part.start) / float(film.card.frame_rate),
                psnr=mean,
                ssim=_mean(film.ssim[own], weights),
                motion=_mean(film.motion[own][moving], film.change_weights[own][moving])
                if moving.any() else None,
                shown=int(film.frames[first + shown]),
                shown_psnr=float(psnr[shown]),
            )
        )  # fmt: skip
    return found


def _mean(values: NDArray[np.floating], weights: NDArray[np.float32]) -> float:
    total = weights.sum(dtype=np.float64)
    return float((values * weights).sum(dtype=np.float64) / total)


def group_means(shots: Sequence[ShotMemory]) -> dict[str, tuple[float, float, int]]:
    """Returns label -> (PSNR, SSIM, frames), each shot counting with the frames it stands for.

    They are the means over frames that `evaluate` prints, if it measures as many.
    """
    found = {}
    for label in dict.fromkeys(shot.part.label for shot in shots):
        own = [shot for shot in shots if shot.part.label == label]
        weights = np.array([shot.weight for shot in own])
        psnr, ssim = (
            float(np.average([getattr(shot, name) for shot in own], weights=weights))
            for name in ("psnr", "ssim")
        )
        found[label] = psnr, ssim, sum(shot.part.end - shot.part.start for shot in own)
    return found


@dataclass(frozen=True)
class Relation:
    """A rank correlation over shots.

    Attributes:
        rho: Spearman's, -1..1.
        low, high: 95 % interval, by drawing shots with replacement.
        shots: how many there were.
    """

    rho: float
    low: float
    high: float
    shots: int

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def relation(one: Sequence[float], other: Sequence[float]) -> Relation | None:
    """Rank correlation of two figures of the same shots (Spearman 1904).

    Returns:
        None for fewer shots than `FEWEST`, or where one of the figures is the same for all.
    """
    values = np.array([one, other], np.float64)
    count = values.shape[1]
    if count < FEWEST:
        return None
    rho = spearman(*values)
    if not math.isfinite(rho):
        return None
    random = np.random.default_rng(_SEED)
    drawn = [spearman(*values[:, random.integers(0, count, count)]) for _ in range(_DRAWS)]
    low, high = np.nanpercentile(drawn, [2.5, 97.5])
    return Relation(rho, float(low), float(high), count)


def spearman(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Pearson's correlation of the ranks; equal values share their mean rank. NaN if undefined."""
    ranks = [_ranks(one), _ranks(other)]
    centred = [rank - rank.mean() for rank in ranks]
    scale = math.sqrt(float((centred[0] ** 2).sum() * (centred[1] ** 2).sum()))
    return float((centred[0] * centred[1]).sum()) / scale if scale > 0 else math.nan


def _ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2.0)[inverse.reshape(-1)]
