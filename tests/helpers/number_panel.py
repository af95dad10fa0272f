"""A panel of black and white cells that tells a picture's number whatever was done to it.

A magenta border, half a cell wide, surrounds 4 x 6 cells. Five columns spell a number with a check
digit; the sixth is white on frames that flash. The reader finds the panel by its border, so size,
aspect, bars and margins of the picture do not matter, and the cells are big enough for JPEG and
x264 at 72 x 128.
"""

import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]

_NUMBER_BITS = 16
_MIDDLE = 128
_CHECK_BITS = 4
_CELL_ROWS, _CELL_COLUMNS = 4, 6  # the last column is the flash
_BLACK, _WHITE, _MAGENTA = 16, 235, (235, 16, 235)


def draw_panel(picture: Picture, number: int, flash: bool) -> None:
    """Draw the panel over half the width and 45 % of the height of a picture, in place.

    The number is below 65,536; the sixth column is white for a flash.
    """
    height, width = picture.shape[:2]
    top, bottom = round(height * 0.45), round(height * 0.9)
    left, right = round(width * 0.25), round(width * 0.75)
    panel = picture[top:bottom, left:right]
    panel[:] = _MAGENTA
    cells = np.zeros((_CELL_ROWS, _CELL_COLUMNS), bool)
    cells[:, :-1] = _bits_of(number).reshape(_CELL_ROWS, -1)
    cells[:, -1] = flash
    for (row, column), white in np.ndenumerate(cells):
        rows, columns = _cell(panel, row, column, margin=0)
        panel[rows, columns] = _WHITE if white else _BLACK


def _cell(panel: Picture, row: int, column: int, margin: float) -> tuple[slice, slice]:
    """Return where a cell lies in the panel, less `margin` cells on each side."""
    tall = panel.shape[0] / (_CELL_ROWS + 1)
    wide = panel.shape[1] / (_CELL_COLUMNS + 1)
    rows = slice(round((row + 0.5 + margin) * tall), round((row + 1.5 - margin) * tall))
    columns = slice(round((column + 0.5 + margin) * wide), round((column + 1.5 - margin) * wide))
    return rows, columns


def _bits_of(number: int) -> NDArray[np.bool_]:
    """Return the 20 cells of a number, highest bit first, the check digit last."""
    if not 0 <= number < 1 << _NUMBER_BITS:
        raise ValueError(f"frame number {number} does not fit {_NUMBER_BITS} bits")
    value = number << _CHECK_BITS | _check_digit(number)
    return np.array([value >> bit & 1 for bit in reversed(range(_NUMBER_BITS + _CHECK_BITS))], bool)


def _check_digit(number: int) -> int:
    """Return 4 bits that any single wrong bit, all black and all white contradict."""
    return (number ^ number >> 4 ^ number >> 8 ^ number >> 12) & 15 ^ 0b1010


def _find_panel(picture: Picture) -> Picture:
    """Return the panel cut out of a picture, by its border: no other thing is magenta."""
    red, green, blue = (picture[..., channel].astype(np.int16) for channel in range(3))
    magenta = np.minimum(red, blue) - green > 80
    # A row or column of the border is magenta all along; specks elsewhere are not.
    rows = np.flatnonzero(magenta.sum(1) > 0.05 * picture.shape[1])
    columns = np.flatnonzero(magenta.sum(0) > 0.05 * picture.shape[0])
    if len(rows) < _CELL_ROWS or len(columns) < _CELL_COLUMNS:
        raise ValueError("the picture has no number panel")
    return picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _cell_means(picture: Picture) -> NDArray[np.float64]:
    """Return the mean of each cell of the panel, float64 [4, 6], 0..255."""
    panel = _find_panel(picture)
    means = np.zeros((_CELL_ROWS, _CELL_COLUMNS))
    for row, column in np.ndindex(means.shape):
        means[row, column] = panel[_cell(panel, row, column, margin=0.25)].mean()
    return means


def _read_cells(picture: Picture) -> NDArray[np.bool_]:
    """Return which cells of the panel are white, bool [4, 6]."""
    return _cell_means(picture) > _MIDDLE


def clearness(picture: Picture) -> float:
    """Return how far the greyest cell of the panel is from the middle grey, 0..128.

    An encoder that smears a cell leaves a number that only just can be read.
    """
    return float(np.abs(_cell_means(picture) - _MIDDLE).min())


def read_number(picture: Picture) -> int:
    """Return the number of a frame of any size and aspect, uint8 [height, width, 3], upright.

    Margins, bars and a cropped edge do not matter if the whole panel is there, once. ValueError if
    there is none, or the check digit contradicts the number.
    """
    bits = _read_cells(picture)[:, :-1].reshape(-1)
    value = int("".join("1" if bit else "0" for bit in bits), 2)
    number, check = value >> _CHECK_BITS, value & (1 << _CHECK_BITS) - 1
    if check != _check_digit(number):
        raise ValueError(f"the panel says {number} but its check digit contradicts that")
    return number


def is_flash(picture: Picture) -> bool:
    """Return whether the frame flashes; the picture and the errors are as in `read_number`."""
    return bool(_read_cells(picture)[:, -1].mean() > 0.5)
