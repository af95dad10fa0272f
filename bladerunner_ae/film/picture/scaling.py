"""Scaling of a decoded frame to RGB pictures of a given size, with exact colours.

Scaling and colour conversion are libav filters. Frames go to planar RGB first: this makes swscale
use every chroma sample, while its direct way to packed RGB takes one for two pixels. The area mean
is then exact to the rounding of 8 bits (59 dB instead of 39 dB), and it is faster too. Films whose
light is not that of an ordinary display are scaled as they are coded, in 16 bits, and then pass
through `film.picture.tone_map`.
"""

from typing import Any

import numpy as np
from av.filter import Graph
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from bladerunner_ae.film.info import PictureFormat
from bladerunner_ae.film.picture.colour import Tags
from bladerunner_ae.film.picture.cropping import Cropper
from bladerunner_ae.film.picture.filters import build_graph
from bladerunner_ae.film.picture.frame_format import FrameFormat
from bladerunner_ae.film.picture.tone_map import tone_map_for
from bladerunner_ae.geometry import Geometry, Rectangle, Size

# The filters' own names where they differ from ours. "rgb" films have no matrix to set.
_SETPARAMS_MATRIX = {"bt601": "smpte170m", "bt2020": "bt2020nc"}


class FrameScaler:
    """Scaler of a rectangle of every frame to `size` (height, width), turned upright.

    `crop` is in the pixels of the upright stored picture; None: all of it.
    """

    def __init__(self, picture: PictureFormat, size: Size, crop: Rectangle | None = None) -> None:
        self._format = picture
        whole = Rectangle(0, 0, *picture.stored)
        self._crop = picture.direction.turned_back(crop or whole, picture.stored)
        self._size = (size[1], size[0]) if picture.direction.rotation in (90, 270) else size
        self._cropper = Cropper(picture.crop)
        # What is cut off is not part of what pictures of other shapes are brought to.
        self._first = picture.first._replace(height=picture.coded[0], width=picture.coded[1])
        self._tone_map = tone_map_for(picture)
        self._graph: Graph | None = None
        self._built_for: tuple[int, int, str, FrameFormat] | None = None

    def scale(
        self, frame: VideoFrame, frame_format: FrameFormat | None = None
    ) -> NDArray[np.uint8]:
        """The picture as uint8 [height, width, 3], RGB; None: the first frame's format."""
        frame = self._cropper.apply(frame)
        frame_format = (frame_format or self._format.first)._replace(
            height=frame.height, width=frame.width
        )
        graph = self._graph_for(frame, frame_format)
        graph.vpush(frame)
        scaled = graph.vpull()
        if self._tone_map is None:
            picture = np.asarray(scaled.to_ndarray(), np.uint8)
        else:
            # libav's order of planes is green, blue, red.
            green, blue, red = (_plane(scaled, number) for number in range(3))
            picture = self._tone_map.apply(red, green, blue)
        # Turning comes last, when the picture is small.
        return self._format.direction.upright(picture)

    def _graph_for(self, frame: VideoFrame, frame_format: FrameFormat) -> Graph:
        kind = (frame.height, frame.width, frame.format.name, frame_format)
        if self._graph is None or self._built_for != kind:
            self._graph = build_graph(frame, self._filters(frame, frame_format))
            self._built_for = kind
        return self._graph

    def _filters(self, frame: VideoFrame, frame_format: FrameFormat) -> list[tuple[str, str]]:
        coded, crop = self._format.coded, self._crop
        filters = [("setparams", _colour_arguments(frame_format.tags))]
        # A broadcast can change its shape on the way: every frame is brought to that of the first,
        # in which the crop is expressed.
        height, width = frame_format.fitted_into(self._first)
        if (frame.height, frame.width) != (height, width):
            filters.append(("scale", f"{width}:{height}:flags=bicubic"))
        if (height, width) != coded:
            filters.append(("pad", f"{coded[1]}:{coded[0]}:-1:-1:black"))
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
    """Scaler of frames to the pictures of records, with black margins around them."""

    def __init__(self, picture: PictureFormat, geometry: Geometry) -> None:
        self._picture, self._raster = geometry.picture, geometry.raster
        self._scaler = FrameScaler(picture, geometry.picture.size, geometry.crop)

    def scale(
        self, frame: VideoFrame, frame_format: FrameFormat | None = None
    ) -> NDArray[np.uint8]:
        """The record's picture, as `FrameScaler.scale` returns it."""
        scaled = self._scaler.scale(frame, frame_format)
        if self._picture.size == self._raster:
            return scaled
        record = np.zeros((*self._raster, 3), np.uint8)
        place = self._picture
        record[place.top : place.bottom, place.left : place.right] = scaled
        return record


def _plane(frame: VideoFrame, number: int) -> NDArray[np.uint16]:
    """One plane of a frame of 16 bits, [height, width]; it lives as long as the frame."""
    plane: Any = frame.planes[number]
    return np.frombuffer(plane, "<u2").reshape(plane.height, -1)[:, : plane.width]


def _colour_arguments(tags: Tags) -> str:
    # Primaries and curve stay as they are; a frame with damaged tags must not stop the scaler.
    arguments = "color_primaries=unknown:color_trc=unknown"
    arguments += f":range={'pc' if tags.full_range or tags.matrix == 'rgb' else 'tv'}"
    if tags.matrix != "rgb":
        arguments += f":colorspace={_SETPARAMS_MATRIX.get(tags.matrix, tags.matrix)}"
    return arguments
