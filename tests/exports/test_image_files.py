"""Image files in a graph: any size, any kind, and files that are no picture."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image

from bladerunner_ae.exports import image_files
from tests.exports.test_signatures import call


def file_of(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def read(*files: bytes, size: tuple[int, int] = (3, 4)) -> NDArray[np.uint8]:
    return image_files.decode_files(tf.constant(list(files)), *size).numpy()


def test_pictures_are_scaled_by_area() -> None:
    large = np.random.default_rng(1).integers(0, 256, (9, 20, 3), np.uint8)
    means = large.reshape(3, 3, 4, 5, 3).astype(float).mean(axis=(1, 3))
    (found,) = read(file_of(Image.fromarray(large)))
    assert np.abs(found - means).max() <= 0.5 + 1e-3
    # 4 columns onto 3: each covers one and a third.
    row = np.array([[0, 80, 180, 240]], np.uint8)
    (found,) = read(file_of(Image.fromarray(row)), size=(1, 3))
    assert found[0, :, 0].tolist() == [20, 130, 225]

    (found,) = read(file_of(Image.fromarray(np.array([[10, 200]], np.uint8))))
    assert found[..., 0].tolist() == [[10, 10, 200, 200]] * 3


def test_every_kind_of_picture_becomes_rgb() -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    alpha = np.array([[0, 255, 51, 255]] * 3, np.uint8)
    rgb = np.stack([grey, 255 - grey, np.full_like(grey, 7)], -1)
    on_black = np.round(rgb * (alpha[..., None] / 255)).astype(np.uint8)
    grey_alpha = Image.merge("LA", (Image.fromarray(grey), Image.fromarray(alpha)))
    rgba = Image.fromarray(np.dstack([rgb, alpha]))
    palette = Image.fromarray(rgb).quantize(12)
    kinds = {
        "grey": (file_of(Image.fromarray(grey)), np.dstack([grey] * 3)),
        "rgb": (file_of(Image.fromarray(rgb)), rgb),
        "grey with alpha": (
            file_of(grey_alpha), np.dstack([np.round(grey * (alpha / 255)).astype(np.uint8)] * 3)
        ),
        "rgb with alpha": (file_of(rgba), on_black),
        "palette": (file_of(palette), np.asarray(palette.convert("RGB"))),
        "16 bits": (
            file_of(Image.fromarray(grey.astype(np.uint16) * 257)), np.dstack([grey] * 3)
        ),
        "one bit": (
            file_of(Image.fromarray(grey > 100)), np.dstack([(grey > 100) * np.uint8(255)] * 3)
        ),
    }  # fmt: skip
    found = read(*(file for file, _ in kinds.values()))
    for picture, (name, (_, wanted)) in zip(found, kinds.items(), strict=True):
        assert np.abs(picture.astype(int) - wanted).max() <= (name != "rgb"), name
    flat = Image.fromarray(np.full((3, 4, 3), 77, np.uint8))
    jpegs = [file_of(flat.convert(mode), "JPEG", quality=95) for mode in ("L", "RGB", "CMYK")]
    jpegs.append(file_of(flat, "JPEG", quality=95, progressive=True))
    assert np.abs(read(*jpegs).astype(int) - 77).max() <= 2


_WHOLE = {kind: file_of(Image.new("RGB", (40, 30), "teal"), kind) for kind in ("PNG", "JPEG")}


def huge_png() -> bytes:
    """A PNG of some hundred kilobytes that needs a gigabyte to be read."""
    return file_of(Image.new("1", (9000, 9000)))


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (b"", "must be whole JPEG or PNG files"),
        (b"no picture", "must be whole JPEG or PNG files"),
        (file_of(Image.new("RGB", (4, 3)), "GIF"), "must be whole JPEG or PNG files"),
        (file_of(Image.new("RGB", (4, 3)), "BMP"), "must be whole JPEG or PNG files"),
        (_WHOLE["PNG"][:20], "Invalid PNG"),
        (_WHOLE["PNG"][:60], "Invalid PNG"),
        (_WHOLE["JPEG"][:10], "Invalid JPEG"),
        (_WHOLE["JPEG"][:-200], "Invalid JPEG"),
        (huge_png(), "a picture may have 33554432 pixels, this has"),
        (_WHOLE["PNG"][:16] + b"\xff" * 8 + _WHOLE["PNG"][24:], "may have 33554432 pixels"),
    ],
    ids=["empty", "text", "gif", "bmp", "20 B", "60 B", "10 B", "cut", "huge", "overflow"],
)  # fmt: skip
def test_other_files_are_refused(tiny_export: Path, file: bytes, message: str) -> None:
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        call(tiny_export, "encoder", "encode_bytes", image_bytes=np.array([file], object))
