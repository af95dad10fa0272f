"""What decides the bytes of a film's records, beside the film itself."""

import dataclasses
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from bladerunner_ae.errors import UsageError

FORMATS = ("jpeg", "png")
DEINTERLACE = ("auto", "off")


@dataclass(frozen=True)
class ConversionOptions:
    """What decides the bytes of the records, beside the film.

    Attributes:
        height, width: of a record in pixels; None for a side that follows from the film's shape.
        pixels: about how many pixels a record has where its size follows from the film.
        multiple: sides that follow from the film are multiples of this.
        fit: "contain", "cover" or "stretch", see `geometry.decide_geometry`.
        bars: (top, bottom, left, right) to cut off in stored pixels, or None to find them.
        image_format: "jpeg" (4:4:4) or "png".
        quality: of JPEG, 1..100.
        num_shards: files to write.
        start, duration: seconds of the film to take, or None.
        frame_rate: of a folder of images.
        deinterlace: "auto" makes whole frames of interlaced ones, "off" leaves their fields.
    """

    height: int | None = None
    width: int | None = None
    pixels: int = 36864
    multiple: int = 16
    fit: str = "contain"
    bars: tuple[int, int, int, int] | None = None
    image_format: str = "jpeg"
    quality: int = 95
    num_shards: int = 16
    start: Fraction | None = None
    duration: Fraction | None = None
    frame_rate: Fraction = Fraction(24)
    deinterlace: str = "auto"

    def __post_init__(self) -> None:
        if self.image_format not in FORMATS:
            raise UsageError(f"--format={self.image_format}: choose {' or '.join(FORMATS)}")
        if self.deinterlace not in DEINTERLACE:
            raise UsageError(f"--deinterlace={self.deinterlace}: choose {' or '.join(DEINTERLACE)}")
        if not 1 <= self.quality <= 100:
            raise UsageError(f"--quality={self.quality}: give 1 to 100")
        if self.num_shards < 1:
            raise UsageError(f"--num_shards={self.num_shards}: give at least 1")

    def to_json(self, kind: str) -> dict[str, Any]:
        """Plain JSON values; fractions become text.

        Args:
            kind: "film" or "images"; a film brings its own frame rate, so that of the options is
                left out.
        """
        values = dataclasses.asdict(self)
        if kind == "film":
            del values["frame_rate"]
        return {
            name: str(value) if isinstance(value, Fraction) else _plain(value)
            for name, value in values.items()
        }


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
