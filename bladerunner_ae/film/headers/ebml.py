"""Numbers as Matroska writes them (RFC 8794): the first bits give the length."""

from typing import BinaryIO


def read_number(file: BinaryIO, marked: bool) -> int | None:
    """Return a variable-length number, None if absent or unknown; `marked` keeps its length bit."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    length = 9 - first[0].bit_length()
    rest = file.read(length - 1)
    value = int.from_bytes(first + rest, "big")
    if marked:
        return value
    value &= (1 << 7 * length) - 1
    return None if value == (1 << 7 * length) - 1 else value
