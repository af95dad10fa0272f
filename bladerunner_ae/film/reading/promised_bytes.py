"""How long a film's file says that it is: a copy that broke off is shorter.

Matroska, AVI and MP4 begin with boxes that tell their own length. Frames may all be readable up to
the end of what is there, and nothing else would say that it is not the end of the film.
"""

import os
from pathlib import Path
from typing import BinaryIO

from bladerunner_ae.film.headers.ebml import read_number

_EBML, _SEGMENT = 0x1A45DFA3, 0x18538067
# What can stand at the top of an mp4; behind anything else lies no box but something foreign.
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"moof", b"mfra", b"sidx",
              b"styp", b"uuid", b"meta", b"udta", b"pdin", b"emsg", b"ssix", b"prft")  # fmt: skip


def missing_bytes(path: Path) -> int:
    """How many bytes a film's file lacks of what its outermost boxes promise; 0 if none.

    Also 0 where it promises nothing: other containers, and files whose writer did not finish.
    """
    try:
        size = os.path.getsize(path)
        with path.open("rb") as file:
            head = file.read(12)
            file.seek(0)
            if head[:4] == b"RIFF":
                promised = _riff_end(file, size)
            elif head[4:8] == b"ftyp":
                promised = _mp4_end(file, size)
            else:
                promised = _matroska_end(file)
    except OSError:
        return 0
    return max(promised - size, 0)


def _matroska_end(file: BinaryIO) -> int:
    identity, size = read_number(file, marked=True), read_number(file, marked=False)
    if identity != _EBML or size is None:
        return 0
    file.seek(size, os.SEEK_CUR)
    identity, size = read_number(file, marked=True), read_number(file, marked=False)
    return 0 if identity != _SEGMENT or size is None else file.tell() + size


def _riff_end(file: BinaryIO, size: int) -> int:
    """End of the last of the chunks of up to a gigabyte that large AVI files consist of."""
    end = 0
    while end < size:
        file.seek(end)
        head = file.read(8)
        if len(head) < 8 or head[:4] != b"RIFF":
            break
        length = int.from_bytes(head[4:], "little")
        if length in (0, 0xFFFFFFFF):
            break
        end += 8 + length
    return end


def _mp4_end(file: BinaryIO, size: int) -> int:
    end = 0
    while end < size:
        file.seek(end)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1 and len(head) == 16:
            length = int.from_bytes(head[8:], "big")
        if head[4:8] not in _MP4_BOXES or length < 8:
            break
        end += length
    return end
