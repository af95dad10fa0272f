"""Values of flags: times, frame rates, black bars, files and folders; UsageError for others."""

import re
from collections.abc import Sequence
from fractions import Fraction
from functools import reduce
from pathlib import Path

from absl import flags

from bladerunner_ae.errors import UsageError
from bladerunner_ae.output_files import refuse_unwritable
from tfrecords.storage import Location, is_remote, location

_FASTEST = 1_000_000
_LONGEST = 1_000_000_000
# Python's fractions would work out all the digits of 1e999999999.
_HUGE_EXPONENT = re.compile(r"[eE][+-]?\d{3}")
# Flags whose values are files or folders, of all commands.
_PLACES = {
    "barcode", "cache_dir", "contact_sheet", "data", "export_frames", "film", "fine_tune_from",
    "model", "model_dir", "output", "output_dir", "pictures", "side_by_side_output", "spool_dir",
}  # fmt: skip


def check_places(values: flags.FlagValues, others: Sequence[str] = ()) -> None:
    """Raise UsageError for an empty file or folder among the flags or other arguments.

    An unset variable of a shell is one, and would mean the current folder. What lies in the memory
    of a process (memory://) is gone with the command.
    """
    for name in sorted(_PLACES.intersection(values)):
        given = values[name].value if values[name].present else None
        for place in given if isinstance(given, list) else [given]:
            if place == "":
                raise UsageError(f"--{name}= is empty; give a path")
            if place is not None and place.startswith("memory://"):
                raise UsageError(
                    f"--{name}={place}: would be gone when the command ends; give a local folder "
                    "or a bucket"
                )
    if "" in others:
        raise UsageError("an argument is empty; give a path")


def parse_time(name: str, text: str | None) -> Fraction | None:
    """Return the seconds of "90", "1:30" or "0:01:30.5"."""
    if text is None:
        return None
    try:
        parts = [_fraction(part) for part in text.split(":")]
    except (ValueError, ZeroDivisionError):
        parts = []
    if not 1 <= len(parts) <= 3 or min(parts) < 0 or max(parts) > _LONGEST:
        raise UsageError(
            f"--{name}={text}: give seconds or hours:minutes:seconds, such as 90 or 0:01:30"
        )
    return reduce(lambda seconds, part: seconds * 60 + part, parts)


def refuse_frame_rate(film: Path, given: bool) -> None:
    """Refuse --frame_rate, if it was given, for a film, which knows its own."""
    if given and film.is_file():
        raise UsageError(
            f"--frame_rate is for folders of images, and {film} is a film with its own; leave it "
            "out"
        )


def parse_local(name: str, text: str) -> Path:
    """Return the path of a film; it must be local, as decoders and encoders need it."""
    if is_remote(text):
        raise UsageError(
            f"--{name}={text}: films are read and written on a local disk; copy the film there, "
            "or from there"
        )
    return Path(text)


def parse_output(name: str, text: str | None, kind: str, *endings: str) -> Location | None:
    """Return the path of a file to write, checked before any work; None for no text.

    `kind` is a file format, such as "PNG"; `endings` are those that the name may have, such as
    ".png", so that a typing error replaces no film.

    Raises:
        UsageError: the name has another ending, or is a folder's.
        InputError: the file cannot be written there.
    """
    if not text:
        return None
    if not text.lower().endswith(endings):
        raise UsageError(
            f"--{name}={text}: is written as {kind}; give a name that ends in {endings[0]}"
        )
    path = location(text)
    if isinstance(path, Path):
        if path.is_dir():
            raise UsageError(f"--{name}={text}: is a folder; give the name of a file")
        refuse_unwritable(path)
    return path


def parse_png(name: str, text: str | None) -> Location | None:
    return parse_output(name, text, "PNG", ".png")


def parse_folder(name: str, text: str | None) -> Location | None:
    """Return the path of a folder to write to; UsageError for a file, InputError if unwritable."""
    if not text:
        return None
    path = location(text)
    if isinstance(path, Path):
        if path.is_file():
            raise UsageError(f"--{name}={text}: is a file; give the name of a folder")
        refuse_unwritable(path / "a file")
    return path


def parse_bars(text: str) -> tuple[int, int, int, int] | None:
    """Return (top, bottom, left, right) of --crop_bars, in pixels of the film; None for "auto"."""
    if text == "auto":
        return None
    if text == "none":
        return 0, 0, 0, 0
    parts = text.split(":")
    if len(parts) != 4 or not all(part.isascii() and part.isdecimal() for part in parts):
        raise UsageError(
            f"--crop_bars={text}: give auto, none, or pixels as top:bottom:left:right, "
            "such as 138:138:0:0"
        )
    top, bottom, left, right = map(int, parts)
    return top, bottom, left, right


def parse_rate(text: str) -> Fraction:
    """Return --frame_rate, such as "24", "23.976" or "24000/1001": above 0, up to a million."""
    try:
        rate = _fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= _FASTEST:
        raise UsageError(f"--frame_rate={text}: give frames per second, such as 24 or 24000/1001")
    return rate


def _fraction(text: str) -> Fraction:
    """Return a number exactly; ValueError or ZeroDivisionError for what is none."""
    if _HUGE_EXPONENT.search(text):
        raise ValueError(text)
    return Fraction(text)
