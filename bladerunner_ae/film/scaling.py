"""From a decoded frame to RGB pictures of a given size, with exact colours.

Scaling and colour conversion are libav filters. Frames go to planar RGB first: this makes
swscale use every chroma sample, where its direct way to packed RGB takes one for two pixels. The
area mean is then exact to the rounding of 8 bits (59 dB instead of 39 dB), and it is faster too.
Films whose light is not that of an ordinary display are scaled as they are coded, in 16 bits, and
then pass through `film.tone_map`.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from av.filter import Graph
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from bladerunner_ae.film.probe import FilmInfo
from bladerunner_ae.film.tone_map import tone_map_for
from bladerunner_ae.geometry import Geometry, Rectangle, Size

# The filters' own names where they differ from ours. "rgb" films have no matrix to set.
_SETPARAMS_MATRIX = {"bt601": "smpte170m", "bt2020": "bt2020nc"}

# Number of quarter turns counterclockwise, numpy's direction, for degrees clockwise.
_QUARTER_TURNS = {0: 0, 90: 3, 180: 2, 270: 1}


class FrameScaler:
    """Cuts a rectangle out of every frame and scales it, upright.

    Args:
        info: the film; its matrix, range and rotation are applied.
        size: (height, width) of the result.
        crop: the part of the upright stored picture to take; None: all of it.
    """

    def __init__(self, info: FilmInfo, size: Size, crop: Rectangle | None = None) -> None:
        self._info = info
        whole = Rectangle(0, 0, *info.stored)
        self._crop = (crop or whole).turned_back(info.rotation, info.stored)
        self._size = (size[1], size[0]) if info.rotation in (90, 270) else size
        self._tone_map = tone_map_for(info)
        self._graph: Graph | None = None
        self._built_for: tuple[int, int, str] | None = None

    def scale(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """The picture as uint8 [height, width, 3], RGB 0..255."""
        graph = self._graph_for(frame)
        graph.vpush(frame)
        scaled = graph.vpull()
        if self._tone_map is None:
            picture = np.asarray(scaled.to_ndarray(), np.uint8)
        else:
            # libav's order of planes is green, blue, red.
            green, blue, red = (_plane(scaled, number) for number in range(3))
            picture = self._tone_map.apply(red, green, blue)
        turns = _QUARTER_TURNS[self._info.rotation]
        # Turning comes last, when the picture is small.
        return np.ascontiguousarray(np.rot90(picture, turns)) if turns else picture

    def _graph_for(self, frame: VideoFrame) -> Graph:
        kind = (frame.height, frame.width, frame.format.name)
        if self._graph is None or self._built_for != kind:
            # A broadcast can change its size on the way: every frame is brought to that of the
            # first, in which the crop is expressed.
            self._graph = _build(frame, self._filters(frame))
            self._built_for = kind
        return self._graph

    def _filters(self, frame: VideoFrame) -> list[tuple[str, str]]:
        coded, crop = self._info.coded, self._crop
        filters = [("setparams", _colour_arguments(self._info))]
        if (frame.height, frame.width) != coded:
            filters.append(("scale", f"{coded[1]}:{coded[0]}:flags=bicubic"))
        if crop != Rectangle(0, 0, *coded):
            place = f"{crop.width}:{crop.height}:{crop.left}:{crop.top}:exact=1"
            filters.append(("crop", place))
        height, width = self._size
        filters.append(("scale", f"{width}:{height}:flags={self._method()}+accurate_rnd"))
        if self._tone_map is not None:
            return [*filters, ("format", "gbrp16le")]
        return [*filters, ("format", "gbrp"), ("format", "rgb24")]

    def _method(self) -> str:
        """Area for anything that shrinks; its results are blocky for anything that does not."""
        height, width = self._size
        shrinks = height <= self._crop.height and width <= self._crop.width
        return "area" if shrinks and self._size != self._crop.size else "bicubic"


class RecordScaler:
    """Makes the picture of a record: crop, scale, and black margins around it.

    Args:
        info: the film.
        geometry: how its pictures become records.
    """

    def __init__(self, info: FilmInfo, geometry: Geometry) -> None:
        self._picture, self._raster = geometry.picture, geometry.raster
        self._scaler = FrameScaler(info, geometry.picture.size, geometry.crop)

    def scale(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """The record's picture as uint8 [height, width, 3], RGB 0..255."""
        scaled = self._scaler.scale(frame)
        if self._picture.size == self._raster:
            return scaled
        record = np.zeros((*self._raster, 3), np.uint8)
        place = self._picture
        record[place.top : place.bottom, place.left : place.right] = scaled
        return record


def deinterlaced(frames: Iterable[tuple[int, VideoFrame]]) -> Iterator[tuple[int, VideoFrame]]:
    """Makes one whole frame of each pair of fields (bwdif); as many frames come out as go in.

    Frames that do not say they consist of fields stay as they are.

    Args:
        frames: (pts, frame) in the order they are shown.

    Yields:
        The same timestamps, each with its frame deinterlaced.
    """
    times: deque[int] = deque()
    graph: Graph | None = None
    kind: tuple[int, int, str] | None = None
    for pts, frame in frames:
        if kind != (frame.height, frame.width, frame.format.name):
            yield from _flush(graph, times)
            kind = (frame.height, frame.width, frame.format.name)
            graph = _build(frame, [("bwdif", "mode=send_frame:deint=interlaced")])
        assert graph is not None
        times.append(pts)
        graph.vpush(frame)
        yield from _pull(graph, times)
    yield from _flush(graph, times)


def _flush(graph: Graph | None, times: deque[int]) -> Iterator[tuple[int, VideoFrame]]:
    if graph is not None:
        graph.vpush(None)
        yield from _pull(graph, times)


def _pull(graph: Graph, times: deque[int]) -> Iterator[tuple[int, VideoFrame]]:
    # The filter looks one frame ahead and changes the time base, but it never drops or adds a
    # frame: its own timestamps are not needed.
    while times:
        try:
            frame = graph.vpull()
        except (BlockingIOError, EOFError):
            return
        yield times.popleft(), frame


def _plane(frame: VideoFrame, number: int) -> NDArray[np.uint16]:
    """One plane of a frame of 16 bits, [height, width]; it lives as long as the frame."""
    plane: Any = frame.planes[number]
    return np.frombuffer(plane, "<u2").reshape(plane.height, -1)[:, : plane.width]


def _colour_arguments(info: FilmInfo) -> str:
    # Primaries and curve stay as they are; a frame with damaged tags must not stop the scaler.
    arguments = "color_primaries=unknown:color_trc=unknown"
    arguments += f":range={'pc' if info.full_range or info.matrix == 'rgb' else 'tv'}"
    if info.matrix != "rgb":
        arguments += f":colorspace={_SETPARAMS_MATRIX.get(info.matrix, info.matrix)}"
    return arguments


def _build(frame: VideoFrame, filters: list[tuple[str, str]]) -> Graph:
    """A graph with one way in and one way out, for frames like this one."""
    graph = Graph()
    # Decoding already takes all cores; threads inside a small scaling only get in its way.
    graph.threads = 1
    nodes = [
        graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format,
            # Frames that a decoder gave when it was emptied have none; it does not matter here.
            time_base=frame.time_base or Fraction(1, 1000),
        )
    ]
    nodes += [graph.add(name, arguments) for name, arguments in filters]
    nodes.append(graph.add("buffersink"))
    graph.link_nodes(*nodes).configure()
    return graph
