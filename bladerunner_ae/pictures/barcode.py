"""Colours of a film's barcode: mean light of frames, and its columns.

Colours are averaged as light, not as code values, as an eye does from afar: half black and half
white is 188, not 128.
"""

import numpy as np
from numpy.typing import NDArray

UNREADABLE = (255, 0, 255)
"""Colour of unreadable frames, which films hardly ever have."""

Picture = NDArray[np.uint8]


def barcode_colours(means: NDArray[np.float64], width: int) -> Picture:
    """Average frames to columns, uint8 [min(frames, width), 3] in sRGB, each frame in exactly one.

    `means` is the linear light of each frame, [frames, 3] 0..1; NaN where it is not known.
    """
    columns = min(len(means), width)
    starts = np.arange(columns) * len(means) // columns
    known = ~np.isnan(means[:, :1])
    totals = np.add.reduceat(np.where(known, means, 0), starts)
    counts = np.add.reduceat(known.astype(np.int64), starts)
    colours = _to_srgb(totals / np.maximum(counts, 1))
    return np.where(counts > 0, colours, np.array(UNREADABLE, np.uint8)).astype(np.uint8)


def _from_srgb() -> NDArray[np.float64]:
    code = np.arange(256) / 255
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


_LIGHT = _from_srgb()


def mean_of(picture: Picture) -> NDArray[np.float64]:
    # Counting code values is far quicker than powers.
    counts = np.stack([np.bincount(picture[..., c].ravel(), minlength=256) for c in range(3)])
    return (counts @ _LIGHT) / max(picture.shape[0] * picture.shape[1], 1)


def band_light(pictures: Picture, bands: int) -> NDArray[np.float64]:
    """Return the mean linear light of horizontal bands of sRGB pictures, top to bottom.

    uint8 [n, H, W, 3] -> float64 [n, bands, 3], 0..1; with fewer rows than bands some are the same.
    """
    height, width = pictures.shape[1:3]
    rows = np.stack([_LIGHT[picture].sum(axis=1) for picture in pictures]) / width
    starts = np.arange(bands) * height // bands
    ends = np.maximum(np.arange(1, bands + 1) * height // bands, starts + 1)
    return np.stack([rows[:, s:e].mean(axis=1) for s, e in zip(starts, ends, strict=True)], axis=1)


def _to_srgb(light: NDArray[np.float64]) -> Picture:
    code = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.clip(np.rint(code * 255), 0, 255).astype(np.uint8)
