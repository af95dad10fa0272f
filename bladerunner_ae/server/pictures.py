"""How much work the pictures in a request are, judging by their first bytes.

A file of some kilobytes can hold a picture that takes seconds to read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import simplejpeg

from bladerunner_ae.server.saved_model import Arrays

_PNG_START, _JPEG_START = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_UNKNOWN = 1 << 25  # the largest picture that our models take


def pixels(inputs: Arrays) -> int:
    """The pixels of all PNG and JPEG files among a request's strings, together."""
    return sum(_pixels(file) for file in _files(inputs))


def _files(inputs: Arrays) -> Iterator[Any]:
    for array in inputs.values():
        if array.dtype == object:
            yield from array.ravel().tolist()


def _pixels(file: bytes) -> int:
    if file.startswith(_PNG_START):  # and the first chunk's name; then width and height
        return int.from_bytes(file[16:20], "big") * int.from_bytes(file[20:24], "big")
    if not file.startswith(_JPEG_START):
        return 0
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(file, strict=False)
    except (ValueError, KeyError):  # damaged, or of an unusual kind
        return _UNKNOWN
    return height * width
