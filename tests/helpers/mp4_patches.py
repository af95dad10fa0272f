"""Changes to boxes of mp4 files that ffmpeg has no options for."""

from __future__ import annotations

import struct
from pathlib import Path

Numbers = tuple[float, float, float, float]

_VIDEO_ENTRY = ("moov", "trak", "mdia", "minf", "stbl", "stsd")
# Bytes of a box before the boxes inside it.
_HEADERS = {"stsd": 16}
_ENTRY_HEADER = 86


def _find(data: bytearray, names: tuple[str, ...]) -> list[int]:
    """Where the first boxes of these names begin, each inside the one before."""
    places, start = [], 0
    for name in names:
        place = start
        while data[place + 4 : place + 8] != name.encode():
            place += struct.unpack_from(">I", data, place)[0]
        places.append(place)
        start = place + _HEADERS.get(name, 8)
    return places


def display_matrix(film: Path, output: Path, numbers: Numbers, scale: float = 1) -> Path:
    """Writes a film with another display matrix in the header of its first track.

    Args:
        film: an mp4 with its index at the end.
        output: the film to write.
        numbers: x and y of where the picture's right points, x and y of its down.
        scale: of the whole matrix.
    """
    data = bytearray(film.read_bytes())
    header = _find(data, ("moov", "trak", "tkhd"))[-1]
    a, b, c, d = (round(number * scale * 65536) for number in numbers)
    struct.pack_into(">9i", data, header + 48, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    output.write_bytes(data)
    return output


def with_box(film: Path, output: Path, box: bytes, codec: str = "avc1", tag: str = "") -> Path:
    """Writes a film with one more box in the description of its first track's codec.

    Args:
        film: an mp4 with its index at the end.
        output: the film to write.
        box: the box, with its header.
        codec: the codec's tag in the file.
        tag: what it is changed to, if anything.
    """
    data = bytearray(film.read_bytes())
    places = _find(data, (*_VIDEO_ENTRY, codec))
    entry = places[-1]
    end = entry + struct.unpack_from(">I", data, entry)[0]
    data[end:end] = box
    for place in places:
        size = struct.unpack_from(">I", data, place)[0]
        struct.pack_into(">I", data, place, size + len(box))
    data[entry + 4 : entry + 8] = (tag or codec).encode()
    output.write_bytes(data)
    return output


def clean_aperture(width: int, height: int, across: int = 0, down: int = 0) -> bytes:
    """A box that shows a part of the picture, so many half pixels away from its middle."""
    return struct.pack(">I4sIIIIiIiI", 40, b"clap", width, 1, height, 1, across, 2, down, 2)


def dolby_vision(profile: int, compatibility: int) -> bytes:
    """A box that says which profile of Dolby Vision a picture is of."""
    facts = struct.pack(">BBHI", 1, 0, profile << 9 | 6 << 3 | 5, compatibility << 28)
    return struct.pack(">I4s", 32, b"dvcC" if profile < 8 else b"dvvC") + facts + bytes(16)
