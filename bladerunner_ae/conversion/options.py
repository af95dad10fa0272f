import dataclasses
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from bladerunner_ae.errors import BladerunnerError, InputError, UsageError
from bladerunner_ae.film.notes import Note
from tfrecords.shards import MOST_SHARDS

FORMATS = ("jpeg", "png")
DEINTERLACE = ("auto", "off")
# libjpeg's JPEG_MAX_DIMENSION.
LONGEST_SIDE = 65_500
# 8192 x 8192: every decoder holds a few such pictures of 200 MB, and image readers take larger
# ones for an attack.
MOST_PIXELS = 2**26
# Options whose flag has another name.
_FLAGS = {"bars": "crop_bars", "image_format": "format"}
# The meaning of a flag that was left out, where "not given" does not say it.
_LEFT_OUT = {"bars": "auto", "start": "the beginning", "duration": "to the end"}


@dataclass(frozen=True)
class ConversionOptions:
    """Everything that determines the bytes of the records besides the film.

    Attributes:
        height, width: of a record in pixels; None for a side that follows from the film's shape.
        pixels: approximate number of a record's pixels if its size follows from the film.
        multiple: sides that follow from the film are multiples of this.
        fit: "contain", "cover" or "stretch", see `geometry.decide_geometry`.
        bars: (top, bottom, left, right) to cut off in stored pixels, or None to find them.
        image_format: "jpeg" (4:4:4, of `quality` 1..100) or "png".
        start, duration: seconds of the film to take, or None.
        frame_rate: of a folder of images.
        deinterlace: "auto" deinterlaces frames of two fields, "off" keeps their fields.
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
        if not 1 <= self.num_shards <= MOST_SHARDS:
            raise UsageError(f"--num_shards={self.num_shards}: give 1 to {MOST_SHARDS}")
        if self.duration is not None and self.duration <= 0:
            raise UsageError(f"--duration={self.duration}: give more than 0 seconds")
        for name, given, most in (
            ("height", self.height, LONGEST_SIDE),
            ("width", self.width, LONGEST_SIDE),
            ("pixels", self.pixels, MOST_PIXELS),
            ("multiple", self.multiple, LONGEST_SIDE),
        ):
            if given is not None and given > most:
                raise UsageError(f"--{name}={given}: give at most {most}")
        if self.height and self.width:
            refuse_too_large((self.height, self.width))

    def to_json(self, kind: str) -> dict[str, Any]:
        """Return JSON values, fractions as text; without `frame_rate` for the kind "film"."""
        values = dataclasses.asdict(self)
        if kind == "film":
            del values["frame_rate"]
        return {
            name: str(value) if isinstance(value, Fraction) else _plain(value)
            for name, value in values.items()
        }


def changed_option(name: str, before: Any, now: Any) -> str:
    """Return such as "--height: 72 -> 144" from JSON values; None: the flag was left out."""
    values = " -> ".join(_value(name, value) for value in (before, now))
    return f"--{_FLAGS.get(name, name)}: {values}"


def _value(name: str, value: Any) -> str:
    if value is None:
        return _LEFT_OUT.get(name, "not given")
    if isinstance(value, list):
        return ":".join(map(str, value)) if any(value) else "none"
    return str(value)


def refuse_too_large(raster: tuple[int, int]) -> None:
    """Raise UsageError if no record can have a picture of (height, width) pixels."""
    height, width = raster
    if max(height, width) > LONGEST_SIDE or height * width > MOST_PIXELS:
        raise UsageError(
            f"records of {height}x{width} (height x width) are too large: no side may have more "
            f"than {LONGEST_SIDE} pixels, and no record more than {MOST_PIXELS}; give a smaller "
            "--height and --width"
        )


def nothing_read(film: Path, options: ConversionOptions, problem: Note | None) -> BladerunnerError:
    """Return the error of a film of which no frame was read; `problem` is the reason, or None."""
    if problem:
        return InputError(f"{film}: no frame of it can be read ({problem})")
    given = {"start": options.start, "duration": options.duration}
    asked = " ".join(f"--{name}={float(value):g}" for name, value in given.items() if value)
    if not asked:
        return InputError(f"{film}: holds no frame that can be read")
    return UsageError(f"{asked}: no frame of {film} is in that range; give an earlier one")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
