"""What a conversion learns of a film on the way, frame by frame, and can be interrupted in."""

import base64
import zlib
from array import array
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bladerunner_ae.film.shots import ShotFinder


class Facts:
    """Times and shots of the frames seen so far.

    Attributes:
        times: timestamps of the frames, in units of the film's time base.
        shots: where shots begin.
        single_pass: why an earlier run read the film in a single pass, or "".
    """

    def __init__(self) -> None:
        self.times = array("q")
        self.shots = ShotFinder()
        self.single_pass = ""

    def feed(self, pts: int, thumbnail: NDArray[np.uint8]) -> None:
        """Takes the next frame: its timestamp and its picture, uint8 [height, width, 3], RGB."""
        self.times.append(pts)
        self.shots.feed(thumbnail)

    def notes(self) -> list[str]:
        """What a person should know of what was seen."""
        return []

    def to_state(self, single_pass: str) -> dict[str, Any]:
        """JSON values from which `from_state` makes facts that go on in just the same way."""
        times = zlib.compress(self.times.tobytes())
        return {
            "times": base64.b64encode(times).decode("ascii"),
            "shots": self.shots.state(),
            "single_pass": single_pass,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> "Facts":
        """Reads what `to_state` gave."""
        facts = cls()
        facts.times.frombytes(zlib.decompress(base64.b64decode(state["times"])))
        facts.shots = ShotFinder.from_state(state["shots"])
        facts.single_pass = str(state["single_pass"])
        return facts
