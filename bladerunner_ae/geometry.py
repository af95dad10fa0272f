"""Place of a film's picture in its records, and the way back, in whole pixels.

Decided once for a film: the rectangle of the stored picture that is kept (`crop`), the size of a
record (`raster`) and the place of the kept picture in it (`picture`). Read backwards, the same
numbers put a reconstruction back where the film had the original (`Geometry.display_crop`).

All sizes are (height, width). No pixels here, and no floats.
"""

from dataclasses import dataclass
from fractions import Fraction
from math import isqrt
from typing import Any

from bladerunner_ae.errors import InputError, UsageError

Size = tuple[int, int]
"""(height, width)."""


def size_text(size: Size) -> str:
    return f"{size[0]}x{size[1]} (height x width)"


# 1 % of distortion weighs as much as 4 % too many or too few pixels when a raster is chosen.
_SHAPE_WEIGHT = 4


def choose_raster(
    shape: Fraction, height: int | None, width: int | None, pixels: int, multiple: int
) -> Size:
    """Return the size of a record for a picture of a shape, width / height, that fills it.

    A side that is None is chosen as a multiple of `multiple`; `pixels` is their approximate number
    if both are.
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
    return max(one / other, other / one)


def _nearest_multiple(length: Fraction, multiple: int) -> int:
    return max(round(length / multiple), 1) * multiple


FITS = ("contain", "cover", "stretch")


@dataclass(frozen=True)
class Rectangle:
    top: int
    left: int
    height: int
    width: int

    @property
    def bottom(self) -> int:
        """First row below the rectangle."""
        return self.top + self.height

    @property
    def right(self) -> int:
        """First column to the right of the rectangle."""
        return self.left + self.width

    @property
    def size(self) -> Size:
        return self.height, self.width

    def turned_back(self, rotation: int, upright: Size) -> "Rectangle":
        """Return the same pixels in the picture before rotation.

        `rotation` degrees clockwise (0, 90, 180, 270) make that picture `upright`, a size.
        """
        height, width = upright
        if rotation == 90:
            return Rectangle(width - self.right, self.top, self.width, self.height)
        if rotation == 180:
            return Rectangle(height - self.bottom, width - self.right, self.height, self.width)
        if rotation == 270:
            return Rectangle(self.left, height - self.bottom, self.width, self.height)
        return self

    def to_json(self) -> dict[str, int]:
        return {"top": self.top, "left": self.left, "height": self.height, "width": self.width}


@dataclass(frozen=True)
class Geometry:
    """Way of one film's pictures into records, and back.

    Attributes:
        stored: size of the upright picture in the file's own pixels: after rotation, before the
            sample aspect.
        sample_aspect: width of a stored pixel divided by its height.
        display: size of the film as it is shown, in square pixels.
        crop: part of the stored picture that is kept: without black bars, with "cover" less.
        raster: size of a record.
        picture: place of the kept part in the record; the rest of the record is black.
        fit: of crop and raster: "contain", "cover" or "stretch".
    """

    stored: Size
    sample_aspect: Fraction
    display: Size
    crop: Rectangle
    raster: Size
    picture: Rectangle
    fit: str

    def display_crop(self) -> Rectangle:
        """Return the place of the kept part in the picture as shown, in square pixels.

        Edges inside the picture are moved to even rows and columns, as 4:2:0 films need it; edges
        of the picture itself stay.
        """
        top, bottom = (
            _even_edge(edge * self.display[0], self.stored[0], self.display[0])
            for edge in (self.crop.top, self.crop.bottom)
        )
        left, right = (
            _even_edge(edge * self.display[1], self.stored[1], self.display[1])
            for edge in (self.crop.left, self.crop.right)
        )
        return Rectangle(top, left, max(bottom - top, 1), max(right - left, 1))

    def to_json(self) -> dict[str, Any]:
        return {
            "stored": list(self.stored),
            "sample_aspect": str(self.sample_aspect),
            "display": list(self.display),
            "crop": self.crop.to_json(),
            "raster": list(self.raster),
            "picture": self.picture.to_json(),
            "fit": self.fit,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Geometry":
        """Read what `to_json` wrote; KeyError, TypeError or ValueError if it did not."""
        return cls(
            stored=_size(data["stored"]),
            sample_aspect=Fraction(data["sample_aspect"]),
            display=_size(data["display"]),
            crop=Rectangle(**data["crop"]),
            raster=_size(data["raster"]),
            picture=Rectangle(**data["picture"]),
            fit=str(data["fit"]),
        )


def decide_geometry(
    stored: Size,
    sample_aspect: Fraction = Fraction(1),
    bars: tuple[int, int, int, int] = (0, 0, 0, 0),
    raster: tuple[int | None, int | None] | None = None,
    fit: str = "contain",
    pixels: int = 36864,
    multiple: int = 16,
) -> Geometry:
    """Decide how a film's pictures become records.

    With at most one side of the raster given, the record takes the film's own shape as nearly as
    multiples of `multiple` allow, and the picture fills it, distorted by a few per cent, which
    `Geometry.display_crop` undoes. Only if both sides are given can film and record differ in
    shape, and `fit` applies: "contain" shows everything and leaves black margins, "cover" fills the
    record and cuts off what does not fit, "stretch" fills it and distorts. `bars`, (top, bottom,
    left, right) in stored pixels, are cut off; for `pixels` see `choose_raster`.

    Raises:
        InputError: the bars leave nothing of the picture; the message does not name the film.
        UsageError: an impossible size, multiple or fit.
    """
    _check_options(sample_aspect, raster, fit, pixels, multiple)
    crop = _without_bars(stored, bars)
    height, width = raster or (None, None)
    given_both = height is not None and width is not None
    shape = Fraction(crop.width, crop.height) * sample_aspect
    size = choose_raster(shape, height, width, pixels, multiple)
    if fit == "cover":
        crop = _cover(crop, Fraction(size[1], size[0]) / sample_aspect)
    picture = Rectangle(0, 0, *size)
    if fit == "contain" and given_both:
        picture = _contain(size, shape)
    return Geometry(
        stored=stored,
        sample_aspect=sample_aspect,
        display=display_size(stored, sample_aspect),
        crop=crop,
        raster=size,
        picture=picture,
        fit=fit,
    )


def display_size(stored: Size, sample_aspect: Fraction) -> Size:
    """Return the size in square pixels at which a player shows a stored picture.

    The shorter side of the pixel is stretched, to an even size, so that no row or column is lost.
    """
    height, width = stored
    if sample_aspect > 1:
        width = max(2 * round(width * sample_aspect / 2), 2)
    elif sample_aspect < 1:
        height = max(2 * round(height / sample_aspect / 2), 2)
    return height, width


def _size(value: Any) -> Size:
    height, width = value
    return int(height), int(width)


def _check_options(
    sample_aspect: Fraction,
    raster: tuple[int | None, int | None] | None,
    fit: str,
    pixels: int,
    multiple: int,
) -> None:
    if fit not in FITS:
        raise UsageError(f"fit {fit!r} is unknown; use one of {', '.join(FITS)}")
    if multiple < 1 or pixels < 1 or any(side is not None and side < 1 for side in raster or ()):
        raise UsageError(
            f"a record of {raster or pixels} pixels in multiples of {multiple} is impossible; "
            "height, width, pixels and multiple are whole numbers from 1"
        )
    if sample_aspect <= 0:
        raise UsageError(f"sample aspect {sample_aspect} is impossible; it is a ratio above 0")


def _without_bars(stored: Size, bars: tuple[int, int, int, int]) -> Rectangle:
    top, bottom, left, right = bars
    crop = Rectangle(top, left, stored[0] - top - bottom, stored[1] - left - right)
    if min(bars) < 0 or crop.height < 2 or crop.width < 2:
        raise InputError(
            f"--crop_bars={top}:{bottom}:{left}:{right} (top:bottom:left:right) leave nothing of a "
            f"picture of {stored[0]} rows and {stored[1]} columns; give smaller ones or auto"
        )
    return crop


def _cover(crop: Rectangle, shape: Fraction) -> Rectangle:
    """Return the largest part in the middle of `crop` that is `shape` times as wide as high."""
    height, width = crop.size
    if Fraction(width, height) > shape:
        width = _even_part(height * shape, width)
    else:
        height = _even_part(width / shape, height)
    top = crop.top + (crop.height - height) // 4 * 2
    left = crop.left + (crop.width - width) // 4 * 2
    return Rectangle(top, left, height, width)


def _even_part(length: Fraction, whole: int) -> int:
    return whole if length > whole - 1 else max(2 * round(length / 2), 2)


def _contain(raster: Size, shape: Fraction) -> Rectangle:
    """Return the largest rectangle of the given shape in the middle of the raster."""
    height, width = raster
    if shape * height >= width:
        height = min(max(round(width / shape), 1), height)
    else:
        width = min(max(round(height * shape), 1), width)
    return Rectangle((raster[0] - height) // 2, (raster[1] - width) // 2, height, width)


def _even_edge(numerator: int, denominator: int, end: int) -> int:
    """Return the even number nearest to a fraction, or `end` if the fraction reaches it."""
    if numerator >= end * denominator:
        return end
    return min(2 * round(Fraction(numerator, 2 * denominator)), end)
