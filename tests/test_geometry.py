"""Place of pictures in records, in exact numbers, and its inverse."""

import json
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from bladerunner_ae.errors import InputError, UsageError
from bladerunner_ae.geometry import (
    FITS,
    Geometry,
    Rectangle,
    Size,
    decide_geometry,
    display_size,
)

PAL_WIDE = Fraction(64, 45)
SCOPE_BARS = (138, 138, 0, 0)


@pytest.mark.parametrize(
    ("stored", "aspect", "bars", "pixels", "multiple", "raster"),
    [
        ((720, 1280), 1, (0, 0, 0, 0), 36864, 16, (144, 256)),
        ((720, 1280), 1, (0, 0, 0, 0), 9216, 8, (72, 128)),
        ((480, 640), 1, (0, 0, 0, 0), 36864, 16, (160, 208)),  # 4:3, 2.5 % too narrow
        ((1080, 1920), 1, SCOPE_BARS, 36864, 16, (128, 304)),  # 2.39:1
        ((1080, 1920), 1, SCOPE_BARS, 9216, 8, (64, 152)),
        ((1280, 720), 1, (0, 0, 0, 0), 36864, 16, (256, 144)),  # portrait
        ((576, 720), PAL_WIDE, (0, 0, 0, 0), 36864, 16, (144, 256)),  # 16:9 in narrow pixels
        ((720, 960), Fraction(2, 3), (0, 0, 0, 0), 36864, 16, (208, 176)),
        ((2, 2000), 1, (0, 0, 0, 0), 36864, 16, (16, 16000)),  # never less than one multiple
    ],
)
def test_a_raster_that_follows_from_the_film(
    stored: Size,
    aspect: Fraction,
    bars: tuple[int, int, int, int],
    pixels: int,
    multiple: int,
    raster: Size,
) -> None:
    geometry = decide_geometry(stored, Fraction(aspect), bars, None, "contain", pixels, multiple)
    assert geometry.raster == raster
    # The picture fills the record, whatever the fit.
    assert geometry.picture == Rectangle(0, 0, *geometry.raster)
    assert all(side % multiple == 0 and side > 0 for side in geometry.raster)


def test_one_given_side_decides_the_other() -> None:
    assert decide_geometry((720, 1280), raster=(144, None)).raster == (144, 256)
    assert decide_geometry((720, 1280), raster=(None, 200)).raster == (112, 200)
    assert decide_geometry((576, 720), PAL_WIDE, raster=(72, None), multiple=8).raster == (72, 128)


@pytest.mark.parametrize(
    ("fit", "crop", "picture"),
    [
        ("contain", Rectangle(0, 0, 1280, 720), Rectangle(0, 87, 144, 81)),
        ("cover", Rectangle(438, 0, 404, 720), Rectangle(0, 0, 144, 256)),
        ("stretch", Rectangle(0, 0, 1280, 720), Rectangle(0, 0, 144, 256)),
    ],
)
def test_a_portrait_film_in_a_wide_record(fit: str, crop: Rectangle, picture: Rectangle) -> None:
    geometry = decide_geometry((1280, 720), raster=(144, 256), fit=fit)
    assert (geometry.crop, geometry.picture) == (crop, picture)


@pytest.mark.parametrize(
    ("fit", "crop", "picture"),
    [
        ("contain", Rectangle(0, 0, 576, 720), Rectangle(31, 0, 81, 144)),
        # A square of the film as shown is 405 of its wide pixels across.
        ("cover", Rectangle(0, 158, 576, 404), Rectangle(0, 0, 144, 144)),
        ("stretch", Rectangle(0, 0, 576, 720), Rectangle(0, 0, 144, 144)),
    ],
)
def test_wide_pixels_in_a_square_record(fit: str, crop: Rectangle, picture: Rectangle) -> None:
    geometry = decide_geometry((576, 720), PAL_WIDE, raster=(144, 144), fit=fit)
    assert (geometry.crop, geometry.picture) == (crop, picture)
    assert geometry.display == (576, 1024)


def test_bars_are_cut_off_before_the_film_is_fitted() -> None:
    geometry = decide_geometry((1080, 1920), bars=SCOPE_BARS, raster=(144, 256))
    assert geometry.crop == Rectangle(138, 0, 804, 1920)
    assert geometry.picture == Rectangle(18, 0, 107, 256)
    assert geometry.display_crop() == Rectangle(138, 0, 804, 1920)


