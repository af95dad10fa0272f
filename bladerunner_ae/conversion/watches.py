"""Watches the records of a film for black bars that come and go.

What is cut off is decided before, from frames all over the film (`film.reading.bars`); this tells
of scenes whose picture is smaller than that, as in films that change between two formats.
"""

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
