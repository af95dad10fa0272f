"""Limits on picture sizes: a file of some kilobytes can ask for gigabytes of memory."""

from pathlib import Path

from bladerunner_ae.errors import InputError

MOST_PIXELS = 1 << 27
"""Pixels of a frame or image. 16K (8640x15360) and what cameras of 100 megapixels make are below;
one such frame takes about 2 GB on its way into a record."""


LEAST_SIDE = 2
"""Rows and columns of a frame: codecs keep colours for two by two pixels."""


def refuse_tiny(path: Path, height: int, width: int) -> None:
    """Raise InputError if a picture has fewer rows or columns than `LEAST_SIDE`."""
    if min(height, width) < LEAST_SIDE:
        raise InputError(
            f"{path}: has pictures of {height}x{width} (height x width); at least {LEAST_SIDE} "
            "rows and columns are needed; give a larger film"
        )


def refuse_huge(path: Path, height: int, width: int) -> None:
    """Raise InputError if a picture has more than `MOST_PIXELS`; call it before any decoding."""
    if height * width > MOST_PIXELS:
        raise InputError(
            f"{path}: has pictures of {height}x{width} (height x width), {height * width} pixels; "
            f"at most {MOST_PIXELS} can be read; make it smaller first, with ffmpeg's scale filter"
        )
