"""Durations of the pictures of animated WebP files, from the file's own structure.

libav decodes them in its newest versions only, and without their colour profiles.
"""

from pathlib import Path

from bladerunner_ae.errors import InputError
from bladerunner_ae.film.picture_limits import refuse_huge

_ANIMATION_FLAG = 2
# What browsers and ffmpeg do with a picture that is to be shown for no time at all.
_MILLISECONDS_FOR_NONE = 100


def is_animated_webp(film: Path) -> bool:
    """Whether a path is a WebP file with several pictures."""
    if not film.is_file():
        return False
    with film.open("rb") as file:
        head = file.read(21)
    return head[:4] == b"RIFF" and head[8:16] == b"WEBPVP8X" and bool(head[20] & _ANIMATION_FLAG)


def read_durations(film: Path) -> list[int]:
    """Durations of an animated WebP's pictures in milliseconds, at least 1."""
    durations = list[int]()
    with film.open("rb") as file:
        whole = file.seek(0, 2)
        file.seek(12)
        while len(head := file.read(8)) == 8:
            length = int.from_bytes(head[4:], "little")
            end = file.tell() + length
            if end > whole:
                raise InputError(f"{film}: is cut off; copy or download it again")
            if head[:4] == b"VP8X":
                sides = file.read(10)
                width, height = (int.from_bytes(sides[i : i + 3], "little") + 1 for i in (4, 7))
                refuse_huge(film, height, width)
            elif head[:4] == b"ANMF":
                duration = int.from_bytes(file.read(16)[12:15], "little")
                durations.append(duration or _MILLISECONDS_FOR_NONE)
            file.seek(end + length % 2)
    if not durations:
        raise InputError(f"{film}: is cut off before its first picture; copy or download it again")
    return durations
