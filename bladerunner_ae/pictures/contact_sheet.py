"""Contact sheets: frames of a film, alone or with the dreams of a network."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from bladerunner_ae.pictures.spread import spread

Pair = tuple[NDArray[np.uint8], NDArray[np.uint8], str]

# Narrower pictures are enlarged by a whole factor, wider ones are made smaller.
_PICTURE_WIDTH = 256

_BACKGROUND, _TEXT, _FAINT_TEXT = (18, 18, 20), (214, 214, 210), (140, 140, 138)
_FONT_SIZE = 15
_MARGIN, _BETWEEN_PAIRS, _WITHIN_PAIR = 24, 22, 3
_BETWEEN_FRAMES = 10
_LINE = _FONT_SIZE + 10


def make_contact_sheet(pairs: Sequence[Pair], columns: int = 3) -> Image.Image:
    """Lay out (original, dream, caption), each original to the left of its dream.

    All pictures, uint8 [height, width, 3], are scaled to the size of the first original; a row has
    `columns` pairs.
    """
    if not pairs or columns < 1:
        raise ValueError("a contact sheet needs at least one pair and one column")
    columns = min(columns, len(pairs))
    width, height = _picture_size(pairs[0][0])
    pair_width = 2 * width + _WITHIN_PAIR
    step_x, step_y = pair_width + _BETWEEN_PAIRS, height + _LINE + _BETWEEN_PAIRS // 2
    rows = -(-len(pairs) // columns)
    sheet = Image.new(
        "RGB",
        (
            2 * _MARGIN + columns * step_x - _BETWEEN_PAIRS,
            2 * _MARGIN + _LINE + rows * step_y - _BETWEEN_PAIRS // 2,
        ),
        _BACKGROUND,
    )
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(_FONT_SIZE)
    for column in range(columns):
        left = _MARGIN + column * step_x
        draw.text((left, _MARGIN), "original", _FAINT_TEXT, font)
        draw.text((left + width + _WITHIN_PAIR, _MARGIN), "dream", _FAINT_TEXT, font)
    for number, (original, dream, caption) in enumerate(pairs):
        left = _MARGIN + number % columns * step_x
        top = _MARGIN + _LINE + number // columns * step_y
        sheet.paste(_scaled(original, (width, height)), (left, top))
        sheet.paste(_scaled(dream, (width, height)), (left + width + _WITHIN_PAIR, top))
        text = _fitting(caption, font, pair_width)
        draw.text((left, top + height + 3), text, _TEXT, font)
    return sheet


def make_frame_sheet(
    pictures: Sequence[NDArray[np.uint8]], captions: Sequence[str], title: str
) -> Image.Image:
    """Lay out frames with captions below, at the first one's size, on a sheet of about 3 to 2."""
    if not pictures:
        raise ValueError("a contact sheet needs at least one picture")
    width, height = _picture_size(pictures[0])
    step_x, step_y = width + _BETWEEN_FRAMES, height + _LINE + _BETWEEN_FRAMES // 2
    ideal = (len(pictures) * 1.5 * step_y / step_x) ** 0.5
    columns = min(
        range(1, len(pictures) + 1),
        # A gap in the last row counts as a quarter of a column more or less.
        key=lambda number: abs(number - ideal) + -len(pictures) % number / 4,
    )
    rows = -(-len(pictures) // columns)
    size = (
        2 * _MARGIN + columns * step_x - _BETWEEN_FRAMES,
        2 * _MARGIN + _LINE + rows * step_y - _BETWEEN_FRAMES // 2,
    )
    sheet = Image.new("RGB", size, _BACKGROUND)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_FONT_SIZE)
    draw.text((_MARGIN, _MARGIN - 4), _fitting(title, font, size[0] - 2 * _MARGIN), _TEXT, font)
    for number, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        left = _MARGIN + number % columns * step_x
        top = _MARGIN + _LINE + number // columns * step_y
        sheet.paste(_scaled(picture, (width, height)), (left, top))
        draw.text((left, top + height + 3), _fitting(caption, font, width), _FAINT_TEXT, font)
    return sheet


def spread_frames(shots: Sequence[tuple[int, int]], frames: int, count: int) -> list[int]:
    """Choose `count` frames, or all, evenly over a film and where possible in the middle of shots.

    A frame next to a cut or in a fade shows little; so a shot that would get one frame gets its
    middle, while a long shot gets several, evenly apart. Shots are (first frame, frame after the
    last) and cover the film in order.
    """
    if count >= frames:
        return list(range(frames))
    even = spread(frames, count)
    of_shot = {frame: shot for shot in shots for frame in even if shot[0] <= frame < shot[1]}
    shares = Counter(of_shot.values())
    chosen = []
    for frame in even:
        start, end = of_shot.get(frame, (frame, frame + 1))
        alone = shares[(start, end)] == 1
        chosen.append((start + end) // 2 if alone else frame)
    return chosen


def _picture_size(picture: NDArray[np.uint8]) -> tuple[int, int]:
    """Return (width, height) at which pictures like this one are shown."""
    height, width = picture.shape[:2]
    if width >= _PICTURE_WIDTH:
        return _PICTURE_WIDTH, max(round(height * _PICTURE_WIDTH / width), 1)
    factor = max(round(_PICTURE_WIDTH / width), 1)
    return width * factor, height * factor


def _scaled(picture: NDArray[np.uint8], size: tuple[int, int]) -> Image.Image:
    image = Image.fromarray(np.asarray(picture, np.uint8))
    if image.size == size:
        return image
    smaller = size[0] < image.size[0]
    return image.resize(size, Image.Resampling.BOX if smaller else Image.Resampling.BICUBIC)


def _fitting(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Return the text, cut off with an ellipsis if it is too wide."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"
