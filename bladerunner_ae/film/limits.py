"""How large a picture may be: a file of some kilobytes can ask for gigabytes of memory."""

from pathlib import Path

from bladerunner_ae.errors import InputError

MOST_PIXELS = 1 << 27
"""Pixels of a frame or image. 16K (8640x15360) and what cameras of 100 megapixels make are below;
one such frame takes about 2 GB on its way into a record."""


def refuse_huge(path: Path, height: int, width: int) -> None:
    """Raises InputError if a picture has more than `MOST_PIXELS`.

    Call it with what the file's header says, before anything is decoded.

    Args:
        path: the film or image, for the message.
        height: in pixels.
        width: in pixels.
    """
    if height * width > MOST_PIXELS:
        raise InputError(
            f"{path}: has pictures of {height}x{width} (height x width), {height * width} pixels; "
            f"at most {MOST_PIXELS} can be read; make it smaller first, with ffmpeg's scale filter"
        )
