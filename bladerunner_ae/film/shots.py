"""Finds the shots of a film while its records are made.

ffmpeg's `scdet` filter scores how suddenly a picture changes (0..100): the smaller of the mean
absolute difference from the frame before and the change of that difference, so that steady motion
scores low. On the Big Buck Bunny trailer its five cuts score 18 to 22 and nothing else over 4.5.
"""

from fractions import Fraction

import numpy as np
from av.filter import Graph
from av.video.frame import VideoFrame
from numpy.typing import NDArray

# Nearer to the loudest motion than to the faintest cut: a cut that is missed only makes a shot
# longer, one that is invented splits a shot between training and held-out frames.
_THRESHOLD = 10.0
_BLACK_LEVEL = 24
# Shots this short are flashes; the neighbours of a flash belong together.
_SHORTEST_SHOT = 4


class ShotFinder:
    """Feed it the record pictures in order, then ask for `starts`."""

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._starts = [0]
        self._count = 0
        self._was_black = False

    def feed(self, image: NDArray[np.uint8]) -> None:
        """Takes the next picture, uint8 [height, width, 3], RGB."""
        frame = VideoFrame.from_ndarray(image, "rgb24")
        frame.pts, frame.time_base = self._count, Fraction(1)
        if self._graph is None:
            self._graph = _detector(frame)
        self._graph.vpush(frame)
        score = float(self._graph.vpull().metadata.get("lavfi.scd.score", 0.0))
        black = int(image.max()) <= _BLACK_LEVEL
        # A fade has no cut; the first picture after black begins a shot as well.
        begins = score >= _THRESHOLD or (self._was_black and not black)
        if begins and self._count - self._starts[-1] >= _SHORTEST_SHOT:
            self._starts.append(self._count)
        self._was_black = black
        self._count += 1

    @property
    def starts(self) -> list[int]:
        """First frame of each shot so far; begins with 0."""
        return list(self._starts)


def _detector(frame: VideoFrame) -> Graph:
    graph = Graph()
    graph.threads = 1
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    nodes = [
        source,
        graph.add("format", "yuv444p"),
        graph.add("scdet", f"threshold={_THRESHOLD}"),
        graph.add("buffersink"),
    ]
    graph.link_nodes(*nodes).configure()
    return graph
