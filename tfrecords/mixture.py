"""Several films as one training set.

A film's weight says how often each of its frames is seen. In one *pass* over the set every kept
frame of the film of smallest weight is drawn once, and every other frame as many times as its
film's weight is larger: with weights 2 and 1, each frame of the first film twice, each of the
second once. With weights that do not divide, such as 1.5 and 1, a frame is drawn once or twice, so
that the passes together give the proportion; see `tfrecords.draw_order`.

Balanced by shots, a shot of L kept frames is drawn in proportion to the root of L instead of L, and
the film as often as before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tfrecords import storage
from tfrecords.card import FilmCard, check_shards
from tfrecords.record_errors import RecordsError

BALANCES = ("none", "shots")


@dataclass(frozen=True, eq=False)
class FilmPart:
    """One film of a training set.

    Attributes:
        directory: its folder of records, local or remote.
        keep: bool [frames], the frames to train on; None for all.
        weight: draws of a frame relative to the other films' weights; above 0.
    """

    directory: storage.AnyPath
    card: FilmCard
    keep: NDArray[np.bool_] | None = None
    weight: float = 1.0

    def kept(self) -> NDArray[np.bool_]:
        """Return bool [frames]; raise ValueError if `keep` has another length or keeps nothing."""
        frames = self.card.frames
        keep = np.ones(frames, bool) if self.keep is None else np.asarray(self.keep)
        if keep.shape != (frames,) or keep.dtype != np.bool_ or not keep.any():
            raise ValueError(f"'keep' must be bool [{frames}] and keep at least one frame")
        return keep


def check_together(parts: Sequence[FilmPart]) -> None:
    """Check that films can be one training set and that their shards are there.

    Raises:
        RecordsError: films differ in size, a film is given twice, or shards are missing.
        ValueError: there is no film, or a weight is not above 0.
    """
    if not parts:
        raise ValueError("a training set needs at least one film")
    first = parts[0]
    seen: dict[str, storage.AnyPath] = {}
    for part in parts:
        if not 0.0 < part.weight < math.inf:
            raise ValueError(f"{part.directory}: weight {part.weight} is not above 0")
        height, width = first.card.height, first.card.width
        if (part.card.height, part.card.width) != (height, width):
            raise RecordsError(
                f"{part.directory}: frames are {part.card.height}x{part.card.width} but those of "
                f"{first.directory} are {height}x{width}; convert one of the films again with "
                f"--height={height} --width={width}"
            )
        if part.card.film_id in seen:
            raise RecordsError(
                f"{part.directory}: is the same film as {seen[part.card.film_id]}; "
                "name it once and give it a larger weight"
            )
        seen[part.card.film_id] = part.directory
        check_shards(part.directory, part.card)


def quotas(parts: Sequence[FilmPart], balance: str = "none") -> NDArray[np.float64]:
    """Return the draws of each frame in one pass, on average over passes.

    Args:
        balance: "none": frames of one film are drawn equally often. "shots": the frames of a shot
            of L kept frames in proportion to 1 / sqrt(L); the film's sum stays the same.

    Returns:
        float64 [frames of all films, in the order of `parts`]; 0 for frames that are not kept.
    """
    if balance not in BALANCES:
        raise ValueError(f"balance {balance!r} is not one of {BALANCES}")
    smallest = min(part.weight for part in parts)
    found = []
    for part in parts:
        kept = part.kept()
        share = kept.astype(np.float64)
        if balance == "shots":
            for start, end in part.card.shots():
                share[start:end] /= math.sqrt(max(int(kept[start:end].sum()), 1))
            share *= kept.sum() / share.sum()
        found.append(share * (part.weight / smallest))
    return np.concatenate(found)
