"""Contact sheets of latent space: samples, and ways from one scene to another."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from bladerunner_ae.evaluation.prior_samples import Drawn
from bladerunner_ae.model.autoencoder import Autoencoder, Latents, Pictures

PRIOR_NAME, INTERPOLATION_NAME = "prior.png", "interpolation.png"
SHOWN = 24
"""Samples of each kind that are shown."""

STEPS = 7
"""Pictures on the way from one frame to another, both ends included."""

_COLUMNS = 8
_WIDTH = 192  # of each picture
_MARGIN, _BETWEEN, _LINE, _FONT_SIZE = 24, 4, 28, 15
_BACKGROUND, _TEXT = (18, 18, 20), (214, 214, 210)

Section = tuple[str, Pictures]


def prior_sheet(drawn: Drawn) -> Image.Image:
    """Lay out samples of N(0, 1) above samples of the fitted density."""
    sections = [("drawn from N(0, 1)", drawn.normal[:SHOWN])]
    if drawn.fitted is not None:
        title = "drawn from the density fitted to the training frames' latents"
        sections.append((title, drawn.fitted[:SHOWN]))
    return make_sheet(sections, _COLUMNS)


def interpolation_sheet(model: Autoencoder, frames: Pictures, names: Sequence[str]) -> Image.Image:
    """Lay out the dreams on straight lines between the posterior means of two frames each.

    A row has the first frame, the dreams on the way, and the second frame. The first half of the
    frames, n >= 1 in film order, is paired with the second, so that the two are far apart.
    """
    return ways_sheet(frames, names, model.decode(ways(model.encode(frames)[0])))


def ways(means: Latents) -> Latents:
    """Return straight lines, each from a frame of the first half to one of the second.

    Means are float32 [n, ...], n >= 1; the result [max(n // 2, 1) * STEPS, numbers], line after
    line.
    """
    flat = means.reshape(len(means), -1)
    return np.concatenate([line(flat[first], flat[second]) for first, second in _ends(len(flat))])


def ways_sheet(frames: Pictures, names: Sequence[str], dreams: Pictures) -> Image.Image:
    """Lay out the dreams on the `ways` between frames, a row for each, with its two frames."""
    sections = []
    for number, (first, second) in enumerate(_ends(len(frames))):
        way = dreams[number * STEPS : (number + 1) * STEPS]
        row = np.concatenate([frames[first : first + 1], way, frames[second : second + 1]])
        sections.append((f"{names[first]} ... {names[second]}", row))
    return make_sheet(sections, STEPS + 2)


def _ends(count: int) -> list[tuple[int, int]]:
    half = max(count // 2, 1)
    return [(first, min(first + half, count - 1)) for first in range(half)]


def line(
    first: NDArray[np.float32], second: NDArray[np.float32], steps: int = STEPS
) -> NDArray[np.float32]:
    """Return points on the straight line from one point, [n], to another: float32 [steps, n]."""
    share = np.linspace(0.0, 1.0, steps, dtype=np.float32)[:, None]
    return (1.0 - share) * first + share * second


def make_sheet(sections: Sequence[Section], columns: int) -> Image.Image:
    """Lay out pictures, uint8 [n, H, W, 3] of one size, in rows, section by section."""
    height, width = sections[0][1].shape[1:3]
    height, width = max(round(height * _WIDTH / width), 1), _WIDTH
    rows = [-(-len(pictures) // columns) for _, pictures in sections]
    size = (
        2 * _MARGIN + columns * (width + _BETWEEN) - _BETWEEN,
        2 * _MARGIN + sum(rows) * (height + _BETWEEN) + len(sections) * _LINE,
    )
    sheet = Image.new("RGB", size, _BACKGROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT_SIZE)
    top = _MARGIN
    for (title, pictures), its_rows in zip(sections, rows, strict=True):
        draw.text((_MARGIN, top + 4), title, _TEXT, font)
        top += _LINE
        for number, picture in enumerate(pictures):
            left = _MARGIN + number % columns * (width + _BETWEEN)
            place = (left, top + number // columns * (height + _BETWEEN))
            sheet.paste(Image.fromarray(picture).resize((width, height)), place)
        top += its_rows * (height + _BETWEEN)
    return sheet
