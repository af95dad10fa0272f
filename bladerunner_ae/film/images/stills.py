"""Picture files as every viewer shows them: upright, in sRGB, and on black where transparent."""

import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from bladerunner_ae.errors import InputError
from bladerunner_ae.film.images.colour_profiles import (
    GREY_MODES,
    colour_remarks,
    colours_in_srgb,
    find_profile,
)
from bladerunner_ae.film.notes import Note, NoteKind
from bladerunner_ae.film.picture_limits import MOST_PIXELS, refuse_huge
from bladerunner_ae.geometry import Size
from tfrecords.wording import visible

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm")

# Pillow knows many more; each is code that a file of a harmless name could reach.
_FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM")

# Other files that go by such names, by their first bytes, or those after the length of a box.
_OTHER_KINDS = {
    b"SIMPLE  =": "FITS file", b"8BPS": "Photoshop file", b"GIF8": "GIF",
    b"%!PS": "PostScript file",
    b"%PDF": "PDF", b"v/1\x01": "OpenEXR file", b"SDPX": "DPX file", b"XPDS": "DPX file",
    b"\xff\x0a": "JPEG XL file", b"qoif": "QOI file", b"<svg": "SVG", b"<?xml": "XML file",
    b"<!DOCTYPE": "web page", b"<html": "web page", b"version https://git-lfs": "Git LFS pointer",
}  # fmt: skip
_OTHER_BOXES = {b"ftyp": "HEIF or AVIF file", b"JXL ": "JPEG XL file", b"jP  ": "JPEG 2000 file"}

# Pillow's modes whose values Pillow would cut off at 255.
_UNBOUNDED = ("I", "F")
# The largest value of a grey PNG of few bits.
_WHITE_OF_RAW = {"1": 1, "L;2": 3, "L;4": 15}
_WITH_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
_SIDEWAYS = (5, 6, 7, 8)

_UNREADABLE = (
    OSError, UnidentifiedImageError, SyntaxError, ValueError, EOFError, struct.error,
    Image.DecompressionBombError,
)  # fmt: skip

# `refuse_huge` decides.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


@dataclass(frozen=True)
class StillFacts:
    """Header facts of a picture file; `size` is that of the upright picture."""

    size: Size
    codec: str
    several: bool
    remarks: tuple[Note, ...]


def read_facts(path: Path) -> StillFacts:
    """Read the header of a picture file without decoding its pixels."""
    with open_still(path) as image:
        height, width = image.height, image.width
        # A TIFF's size is upright; a PNG's orientation may come after its pixels.
        known = image.format == "PNG" and "exif" not in image.info
        turned = 1 if known or image.format == "TIFF" else _orientation(image)
        size = (width, height) if turned in _SIDEWAYS else (height, width)
        remarks = tuple(_remarks(image, path, turned))
        # The others of an MPO are the same one in other sizes, or for the other eye.
        several = image.format != "MPO" and getattr(image, "n_frames", 1) > 1
        return StillFacts(size, (image.format or "").lower(), several, remarks)


def read_still(path: Path, size: Size | None = None) -> NDArray[np.uint8]:
    """Return a picture as uint8 [height, width, 3], sRGB 0..255.

    Turned upright by its EXIF orientation, on black where transparent, converted from its colour
    profile. Raises InputError if it cannot be read or is not of `size`, (height, width) or None for
    any.
    """
    with open_still(path) as image:
        picture = to_srgb(image, path)
    if size is not None and picture.shape[:2] != size:
        raise other_size(path, picture.shape[:2], size)
    return picture


def other_size(path: Path, size: tuple[int, ...], wanted: Size) -> InputError:
    return InputError(
        f"{path}: is {size[0]}x{size[1]} (height x width), the images before it are "
        f"{wanted[0]}x{wanted[1]}; all images of a film have one size"
    )


