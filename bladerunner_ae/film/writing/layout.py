"""Place of a dreamt picture in the film that is written: the geometry of the records, undone.

Sizes are even throughout, because 4:2:0 video stores one colour sample for two rows and columns.
"""

from dataclasses import dataclass
from fractions import Fraction

from bladerunner_ae.geometry import Geometry, Rectangle, Size

# Players and encoders take sample aspects of 16 bits; finer is invisible.
_FINEST_ASPECT = 1000


@dataclass(frozen=True)
class Layout:
    """Mapping from a picture of the network to one of the film.

    Attributes:
        raster: (height, width) of the network's picture.
        source: the part of the raster that is shown; the rest is margin.
        output: (height, width) of the film, both even.
        place: where in the film `source` is shown, on even edges; around it the film is black.
        sample_aspect: width of a pixel of the film divided by its height.
    """

    raster: Size
    source: Rectangle
    output: Size
    place: Rectangle
    sample_aspect: Fraction = Fraction(1)


def film_layout(geometry: Geometry, max_height: int = 0) -> Layout:
    """Put pictures back in the film: in shape, black bars, upright; `max_height` 0: no limit."""
    height, width = geometry.display
    scale = Fraction(1)
    if 0 < max_height < height:
        scale = Fraction(max(max_height // 2 * 2, 2), height)
    output = _even(height * scale), _even(width * scale)
    crop = geometry.display_crop()
    top, bottom = (_moved(edge, height, output[0]) for edge in (crop.top, crop.bottom))
    left, right = (_moved(edge, width, output[1]) for edge in (crop.left, crop.right))
    # A sliver of a picture must not vanish in rounding.
    top, left = min(top, output[0] - 2), min(left, output[1] - 2)
    place = Rectangle(top, left, max(bottom - top, 2), max(right - left, 2))
    return Layout(geometry.raster, geometry.picture, output, place)


def raster_layout(geometry: Geometry) -> Layout:
    """Keep the network's own pixels and margins; the sample aspect restores the film's shape."""
    raster, picture, crop = geometry.raster, geometry.picture, geometry.display_crop()
    output = _even(Fraction(raster[0])), _even(Fraction(raster[1]))
    shown = Fraction(crop.width, crop.height)
    stored = Fraction(picture.width * output[1] * raster[0], picture.height * output[0] * raster[1])
    aspect = (shown / stored).limit_denominator(_FINEST_ASPECT) or Fraction(1)
    whole = Rectangle(0, 0, *raster)
    return Layout(raster, whole, output, Rectangle(0, 0, *output), aspect)


def _even(length: Fraction) -> int:
    """The even number nearest to a length; the larger of two equally near."""
    return max(int((length + 1) // 2) * 2, 2)


def _moved(edge: int, whole: int, output: int) -> int:
    """Position in the output of an edge of the picture as shown, an even number."""
    return min(int((Fraction(edge * output, whole) + 1) // 2) * 2, output)
