"""A folder of numbered images as a film: 1.png, 2.png ... 10.png, in the order of the numbers."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from bladerunner_ae.errors import InputError
from bladerunner_ae.geometry import Size

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm")

# Pillow's modes whose values Pillow would cut off at 255.
_UNBOUNDED = ("I", "F")

_UNREADABLE = (
    OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError,
)  # fmt: skip


@dataclass(frozen=True)
class ImageSequence:
    """Images of one size in the order of their numbers.

    Attributes:
        paths: one file for each frame.
        size: (height, width) of every one of them.
        codec: format of the first image, e.g. "png".
        notes: what a person should know, e.g. that numbers are missing.
    """

    paths: tuple[Path, ...]
    size: Size
    codec: str
    notes: tuple[str, ...]


def list_images(folder: Path) -> ImageSequence:
    """Finds the numbered images of a folder; only the first is opened.

    The last number in a name counts ("scene2_frame010.png" is 10), so 10 comes after 9, whether
    or not the names are padded with zeros.

    Raises:
        InputError: no images, or an image without a number beside others, or a number twice.
    """
    files = [
        path
        for path in folder.iterdir()
        if path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")
    ]
    if not files:
        raise InputError(
            f"{folder}: is a folder without images; give a film, or a folder of numbered images "
            f"({', '.join(_SUFFIXES)})"
        )
    numbered: dict[int, Path] = {}
    for path in sorted(files):
        number = _number(path)
        if number in numbered:
            raise InputError(
                f"{folder}: {numbered[number].name} and {path.name} have the same number; "
                "leave one film's images in the folder"
            )
        numbered[number] = path
    order = sorted(numbered)
    paths = tuple(numbered[number] for number in order)
    missing = order[-1] - order[0] + 1 - len(order)
    are = "number is" if missing == 1 else "numbers are"
    notes = (f"{missing} {are} missing among the images",) if missing else ()
    return ImageSequence(
        paths=paths,
        size=read_image(paths[0]).shape[:2],
        codec=paths[0].suffix.lower().lstrip("."),
        notes=notes,
    )


def read_image(path: Path, size: Size | None = None) -> NDArray[np.uint8]:
    """One image as uint8 [height, width, 3], RGB 0..255, turned upright as its camera says.

    Args:
        path: the image.
        size: (height, width) it must have, or None for any.

    Raises:
        InputError: it cannot be read, or has another size.
    """
    try:
        with Image.open(path) as image:
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I;16"):  # Pillow would cut off what is above 255
                upright = Image.fromarray((np.asarray(upright) >> 8).astype(np.uint8))
            if upright.mode in _UNBOUNDED:
                raise InputError(
                    f"{path}: has values of neither 8 nor 16 bits, and does not say which of them "
                    "is white; save it as a PNG of 8 or 16 bits"
                )
            picture = np.array(upright.convert("RGB"), np.uint8)
    except _UNREADABLE as error:
        raise InputError(
            f"{path}: cannot be read as an image ({error}); replace or remove it"
        ) from error
    if size is not None and picture.shape[:2] != size:
        raise InputError(
            f"{path}: is {picture.shape[0]}x{picture.shape[1]} (height x width), the images before "
            f"it are {size[0]}x{size[1]}; all images of a film have one size"
        )
    return picture


def _number(path: Path) -> int:
    numbers = re.findall(r"\d+", path.stem)
    if not numbers:
        raise InputError(
            f"{path}: has no number in its name, so its place in the film is unknown; "
            "rename or remove it"
        )
    return int(numbers[-1])
