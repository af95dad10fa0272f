"""Finds the black bars of a film: rows and columns that are black in every one of its frames."""

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from bladerunner_ae.film.picture.cropping import Cropper
from bladerunner_ae.film.reading.brightness import Brightness
from bladerunner_ae.film.reading.probe import FilmInfo
from bladerunner_ae.film.reading.samples import sample_frames, sample_key_frames

Bars = tuple[int, int, int, int]

_SAMPLES = 48
# Bars seen in fewer bright key frames than this are looked for in the whole film.
_ENOUGH = 8

# So many pixels of a row may be bright by accident: hot pixels, the edge of a channel's logo.
_STRAY_PIXELS = 0.01

# Bars narrower than this part of the film are a ragged edge, not a format.
_NARROWEST = 0.01
# A wide film in an upright one, or the other way round, leaves 32 % of the picture. Less is no
# format either: there, a film shows small bright things on black.
_SMALLEST_PICTURE = 0.25


def find_bars(info: FilmInfo) -> Bars:
    """Finds black bars in frames from all over a film.

    What is picture in any frame is picture: where the bars change, the largest picture counts. The
    search ends as soon as picture was seen at all four edges.

    Args:
        info: the film.

    Returns:
        (top, bottom, left, right), stored pixels of the upright picture to cut off, even numbers;
        zeros where there are none, or where every frame that was looked at is dark.
    """
    extent = _Extent(info)
    for search in (sample_key_frames, sample_frames):
        for frame in search(info, _SAMPLES):
            extent.add(frame)
            if extent.whole():
                return 0, 0, 0, 0
        if extent.frames >= _ENOUGH:
            break
    return extent.bars()


class _Extent:
    """Which rows and columns, as decoded, hold picture in any of the frames added."""

    def __init__(self, info: FilmInfo) -> None:
        self._info = info
        height, width = info.coded
        self._rows, self._columns = np.zeros(height, bool), np.zeros(width, bool)
        self._cropper = Cropper(info.crop)
        self.frames = 0

    def add(self, frame: VideoFrame) -> None:
        """Takes a frame into account, unless it is dark."""
        brightness = Brightness(self._cropper.apply(frame), self._info)
        if brightness.is_dark(_STRAY_PIXELS):
            return
        self.frames += 1
        lit = brightness.lit()
        self._rows |= np.count_nonzero(lit, axis=1) > _STRAY_PIXELS * lit.shape[1]
        self._columns |= np.count_nonzero(lit, axis=0) > _STRAY_PIXELS * lit.shape[0]

    def whole(self) -> bool:
        """Whether picture was seen at all four edges; it can only stay so."""
        return self.frames > 0 and not any((*_edges(self._rows), *_edges(self._columns)))

    def bars(self) -> Bars:
        """(top, bottom, left, right) of the upright picture."""
        top, bottom = _edges(self._rows)
        left, right = _edges(self._columns)
        height, width = len(self._rows), len(self._columns)
        kept = (height - top - bottom) * (width - left - right)
        if kept < _SMALLEST_PICTURE * height * width:
            return 0, 0, 0, 0
        if self._info.mirrored:
            top, bottom = bottom, top
        return _upright((top, bottom, left, right), self._info.rotation)


def _upright(bars: Bars, rotation: int) -> Bars:
    """Bars of a picture that is to be turned so many degrees clockwise, after turning."""
    top, bottom, left, right = bars
    return {
        90: (left, right, bottom, top),
        180: (bottom, top, right, left),
        270: (right, left, top, bottom),
    }.get(rotation, bars)


def _edges(lit: NDArray[np.bool_]) -> tuple[int, int]:
    places = np.flatnonzero(lit)
    if not len(places):
        return 0, 0
    narrowest = max(_NARROWEST * len(lit), 2)
    # Rounded to even numbers that leave a black row rather than cut one of the picture: chroma
    # has one sample for two rows.
    before, after = (
        edge // 2 * 2 if edge >= narrowest else 0
        for edge in (int(places[0]), len(lit) - 1 - int(places[-1]))
    )
    return before, after
