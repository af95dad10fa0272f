"""Disk space of a job, estimated before it begins."""

import shutil
import sys
from fractions import Fraction
from pathlib import Path

from bladerunner_ae.errors import InputError
from bladerunner_ae.film.info import FilmInfo
from bladerunner_ae.geometry import Size

# Bytes a pixel, measured on the demo film: records in JPEG of quality 95, 4:4:4 (0.68), and dreams
# as x264 writes them (0.008; side by side with the original 0.011).
_RECORD_BYTES = 0.7
_FILM_BYTES = 0.01

# Of copied sound; few films have more than 640 kbit/s.
_SOUND_BYTES_A_SECOND = 80_000

# The estimate is wrong by a factor of two at most, so half of it is surely needed.
_SURELY_TOO_SMALL = Fraction(1, 2)


def estimate_bytes(info: FilmInfo, raster_pixels: int, films: Size, run_bytes: int) -> int:
    """Estimate the bytes that records, run and both films of a job take at most.

    `raster_pixels` are a record's; `films` is the (height, width) of the dreamt film: the side by
    side film is twice as wide.
    """
    frames = info.timing.frames_estimate or 0
    seconds = float(frames / info.timing.frame_rate)
    records = frames * raster_pixels * _RECORD_BYTES
    # The dream's pictures once, and twice as many side by side, of which a second copy is on the
    # disk while sound is added.
    pictures = frames * films[0] * films[1] * _FILM_BYTES * (1 + 2 + 2)
    return round(records + run_bytes + pictures + 2 * seconds * _SOUND_BYTES_A_SECOND)


def check_space(folder: Path, needed: int, fix: str) -> None:
    """Warn if the disk is probably too small for a job; raise InputError if it surely is.

    The job's folder need not exist; its content counts as written already. `needed` are the bytes
    of the whole job; `fix` is an imperative, for the message.
    """
    written = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    left = max(needed - written, 0)
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    words = f"{folder}: about {_size(left)} will be written, {_size(free)} are free"
    if free < left * _SURELY_TOO_SMALL:
        raise InputError(f"{words}; {fix}")
    if free < left:
        print(f"warning: {words}; {fix}", file=sys.stderr)


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.0f} MB"
