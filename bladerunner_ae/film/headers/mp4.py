"""Tracks of an mp4 or QuickTime file: boxes that libav does not pass on.

A box is its size, its type of four letters, and its contents (ISO/IEC 14496-12).
"""

import struct
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

from bladerunner_ae.film.headers.stream_header import StreamHeader
from bladerunner_ae.film.picture.cropping import NO_MARGINS, Margins

# A film of ten hours has some ten megabytes.
_MOST_BYTES = 256 * 2**20
# Encrypted samples of video, sound, text and others (ISO/IEC 23001-7), and those of FairPlay.
_ENCRYPTED = ("encv", "enca", "enct", "encs", "encm", "drmi", "drms", "drmt")
_DOLBY_VISION = (b"dvcC", b"dvvC", b"dvwC")
# Bytes of a picture's description before the boxes inside it, without its own header.
_PICTURE_BYTES = 78


def read_tracks(path: Path) -> tuple[dict[int, StreamHeader], bool]:
    """Read a film's header: (tracks by number, whether the film is fragmented)."""
    tracks: dict[int, StreamHeader] = {}
    header = _header(path)
    for kind, contents in _boxes(header):
        if kind == b"trak":
            number = _track_number(_inside(contents, b"tkhd"))
            table = _inside(contents, b"mdia", b"minf", b"stbl", b"stsd")
            handler = _inside(contents, b"mdia", b"hdlr")[8:12]
            tracks[number] = _described(table[8:], picture=handler == b"vide")
    return tracks, any(kind == b"mvex" for kind, _ in _boxes(header))


def _header(path: Path) -> bytes:
    """Contents of the box "moov", or b""."""
    with path.open("rb") as file:
        end = file.seek(0, 2)
        place = 0
        while place + 8 <= end:
            file.seek(place)
            head = file.read(16)
            size, before = struct.unpack_from(">I", head)[0], 8
            if size == 1 and len(head) == 16:
                size, before = struct.unpack_from(">Q", head, 8)[0], 16
            size = size or end - place
            if size < before:
                break
            if head[4:8] == b"moov":
                file.seek(place + before)
                return file.read(min(size - before, _MOST_BYTES))
            place += size
    return b""


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 0
    while place + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, place)
        before = 8
        if size == 1 and place + 16 <= len(data):
            size, before = struct.unpack_from(">Q", data, place + 8)[0], 16
        size = size or len(data) - place
        if size < before:
            return
        yield kind, data[place + before : place + size]
        place += size


def _inside(data: bytes, *kinds: bytes) -> bytes:
    """Contents of the first box of the last type, each inside the one before; or b""."""
    for kind in kinds:
        data = next((contents for found, contents in _boxes(data) if found == kind), b"")
    return data


def _track_number(header: bytes) -> int:
    place = 20 if header[:1] == b"\x01" else 12
    return int.from_bytes(header[place : place + 4], "big")


def _described(descriptions: bytes, picture: bool) -> StreamHeader:
    """The track according to the first description of its samples."""
    for kind, contents in _boxes(descriptions):
        codec = kind.decode("latin-1")
        track = StreamHeader(codec, encrypted=codec in _ENCRYPTED)
        if not picture or len(contents) < _PICTURE_BYTES:
            return track
        width, height = struct.unpack_from(">HH", contents, 24)
        for inner, values in _boxes(contents[_PICTURE_BYTES:]):
            if inner == b"clap" and len(values) >= 32:
                track = replace(track, crop=_crop(values, width, height))
            elif inner in _DOLBY_VISION:
                track = replace(track, dolby_vision=values)
        return track
    return StreamHeader()


def _crop(aperture: bytes, width: int, height: int) -> Margins:
    """Margins of a clean aperture; as in libav, none if it makes no sense."""
    numbers = struct.unpack(">8i", aperture[:32])
    if any(below <= 0 for below in numbers[1::2]):
        return NO_MARGINS
    across, down, right, lower = (Fraction(*numbers[place : place + 2]) for place in range(0, 8, 2))
    left, after = _edges(width, across, right)
    top, below = _edges(height, down, lower)
    possible = min(left, after, top, below) >= 0 and left + after < width and top + below < height
    return Margins(top, below, left, after) if possible else NO_MARGINS


def _edges(length: int, shown: Fraction, off: Fraction) -> tuple[int, int]:
    """(pixels before, pixels after) what is shown, `off` its distance from the middle."""
    middle = Fraction(length - 1, 2) + off
    first, last = middle - (shown - 1) / 2, middle + (shown - 1) / 2
    return (-1 if first < 0 else int(first)), length - 1 - int(last)