def test_a_film_of_the_records_shape_has_no_margins() -> None:
    for fit in FITS:
        geometry = decide_geometry((720, 1280), raster=(72, 128), fit=fit)
        assert geometry.crop == Rectangle(0, 0, 720, 1280)
        assert geometry.picture == Rectangle(0, 0, 72, 128)


@pytest.mark.parametrize(
    ("stored", "aspect", "shown"),
    [
        ((576, 720), PAL_WIDE, (576, 1024)),
        ((480, 720), Fraction(32, 27), (480, 854)),
        ((480, 720), Fraction(8, 9), (540, 720)),  # rows are added, no column is lost
        ((721, 1281), Fraction(1), (721, 1281)),
    ],
)
def test_the_size_at_which_a_film_is_shown(stored: Size, aspect: Fraction, shown: Size) -> None:
    assert display_size(stored, aspect) == shown


def _random_geometry(random: np.random.Generator) -> Geometry:
    height, width = (int(side) for side in random.integers(16, 2200, 2))
    bars = [int(part * side) for part, side in zip(
        random.uniform(0, 0.3, 4) * random.integers(0, 2, 4), (height, height, width, width),
        strict=True)]  # fmt: skip
    aspect = Fraction(int(random.integers(20, 60)), int(random.integers(20, 60)))
    raster = tuple(int(side) for side in random.integers(8, 300, 2))
    fit = FITS[int(random.integers(3))]
    return decide_geometry(
        (height, width), aspect, (bars[0], bars[1], bars[2], bars[3]), (raster[0], raster[1]), fit
    )


def test_the_way_back_leads_to_where_the_picture_came_from() -> None:
    random = np.random.default_rng(0)
    for _ in range(500):
        geometry = _random_geometry(random)
        back, crop = geometry.display_crop(), geometry.crop
        down = Fraction(geometry.display[0], geometry.stored[0])
        across = Fraction(geometry.display[1], geometry.stored[1])
        # Edges move by rounding to even numbers only, and the film's own edges not at all.
        assert abs(back.top - crop.top * down) <= 1 and abs(back.bottom - crop.bottom * down) <= 1
        assert abs(back.left - crop.left * across) <= 1
        assert abs(back.right - crop.right * across) <= 1
        assert (crop.bottom == geometry.stored[0]) <= (back.bottom == geometry.display[0])
        assert (crop.right == geometry.stored[1]) <= (back.right == geometry.display[1])
        assert back.top % 2 == 0 and back.left % 2 == 0
        picture, raster = geometry.picture, geometry.raster
        assert 0 <= picture.top < picture.bottom <= raster[0]
        assert 0 <= picture.left < picture.right <= raster[1]
        if geometry.fit == "contain":
            # Undistorted to half a pixel, and at least one side is filled.
            shape = Fraction(crop.width, crop.height) * geometry.sample_aspect
            assert raster[0] == picture.height or raster[1] == picture.width
            assert (
                abs(picture.width - picture.height * shape) <= Fraction(1, 2) * max(shape, 1)
                or min(picture.size) == 1
            )
        else:
            assert picture == Rectangle(0, 0, *raster)


def test_json_keeps_every_number() -> None:
    random = np.random.default_rng(1)
    for _ in range(50):
        geometry = _random_geometry(random)
        assert Geometry.from_json(json.loads(json.dumps(geometry.to_json()))) == geometry


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_a_rectangle_in_a_picture_that_is_still_to_be_turned(rotation: int) -> None:
    upright = np.arange(6 * 9).reshape(6, 9)
    turned_back = np.rot90(upright, rotation // 90)  # counterclockwise
    rectangle = Rectangle(1, 2, 3, 5)
    part = rectangle.turned_back(rotation, (6, 9))
    found = turned_back[part.top : part.bottom, part.left : part.right]
    expected = upright[1:4, 2:7]
    assert np.array_equal(np.rot90(found, -(rotation // 90)), expected)


@pytest.mark.parametrize("bars", [(360, 360, 0, 0), (0, 0, 1279, 0), (-2, 0, 0, 0), (0, 900, 0, 0)])
def test_bars_that_leave_nothing(bars: tuple[int, int, int, int]) -> None:
    with pytest.raises(InputError, match=r"^--crop_bars=.* leave nothing of a picture of 720 rows"):
        decide_geometry((720, 1280), bars=bars)


@pytest.mark.parametrize(
    "wrong",
    [{"fit": "squeeze"}, {"raster": (0, 16)}, {"pixels": 0}, {"multiple": 0},
     {"sample_aspect": Fraction(0)}],
)  # fmt: skip
def test_impossible_wishes(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        decide_geometry((720, 1280), **wrong)
