"""Finds the shots of a film while its records are made.

The score of ffmpeg's `scdet` filter says how suddenly a picture changes (0..100): the smaller of
the mean absolute difference from the frame before and the change of that difference, so that even
motion scores low. It is taken of RGB: of YCbCr the filter would see luma only, and miss cuts
between pictures that differ in colour. On the Big Buck Bunny trailer five cuts score 24 to 26 and
nothing else over 5.3. The formula is written out here because a filter graph takes ten times as
long for so small a picture; a test holds it against the filter.
"""

import base64
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Nearer to the loudest motion than to the faintest cut: a cut that is missed only makes a shot
# longer, one that is invented splits a shot between training and held-out frames.
_THRESHOLD = 12.0
_BLACK_LEVEL = 24
_ENOUGH_PIXELS = 9216
# Shots this short are flashes: no shot begins so soon after another.
_SHORTEST_SHOT = 4
# So many frames before the first that counts make a meter's measures independent of where it began:
# a score takes two, and a cut is followed for a few frames more.
WARM_UP_FRAMES = _SHORTEST_SHOT + 1
# After a flash the picture is back as it was: nearer to the picture before than this part of the
# flash's own distance from it.
_RETURNED = 0.5


def thumbnail(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Some rows of a large picture, uint8 [rows, width, 3], enough for finding shots.

    Whole rows, because picking single pixels out of rows takes ten times as long. A thumbnail's
    thumbnail is the thumbnail itself.
    """
    step = max(image.shape[0] * image.shape[1] // _ENOUGH_PIXELS, 1)
    return np.ascontiguousarray(image[::step])


@dataclass(frozen=True)
class ShotMeasure:
    """Contribution of a frame to finding shots, from it and the two frames before.

    Attributes:
        coarse: uint8 [rows, columns, 3], of a cut and the few frames after it; else None.
        before: the same of the frame before a cut; else None.
    """

    cut: bool
    black: bool
    coarse: NDArray[np.uint8] | None = field(default=None, compare=False)
    before: NDArray[np.uint8] | None = field(default=None, compare=False)


class ShotMeter:
    """Measures frame after frame; may begin anywhere, `WARM_UP_FRAMES` before the first needed.

    Attributes:
        score: of the last picture, `scdet`'s lavfi.scd.score.
    """

    def __init__(self) -> None:
        self.score = 0.0
        self._difference = 0.0
        self._fed: deque[NDArray[np.uint8]] = deque(maxlen=2)
        self._count = 0
        self._last_cut: int | None = None

    def measure(self, image: NDArray[np.uint8]) -> ShotMeasure:
        """Take the next picture or its thumbnail, uint8 [height, width, 3], RGB."""
        image = thumbnail(image)
        self._take_score(image)
        cut = self.score >= _THRESHOLD
        if cut:
            self._last_cut = self._count
        near = self._last_cut is not None and self._count - self._last_cut < _SHORTEST_SHOT
        measure = ShotMeasure(
            cut,
            black=int(image.max()) <= _BLACK_LEVEL,
            coarse=_coarse(image) if near else None,
            before=_coarse(self._fed[-1]) if cut else None,
        )
        self._fed.append(image)
        self._count += 1
        return measure

    def _take_score(self, image: NDArray[np.uint8]) -> None:
        before = self._difference
        self._difference = _difference(image, self._fed[-1]) if self._fed else 0.0
        self.score = min(self._difference, abs(self._difference - before))

    def state(self) -> dict[str, Any]:
        """JSON values from which `from_state` makes a meter that continues identically."""
        return {
            "count": self._count,
            "last_cut": self._last_cut,
            "shape": list(self._fed[-1].shape) if self._fed else [],
            "fed": [base64.b64encode(image.tobytes()).decode("ascii") for image in self._fed],
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "ShotMeter":
        """Read what `state` gave."""
        meter = cls()
        meter._count = int(state["count"]) - len(state["fed"])
        for text in state["fed"]:
            image = np.frombuffer(base64.b64decode(text), np.uint8).reshape(state["shape"])
            # A picture is scored by the two before it, which this tells the meter.
            meter.measure(image)
        meter._last_cut = state["last_cut"]
        return meter


class ShotFinder:
    """Feed it the record pictures in order, or their measures, then ask for `starts`."""

    def __init__(self) -> None:
        self._meter = ShotMeter()
        self._starts = [0]
        self._count = 0
        self._was_black = False
        self._before_cut: NDArray[np.uint8] | None = None
        self._jump = 0.0

    def feed(self, image: NDArray[np.uint8]) -> None:
        """Take the next picture or its thumbnail, uint8 [height, width, 3], RGB."""
        self.take(self._meter.measure(image))

    def take(self, measure: ShotMeasure) -> None:
        """Take what a meter made of the next picture."""
        cut, black = measure.cut, measure.black
        # A fade has no cut; the first picture after black begins a shot as well.
        if (cut or (self._was_black and not black)) and self._age() >= _SHORTEST_SHOT:
            self._starts.append(self._count)
            self._before_cut = measure.before if cut and not self._was_black else None
            self._jump = _distance(measure.coarse, self._before_cut)
        elif self._age() < _SHORTEST_SHOT and self._returned(measure.coarse):
            self._starts.pop()
            self._before_cut = None
        self._was_black = black
        self._count += 1

    def state(self) -> dict[str, Any]:
        """JSON values from which `from_state` makes a finder that continues identically."""
        return {
            "meter": self._meter.state(),
            "count": self._count,
            "starts": self._starts,
            "was_black": self._was_black,
            "jump": self._jump,
            "before_cut": None if self._before_cut is None else self._before_cut.tolist(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "ShotFinder":
        """Read what `state` gave."""
        finder = cls()
        finder._meter = ShotMeter.from_state(state["meter"])
        finder._count, finder._starts = int(state["count"]), list(state["starts"])
        finder._was_black, finder._jump = bool(state["was_black"]), float(state["jump"])
        if state["before_cut"] is not None:
            finder._before_cut = np.array(state["before_cut"], np.uint8)
        return finder

    def _age(self) -> int:
        return self._count - self._starts[-1]

    def _returned(self, coarse: NDArray[np.uint8] | None) -> bool:
        """Whether the picture is again what it was before the shot that has just begun."""
        if self._before_cut is None:
            return False
        return _distance(coarse, self._before_cut) < _RETURNED * self._jump

    @property
    def starts(self) -> list[int]:
        """First frame of each shot so far; begins with 0."""
        return list(self._starts)


def measures_to_json(measures: list[ShotMeasure]) -> dict[str, Any]:
    """The measures of consecutive frames as JSON values, for `measures_from_json`."""
    pictures = {}
    shape: tuple[int, ...] = ()
    for place, measure in enumerate(measures):
        if measure.coarse is not None:
            shape = measure.coarse.shape
            pictures[str(place)] = [_to_text(measure.coarse), _to_text(measure.before)]
    return {
        "flags": "".join(str(measure.cut + 2 * measure.black) for measure in measures),
        "pictures": pictures,
        "shape": list(shape),
    }


def measures_from_json(values: dict[str, Any]) -> list[ShotMeasure]:
    """Read what `measures_to_json` gave."""
    shape, nothing = tuple(values["shape"]), (None, None)
    measures = []
    for place, flags in enumerate(map(int, values["flags"])):
        coarse, before = values["pictures"].get(str(place), nothing)
        pictures = (_from_text(coarse, shape), _from_text(before, shape))
        measures.append(ShotMeasure(bool(flags & 1), bool(flags & 2), *pictures))
    return measures


def _to_text(picture: NDArray[np.uint8] | None) -> str | None:
    return None if picture is None else base64.b64encode(picture.tobytes()).decode("ascii")


def _from_text(text: str | None, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    return None if text is None else np.frombuffer(base64.b64decode(text), np.uint8).reshape(shape)


def _coarse(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return image[::4, ::4].copy()


def _distance(one: NDArray[np.uint8] | None, other: NDArray[np.uint8] | None) -> float:
    if one is None or other is None:
        return 0.0
    return float(np.abs(one.astype(np.int16) - other).mean())


def _difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """Mean absolute difference in hundredths of the range, `scdet`'s lavfi.scd.mafd."""
    # Differences of bytes without a wider type: the pictures stay in the processor's cache.
    total = int((np.maximum(one, other) - np.minimum(one, other)).sum(dtype=np.uint32))
    return 100 * total / one.size / 256
