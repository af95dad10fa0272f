"""The picture of `cross_film.py`: frames of both films, dreamt by both networks."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from benchmarks.cross_film.plan import Film, Plan, records_of
from bladerunner_ae.evaluation.labels import frame_labels
from bladerunner_ae.exports.loading import Autoencoder, load_autoencoder
from bladerunner_ae.pictures.contact_sheet import spread_frames
from tfrecords.card import load_card

LARGEST_BYTES = 600_000
_FRAMES = 4
# From twice the preview's raster down to it: a page shows no more, and PNGs of films are large.
_TILE_WIDTHS = (256, 224, 192, 160, 128)
_MARGIN, _BETWEEN, _LINE, _FONT_SIZE = 10, 4, 18, 12
_BACKGROUND, _TEXT, _FAINT_TEXT = (18, 18, 20), (214, 214, 210), (140, 140, 138)

Images = NDArray[np.uint8]


@dataclass(frozen=True)
class Strip:
    """Pictures in a row, each with a line above it.

    Attributes:
        pictures: uint8 [count, height, width, 3].
        captions: one for each picture, or one for all of them.
    """

    pictures: Images
    captions: Sequence[str]


def draw(work: Path, plan: Plan) -> bytes:
    """Returns the PNG: for each film frames, dreams of its own network and of the other's.

    Raises:
        InputError: a network has not been trained yet.
        RecordsError: records are missing or damaged.
    """
    networks = {film.name: load_autoencoder(work / plan.own(film).folder) for film in plan.films}
    strips = [strip for film in plan.films for strip in strips_of(work, plan, film, networks)]
    return small_png(strips)


def strips_of(work: Path, plan: Plan, film: Film, networks: dict[str, Autoencoder]) -> list[Strip]:
    """A film's three rows."""
    # They need TensorFlow, which a drawing does not.
    from bladerunner_ae.exports.model_card import load_model_card
    from tfrecords.frames import read_images

    card, other = load_card(records_of(work, film)), plan.other(film)
    own = networks[film.name]
    chosen = spread_frames(card.shots(), card.frames, _FRAMES)
    labels = frame_labels(card, load_model_card(own.path))
    originals = read_images(records_of(work, film), card, chosen)
    captions = [f"frame {index}, {labels[index]}" for index in chosen]
    captions[0] = f"{film.file}: {captions[0]}"
    return [
        Strip(originals, captions),
        Strip(own.reconstruct(originals), ["dreamt by its own network"]),
        Strip(networks[other.name].reconstruct(originals),
              [f"dreamt by the network of {other.file}, which has never seen this film"]),
    ]  # fmt: skip


def small_png(strips: Sequence[Strip], limit: int = LARGEST_BYTES) -> bytes:
    """The sheet as PNG, as large as stays below `limit` bytes."""
    png = b""
    for width in _TILE_WIDTHS:
        file = io.BytesIO()
        draw_sheet(strips, width).save(file, "PNG", optimize=True)
        png = file.getvalue()
        if len(png) <= limit:
            break
    return png


def draw_sheet(strips: Sequence[Strip], tile_width: int) -> Image.Image:
    """Lays out the strips one below the other.

    Args:
        strips: all of as many pictures of the same size.
        tile_width: columns of the sheet that a picture takes.
    """
    count, height, width = strips[0].pictures.shape[:3]
    tile = (tile_width, round(height * tile_width / width))
    step_x, step_y = tile[0] + _BETWEEN, tile[1] + _LINE + _BETWEEN
    size = (2 * _MARGIN + count * step_x - _BETWEEN, 2 * _MARGIN + len(strips) * step_y - _BETWEEN)
    sheet = Image.new("RGB", size, _BACKGROUND)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT_SIZE)
    for row, strip in enumerate(strips):
        top = _MARGIN + row * step_y
        colour = _TEXT if len(strip.captions) > 1 else _FAINT_TEXT
        room = step_x * count // len(strip.captions) - _BETWEEN
        for column, caption in enumerate(strip.captions):
            text = _fitting(caption, font, room)
            pen.text((_MARGIN + column * step_x, top), text, colour, font)
        for column, picture in enumerate(strip.pictures):
            scaled = Image.fromarray(picture).resize(tile, Image.Resampling.BICUBIC)
            sheet.paste(scaled, (_MARGIN + column * step_x, top + _LINE))
    return sheet


def _fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """The text, its beginning cut off where it is too long: the frame's number stands last."""
    cut = text
    while cut and font.getlength(cut if cut == text else "…" + cut) > width:
        cut = cut[1:]
    return cut if cut == text else "…" + cut
