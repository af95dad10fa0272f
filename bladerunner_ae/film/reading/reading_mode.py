"""Reading modes: several decoders at once, or a single pass and the reason for it."""

from dataclasses import dataclass
from enum import Enum
from typing import Any


class Obstacle(Enum):
    """Reasons to read a film in a single pass; the value words it, {number} is the mode's."""

    IMAGES = "it is a folder of images"
    INTERLACED = "deinterlacing needs the frames before and behind each"
    UNTIMED_CONTAINER = "its container gives frames no times"
    UNTIMED_FRAMES = "some of its frames have no time"
    EQUAL_TIMES = "several of its frames have the same time"
    JUMPS = "its times jump"
    NO_KEY_FRAME = "it does not begin with a key frame"
    FAR_KEY_FRAMES = "its key frames are too far apart ({number:.0f} frames)"
    DAMAGED = "it is damaged"
    # Found only while decoding
    UNDECODABLE = "some of its data cannot be decoded"
    OTHER_PACKETS = "reading it twice gives different packets"
    OTHER_FRAMES = "its frames are not those that its packets promise"
    OTHER_PICTURES = "decoded from its key frame at {number:.3f} s it gives other pictures"


@dataclass(frozen=True)
class ReadingMode:
    """The way a film is read: in a single pass if there is an `obstacle`.

    `number` is the frames or seconds that belong to the obstacle.
    """

    obstacle: Obstacle | None = None
    number: float = 0

    @property
    def single_pass(self) -> bool:
        return self.obstacle is not None

    @property
    def decoder_threads(self) -> bool:
        """Whether the decoder of a single pass may use threads: they conceal damage at random."""
        return self.obstacle not in (Obstacle.DAMAGED, Obstacle.UNDECODABLE)

    def __str__(self) -> str:
        return "" if self.obstacle is None else self.obstacle.value.format(number=self.number)

    def to_json(self) -> dict[str, Any] | None:
        return self.obstacle and {"obstacle": self.obstacle.name, "number": self.number}

    @classmethod
    def from_json(cls, value: Any) -> "ReadingMode":
        return cls() if value is None else cls(Obstacle[value["obstacle"]], value["number"])


class NotDivisibleError(Exception):
    """The film must be read in a single pass; `mode` says why."""

    def __init__(self, obstacle: Obstacle, number: float = 0) -> None:
        self.mode = ReadingMode(obstacle, number)
        super().__init__(str(self.mode))
