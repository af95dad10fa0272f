"""Frames as points on a plane: the two directions in latent space that show most in pictures."""

import colorsys
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEWEST = 3

_STOPS = np.array(
    [[74, 98, 160], [70, 152, 170], [196, 190, 150], [242, 166, 90], [214, 92, 72]], np.float64
)


@dataclass(frozen=True, eq=False)
class LatentMap:
    """A map of n frames.

    Attributes:
        places: float64 [n, 2], each direction scaled to 0..1.
        share: part of the squared covariance of latents and pictures in the two directions, 0..1.
    """

    places: NDArray[np.float64]
    share: float


def latent_map(latents: NDArray[np.float32], thumbnails: NDArray[np.float32]) -> LatentMap | None:
    """Projects latents on the two directions along which they vary most together with pictures.

    These are left singular vectors of the covariance of latents and pictures (partial least
    squares by SVD; Wold 1985). Principal components of the latents alone would not do: a linear
    path gives them about the same spread in every direction, and a few odd frames decide.

    Args:
        latents: float32 [n, L].
        thumbnails: float32 [n, any], small pictures of the same frames.

    Returns:
        None for fewer than three frames, or frames that are all the same.
    """
    if len(latents) < FEWEST or latents.shape[1] < 2 or not np.isfinite(latents).all():
        return None
    values = latents.astype(np.float64) - latents.mean(axis=0, dtype=np.float64)
    pictures = thumbnails.astype(np.float64) - thumbnails.mean(axis=0, dtype=np.float64)
    directions, widths, _ = np.linalg.svd(values.T @ pictures, full_matrices=False)
    total = float((widths**2).sum())
    if total < 1e-9:
        return None
    # The sign is a matter of taste of the solver; the largest weight shall be positive.
    two = directions[:, :2]
    two = two * np.sign(two[np.abs(two).argmax(axis=0), [0, 1]])
    places = values @ two
    places -= places.min(axis=0)
    spans = places.max(axis=0)
    share = float((widths[:2] ** 2).sum()) / total
    return LatentMap(places / np.where(spans > 0, spans, 1.0), share)


def time_colour(part: float) -> str:
    """Returns the colour of a moment, 0 the film's beginning and 1 its end: from blue to amber."""
    place = min(max(part, 0.0), 1.0) * (len(_STOPS) - 1)
    low = min(int(place), len(_STOPS) - 2)
    red, green, blue = _STOPS[low] + (place - low) * (_STOPS[low + 1] - _STOPS[low])
    return f"#{round(red):02x}{round(green):02x}{round(blue):02x}"


def shot_colour(number: int) -> str:
    """Returns the colour of a shot; neighbours differ by the golden angle."""
    red, green, blue = colorsys.hls_to_rgb(number * 0.381966 % 1.0, 0.62, 0.45)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"
