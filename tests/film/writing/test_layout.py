"""Place of a dream in its film: even, in shape, and where the original had it."""

from fractions import Fraction

import pytest

from bladerunner_ae.film.writing.layout import film_layout, raster_layout
from bladerunner_ae.geometry import Rectangle, decide_geometry


def test_a_plain_film_is_filled() -> None:
    layout = film_layout(decide_geometry((720, 1280), raster=(72, 128)))
    assert layout.output == (720, 1280)
    assert layout.place == Rectangle(0, 0, 720, 1280)
    assert layout.source == Rectangle(0, 0, 72, 128)


def test_bars_come_back() -> None:
    geometry = decide_geometry((1080, 1920), bars=(138, 138, 0, 0), raster=(96, 224), fit="stretch")
    assert film_layout(geometry).place == Rectangle(138, 0, 804, 1920)
    half = film_layout(geometry, max_height=540)
    assert half.output == (540, 960)
    assert half.place == Rectangle(70, 0, 402, 960)  # 69 is odd


def test_margins_of_the_raster_are_cut_off() -> None:
    layout = film_layout(decide_geometry((1280, 720), raster=(72, 128)))  # portrait
    assert layout.source == Rectangle(0, 44, 72, 40)
    assert layout.place == Rectangle(0, 0, 1280, 720)


def test_sample_aspect_is_undone() -> None:
    layout = film_layout(decide_geometry((576, 720), Fraction(64, 45), raster=(72, 128)))
    assert layout.output == (576, 1024)
    assert layout.sample_aspect == 1


@pytest.mark.parametrize("stored", [(719, 1279), (721, 1281), (1, 1), (3, 5), (97, 2)])
@pytest.mark.parametrize("max_height", [0, 1, 99, 100])
def test_everything_is_even_and_inside(stored: tuple[int, int], max_height: int) -> None:
    if min(stored) < 2:
        geometry = decide_geometry((2, 2), raster=(16, 16))
    else:
        geometry = decide_geometry(stored, raster=(16, 16))
    layout = film_layout(geometry, max_height)
    place = layout.place
    sides = (*layout.output, place.top, place.left, place.height, place.width)
    assert all(side % 2 == 0 for side in sides)
    assert min(layout.output) >= 2 and min(place.size) >= 2
    assert place.bottom <= layout.output[0] and place.right <= layout.output[1]
    assert not max_height or layout.output[0] <= max(max_height, 2)


def test_the_raster_itself_keeps_its_pixels_and_the_films_shape() -> None:
    stretched = decide_geometry((800, 1920), raster=(72, 128), fit="stretch")
    layout = raster_layout(stretched)
    assert layout.output == (72, 128) and layout.source == Rectangle(0, 0, 72, 128)
    assert layout.sample_aspect * Fraction(128, 72) == Fraction(1920, 800)
    assert raster_layout(decide_geometry((720, 1280), raster=(72, 128))).sample_aspect == 1
