"""Which size records get: near a film's own shape and a number of pixels, in even steps."""

from fractions import Fraction
from math import isqrt

Size = tuple[int, int]
"""(height, width)."""

# How many times worse a wrong shape is than a wrong number of pixels when a raster is chosen:
# 1 % of distortion weighs as much as 4 % too many or too few pixels.
_SHAPE_WEIGHT = 4


def choose_raster(
    shape: Fraction, height: int | None, width: int | None, pixels: int, multiple: int
) -> Size:
    """(height, width) of a record.

    Args:
        shape: of the picture that is to fill it: so many times as wide as high.
        height: of the record, or None if it is chosen here.
        width: of the record, or None if it is chosen here.
        pixels: how many it has, about, where both sides are chosen here.
        multiple: sides that are chosen here are multiples of this.
    """
    if height is not None and width is not None:
        return height, width
    if height is not None:
        return height, _nearest_multiple(height * shape, multiple)
    if width is not None:
        return _nearest_multiple(width / shape, multiple), width

    def misfit(size: Size) -> Fraction:
        distortion = _ratio(Fraction(size[1], size[0]), shape)
        return distortion**_SHAPE_WEIGHT * _ratio(Fraction(size[0] * size[1]), Fraction(pixels))

    # The best height cannot be more than a few multiples from the one that undistorted pixels
    # would give.
    ideal = isqrt(max(int(pixels / shape), 1)) // multiple
    heights = [k * multiple for k in range(max(ideal - 3, 1), ideal + 5)]
    sizes = [
        (high, max(wide, 1) * multiple)
        for high in heights
        for wide in (int(high * shape) // multiple, int(high * shape) // multiple + 1)
    ]
    return min(sizes, key=misfit)


def _ratio(one: Fraction, other: Fraction) -> Fraction:
    """How many times the larger is the smaller, at least 1."""
    return max(one / other, other / one)


def _nearest_multiple(length: Fraction, multiple: int) -> int:
    return max(round(length / multiple), 1) * multiple
