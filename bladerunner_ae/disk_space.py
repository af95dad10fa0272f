"""Space on disk that a whole job will take, told before it begins."""

import shutil
import sys
from fractions import Fraction
from pathlib import Path

from bladerunner_ae.errors import InputError
from bladerunner_ae.film.info import FilmInfo
from bladerunner_ae.geometry import Size

# Bytes a pixel, measured on the demo film: records in JPEG of quality 95, 4:4:4 (0.68), and dreams
# as x264 writes them (0.008; the original beside them 0.011).
_RECORD_BYTES = 0.7
_FILM_BYTES = 0.01

# Sound that is copied is as large as it was; few films have more than 640 kbit/s of it.
_SOUND_BYTES_A_SECOND = 80_000

# Estimates are off by a factor of two at most: a disk with less than half of that is too small.
_SURELY_TOO_SMALL = Fraction(1, 2)


def estimate_bytes(info: FilmInfo, raster_pixels: int, films: Size, run_bytes: int) -> int:
    """Estimates what records, run and both films of a job take at most, in bytes.

    Args:
        info: the film.
        raster_pixels: of a record.
        films: (height, width) of the film that is written; the one beside it is twice as wide.
        run_bytes: of the run folder.
    """
    frames = info.timing.frames_estimate or 0
    seconds = float(frames / info.timing.frame_rate)
    records = frames * raster_pixels * _RECORD_BYTES
    # While sound and pictures are joined, the pictures are there twice.
    pictures = frames * films[0] * films[1] * _FILM_BYTES * (1 + 2 + 2)
    return round(records + run_bytes + pictures + 2 * seconds * _SOUND_BYTES_A_SECOND)


def check_space(folder: Path, needed: int, cure: str) -> None:
    """Warns where a disk is likely too small for a job, and refuses where it surely is.

    Args:
        folder: where the job writes; it need not exist. What lies there already counts as written.
        needed: bytes that the whole job takes, about.
        cure: what to do about it, as an imperative.

    Raises:
        InputError: not even half of what is needed is free.
    """
    written = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    left = max(needed - written, 0)
    place = folder.absolute()
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    words = f"{folder}: about {_size(left)} will be written, {_size(free)} are free"
    if free < left * _SURELY_TOO_SMALL:
        raise InputError(f"{words}; {cure}")
    if free < left:
        print(f"warning: {words}; {cure}", file=sys.stderr)


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.0f} MB"
