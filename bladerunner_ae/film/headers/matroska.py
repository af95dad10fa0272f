"""Tracks of a Matroska or WebM file: elements that libav does not pass on (RFC 8794, RFC 9559)."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from bladerunner_ae.film.headers.ebml import read_number
from bladerunner_ae.film.headers.stream_header import StreamHeader
from bladerunner_ae.film.picture.cropping import Margins

_EBML, _SEGMENT = 0x1A45DFA3, 0x18538067
_TRACKS, _CLUSTER = 0x1654AE6B, 0x1F43B675
_SEEK_HEAD, _SEEK, _SEEK_IDENTITY, _SEEK_POSITION = 0x114D9B74, 0x4DBB, 0x53AB, 0x53AC
_TRACK, _KIND, _CODEC, _VIDEO = 0xAE, 0x83, 0x86, 0xE0
_CROP = (0x54BB, 0x54AA, 0x54CC, 0x54DD)  # top, bottom, left, right
_ENCODINGS, _ENCODING, _ENCODING_KIND, _ENCRYPTION = 0x6D80, 0x6240, 0x5033, 1
_ADDITION, _ADDITION_KIND, _ADDITION_DATA = 0x41E4, 0x41E7, 0x41ED
_DOLBY_VISION = (b"dvcC", b"dvvC", b"dvwC")
# Pictures, sound, subtitles and metadata; libav makes streams of no others.
_KINDS = (1, 2, 0x11, 0x21)

_MOST_BYTES = 16 * 2**20


def read_tracks(path: Path) -> list[StreamHeader]:
    """Return the tracks of a film that libav makes streams of, in their order."""
    with path.open("rb") as file:
        entries = _elements(_tracks(file))
        tracks = [list(_elements(data)) for identity, data in entries if identity == _TRACK]
    kinds = (_whole(_first(track, _KIND)) for track in tracks)
    return [
        _track(track)
        for track, kind in zip(tracks, kinds, strict=True)
        if kind in _KINDS and _first(track, _CODEC)
    ]


def _tracks(file: BinaryIO) -> bytes:
    """Contents of the element that describes the tracks, or b""."""
    for wanted in (_EBML, _SEGMENT):
        identity, size = read_number(file, marked=True), read_number(file, marked=False)
        if identity != wanted:
            return b""
        if wanted == _EBML:
            file.seek(size or 0, 1)
    begin, elsewhere, jumped = file.tell(), None, False
    while (identity := read_number(file, marked=True)) is not None:
        size = read_number(file, marked=False)
        if identity == _TRACKS and size is not None:
            return file.read(min(size, _MOST_BYTES))
        if identity == _SEEK_HEAD and size is not None:
            elsewhere = _place_of_tracks(file.read(min(size, _MOST_BYTES)))
            continue
        if identity == _CLUSTER or size is None:
            # The tracks can come after the pictures.
            if elsewhere is None or jumped:
                break
            file.seek(begin + elsewhere)
            jumped = True
            continue
        file.seek(size, 1)
    return b""


def _place_of_tracks(seek_head: bytes) -> int | None:
    for identity, data in _elements(seek_head):
        entry = list(_elements(data)) if identity == _SEEK else []
        if _whole(_first(entry, _SEEK_IDENTITY)) == _TRACKS:
            return _whole(_first(entry, _SEEK_POSITION))
    return None


def _track(track: list[tuple[int, bytes]]) -> StreamHeader:
    video = list(_elements(_first(track, _VIDEO)))
    crop = Margins(*(_whole(_first(video, identity)) for identity in _CROP))
    encodings = [
        dict(_elements(data))
        for identity, data in _elements(_first(track, _ENCODINGS))
        if identity == _ENCODING
    ]
    additions = [dict(_elements(data)) for identity, data in track if identity == _ADDITION]
    dolby_vision = (
        one.get(_ADDITION_DATA, b"")
        for one in additions
        if one.get(_ADDITION_KIND, b"").rjust(4, b"\0")[-4:] in _DOLBY_VISION
    )
    return StreamHeader(
        _first(track, _CODEC).rstrip(b"\0").decode("latin-1"),
        crop,
        next(dolby_vision, b""),
        any(_whole(one.get(_ENCODING_KIND, b"")) == _ENCRYPTION for one in encodings),
    )


def _elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    file = BytesIO(data)
    while (identity := read_number(file, marked=True)) is not None:
        size = read_number(file, marked=False)
        if size is None:
            return
        yield identity, file.read(min(size, len(data)))


def _first(elements: list[tuple[int, bytes]], identity: int) -> bytes:
    return next((data for found, data in elements if found == identity), b"")


def _whole(data: bytes) -> int:
    return int.from_bytes(data, "big")
