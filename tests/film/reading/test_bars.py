"""Black bars: found where they are, and not found where there are none."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bladerunner_ae.film.reading.bars import find_bars
from bladerunner_ae.film.reading.probe import probe_film
from bladerunner_ae.film.reading.samples import sample_frames, sample_key_frames
from tests.helpers.awkward_films import ffmpeg, film_of
from tests.helpers.synthetic_film import read_number

FilmFactory = Callable[..., Path]
Picture = NDArray[np.uint8]
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
HEIGHT, WIDTH = 180, 320


def bars_of(film: Path) -> tuple[int, int, int, int]:
    return find_bars(probe_film(film))


def scene(
    number: int, top: int = 0, bottom: int = 0, left: int = 0, right: int = 0, level: int = 180
) -> Picture:
    """Noise of medium brightness with bars around it."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    size = (HEIGHT - top - bottom, WIDTH - left - right, 3)
    noise = np.random.default_rng(number).integers(level // 2, level, size, np.uint8)
    picture[top : HEIGHT - bottom, left : WIDTH - right] = noise
    return picture


def title() -> Picture:
    """White words on black."""
    picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    picture[70:110:4, 60:260] = 235
    return picture


@pytest.mark.parametrize(
    "bars",
    [
        (0, 0, 0, 0),
        (22, 22, 0, 0),  # 2.35:1 in 16:9
        (0, 0, 40, 40),  # 4:3 in 16:9
        (16, 30, 0, 0),
        (12, 12, 24, 40),
        (0, 24, 0, 0),
        (23, 23, 0, 0),
        (0, 0, 108, 110),  # a portrait film in a wide one
    ],
)
def test_bars_are_found_to_two_pixels(
    film_factory: FilmFactory, bars: tuple[int, int, int, int]
) -> None:
    found = bars_of(film_factory(bars=bars, frames=60))
    # Never more than there is: a row of the picture must not be lost.
    assert all(0 <= is_bar - one <= 2 for one, is_bar in zip(found, bars, strict=True)), found
    assert all(one % 2 == 0 for one in found)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_bars_of_a_rotated_film_are_those_of_the_upright_picture(
    film_factory: FilmFactory, rotation: int
) -> None:
    top, bottom, left, right = bars_of(film_factory(bars=(20, 40, 0, 0), rotation=rotation))
    expected = {90: (0, 0, 20, 40), 180: (40, 20, 0, 0), 270: (0, 0, 40, 20)}[rotation]
    assert np.abs(np.subtract((top, bottom, left, right), expected)).max() <= 2


def test_where_bars_change_the_largest_picture_counts(tmp_path: Path) -> None:
    pictures = [scene(n, 40, 40) for n in range(40)] + [scene(n, 0, 20) for n in range(8)]
    top, bottom, left, right = bars_of(film_of(tmp_path / "film.mp4", pictures, *X264))
    assert (top, left, right) == (0, 0, 0) and 18 <= bottom <= 20


def test_titles_on_black_do_not_shrink_the_picture(tmp_path: Path) -> None:
    pictures = [title()] * 30 + [scene(n, 24, 24) for n in range(12)] + [title()] * 20
    top, bottom, *sides = bars_of(film_of(tmp_path / "film.mp4", pictures, *X264))
    assert 22 <= top <= 24 and 22 <= bottom <= 24 and sides == [0, 0]


def test_a_film_of_nothing_but_titles_is_not_cut(tmp_path: Path) -> None:
    assert bars_of(film_of(tmp_path / "film.mp4", [title()] * 10, *X264)) == (0, 0, 0, 0)


@pytest.mark.parametrize("level", [2, 20, 40])
def test_a_dark_film_is_not_cut(tmp_path: Path, level: int) -> None:
    pictures = [scene(n, 60, 60, level=level) for n in range(10)]
    assert bars_of(film_of(tmp_path / "film.mp4", pictures, *X264)) == (0, 0, 0, 0)


def test_a_dark_sky_over_a_lit_street_is_picture(tmp_path: Path) -> None:
    pictures = [scene(n, 60, 0) for n in range(10)]
    for picture in pictures:
        picture[:60] = np.linspace(18, 30, WIDTH)[None, :, None]
    assert bars_of(film_of(tmp_path / "film.mp4", pictures, *X264)) == (0, 0, 0, 0)


def test_noise_in_the_bars_is_still_black(tmp_path: Path) -> None:
    pictures = [scene(n, 30, 30) for n in range(10)]
    for number, picture in enumerate(pictures):
        noise = np.random.default_rng(number).integers(0, 9, (30, WIDTH, 3), np.uint8)
        picture[:30], picture[-30:] = noise, noise
    top, bottom, *_ = bars_of(film_of(tmp_path / "film.mp4", pictures, *X264, "-crf", "4"))
    assert 28 <= top <= 30 and 28 <= bottom <= 30


def test_a_ragged_edge_is_no_bar(tmp_path: Path) -> None:
    pictures = [scene(n, 0, 1, 2, 3) for n in range(10)]
    assert bars_of(film_of(tmp_path / "film.mp4", pictures, *X264)) == (0, 0, 0, 0)


def test_bars_in_a_folder_of_images(tmp_path: Path) -> None:
    for number in range(20):
        Image.fromarray(scene(number, 20, 20)).save(tmp_path / f"{number}.png")
    assert bars_of(tmp_path) == (20, 20, 0, 0)


def test_a_bare_stream_that_cannot_be_searched(film_factory: FilmFactory, tmp_path: Path) -> None:
    ffmpeg("-i", film_factory(bars=(22, 22), frames=60), "-c", "copy", "-an", tmp_path / "f.h264")
    top, bottom, *_ = bars_of(tmp_path / "f.h264")
    assert 20 <= top <= 22 and 20 <= bottom <= 22


def test_pictures_from_all_over_the_film(film_factory: FilmFactory) -> None:
    film = film_factory(frames=240, height=96, width=160, extra_ffmpeg_args=("-g", "12"))
    info = probe_film(film)
    keys = [read_number(frame.to_ndarray(format="rgb24")) for frame in sample_key_frames(info, 10)]
    assert len(keys) == 10 and sorted(set(keys)) == keys
    assert all(abs(key - place) <= 12 for key, place in zip(keys, range(12, 240, 24), strict=True))
    spread = [read_number(frame.to_ndarray(format="rgb24")) for frame in sample_frames(info, 10)]
    assert spread == list(range(12, 240, 24))
