"""Detection of the shots of a film while its records are made.

The score of ffmpeg's `scdet` filter says how suddenly a picture changes (0..100): the smaller of
the mean absolute difference from the frame before and the change of that difference, so that even
motion scores low. It is taken of RGB: of YCbCr the filter would see luma only, and miss cuts
between pictures that differ in colour. On the Big Buck Bunny trailer five cuts score 24 to 26 and
nothing else over 5.3. The formula is written out here because a filter graph takes ten times as
long for so small a picture; a test holds it against the filter.
"""

from collections import deque
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

# Nearer to the loudest motion than to the faintest cut: a cut that is missed only makes a shot
# longer, one that is invented splits a shot between training and held-out frames.
_THRESHOLD = 12.0
_BLACK_LEVEL = 24
_ENOUGH_PIXELS = 9216
# Shots this short are flashes: no shot begins so soon after another.
_SHORTEST_SHOT = 4
# After a flash the picture is back as it was: nearer to the picture before than this part of the
# flash's own distance from it.
_RETURNED = 0.5

WARM_UP_FRAMES = _SHORTEST_SHOT + 1
"""Frames that a meter must see before its marks no longer depend on where it began."""

# Bits of a frame's mark. Bit _RETURNED_BIT << age: there was a cut `age` frames before, and now the
# picture is back as it was before that cut.
_CUT, _BLACK, _RETURNED_BIT = 1, 2, 2
MARK_BITS = 2 + _SHORTEST_SHOT - 1


def thumbnail(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Some rows of a large picture, uint8 [rows, width, 3], enough for finding shots.

    Whole rows, because picking single pixels out of rows takes ten times as long. A thumbnail's
    thumbnail is the thumbnail itself.
    """
    step = max(image.shape[0] * image.shape[1] // _ENOUGH_PIXELS, 1)
    return np.ascontiguousarray(image[::step])


class ShotMeter:
    """Meter of each frame's contribution to finding shots; `score` is `scdet`'s lavfi.scd.score.

    A mark depends on the frame and the `WARM_UP_FRAMES` before it, so a meter may begin anywhere.
    """

    def __init__(self) -> None:
        self.score = 0.0
        self._before: NDArray[np.uint8] | None = None
        self._difference = 0.0
        # Coarse pictures and cuts of the last frames, the newest last.
        self._coarse: deque[NDArray[np.uint8]] = deque(maxlen=_SHORTEST_SHOT + 1)
        self._cuts: deque[bool] = deque(maxlen=_SHORTEST_SHOT)

    def mark(self, image: NDArray[np.uint8]) -> int:
        """Return the mark, `MARK_BITS` wide, of the next picture (RGB) or its thumbnail."""
        image = thumbnail(image)
        before = self._difference
        self._difference = 0.0 if self._before is None else _difference(image, self._before)
        self.score = min(self._difference, abs(self._difference - before))
        self._before = image
        self._coarse.append(image[::4, ::4].copy())
        self._cuts.append(self.score >= _THRESHOLD)
        mark = _CUT * self._cuts[-1] + _BLACK * (int(image.max()) <= _BLACK_LEVEL)
        for age in range(1, len(self._cuts)):
            if self._cuts[-1 - age] and self._returned(age):
                mark |= _RETURNED_BIT << age
        return mark

    def _returned(self, age: int) -> bool:
        """Whether the picture is again as it was before the cut `age` frames ago."""
        cut, before = self._coarse[-1 - age], self._coarse[-2 - age]
        return _distance(self._coarse[-1], before) < _RETURNED * _distance(cut, before)


def shot_starts(marks: Iterable[int]) -> list[int]:
    """Return the first frame of each shot, beginning with 0, from the marks of all frames."""
    starts, by_cut, was_black = [0], False, False
    for number, mark in enumerate(marks):
        cut, black, age = bool(mark & _CUT), bool(mark & _BLACK), number - starts[-1]
        # A fade has no cut; the first picture after black begins a shot as well.
        if (cut or (was_black and not black)) and age >= _SHORTEST_SHOT:
            starts.append(number)
            by_cut = cut and not was_black
        elif by_cut and 0 < age < _SHORTEST_SHOT and mark & (_RETURNED_BIT << age):
            starts.pop()
            by_cut = False
        was_black = black
    return starts


def _distance(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(np.abs(one.astype(np.int16) - other).mean())


def _difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Mean absolute difference in hundredths of the range, `scdet`'s lavfi.scd.mafd."""
    # Differences of bytes without a wider type: the pictures stay in the processor's cache.
    total = int((np.maximum(one, other) - np.minimum(one, other)).sum(dtype=np.uint32))
    return 100 * total / one.size / 256
