"""Frame formats: size, pixel aspect, direction and colour tags, before anything is scaled.

In most films all frames have one format. Broadcasts change theirs between programmes, and joined
films change anything.
"""

from fractions import Fraction
from typing import Any, NamedTuple

import av
from av.filter import Graph
from av.video.frame import PictureType, VideoFrame

from bladerunner_ae.film.picture.colour import Tags, read_tags
from bladerunner_ae.film.picture.direction import read_direction
from bladerunner_ae.film.picture.filters import build_graph
from bladerunner_ae.geometry import Size

# A frame whose shape differs by less is stretched: rounding, and the few columns at the edges that
# some count as picture.
_SAME_SHAPE = Fraction(1, 25)

# The sample aspect is measured in these parts, with a picture so wide; the scaler refuses to make
# anything a few hundred times as wide.
_ASPECT_PARTS = 4000
_ASPECT_WIDTH = 64


class FrameFormat(NamedTuple):
    """Shape and colours of a frame, as decoded.

    Attributes:
        aspect: width of a pixel divided by its height by the codec; 1 if it does not say.
        rotation, mirrored: as in `Direction`.
    """

    height: int
    width: int
    aspect: Fraction
    rotation: int
    tags: Tags
    mirrored: bool = False

    def to_json(self) -> list[Any]:
        facts = [self.height, self.width, str(self.aspect), self.rotation, list(self.tags)]
        return [*facts, True] if self.mirrored else facts

    @classmethod
    def from_json(cls, data: list[Any]) -> "FrameFormat":
        height, width, aspect, rotation, tags, *mirrored = data
        return cls(height, width, Fraction(aspect), rotation, Tags(*tags), bool(mirrored))

    def fitted_into(self, first: "FrameFormat") -> Size:
        """(height, width), even, in which this picture keeps its shape inside the first format's.

        The whole of it if both have the same shape, or very nearly.
        """
        shape = Fraction(self.width, self.height) * self.aspect
        ratio = shape / (Fraction(first.width, first.height) * first.aspect)
        height, width = first.height, first.width
        if abs(ratio - 1) < _SAME_SHAPE:
            return height, width
        if ratio > 1:
            return max(2 * round(height / ratio / 2), 2), width
        return height, max(2 * round(width * ratio / 2), 2)


def read_first_format(frame: VideoFrame, tags: Tags) -> FrameFormat:
    """Format of a film's first frame, whose colours are known."""
    aspect = _PixelShape().read(frame) or Fraction(1)
    rotation, mirrored = read_direction(frame)
    return FrameFormat(frame.height, frame.width, aspect, rotation, tags, mirrored)


class FrameFormatReader:
    """Reader of the formats of frames in display order; gaps are filled in from the first one.

    All but the size can change only where a frame can be decoded by itself, and is read only there.
    """

    def __init__(self, first: FrameFormat) -> None:
        self._first = self._last = first
        self._shape = _PixelShape()

    def read(self, frame: VideoFrame) -> FrameFormat:
        last = self._last
        same_size = (frame.height, frame.width) == last[:2]
        if not same_size or frame.pict_type == PictureType.I or frame.key_frame:
            rotation, mirrored = read_direction(frame)
            self._last = FrameFormat(
                frame.height,
                frame.width,
                self._shape.read(frame) or self._first.aspect,
                rotation,
                read_tags(frame, self._first.tags),
                mirrored,
            )
        return self._last


class _PixelShape:
    """Reader of sample aspects, which PyAV does not pass on, but a filter's formula does."""

    def __init__(self) -> None:
        self._graph: Graph | None = None
        self._kind: tuple[int, int, str] | None = None

    def read(self, frame: VideoFrame) -> Fraction | None:
        """Width of a pixel divided by its height, 1 if the frame does not say; None: unknown."""
        kind = (frame.height, frame.width, frame.format.name)
        try:
            if self._graph is None or self._kind != kind:
                self._graph, self._kind = _aspect_graph(frame), kind
            self._graph.vpush(frame)
            return _simplest(self._graph.vpull().width)
        except av.FFmpegError:
            self._graph = None
            return None


def _aspect_graph(frame: VideoFrame) -> Graph:
    """A graph that makes pictures whose width encodes the sample aspect."""
    corner = ("crop", f"min(iw\\,{_ASPECT_WIDTH}):2:0:0")
    width = f"round({_ASPECT_PARTS}*sar)"
    return build_graph(frame, [corner, ("scale", f"{width}:2:flags=neighbor:eval=frame")])


def _simplest(parts: int) -> Fraction:
    """The simplest fraction that rounds to a number of `_ASPECT_PARTS`."""
    value = Fraction(parts, _ASPECT_PARTS)
    most = Fraction(1, 2 * _ASPECT_PARTS)
    return next(
        fraction
        for denominator in range(1, _ASPECT_PARTS + 1)
        if abs((fraction := Fraction(round(value * denominator), denominator)) - value) <= most
    )
