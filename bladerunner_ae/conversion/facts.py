"""Facts about every frame of a conversion: kept as data, judged once at the end (`changes`)."""

import base64
import zlib
from array import array
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bladerunner_ae.conversion.encode import RecordPicture
from bladerunner_ae.film.picture.frame_format import FrameFormat
from bladerunner_ae.film.picture.shots import MARK_BITS, shot_starts

# The bit of a mark after those of `ShotMeter`.
_INTERLACED = 1 << MARK_BITS

# Values 0..255: pixels above the first are picture, and a picture without any above the second is
# too dark to show its edges.
_BLACK_LEVEL = 20
_BRIGHT_LEVEL = 48
# About so many rows and columns are read across each other.
_LINES = 32

DARK = -1
"""Width of the bars of a frame too dark to show its edges."""


class Facts:
    """Facts about consecutive frames, one entry a frame; `times` are in the film's time base."""

    def __init__(self) -> None:
        self.times = array("q")
        self.formats: list[FrameFormat] = []
        self._marks = bytearray()
        self._bars = array("h")  # (rows, columns) of each frame

    def add(self, pts: int, picture: RecordPicture, mark: int) -> None:
        """Append the next frame; `mark` is from `ShotMeter.mark`."""
        self.times.append(pts)
        # One object for frames of one format: a film has millions of them.
        same = self.formats and self.formats[-1] == picture.look
        self.formats.append(self.formats[-1] if same else picture.look)
        self._marks.append(mark | _INTERLACED * picture.interlaced)
        self._bars.extend(bar_widths(picture.thumbnail))

    def extend(self, other: "Facts") -> None:
        """Append the frames of another one, which follow."""
        self.times.extend(other.times)
        self.formats.extend(other.formats)
        self._marks.extend(other._marks)
        self._bars.extend(other._bars)

    def shot_starts(self) -> list[int]:
        return shot_starts(self._marks)

    def interlaced(self) -> NDArray[np.bool_]:
        """Return the mask of frames that consist of two fields: bool [frames]."""
        return np.frombuffer(bytes(self._marks), np.uint8) & _INTERLACED != 0

    def bars(self) -> NDArray[np.int16]:
        """Return `bar_widths` of all frames: int16 [frames, 2]."""
        return np.array(self._bars, np.int16).reshape(-1, 2)

    def to_json(self, frames: range) -> dict[str, Any]:
        """Return the facts about some of the frames as JSON values for `from_json`."""
        chosen = slice(frames.start, frames.stop)
        runs = groupby(self.formats[chosen])
        return {
            "times": _to_text(self.times[chosen].tobytes()),
            "formats": [[len(list(run)), one.to_json()] for one, run in runs],
            "marks": _to_text(bytes(self._marks[chosen])),
            "bars": _to_text(self._bars[2 * frames.start : 2 * frames.stop].tobytes()),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Facts":
        facts = cls()
        facts.times.frombytes(_from_text(values["times"]))
        for count, one in values["formats"]:
            facts.formats += [FrameFormat.from_json(one)] * count
        facts._marks.extend(_from_text(values["marks"]))
        facts._bars.frombytes(_from_text(values["bars"]))
        return facts


def _to_text(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data)).decode("ascii")


def _from_text(text: str) -> bytes:
    return zlib.decompress(base64.b64decode(text))


def bar_widths(image: NDArray[np.uint8]) -> tuple[int, int]:
    """Return the widths of a picture's black bars, in thousandths of its side.

    `image` is a record's picture or its thumbnail. The widths are (each bar above and below, each
    bar left and right): 0 if the two differ, `DARK` for both if the picture is too dark.
    """
    # Green alone: it is nearly what the eye takes for brightness, and this must be quick.
    down, across = (max(side // _LINES, 1) for side in image.shape[:2])
    top, bottom = image[0, ::across, 1].max(), image[-1, ::across, 1].max()
    if max(top, bottom) >= _BRIGHT_LEVEL and (
        max(image[::down, 0, 1].max(), image[::down, -1, 1].max()) > _BLACK_LEVEL
    ):
        return 0, 0  # the usual case, without what follows: picture at an edge of each pair
    rows = np.ascontiguousarray(image[:, ::across, 1]).max(axis=1)
    if rows.max() < _BRIGHT_LEVEL:
        return DARK, DARK
    columns = np.ascontiguousarray(image[::down, :, 1]).max(axis=0)
    return _pair(rows > _BLACK_LEVEL), _pair(columns > _BLACK_LEVEL)


def _pair(lit: NDArray[np.bool_]) -> int:
    size = len(lit)
    before, after = int(lit.argmax()), int(lit[::-1].argmax())
    if abs(before - after) > max(0.02 * size, 1):
        return 0
    return round(1000 * min(before, after) / size)
