"""Pictures come out as ffmpeg shows them, however they lie in the file."""

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bladerunner_ae.film.reading.bars import find_bars
from bladerunner_ae.film.reading.frame_reader import FrameReader
from bladerunner_ae.film.reading.probe import probe_film
from tests.helpers.awkward_films import ffmpeg, film_of
from tests.helpers.mp4_patches import display_matrix
from tests.helpers.number_panel import Picture

_EIGHT = [
    (1, 0, 0, 1), (0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0),
    (-1, 0, 0, 1), (0, 1, 1, 0), (1, 0, 0, -1), (0, -1, -1, 0),
]  # fmt: skip


@pytest.fixture(scope="module")
def corners(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A film of three frames whose corners all differ, with a black bar on its left."""
    picture = np.full((64, 96, 3), 128, np.uint8)
    picture[:32, :48], picture[:32, 48:] = (250, 30, 30), (30, 250, 30)
    picture[32:, :48] = (30, 30, 250)
    picture[:, :16] = 0
    film = tmp_path_factory.mktemp("corners") / "film.mp4"
    return film_of(
        film, [picture] * 3, "-c:v", "libx264", "-qp", "4", "-pix_fmt", "yuv444p",
        "-vf", "setsar=4/3",
    )  # fmt: skip


def shown_by_ffmpeg(film: Path, folder: Path) -> Picture:
    """The first frame as ffmpeg shows it."""
    ffmpeg("-i", film, "-frames:v", 1, "-update", 1, folder / "shown.png")
    with Image.open(folder / "shown.png") as picture:
        return np.asarray(picture.convert("RGB"))


def first_picture(film: Path) -> Picture:
    with FrameReader(probe_film(film)) as reader:
        return next(iter(reader)).image


def check_shown(film: Path, folder: Path) -> None:
    right, ours = shown_by_ffmpeg(film, folder), first_picture(film)
    assert ours.shape == right.shape
    assert np.abs(ours.astype(int) - right).mean() < 3


@pytest.mark.parametrize("matrix", _EIGHT)
def test_all_eight_directions(
    matrix: tuple[int, int, int, int], corners: Path, tmp_path: Path
) -> None:
    film = display_matrix(corners, tmp_path / "film.mp4", matrix)
    check_shown(film, tmp_path)
    info = probe_film(film)
    assert not [note for note in map(str, info.notes) if "mirror" in note or "slant" in note]
    turned = info.picture.direction.rotation in (90, 270)
    assert info.picture.sample_aspect == (Fraction(3, 4) if turned else Fraction(4, 3))
    # The bar is where the picture shows it.
    top, bottom, left, right = find_bars(info)
    dark = shown_by_ffmpeg(film, tmp_path).max(axis=2) < 40
    assert (top, bottom, left, right) == (
        16 * dark[:8].all(), 16 * dark[-8:].all(), 16 * dark[:, :8].all(), 16 * dark[:, -8:].all(),
    )  # fmt: skip


@pytest.mark.parametrize("scale", [0.5, 2])
def test_noise_and_scale_in_the_matrix_change_nothing(
    scale: float, corners: Path, tmp_path: Path
) -> None:
    angle = math.radians(90.6)
    cos, sin = math.cos(angle), math.sin(angle)
    film = display_matrix(corners, tmp_path / "film.mp4", (cos, sin, sin, -cos), scale)
    info = probe_film(film)
    assert (
        info.picture.direction.rotation,
        info.picture.direction.mirrored,
        info.picture.stored,
    ) == (90, True, (96, 64))
    exact = display_matrix(corners, tmp_path / "exact.mp4", (0, 1, 1, 0))
    assert np.array_equal(first_picture(film), first_picture(exact))


def test_a_matrix_that_shows_nothing_is_passed_over(corners: Path, tmp_path: Path) -> None:
    film = display_matrix(corners, tmp_path / "film.mp4", (0, 0, 0, 0))
    info = probe_film(film)
    assert (info.picture.direction.rotation, info.picture.direction.mirrored) == (0, False)


@pytest.mark.parametrize("options", [["-display_rotation", "90"], ["-display_hflip"]])
def test_directions_in_matroska(options: list[str], corners: Path, tmp_path: Path) -> None:
    film = tmp_path / "film.mkv"
    ffmpeg(*options, "-i", corners, "-c", "copy", film)
    check_shown(film, tmp_path)


@pytest.mark.parametrize("flip", ["horizontal", "vertical"])
@pytest.mark.parametrize("rotation", [0, 90, 180])
def test_directions_that_the_codec_tells(
    flip: str, rotation: int, corners: Path, tmp_path: Path
) -> None:
    film = tmp_path / "film.mkv"
    ffmpeg(
        "-i", corners, "-c", "copy", "-bsf:v",
        f"h264_metadata=display_orientation=insert:rotate={rotation}:flip={flip}", film,
    )  # fmt: skip
    check_shown(film, tmp_path)


def test_pictures_with_exif_are_read_and_turned(tmp_path: Path) -> None:
    picture = Image.fromarray(np.repeat(np.arange(96, dtype=np.uint8)[None, :, None] * 2, 64, 0)
                              .repeat(3, axis=2))  # fmt: skip
    exif = Image.Exif()
    exif[0x010F], exif[0x0112] = "Camera", 2  # mirrored left to right
    for number in range(3):
        picture.save(tmp_path / f"{number}.jpg", exif=exif, quality=95)
    film = tmp_path / "film.mov"
    ffmpeg("-framerate", 24, "-i", tmp_path / "%d.jpg", "-c", "copy", film)
    with FrameReader(probe_film(film)) as reader:
        assert len(list(reader)) == 3
    check_shown(film, tmp_path)
