"""Changes boxes of an .mp4 or .mov file, as ISO/IEC 14496-12 describes them."""

import struct
from collections.abc import Sequence
from pathlib import Path

_STSD_HEADER = 16


def _boxes(data: bytearray, names: Sequence[bytes]) -> list[int]:
    """Where each box of a path begins; of boxes of one name the first is taken."""
    start, found = 0, []
    for name in names:
        at = start
        while name not in (data[at + 4 : at + 8], b"*"):
            size = struct.unpack_from(">I", data, at)[0]
            if size < 8:
                raise ValueError(f"no box {name!r}")
            at += size
        found.append(at)
        start = at + (_STSD_HEADER if name == b"stsd" else 8)
    return found


def set_display_matrix(path: Path, matrix: Sequence[int], shift: tuple[int, int] = (0, 0)) -> None:
    """Writes the matrix of the first track: x' = a x + c y + shift, y' = b x + d y + shift.

    Args:
        path: the file, changed in place.
        matrix: (a, b, c, d), whole numbers.
        shift: (right, down) in pixels.
    """
    data = bytearray(path.read_bytes())
    at = _boxes(data, [b"moov", b"trak", b"tkhd"])[-1] + 8
    at += 52 if data[at] == 1 else 40
    a, b, c, d = (value << 16 for value in matrix)
    x, y = (value << 16 for value in shift)
    struct.pack_into(">9i", data, at, a, b, 0, c, d, 0, x, y, 1 << 30)
    path.write_bytes(data)


def set_clean_aperture(path: Path, size: tuple[int, int], crop: Sequence[int]) -> None:
    """Adds the box that says which part of the first track's picture is shown.

    Args:
        path: the file, changed in place; `moov` must be its last box.
        size: stored (height, width).
        crop: pixels that are hidden at (top, bottom, left, right).
    """
    top, bottom, left, right = crop
    width, height = size[1] - left - right, size[0] - top - bottom
    box = struct.pack(">I4sIIIIiIiI", 40, b"clap", width, 1, height, 1, left - right, 2,
                      top - bottom, 2)  # fmt: skip
    data = bytearray(path.read_bytes())
    around = _boxes(data, [b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"*"])
    end = around[-1] + struct.unpack_from(">I", data, around[-1])[0]
    data[end:end] = box
    for at in around:
        struct.pack_into(">I", data, at, struct.unpack_from(">I", data, at)[0] + len(box))
    path.write_bytes(data)


def set_last_duration(path: Path, ticks: int) -> None:
    """Lengthens the last sample of the first track by some ticks of its clock, all boxes alike.

    For files of a single edit that covers the track, or of none.
    """
    data = bytearray(path.read_bytes())
    moov = [b"moov"]
    movie = _boxes(data, [*moov, b"mvhd"])[-1] + 8
    track = _boxes(data, [*moov, b"trak", b"tkhd"])[-1] + 8
    media = _boxes(data, [*moov, b"trak", b"mdia", b"mdhd"])[-1] + 8
    if data[movie] or data[track] or data[media]:
        raise ValueError("boxes of 64 bits")
    unit, scale = (struct.unpack_from(">I", data, at + 12)[0] for at in (movie, media))
    longer = ticks * unit // scale
    for at, more in ((movie + 16, longer), (track + 20, longer), (media + 16, ticks)):
        struct.pack_into(">I", data, at, struct.unpack_from(">I", data, at)[0] + more)
    try:
        edits = _boxes(data, [*moov, b"trak", b"edts", b"elst"])[-1] + 8
    except ValueError:
        pass
    else:
        last = edits + 8 + 12 * (struct.unpack_from(">I", data, edits + 4)[0] - 1)
        struct.pack_into(">I", data, last, struct.unpack_from(">I", data, last)[0] + longer)
    around = _boxes(data, [*moov, b"trak", b"mdia", b"minf", b"stbl", b"stts"])
    stts = around[-1] + 8
    rows = struct.unpack_from(">I", data, stts + 4)[0]
    at = stts + 8 + 8 * (rows - 1)
    count, each = struct.unpack_from(">II", data, at)
    if count == 1:
        struct.pack_into(">I", data, at + 4, each + ticks)
    else:
        struct.pack_into(">I", data, at, count - 1)
        struct.pack_into(">I", data, stts + 4, rows + 1)
        data[at + 8 : at + 8] = struct.pack(">II", 1, each + ticks)
        for box in around:
            struct.pack_into(">I", data, box, struct.unpack_from(">I", data, box)[0] + 8)
    path.write_bytes(data)
