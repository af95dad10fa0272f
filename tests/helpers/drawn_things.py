"""Drawings of things, as a network that has seen photographs should know them."""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Picture = NDArray[np.uint8]
_SIDE = 256


def crossword(seed: int = 1) -> Picture:
    """Return an empty crossword puzzle, uint8 [256, 256, 3], as all of these are."""
    random = np.random.default_rng(seed)
    image, draw = _canvas("white")
    font = ImageFont.load_default(7)
    for top in range(4, 240, 19):
        for left in range(4, 240, 19):
            black = random.random() < 0.2
            draw.rectangle([left, top, left + 19, top + 19], "black" if black else "white", "black")
            if not black and random.random() < 0.4:
                draw.text((left + 2, top + 1), str(random.integers(1, 60)), "black", font)
    return np.asarray(image)


def clock(hour: float = 10.2, ground: tuple[int, int, int] = (190, 190, 180)) -> Picture:
    """Return a clock that shows an hour."""
    image, draw = _canvas(ground)
    draw.ellipse([18, 18, 238, 238], "white", "black", 8)
    font = ImageFont.load_default(22)
    for number in range(1, 13):
        draw.text(_around(number / 12, 86), str(number), "black", font, anchor="mm")
    draw.line([(128, 128), _around(hour, 70)], "black", 5)
    draw.line([(128, 128), _around(hour / 12, 50)], "black", 8)
    return np.asarray(image)


def traffic_light() -> Picture:
    """Return a traffic light that is red."""
    image, draw = _canvas((150, 180, 220))
    draw.rectangle([123, 200, 133, 256], (60, 60, 60))
    draw.rounded_rectangle([88, 20, 168, 210], 12, (25, 25, 25))
    for middle, colour in ((52, (255, 40, 30)), (115, (90, 70, 10)), (178, (10, 70, 30))):
        draw.ellipse([102, middle - 26, 154, middle + 26], colour)
    return np.asarray(image)


def honeycomb() -> Picture:
    """Return a honeycomb."""
    image, draw = _canvas((120, 70, 10))
    for row in range(-1, 12):
        for column in range(-1, 12):
            x, y = column * 26 + row % 2 * 13, row * 23
            corners = [_around(corner / 6, 13, (x, y)) for corner in range(6)]
            draw.polygon(corners, (235, 170, 40), (110, 60, 5), 2)
    return np.asarray(image)


def _canvas(ground: str | tuple[int, int, int]) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    image = Image.new("RGB", (_SIDE, _SIDE), ground)
    return image, ImageDraw.Draw(image)


def _around(
    turn: float, radius: float, middle: tuple[float, float] = (128, 128)
) -> tuple[float, float]:
    angle = 2 * math.pi * turn
    return middle[0] + radius * math.sin(angle), middle[1] - radius * math.cos(angle)
