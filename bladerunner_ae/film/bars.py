"""Finds the black bars of a film: rows and columns that are black in every one of its frames."""

import numpy as np
from numpy.typing import NDArray

from bladerunner_ae.film.probe import FilmInfo
from bladerunner_ae.film.sampling import key_pictures, spread_pictures

Bars = tuple[int, int, int, int]

_SAMPLES = 48
# Bars seen in fewer bright key frames than this are looked for in the whole film.
_ENOUGH = 8

# Luma, 0..255. Compression and old tapes leave some noise in black.
_BLACK_LEVEL = 16
# A frame without a row in which some channel gets this bright does not show the picture's edge.
_BRIGHT_LEVEL = 48
# So many pixels of a row may be bright by accident: hot pixels, the edge of a channel's logo.
_STRAY_PIXELS = 0.01

# Bars narrower than this part of the film are a ragged edge, not a format.
_NARROWEST = 0.01
# A wide film in an upright one, or the other way round, leaves 32 % of the picture. Less is no
# format either: there, a film shows small bright things on black.
_SMALLEST_PICTURE = 0.25


def find_bars(info: FilmInfo) -> Bars:
    """Finds black bars in frames from all over a film.

    What is picture in any frame is picture: where the bars change, the largest picture counts.

    Args:
        info: the film.

    Returns:
        (top, bottom, left, right), stored pixels of the upright picture to cut off, even numbers;
        zeros where there are none, or where every frame that was looked at is dark.
    """
    extent = _Extent(info.stored)
    for picture in key_pictures(info, _SAMPLES):
        extent.add(picture)
    # A picture that reaches all four edges can only stay so.
    if extent.pictures < _ENOUGH and not extent.whole():
        for picture in spread_pictures(info, _SAMPLES):
            extent.add(picture)
    return extent.bars()


class _Extent:
    """Which rows and columns hold picture in any of the pictures added."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._rows, self._columns = np.zeros(size[0], bool), np.zeros(size[1], bool)
        self.pictures = 0

    def add(self, picture: NDArray[np.uint8]) -> None:
        """Takes a picture into account, unless it is dark."""
        # Ten times as fast as picture.max(axis=2).
        brightness = np.maximum(np.maximum(picture[..., 0], picture[..., 1]), picture[..., 2])
        most = _STRAY_PIXELS * brightness.shape[1]
        if np.count_nonzero(brightness >= _BRIGHT_LEVEL, axis=1).max() <= most:
            return
        self.pictures += 1
        # By luma: colours of the picture's edge bleed into the last rows of a bar, light does not.
        red, green, blue = (picture[..., channel].astype(np.uint16) for channel in range(3))
        bright = (2 * red + 5 * green + blue) // 8 > _BLACK_LEVEL
        self._rows |= np.count_nonzero(bright, axis=1) > most
        self._columns |= np.count_nonzero(bright, axis=0) > _STRAY_PIXELS * brightness.shape[0]

    def whole(self) -> bool:
        """Whether picture was seen at all four edges."""
        return self.pictures > 0 and not any((*_edges(self._rows), *_edges(self._columns)))

    def bars(self) -> Bars:
        """(top, bottom, left, right)."""
        top, bottom = _edges(self._rows)
        left, right = _edges(self._columns)
        height, width = len(self._rows), len(self._columns)
        kept = (height - top - bottom) * (width - left - right)
        if kept < _SMALLEST_PICTURE * height * width:
            return 0, 0, 0, 0
        return top, bottom, left, right


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
