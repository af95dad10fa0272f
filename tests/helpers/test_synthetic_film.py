"""The measuring instrument itself: does the synthetic film say what it is meant to say?"""

import io
from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

from tests.helpers.number_panel import Picture, clearness, draw_panel
from tests.helpers.synthetic_film import (
    SHOT_FRAMES,
    beep_times,
    film_pictures,
    flash_frames,
    flash_times,
    frame_times,
    is_flash,
    make_film,
    read_film,
    read_number,
    shot_starts,
)

FilmFactory = Callable[..., Path]


def jpeg(picture: Picture, size: tuple[int, int], quality: int) -> Picture:
    """Return a picture scaled to (height, width) and coded as JPEG with 4:2:0 chroma."""
    coded = io.BytesIO()
    scaled = Image.fromarray(picture).resize(size[::-1], Image.Resampling.BICUBIC)
    scaled.save(coded, "jpeg", quality=quality, subsampling=2)
    return np.asarray(Image.open(coded))


@pytest.mark.parametrize("size", [(64, 64), (72, 128), (144, 256), (360, 640), (288, 400)])
def test_numbers_and_flashes_survive_scaling_and_jpeg(size: tuple[int, int]) -> None:
    numbers = range(0, 4 * SHOT_FRAMES + 7, 3)
    flashes = flash_frames(4 * SHOT_FRAMES + 7, 24)
    for number, picture in enumerate(film_pictures(4 * SHOT_FRAMES + 7, 180, 320)):
        if number in numbers:
            seen = jpeg(picture, size, quality=60)
            assert (read_number(seen), is_flash(seen)) == (number, number in flashes)


@pytest.mark.parametrize("number", [0, 1, 255, 14_399, 43_690, 65_535])
def test_large_numbers(number: int) -> None:
    picture = np.full((90, 160, 3), 120, np.uint8)
    draw_panel(picture, number, flash=True)
    assert read_number(picture) == number
    assert is_flash(picture)
    assert clearness(picture) > 80


def test_a_smeared_cell_can_be_read_and_is_not_clear() -> None:
    picture = np.full((200, 400, 3), 120, np.uint8)
    draw_panel(picture, 0, flash=False)
    cell = np.isclose(picture, picture.max()).all(2) & (picture.min(2) > 200)
    picture[cell] = 150
    assert read_number(picture) == 0
    assert clearness(picture) < 25


def test_number_is_read_with_bars_margins_and_crops() -> None:
    *_, picture = film_pictures(20, 180, 320, bars=(24, 20, 16, 8))
    assert (picture[:24] == 0).all() and (picture[-20:] == 0).all()
    assert (picture[:, :16] == 0).all() and (picture[:, -8:] == 0).all()
    assert read_number(picture) == 19
    assert read_number(picture[24:-20, 16:-8]) == 19
    assert read_number(np.pad(picture, ((60, 0), (0, 90), (0, 0)))) == 19
    assert read_number(picture[40:, 60:-60]) == 19


def test_single_wrong_cell_is_noticed() -> None:
    for cell in range(20):
        picture = np.full((180, 320, 3), 120, np.uint8)
        draw_panel(picture, 1234, flash=False)
        tall, wide = 81 / 5, 160 / 7  # the panel is 81 x 160 with half a cell of border around
        row, column = divmod(cell, 5)
        centre = (81 + int((row + 1) * tall), 80 + int((column + 1) * wide))
        around = (
            slice(centre[0] - 6, centre[0] + 6),
            slice(centre[1] - 9, centre[1] + 9),
        )
        picture[around] = 255 - picture[around]
        with pytest.raises(ValueError, match="check digit"):
            read_number(picture)


def test_picture_without_panel_is_refused() -> None:
    for value in (0, 128, 255):
        with pytest.raises(ValueError, match="no number panel"):
            read_number(np.full((72, 128, 3), value, np.uint8))


def test_scene_cuts_are_larger_than_any_motion() -> None:
    frames = 3 * SHOT_FRAMES + 5
    pictures = [p[:70].astype(int) for p in film_pictures(frames, 180, 320)]
    steps = [np.abs(b - a).mean() for a, b in pairwise(pictures)]
    cuts = sorted(np.argsort(steps)[-3:] + 1)
    assert cuts == shot_starts(frames)[1:]
    assert min(steps[cut - 1] for cut in cuts) > 3 * sorted(steps)[-4]


def test_film_ends_in_black_but_for_the_panel() -> None:
    *_, last = film_pictures(48, 180, 320)
    assert (last[:81] == 0).all() and (last[162:] == 0).all()
    assert read_number(last) == 47


def test_black_frames_come_first() -> None:
    pictures = list(film_pictures(10, 90, 160, black_frames=3))
    assert all((picture == 0).all() for picture in pictures[:3])
    assert [read_number(picture) for picture in pictures[3:]] == list(range(3, 10))


def test_another_seed_is_another_film() -> None:
    (one,), (same,), (other,) = (list(film_pictures(1, 90, 160, seed=seed)) for seed in (0, 0, 1))
    assert (one == same).all()
    assert (one != other).any()


@pytest.mark.parametrize(
    ("name", "arguments", "clock"),
    [
        ("film.mp4", {}, 1e-9),
        ("film.mp4", {"variable_rate": True}, 1e-9),
        ("film.mp4", {"start_offset": 0.5, "rate": Fraction(30000, 1001)}, 1e-9),
        ("film.mkv", {"rate": Fraction(24000, 1001), "audio_codec": "pcm_s16le"}, 0.00051),
    ],
)
def test_film_holds_its_frames_times_and_beeps(
    film_factory: FilmFactory, name: str, arguments: dict[str, Any], clock: float
) -> None:
    film = film_factory(name, **arguments)
    timing = {key: value for key, value in arguments.items() if key != "audio_codec"}
    times = frame_times(48, **timing)
    numbers, shown = zip(*read_film(film), strict=True)
    assert list(numbers) == list(range(48))
    assert shown == pytest.approx([float(time) for time in times], abs=clock)
    expected = [float(times[number]) for number in flash_frames(48, 24)]
    assert flash_times(film) == pytest.approx(expected, abs=clock)
    assert beep_times(film) == pytest.approx(expected, abs=0.0015)


def test_film_properties_are_told_to_the_container(film_factory: FilmFactory) -> None:
    film = film_factory(rotation=90, sample_aspect=Fraction(4, 3), audio=False)
    with av.open(str(film)) as container:
        frame = next(container.decode(video=0))
        stream = container.streams.video[0]
        assert frame.rotation == 90
        assert stream.codec_context.sample_aspect_ratio == Fraction(4, 3)
        assert (frame.colorspace, frame.color_range) == (1, 1)  # BT.709, limited
        assert not container.streams.audio


def test_failure_of_ffmpeg_is_reported(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no_such_codec"):
        make_film(tmp_path / "film.mp4", codec="no_such_codec")
