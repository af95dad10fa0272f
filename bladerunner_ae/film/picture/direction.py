"""Rotation and mirroring that make a decoded frame upright, by its display matrix."""

import math
import struct
from typing import NamedTuple

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from bladerunner_ae.film.headers.side_data import read_side_data
from bladerunner_ae.geometry import Rectangle, Size

_MATRIX = "DISPLAYMATRIX"
# Numeric noise; more is a slant.
_UPRIGHT_DEGREES = 2

# Number of quarter turns counterclockwise, numpy's direction, for degrees clockwise.
_QUARTER_TURNS = {0: 0, 90: 3, 180: 2, 270: 1}


class Direction(NamedTuple):
    """One of the eight orientations of a picture.

    Attributes:
        rotation: degrees clockwise (0, 90, 180, 270) that make it upright.
        mirrored: whether it is flipped top to bottom before it is turned by `rotation`. (Left to
            right is that, with a rotation of 180.)
    """

    rotation: int = 0
    mirrored: bool = False

    def upright(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Turn a picture [height, width, ...] upright."""
        if self == Direction():
            return picture
        flipped = picture[::-1] if self.mirrored else picture
        return np.ascontiguousarray(np.rot90(flipped, _QUARTER_TURNS[self.rotation]))

    def turned_back(self, place: Rectangle, upright: Size) -> Rectangle:
        """Place in the decoded picture of a rectangle of the upright one (of size `upright`)."""
        before = place.turned_back(self.rotation, upright)
        if not self.mirrored:
            return before
        height = upright[1] if self.rotation in (90, 270) else upright[0]
        return Rectangle(height - before.bottom, before.left, before.height, before.width)


def read_direction(frame: VideoFrame) -> Direction:
    """Direction of a decoded frame; of a slanted one, the nearest right angle."""
    return _direction(_matrix(frame))[0]


def is_slanted(frame: VideoFrame) -> bool:
    """Whether a frame's rotation is no right angle."""
    return _direction(_matrix(frame))[1]


def _matrix(frame: VideoFrame) -> tuple[int, ...] | None:
    """The four numbers that turn and mirror: x and y of the picture's right, x and y of its down.

    They are the first two of the first rows of libav's 3 x 3 numbers in native order.
    """
    data = read_side_data(frame, _MATRIX).get(_MATRIX, b"")
    if len(data) < 36:
        return None
    numbers = struct.unpack("=9i", data[:36])
    return numbers[0], numbers[1], numbers[3], numbers[4]


def _direction(matrix: tuple[int, ...] | None) -> tuple[Direction, bool]:
    """(direction, whether it is only the nearest)."""
    if matrix is None:
        return Direction(), False
    right_x, right_y, down_x, down_y = matrix
    area = right_x * down_y - right_y * down_x
    if not area:
        return Direction(), False  # it would show nothing
    # The two axes may be stretched by different factors; players ignore that.
    across, along = math.hypot(right_x, down_x), math.hypot(right_y, down_y)
    degrees = math.degrees(math.atan2(right_y / along, right_x / across))
    nearest = round(degrees / 90) * 90
    return Direction(nearest % 360, area < 0), abs(degrees - nearest) > _UPRIGHT_DEGREES