@contextmanager
def open_still(path: Path) -> Iterator[Image.Image]:
    """Open a picture file; errors, also inside the block, become one line."""
    try:
        with Image.open(path, formats=_FORMATS) as image:
            refuse_huge(path, image.height, image.width)
            yield image
    except Image.DecompressionBombError as error:
        raise InputError(
            f"{path}: has more than the {MOST_PIXELS} pixels that can be read; make it smaller "
            "first, with ffmpeg's scale filter"
        ) from error
    except _UNREADABLE as error:
        kind = _other_kind(path)
        what = f"is a {kind}, not an image of a kind that is read" if kind else (
            f"cannot be read as an image ({_reason(error)})"
        )  # fmt: skip
        raise InputError(f"{path}: {what}; replace or remove it") from error


def to_srgb(image: Image.Image, path: Path) -> NDArray[np.uint8]:
    """An open picture, of any mode, as uint8 [height, width, 3], upright, sRGB, on black."""
    white = _WHITE_OF_RAW.get(_raw_modes(image), 255)
    image.load()
    if image.mode in _UNBOUNDED:
        raise InputError(
            f"{path}: has values of neither 8 nor 16 bits, and does not say which of them is "
            "white; save it as a PNG of 8 or 16 bits"
        )
    turned = _UPRIGHT.get(_orientation(image))
    icc = find_profile(image, path)
    image, alpha = _without_alpha(image, white)
    picture = colours_in_srgb(image, icc)
    if alpha is not None and alpha.min() < 255:
        product = picture * alpha[..., None].astype(np.uint16)
        picture = ((product + 127) // 255).astype(np.uint8)
    if turned is not None:
        picture = np.asarray(Image.fromarray(picture).transpose(turned))
    return np.ascontiguousarray(picture, np.uint8)


def _without_alpha(image: Image.Image, white: int) -> tuple[Image.Image, NDArray[np.uint8] | None]:
    """Return an 8-bit picture without transparency, and its opacity.

    `white` is the largest value in its file, which may have one transparent grey.
    """
    clear = image.info.get("transparency")
    if image.mode.startswith("I;16"):  # Pillow would cut off what is above 255
        values = np.asarray(image)
        alpha = None if clear is None else np.where(values == clear, 0, 255).astype(np.uint8)
        return Image.fromarray((values >> 8).astype(np.uint8)), alpha
    if image.mode not in _WITH_ALPHA and clear is None:
        return image, None
    if image.mode in ("1", "L") and isinstance(clear, int):
        grey_values = image.convert("L")
        alpha = np.where(np.asarray(grey_values) == clear * 255 // white, 0, 255)
        return grey_values, alpha.astype(np.uint8)
    if isinstance(clear, tuple) and max(clear) > 255:  # of a picture of 16 bits, read as 8
        image.info["transparency"] = tuple(value >> 8 for value in clear)
    grey = image.mode in GREY_MODES and not isinstance(clear, tuple)
    if image.mode in ("RGBa", "La"):  # of which Pillow makes nothing else directly
        image = image.convert(image.mode.upper())
    whole = image.convert("RGBA")
    colours = image.convert("L") if grey else whole.convert("RGB")
    return colours, np.asarray(whole.getchannel("A"))


def _orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 (upright) to 8; 1 if it cannot be read."""
    try:
        found = image.getexif().get(_ORIENTATION, 1)
    except (*_UNREADABLE, KeyError, TypeError, AttributeError):
        return 1
    return found if found in _UPRIGHT else 1


def _raw_modes(image: Image.Image) -> str:
    """Pillow's raw modes of the pixels in the file, before they are loaded."""
    return " ".join({str(tile[3]) for tile in getattr(image, "tile", ())})


def _remarks(image: Image.Image, path: Path, turned: int) -> Iterator[Note]:
    if image.mode in _WITH_ALPHA or "transparency" in image.info:
        yield NoteKind.ON_BLACK.note()
    yield from colour_remarks(image, path)
    if "16" in _raw_modes(image) or image.mode.startswith("I;16"):
        yield NoteKind.SIXTEEN_BITS.note()
    if turned != 1:
        yield NoteKind.ORIENTED.note()


def _other_kind(path: Path) -> str:
    """Kind of a file that is none of these pictures, or "" if unknown."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError:
        return ""
    if not head:
        return "file without content"
    for start, kind in _OTHER_KINDS.items():
        if head.startswith(start):
            return kind
    return _OTHER_BOXES.get(head[4:8], "")


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "it is none of " + ", ".join(_FORMATS)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return visible(str(error)) or type(error).__name__
