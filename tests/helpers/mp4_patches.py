"""Changes to boxes of an .mp4 or .mov file (ISO/IEC 14496-12) that ffmpeg has no options for."""

import struct
from collections.abc import Sequence
from pathlib import Path

Numbers = tuple[float, float, float, float]

_TRACK = ("moov", "trak")
_MEDIA = (*_TRACK, "mdia")
_SAMPLES = (*_MEDIA, "minf", "stbl")
# Bytes of a box before the boxes inside it.
_HEADERS = {"stsd": 16}


def _find(data: bytearray, *names: str) -> list[int]:
    """Return the starts of the first boxes of these names, each inside the one before."""
    places, start = [], 0
    for name in names:
        place = start
        while name not in (data[place + 4 : place + 8].decode("latin-1"), "*"):
            size = _number(data, place)
            if size < 8:
                raise ValueError(f"no box {name!r}")
            place += size
        places.append(place)
        start = place + _HEADERS.get(name, 8)
    return places


def _number(data: bytearray, place: int) -> int:
    return int(struct.unpack_from(">I", data, place)[0])


def _add(data: bytearray, more: int, *places: int) -> None:
    for place in places:
        struct.pack_into(">I", data, place, _number(data, place) + more)


def display_matrix(
    film: Path, output: Path, numbers: Numbers, scale: float = 1, shift: tuple[int, int] = (0, 0)
) -> Path:
    """Write an mp4, its index at the end, with another display matrix of its first track.

    `numbers` are (a, b, c, d) of x' = a x + c y + right and y' = b x + d y + down; `scale` is of
    the whole matrix, `shift` is (right, down) in pixels.
    """
    data = bytearray(film.read_bytes())
    header = _find(data, *_TRACK, "tkhd")[-1]
    a, b, c, d = (round(number * scale * 65536) for number in numbers)
    right, down = (pixels << 16 for pixels in shift)
    at = header + (60 if data[header + 8] == 1 else 48)
    struct.pack_into(">9i", data, at, a, b, 0, c, d, 0, right, down, 1 << 30)
    output.write_bytes(data)
    return output


def with_box(film: Path, output: Path, box: bytes, codec: str = "avc1", tag: str = "") -> Path:
    """Write an mp4, its index at the end, with one more box in the description of its first codec.

    `codec` is the codec's tag in the file, "*" for any, and `tag` its replacement.
    """
    data = bytearray(film.read_bytes())
    places = _find(data, *_SAMPLES, "stsd", codec)
    entry = places[-1]
    end = entry + _number(data, entry)
    data[end:end] = box
    _add(data, len(box), *places)
    if tag:
        data[entry + 4 : entry + 8] = tag.encode()
    output.write_bytes(data)
    return output


def clean_aperture(width: int, height: int, across: int = 0, down: int = 0) -> bytes:
    """Return a box that shows a part of the picture, so many half pixels away from its middle."""
    return struct.pack(">I4sIIIIiIiI", 40, b"clap", width, 1, height, 1, across, 2, down, 2)


def dolby_vision(profile: int, compatibility: int) -> bytes:
    """Return a box with the profile of Dolby Vision of a picture."""
    facts = struct.pack(">BBHI", 1, 0, profile << 9 | 6 << 3 | 5, compatibility << 28)
    return struct.pack(">I4s", 32, b"dvcC" if profile < 8 else b"dvvC") + facts + bytes(16)


def clock_of(film: Path) -> int:
    """Return the units a second of the first track's clock."""
    data = bytearray(film.read_bytes())
    return _number(data, _find(data, *_MEDIA, "mdhd")[-1] + 20)


def lengthen_last_sample(film: Path, ticks: int) -> None:
    """Lengthen the last sample of the first track, in place, by some ticks of its clock.

    For files of a single edit that covers the track, or of none.
    """
    data = bytearray(film.read_bytes())
    paths: Sequence[tuple[str, ...]] = (("moov", "mvhd"), (*_TRACK, "tkhd"), (*_MEDIA, "mdhd"))
    movie, track, media = (_find(data, *path)[-1] + 8 for path in paths)
    if data[movie] or data[track] or data[media]:
        raise ValueError("boxes of 64 bits")
    longer = ticks * _number(data, movie + 12) // _number(data, media + 12)
    _add(data, longer, movie + 16, track + 20)
    _add(data, ticks, media + 16)
    try:
        edits = _find(data, *_TRACK, "edts", "elst")[-1] + 8
    except ValueError:
        pass
    else:
        _add(data, longer, edits + 8 + 12 * (_number(data, edits + 4) - 1))
    around = _find(data, *_SAMPLES, "stts")
    rows = around[-1] + 12
    last = rows + 4 + 8 * (_number(data, rows) - 1)
    if _number(data, last) == 1:
        _add(data, ticks, last + 4)
    else:
        each = _number(data, last + 4)
        _add(data, -1, last)
        _add(data, 1, rows)
        data[last + 8 : last + 8] = struct.pack(">II", 1, each + ticks)
        _add(data, 8, *around)
    film.write_bytes(data)
