"""Cropping of decoded pictures that the container shows in part.

The codec's own cropping was done by libav already.
"""

from dataclasses import dataclass

from av.filter import Graph
from av.video.frame import VideoFrame

from bladerunner_ae.film.picture.filters import build_graph

# Less is no picture but a mistake; and the coarsest colour has one sample for four columns.
_LEAST = 4


@dataclass(frozen=True)
class Margins:
    """Rows and columns of a decoded picture that are not to be shown."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0


NO_MARGINS = Margins()


class Cropper:
    """Cropper of frames to the visible part, by margins as decoded, before turning upright.

    Sizes and places are rounded down to whole samples of colour, as ffmpeg's own cropping does.
    """

    def __init__(self, margins: Margins) -> None:
        self._margins = margins
        self._graph: Graph | None = None
        self._built_for: tuple[int, int, str] | None = None

    def apply(self, frame: VideoFrame) -> VideoFrame:
        """The visible part of a frame; all of it, if nothing would be left."""
        across = self._margins.left + self._margins.right
        down = self._margins.top + self._margins.bottom
        all_of_it = frame.width - across < _LEAST or frame.height - down < _LEAST
        if all_of_it or self._margins == NO_MARGINS:
            return frame
        kind = (frame.height, frame.width, frame.format.name)
        if self._graph is None or self._built_for != kind:
            place = f"iw-{across}:ih-{down}:{self._margins.left}:{self._margins.top}"
            self._graph, self._built_for = build_graph(frame, [("crop", place)]), kind
        self._graph.vpush(frame)
        return self._graph.vpull()
