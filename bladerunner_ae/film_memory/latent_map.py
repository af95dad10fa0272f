"""Frames as points on a plane: the two directions in which their latents differ most."""

import colorsys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEWEST = 3


@dataclass(frozen=True, eq=False)
class LatentMap:
    """A map of n frames.

    Attributes:
        places: float64 [n, 2], each direction scaled to 0..1 with the same scale.
        share: how much of the latents' variance the two directions show, 0..1.
    """

    places: NDArray[np.float64]
    share: float


def latent_map(latents: NDArray[np.float32]) -> LatentMap | None:
    """Projects latents, float32 [n, L], on their first two principal components.

    Returns:
        None for fewer than three frames, or latents that are all the same.
    """
    if len(latents) < FEWEST or latents.shape[1] < 2 or not np.isfinite(latents).all():
        return None
    centred = latents.astype(np.float64) - latents.mean(axis=0, dtype=np.float64)
    total = float((centred**2).sum())
    if total < 1e-9:
        return None
    left, widths, right = np.linalg.svd(centred, full_matrices=False)
    # The sign is a matter of taste of the solver; the largest weight shall be positive.
    signs = np.sign(right[np.arange(2), np.abs(right[:2]).argmax(axis=1)])
    places = left[:, :2] * widths[:2] * signs
    places -= places.min(axis=0)
    spans = places.max(axis=0)
    return LatentMap(places / np.where(spans > 0, spans, 1.0), float((widths[:2] ** 2).sum())
                     / total)  # fmt: skip


def time_colour(part: float) -> str:
    """Returns the colour of a moment, 0 the film's beginning and 1 its end: from blue to amber."""
    stops = np.array([[74, 98, 160], [70, 152, 170], [196, 190, 150], [242, 166, 90], [214, 92, 72]])
    place = min(max(part, 0.0), 1.0) * (len(stops) - 1)
    low = min(int(place), len(stops) - 2)
    red, green, blue = stops[low] + (place - low) * (stops[low + 1] - stops[low])
    return f"#{round(red):02x}{round(green):02x}{round(blue):02x}"


def shot_colour(number: int) -> str:
    """Returns the colour of a shot; neighbours differ by the golden angle."""
    red, green, blue = colorsys.hls_to_rgb(number * 0.381966 % 1.0, 0.62, 0.45)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"
