"""Watches a film for frames that look unlike its first, and for frames of two fields."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from bladerunner_ae.film.picture.frame_format import Look
from bladerunner_ae.film.reading.probe import FilmInfo


class ChangesWatch:
    """Notes, frame by frame, where the look changes and how many frames consist of two fields."""

    def __init__(self) -> None:
        # Where a look begins, by timestamp.
        self._looks: list[tuple[int, Look]] = []
        self._interlaced = 0
        self._first_interlaced: int | None = None

    def feed(self, pts: int, look: Look, interlaced: bool) -> None:
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
        watch._looks = [(int(pts), Look.from_json(look)) for pts, look in state["looks"]]
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
        shapes = {look.fitted_into(info.look) for _, look in self._looks}
        fitted = "brought to the first"
        if shapes - {info.look[:2]}:
            fitted += ", in shape, with black margins"
        return [
            self._change(info, "size changes", _size, fitted),
            self._change(info, "pixels change their shape", _aspect, fitted),
            self._change(info, "direction changes", _rotation, "all is turned as the first"),
            self._change(info, "colours change", _coding, "each part is read by its own"),
            self._change(info, "light changes", _light, "all is shown as the first"),
        ]

    def _change(self, info: FilmInfo, what: str, describe: Callable[[Look], str], made: str) -> str:
        """Says where something differs from the frame before, or "" if it nowhere does."""
        before = describe(info.look)
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
        return float((pts - self._looks[0][0]) * Fraction(info.time_base))


def _size(look: Look) -> str:
    return f"{look.height}x{look.width}"


def _aspect(look: Look) -> str:
    return f"{look.aspect.numerator}:{look.aspect.denominator}"


def _rotation(look: Look) -> str:
    return f"{look.rotation} degrees{', mirrored' if look.mirrored else ''}"


def _coding(look: Look) -> str:
    return f"{look.tags.matrix}, {'full' if look.tags.full_range else 'limited'} range"


def _light(look: Look) -> str:
    return f"{look.tags.primaries} {look.tags.transfer}"
