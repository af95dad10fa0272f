"""What changes while a film is converted: black bars, the format of frames, interlacing.

What is cut off is decided before, from frames all over the film (`film.reading.bars`); bars that
come and go are told, as in films that change between two formats.
"""

from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bladerunner_ae.film.info import FilmInfo
from bladerunner_ae.film.picture.frame_format import FrameFormat

# Values 0..255: pixels above the first are picture, and a picture without any above the second is
# too dark to show its edges.
_BLACK_LEVEL = 20
_BRIGHT_LEVEL = 48

# About so many rows and columns are looked at across each other.
_LINES = 32

# Both bars of a pair are alike to this part of the side; narrower pairs are none.
_NARROWEST = 0.03
# Wider ones are no format, but small bright things on black, as in titles.
_WIDEST = 0.36
# Pairs seen in a smaller part of the frames are chance.
_RAREST = 0.05
# The largest picture is the one that at least this part of the frames reach.
_FEWEST_LARGEST = 0.002


class BarsWatch:
    """Counts, frame by frame, how wide the bars are."""

    def __init__(self) -> None:
        self._frames = 0
        # For the rows, then the columns: how many frames have a pair of bars so wide, in
        # thousandths of the side.
        self._pairs: tuple[Counter[int], Counter[int]] = (Counter(), Counter())

    def feed(self, image: NDArray[np.uint8]) -> None:
        """Takes the next record's picture, uint8 [height, width, 3], RGB."""
        # Green alone: it is nearly what the eye takes for brightness, and this must be quick.
        down, across = (max(side // _LINES, 1) for side in image.shape[:2])
        top, bottom = image[0, ::across, 1].max(), image[-1, ::across, 1].max()
        if max(top, bottom) >= _BRIGHT_LEVEL and (
            max(image[::down, 0, 1].max(), image[::down, -1, 1].max()) > _BLACK_LEVEL
        ):
            # The usual case, with what follows below cut short: picture at an edge of each pair.
            self._frames += 1
            for pairs in self._pairs:
                pairs[0] += 1
            return
        rows = np.ascontiguousarray(image[:, ::across, 1]).max(axis=1)
        if rows.max() < _BRIGHT_LEVEL:
            return
        columns = np.ascontiguousarray(image[::down, :, 1]).max(axis=0)
        self._frames += 1
        for pairs, lit in zip(self._pairs, (rows, columns), strict=True):
            pairs[_pair(lit > _BLACK_LEVEL)] += 1

    def state(self) -> dict[str, Any]:
        """JSON values from which `from_state` makes a watch that goes on in just the same way."""
        return {"frames": self._frames, "pairs": [sorted(pairs.items()) for pairs in self._pairs]}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "BarsWatch":
        """Reads what `state` gave."""
        watch = cls()
        watch._frames = int(state["frames"])
        for pairs, items in zip(watch._pairs, state["pairs"], strict=True):
            pairs.update({int(width): int(count) for width, count in items})
        return watch

    def add(self, other: "BarsWatch") -> None:
        """Counts the frames that another watch has seen as well."""
        self._frames += other._frames
        for pairs, more in zip(self._pairs, other._pairs, strict=True):
            pairs.update(more)

    def note(self) -> str:
        """Says in a sentence that bars come and go, or "" if they do not."""
        found = [
            (*usual, where)
            for pairs, where in zip(
                self._pairs, ("above and below", "on the left and right"), strict=True
            )
            if (usual := self._usual(pairs)) is not None
        ]
        if not found:
            return ""
        parts = " and ".join(
            f"{100 * share:.0f} % of the frames have bars of {100 * width:.0f} % {where}"
            for share, width, where in found
        )
        return f"black bars come and go: {parts}; the largest picture is kept"

    def _usual(self, pairs: Counter[int]) -> tuple[float, float] | None:
        """(part of the frames, part of the side) of the bars seen most, beside those always there.

        Margins of the record itself are bars that are always there.
        """
        enough = max(_FEWEST_LARGEST * self._frames, 1)
        largest, seen = 0, 0
        for largest in sorted(pairs):
            seen += pairs[largest]
            if seen >= enough:
                break
        wider = {width: count for width, count in pairs.items()
                 if 1000 * _NARROWEST <= width - largest <= 1000 * _WIDEST}  # fmt: skip
        if not wider:
            return None
        # A row more or less depends on what the picture shows at its edge.
        groups = {
            width: sum(count for other, count in wider.items() if abs(other - width) <= 10)
            for width in wider
        }
        width = max(groups, key=lambda one: (groups[one], wider[one], one))
        share = groups[width] / self._frames
        return (share, (width - largest) / 1000) if share >= _RAREST else None


def _pair(lit: NDArray[np.bool_]) -> int:
    """Width of a pair of equal bars in thousandths of the side; 0 for none."""
    size = len(lit)
    before, after = int(lit.argmax()), int(lit[::-1].argmax())
    if abs(before - after) > max(0.02 * size, 1):
        return 0
    return round(1000 * min(before, after) / size)


class ChangesWatch:
    """Notes, frame by frame, where the look changes and how many frames consist of two fields."""

    def __init__(self) -> None:
        # Where a look begins, by timestamp.
        self._looks: list[tuple[int, FrameFormat]] = []
        self._interlaced = 0
        self._first_interlaced: int | None = None

    def feed(self, pts: int, look: FrameFormat, interlaced: bool) -> None:
        """Takes the next frame: its timestamp, its look and whether it consists of two fields."""
        if not self._looks or self._looks[-1][1] != look:
            self._looks.append((pts, look))
        if interlaced:
            self._interlaced += 1
            if self._first_interlaced is None:
                self._first_interlaced = pts

    def add(self, other: "ChangesWatch") -> None:
        """Takes the next frames, which another watch has seen."""
        for pts, look in other._looks:
            self.feed(pts, look, False)
        self._interlaced += other._interlaced
        if self._first_interlaced is None:
            self._first_interlaced = other._first_interlaced

    def state(self) -> dict[str, Any]:
        """JSON values from which `from_state` makes a watch that goes on in just the same way."""
        return {
            "looks": [[pts, look.to_json()] for pts, look in self._looks],
            "interlaced": [self._interlaced, self._first_interlaced],
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "ChangesWatch":
        """Reads what `state` gave."""
        watch = cls()
        watch._looks = [(int(pts), FrameFormat.from_json(look)) for pts, look in state["looks"]]
        watch._interlaced, watch._first_interlaced = state["interlaced"]
        return watch

    def notes(self, info: FilmInfo) -> list[str]:
        """Says in sentences what changes on the way, and what was made of it."""
        return [note for note in (self._fields(info), *self._changes(info)) if note]

    def _fields(self, info: FilmInfo) -> str:
        if self._first_interlaced is None or info.interlaced:  # the latter is among its own notes
            return ""
        one = self._interlaced == 1
        what = "one whole frame is made of each pair of fields"
        if not info.deinterlace:
            what = "their fields are left as they are"
        return (
            f"{self._interlaced} {'frame is' if one else 'frames are'} interlaced, the first at "
            f"{self._seconds(self._first_interlaced, info):.1f} s; {what}"
        )

    def _changes(self, info: FilmInfo) -> list[str]:
        shapes = {look.fitted_into(info.picture.first) for _, look in self._looks}
        fitted = "brought to the first"
        if shapes - {info.picture.first[:2]}:
            fitted += ", in shape, with black margins"
        return [
            self._change(info, "size changes", _size, fitted),
            self._change(info, "pixels change their shape", _aspect, fitted),
            self._change(info, "direction changes", _rotation, "all is turned as the first"),
            self._change(info, "colours change", _coding, "each part is read by its own"),
            self._change(info, "light changes", _light, "all is shown as the first"),
        ]

    def _change(
        self, info: FilmInfo, what: str, describe: Callable[[FrameFormat], str], made: str
    ) -> str:
        """Says where something differs from the frame before, or "" if it nowhere does."""
        before = describe(info.picture.first)
        found: list[tuple[int, str, str]] = []
        for pts, look in self._looks:
            after = describe(look)
            if after != before:
                found.append((pts, before, after))
            before = after
        if not found:
            return ""
        pts, before, after = found[0]
        times = "" if len(found) == 1 else f"{len(found)} times, first "
        return (
            f"its {what} on the way ({times}at {self._seconds(pts, info):.1f} s, {before} to "
            f"{after}): {made}"
        )

    def _seconds(self, pts: int, info: FilmInfo) -> float:
        """Since the first frame."""
        return float((pts - self._looks[0][0]) * Fraction(info.timing.time_base))


def _size(look: FrameFormat) -> str:
    return f"{look.height}x{look.width}"


def _aspect(look: FrameFormat) -> str:
    return f"{look.aspect.numerator}:{look.aspect.denominator}"


def _rotation(look: FrameFormat) -> str:
    return f"{look.rotation} degrees{', mirrored' if look.mirrored else ''}"


def _coding(look: FrameFormat) -> str:
    return f"{look.tags.matrix}, {'full' if look.tags.full_range else 'limited'} range"


def _light(look: FrameFormat) -> str:
    return f"{look.tags.primaries} {look.tags.transfer}"
