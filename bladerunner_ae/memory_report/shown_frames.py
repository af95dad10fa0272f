"""Pictures of the page, each a data URI within it."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bladerunner_ae.evaluation.measurement import explained_damage
from bladerunner_ae.model.autoencoder import Autoencoder, Pictures
from bladerunner_ae.pictures.barcode import barcode_colours
from bladerunner_ae.pictures.thumbnails import small
from tfrecords.card import FilmCard
from tfrecords.frames import read_images
from tfrecords.storage import Location

_QUALITY = 84
_BATCH = 64


@dataclass(frozen=True, eq=False)
class Pair:
    """Frame and dream, as data URIs of JPEG files."""

    original: str
    dream: str

    @property
    def size(self) -> int:
        """Characters of the two together."""
        return len(self.original) + len(self.dream)


@dataclass(frozen=True, eq=False)
class Shown:
    """Frames of a film that the page shows, by number.

    Latents are posterior means, float32 [latent numbers]; thumbnails float32 [numbers]; both are
    empty without encoder.
    """

    pairs: dict[int, Pair]
    latents: dict[int, NDArray[np.float32]]
    thumbnails: dict[int, NDArray[np.float32]]


def show_frames(
    autoencoder: Autoencoder, records: Location, card: FilmCard, frames: Sequence[int], width: int
) -> Shown:
    """Read some frames, dream them, and make pictures for the page of at most `width` columns."""
    shown = Shown({}, {}, {})
    with explained_damage(records, card):
        images = read_images(records, card, frames)
    for start in range(0, len(frames), _BATCH):
        batch, numbers = images[start : start + _BATCH], frames[start : start + _BATCH]
        dreams = autoencoder.reconstruct(batch)
        for frame, original, dream in zip(numbers, batch, dreams, strict=True):
            shown.pairs[frame] = Pair(jpeg_uri(original, width), jpeg_uri(dream, width))
        if not autoencoder.missing_halves:
            means = autoencoder.encode(batch)[0].reshape(len(batch), -1)
            shown.latents.update(zip(numbers, means, strict=True))
            shown.thumbnails.update(zip(numbers, small(batch), strict=True))
    return shown


def jpeg_uri(picture: Pictures, width: int) -> str:
    """Return a picture, uint8 [H, W, 3], as a JPEG file of at most `width` columns."""
    image = Image.fromarray(picture)
    if image.width > width:
        height = max(round(image.height * width / image.width), 1)
        image = image.resize((width, height), Image.Resampling.BOX)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_QUALITY, optimize=True)
    return _uri("jpeg", file.getvalue())


def barcode_uri(light: NDArray[np.float64]) -> str:
    """Return a barcode as a PNG file; `light` is [columns, bands, 3], linear, 0..1."""
    columns, bands = light.shape[:2]
    picture = np.stack([barcode_colours(light[:, band], columns) for band in range(bands)])
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG", optimize=True)
    return _uri("png", file.getvalue())


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
