"""Finds the black bars of a film: rows and columns that are black in every one of its frames."""

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from bladerunner_ae.film.decode import FrameReader
from bladerunner_ae.film.probe import FilmInfo

Bars = tuple[int, int, int, int]

_SAMPLES = 24
_FRAMES_A_SAMPLE = 2
# Compression leaves some noise in the black; ffmpeg's cropdetect takes 24 as well.
_BLACK_LEVEL = 24
# A frame whose brightest row is darker says nothing about where the picture ends.
_DARK_LEVEL = 48
# Bars narrower than this part of the film are a ragged edge, not a format.
_NARROWEST = 0.01
# If more than this much of the film seems black, it is a film of night, not of bars.
_MOST = 0.6


def find_bars(info: FilmInfo) -> Bars:
    """Finds black bars in frames from all over a film.

    What is picture in any frame is picture: where the bars change, the largest picture counts.
    A row or column is black if hardly any of its pixels is brighter than black.

    Args:
        info: the film.

    Returns:
        (top, bottom, left, right), stored pixels of the upright picture to cut off, even numbers;
        zeros where there are none, or where every sampled frame was dark.
    """
    rows = np.zeros(info.stored[0], np.uint8)
    columns = np.zeros(info.stored[1], np.uint8)
    for image in _sample(info):
        brightness = image.max(axis=2)
        # The 99th percentile, so that a few hot pixels or a channel's logo edge do not count.
        row_level = np.percentile(brightness, 99, axis=1).astype(np.uint8)
        if row_level.max() >= _DARK_LEVEL:
            rows = np.maximum(rows, row_level)
            columns = np.maximum(columns, np.percentile(brightness, 99, axis=0).astype(np.uint8))
    top, bottom = _edges(rows)
    left, right = _edges(columns)
    return top, bottom, left, right


def _edges(levels: NDArray[np.uint8]) -> tuple[int, int]:
    bright = np.flatnonzero(levels > _BLACK_LEVEL)
    if not len(bright):
        return 0, 0
    before, after = int(bright[0]), len(levels) - 1 - int(bright[-1])
    narrowest = _NARROWEST * len(levels)
    # Rounded outwards to even numbers, so that no row of picture is lost and chroma stays whole.
    before = before - before % 2 if before >= narrowest else 0
    after = after - after % 2 if after >= narrowest else 0
    return (before, after) if before + after <= _MOST * len(levels) else (0, 0)


def _sample(info: FilmInfo) -> list[NDArray[np.uint8]]:
    """Frames from places spread evenly over the film; from its start if its length is unknown."""
    frames = info.frames_estimate or 0
    length = info.duration or Fraction(frames) / info.frame_rate
    if length <= 0 or info.kind == "images":
        return _read(info, None, _SAMPLES * _FRAMES_A_SAMPLE * 4)[::4]
    found: list[NDArray[np.uint8]] = []
    for i in range(_SAMPLES):
        found += _read(info, length * (2 * i + 1) / (2 * _SAMPLES), _FRAMES_A_SAMPLE)
    # A header can promise more than the file holds, or seeking can fail altogether.
    return found or _read(info, None, _SAMPLES * _FRAMES_A_SAMPLE)


def _read(info: FilmInfo, start: Fraction | None, count: int) -> list[NDArray[np.uint8]]:
    images: list[NDArray[np.uint8]] = []
    with FrameReader(info, start=start) as reader:
        for frame in reader:
            images.append(frame.image)
            if len(images) >= count:
                break
    return images
