"""Finds the shots of a film while its records are made.

ffmpeg's `scdet` filter scores how suddenly a picture changes (0..100): the smaller of the mean
absolute difference from the frame before and the change of that difference, so that steady motion
scores low. It gets RGB: of YCbCr it would look at luma only, and miss cuts between pictures that
differ in colour. On the Big Buck Bunny trailer five cuts score 24 to 26 and nothing else over 5.3.
"""

from fractions import Fraction
from math import isqrt

import numpy as np
from av.filter import Graph
from av.video.frame import VideoFrame
from numpy.typing import NDArray

# Nearer to the loudest motion than to the faintest cut: a cut that is missed only makes a shot
# longer, one that is invented splits a shot between training and held-out frames.
_THRESHOLD = 12.0
_BLACK_LEVEL = 24
_ENOUGH_PIXELS = 9216
_TIME_BASE = Fraction(1)
# Shots this short are flashes: no shot begins so soon after another.
_SHORTEST_SHOT = 4
# After a flash the picture is back as it was: nearer to the picture before than this part of the
# flash's own distance from it.
_RETURNED = 0.5


class ShotFinder:
    """Feed it the record pictures in order, then ask for `starts`."""

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._starts = [0]
        self._count = 0
        self._was_black = False
        self._last: NDArray[np.int16] | None = None
        self._before_cut: NDArray[np.int16] | None = None
        self._jump = 0.0

    def feed(self, image: NDArray[np.uint8]) -> None:
        """Takes the next picture, uint8 [height, width, 3], RGB."""
        # Every second or third pixel of large pictures is enough, and is four or nine times faster.
        step = max(isqrt(image.shape[0] * image.shape[1] // _ENOUGH_PIXELS), 1)
        image = np.ascontiguousarray(image[::step, ::step])
        frame = VideoFrame.from_ndarray(image, "rgb24")
        frame.pts, frame.time_base = self._count, _TIME_BASE
        if self._graph is None:
            self._graph = _detector(frame)
        self._graph.vpush(frame)
        score = float(self._graph.vpull().metadata.get("lavfi.scd.score", 0.0))
        black = int(image.max()) <= _BLACK_LEVEL
        # A fade has no cut; the first picture after black begins a shot as well.
        cut = score >= _THRESHOLD
        thumbnail = image[::4, ::4].astype(np.int16)
        if (cut or (self._was_black and not black)) and self._age() >= _SHORTEST_SHOT:
            self._starts.append(self._count)
            self._before_cut = self._last if cut and not self._was_black else None
            self._jump = _distance(thumbnail, self._before_cut)
        elif self._age() < _SHORTEST_SHOT and self._returned(thumbnail):
            self._starts.pop()
            self._before_cut = None
        self._was_black, self._last = black, thumbnail
        self._count += 1

    def _age(self) -> int:
        return self._count - self._starts[-1]

    def _returned(self, thumbnail: NDArray[np.int16]) -> bool:
        """Whether the picture is again what it was before the shot that has just begun."""
        if self._before_cut is None:
            return False
        return _distance(thumbnail, self._before_cut) < _RETURNED * self._jump

    @property
    def starts(self) -> list[int]:
        """First frame of each shot so far; begins with 0."""
        return list(self._starts)


def _distance(one: NDArray[np.int16], other: NDArray[np.int16] | None) -> float:
    return 0.0 if other is None else float(np.abs(one - other).mean())


def _detector(frame: VideoFrame) -> Graph:
    graph = Graph()
    graph.threads = 1
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    nodes = [
        source,
        graph.add("scdet", f"threshold={_THRESHOLD}"),
        graph.add("buffersink"),
    ]
    graph.link_nodes(*nodes).configure()
    return graph
