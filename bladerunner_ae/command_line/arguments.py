"""Reads what people type after a flag: times, frame rates, black bars, names of outputs."""

from fractions import Fraction
from pathlib import Path

from bladerunner_ae.errors import UsageError
from bladerunner_ae.output_files import refuse_unwritable
from tfrecords.storage import Location, is_remote, location

_FASTEST = 1_000_000


def parse_time(name: str, text: str | None) -> Fraction | None:
    """Reads a moment or a length of time.

    Args:
        name: of the flag, for the message.
        text: seconds, minutes:seconds or hours:minutes:seconds, such as "90", "1:30" or
            "0:01:30.5"; None stays None.

    Returns:
        Seconds.

    Raises:
        UsageError: the text is none of these.
    """
    if text is None:
        return None
    try:
        parts = [Fraction(part) for part in text.split(":")]
    except (ValueError, ZeroDivisionError):
        parts = []
    if not 1 <= len(parts) <= 3 or min(parts) < 0:
        raise UsageError(
            f"--{name}={text}: give seconds or hours:minutes:seconds, such as 90 or 0:01:30"
        )
    seconds = Fraction(0)
    for part in parts:
        seconds = seconds * 60 + part
    return seconds


def parse_local(name: str, text: str) -> Path:
    """Reads the path of a film, which decoders and encoders need on a local disk.

    Args:
        name: of the flag, for the message.
        text: the path.

    Raises:
        UsageError: it is remote.
    """
    if is_remote(text):
        raise UsageError(
            f"--{name}={text}: films are read and written on a local disk; copy the film there, "
            "or from there"
        )
    return Path(text)


def parse_output(name: str, text: str | None, kind: str, *endings: str) -> Location | None:
    """Reads the path of a file that is to be written, before anything takes its time.

    Args:
        name: of the flag, for the message.
        text: the path, local or remote; none if empty or None.
        kind: what it is written as, such as "PNG".
        endings: of its name, one of which it must have, such as ".png": a slip of the keyboard
            must not replace a film.

    Raises:
        UsageError: it is called otherwise, or is a folder.
        InputError: it is plain that it cannot be written there.
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
    """As `parse_output`, of a picture."""
    return parse_output(name, text, "PNG", ".png")


def parse_folder(name: str, text: str | None) -> Location | None:
    """Reads the path of a folder that files are to be written to.

    Args:
        name: of the flag, for the message.
        text: the path, local or remote; none if empty or None.

    Raises:
        UsageError: it is a file.
        InputError: it is plain that nothing can be written there.
    """
    if not text:
        return None
    path = location(text)
    if isinstance(path, Path):
        if path.is_file():
            raise UsageError(f"--{name}={text}: is a file; give the name of a folder")
        refuse_unwritable(path / "a file")
    return path


def parse_bars(text: str) -> tuple[int, int, int, int] | None:
    """Reads --crop_bars.

    Args:
        text: "auto", "none" or "top:bottom:left:right" in pixels of the film.

    Returns:
        None for "auto", else (top, bottom, left, right).

    Raises:
        UsageError: the text is none of these.
    """
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
    """Reads --frame_rate: frames per second such as "24", "23.976" or "24000/1001".

    Raises:
        UsageError: the text is no number above 0 and up to a million.
    """
    try:
        rate = Fraction(text)
    except (ValueError, ZeroDivisionError):
        rate = Fraction(0)
    if not 0 < rate <= _FASTEST:
        raise UsageError(f"--frame_rate={text}: give frames per second, such as 24 or 24000/1001")
    return rate
