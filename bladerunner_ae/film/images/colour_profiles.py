"""Colours of picture files in sRGB, by their profiles or other colour information."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from bladerunner_ae.film.images.matrix_profiles import SRGB, coded_profile, gamma_profile
from bladerunner_ae.film.notes import Note, NoteKind
from tfrecords.wording import visible

GREY_MODES = ("1", "L", "LA", "La")
"""Pillow's modes of 8 bits without colour."""

# Profiles of these spaces can be applied to pictures in these modes of Pillow.
_PROFILE_MODES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}

# A profile that changes no colour by more than this is sRGB: rounding.
_SAME_COLOUR = 1
# What is near enough to sRGB's own curve and primaries that no one means anything else.
_SRGB_GAMMA, _GAMMA_TOLERANCE, _PRIMARIES_TOLERANCE = 0.45455, 0.01, 0.005

_PROFILE = "icc_profile"


def find_profile(image: Image.Image, path: Path) -> bytes | None:
    """Profile of a picture, own or from a PNG's chunks; None: sRGB or none given, b"": unknown."""
    if image.format == "PNG":
        coded = _png_chunk(path, b"cICP")
        if coded is not None and len(coded) == 4:
            return coded_profile(coded[0], coded[1]) or b""
        if _PROFILE not in image.info and "srgb" not in image.info:
            gamma = image.info.get("gamma", _SRGB_GAMMA)
            colours = image.info.get("chromaticity", SRGB)
            if not np.isclose(gamma, _SRGB_GAMMA, atol=_GAMMA_TOLERANCE) or not np.allclose(
                colours, SRGB, atol=_PRIMARIES_TOLERANCE
            ):
                return gamma_profile(gamma, colours) or b""
            return None
    found = image.info.get(_PROFILE)
    return None if found is None else bytes(found)


def colours_in_srgb(image: Image.Image, icc: bytes | None) -> NDArray[np.uint8]:
    """Convert an opaque picture to sRGB."""
    if not icc and image.mode == "LAB":
        return np.asarray(ImageCms.applyTransform(image, _lab_transform()))
    profile = _profile(icc, image.mode in GREY_MODES, image.mode) if icc else None
    if profile is None or profile.transform is None:
        return np.asarray(image.convert("RGB"))
    return np.asarray(ImageCms.applyTransform(image.convert(profile.mode), profile.transform))


@lru_cache(maxsize=1)
def _lab_transform() -> ImageCms.ImageCmsTransform:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    return ImageCms.buildTransform(lab, srgb, "LAB", "RGB")


@dataclass(frozen=True)
class _Profile:
    """A colour profile; `transform` to sRGB is None if not needed, or impossible for `problem`."""

    name: str
    mode: str
    transform: ImageCms.ImageCmsTransform | None
    problem: NoteKind | None = None


@lru_cache(maxsize=16)
def _profile(icc: bytes, grey: bool, mode: str) -> _Profile:
    try:
        profile = ImageCms.ImageCmsProfile(BytesIO(icc))
        space = profile.profile.xcolor_space.strip()
        name = visible(ImageCms.getProfileDescription(profile).strip()) or "unnamed"
        wanted = _PROFILE_MODES.get(space, "")
        fits = wanted == mode if mode in ("CMYK", "LAB") else wanted == "RGB" or (
            wanted == "L" and grey
        )  # fmt: skip
        if not fits:
            return _Profile(name, mode, None, NoteKind.UNFIT_PROFILE)
        transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), wanted, "RGB")
        samples = _samples(wanted)
        after = np.asarray(ImageCms.applyTransform(samples, transform), np.int16)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError, UnicodeError):
        return _Profile("", mode, None, NoteKind.BAD_PROFILE)
    before = None if wanted in ("CMYK", "LAB") else np.asarray(samples.convert("RGB"), np.int16)
    same = before is not None and np.abs(after - before).max() <= _SAME_COLOUR
    return _Profile(name, wanted, None if same else transform)


def _samples(mode: str) -> Image.Image:
    if mode == "L":
        return Image.fromarray(np.arange(256, dtype=np.uint8)[None])
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    cube = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), -1).reshape(1, -1, 3)
    if mode == "RGB":
        return Image.fromarray(cube)
    return Image.new(mode, (1, 1))


def colour_remarks(image: Image.Image, path: Path) -> Iterator[Note]:
    """Notes on the conversion of an image's colours."""
    icc, mode = find_profile(image, path), image.mode
    if not icc:
        if icc is not None:
            yield NoteKind.UNKNOWN_COLOURS.note()
        elif _PROFILE in image.info:
            yield NoteKind.BAD_PROFILE.note()
        elif mode == "CMYK":
            yield NoteKind.PLAIN_CMYK.note()
        elif mode == "LAB":
            yield NoteKind.PLAIN_LAB.note()
        return
    grey = mode in GREY_MODES or mode.startswith("I;16")
    profile = _profile(icc, grey, mode if mode in ("CMYK", "LAB") else "L" if grey else "RGB")
    if profile.problem is not None:
        yield profile.problem.note()
    elif profile.transform is not None:
        yield NoteKind.PROFILE.note(name=profile.name)


def _png_chunk(path: Path, kind: bytes) -> bytes | None:
    """Contents of a chunk before a PNG's pixels, or None."""
    with path.open("rb") as file:
        file.seek(8)
        while len(head := file.read(8)) == 8 and head[4:] != b"IDAT":
            length = int.from_bytes(head[:4], "big")
            if head[4:] == kind:
                return file.read(min(length, 1 << 16))
            file.seek(length + 4, 1)
    return None
