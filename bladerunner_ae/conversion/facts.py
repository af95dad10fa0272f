"""What a conversion learns of a film on the way, frame by frame, and can be interrupted in."""

import base64
import zlib
from array import array
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bladerunner_ae.conversion.encode import RecordPicture
from bladerunner_ae.conversion.watches import BarsWatch, ChangesWatch
from bladerunner_ae.film.info import FilmInfo
from bladerunner_ae.film.picture.shots import (
    ShotFinder,
    ShotMeasure,
    ShotMeter,
    measures_from_json,
    measures_to_json,
)
from bladerunner_ae.film.reading.reading_mode import ReadingMode


class Facts:
    """Times, shots, bars and changes of the frames seen so far.

    Attributes:
        times: timestamps of the frames, in units of the film's time base.
        shots: where shots begin.
        bars: how wide the black bars are.
        changes: where they begin to look unlike before.
        mode: how an earlier run read the film.
    """

    def __init__(self) -> None:
        self.times = array("q")
        self.shots = ShotFinder()
        self.bars = BarsWatch()
        self.changes = ChangesWatch()
        self.mode = ReadingMode()

    def feed(self, pts: int, picture: RecordPicture) -> None:
        """Takes the next frame: its timestamp and what was made of it."""
        thumbnail = picture.thumbnail
        self.times.append(pts)
        self.changes.feed(pts, picture.look, picture.interlaced)
        self.shots.feed(thumbnail)
        self.bars.feed(thumbnail)

    def take(self, part: "PartFacts") -> None:
        """Takes what was learned elsewhere of the next frames."""
        self.times.extend(part.times)
        for measure in part.measures:
            self.shots.take(measure)
        self.bars.add(part.bars)
        self.changes.add(part.changes)

    def notes(self, info: FilmInfo) -> list[str]:
        """What a person should know of what was seen."""
        return [*self.changes.notes(info), *filter(None, [self.bars.note()])]

    def to_state(self, mode: ReadingMode) -> dict[str, Any]:
        """JSON values from which `from_state` makes facts that go on in just the same way."""
        return {
            "times": _times_to_text(self.times),
            "shots": self.shots.state(),
            "bars": self.bars.state(),
            "changes": self.changes.state(),
            "single_pass": mode.to_json(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "Facts":
        """Reads what `to_state` gave."""
        facts = cls()
        facts.times = _times_from_text(state["times"])
        facts.shots = ShotFinder.from_state(state["shots"])
        facts.bars = BarsWatch.from_state(state["bars"])
        facts.changes = ChangesWatch.from_state(state["changes"])
        facts.mode = ReadingMode.from_json(state["single_pass"])
        return facts


class PartFacts:
    """The same of frames from the middle of a film, as far as it needs none before them.

    Attributes:
        times: timestamps of the frames, in units of the film's time base.
        measures: what they contribute to finding shots.
        bars: how wide the black bars are.
        changes: where they begin to look unlike before.
    """

    def __init__(self) -> None:
        self.times = array("q")
        self.measures: list[ShotMeasure] = []
        self.bars = BarsWatch()
        self.changes = ChangesWatch()
        self._meter = ShotMeter()

    def warm_up(self, thumbnail: NDArray[np.uint8]) -> None:
        """Takes one of the `WARM_UP_FRAMES` frames before the first, or of more."""
        self._meter.measure(thumbnail)

    def feed(self, pts: int, picture: RecordPicture) -> None:
        """Takes the next frame: its timestamp and what was made of it."""
        thumbnail = picture.thumbnail
        self.times.append(pts)
        self.changes.feed(pts, picture.look, picture.interlaced)
        self.measures.append(self._meter.measure(thumbnail))
        self.bars.feed(thumbnail)

    def to_state(self) -> dict[str, Any]:
        """JSON values from which `from_state` makes facts for `Facts.take`."""
        return {
            "times": _times_to_text(self.times),
            "shots": measures_to_json(self.measures),
            "bars": self.bars.state(),
            "changes": self.changes.state(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "PartFacts":
        """Reads what `to_state` gave."""
        facts = cls()
        facts.times = _times_from_text(state["times"])
        facts.measures = measures_from_json(state["shots"])
        facts.bars = BarsWatch.from_state(state["bars"])
        facts.changes = ChangesWatch.from_state(state["changes"])
        return facts


def _times_to_text(times: "array[int]") -> str:
    return base64.b64encode(zlib.compress(times.tobytes())).decode("ascii")


def _times_from_text(text: str) -> "array[int]":
    times = array("q")
    times.frombytes(zlib.decompress(base64.b64decode(text)))
    return times
