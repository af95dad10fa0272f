"""Choice of the picture's stream, defaults of an untagged one, and detection of fields."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bladerunner_ae.errors import InputError
from bladerunner_ae.film.reading.bars import Brightness, find_bars
from bladerunner_ae.film.reading.frame_reader import FrameReader
from bladerunner_ae.film.reading.probe import probe_film, without_deinterlacing
from bladerunner_ae.film.reading.samples import sample_key_frames
from tests.helpers.awkward_films import convert, ffmpeg, film_of

FilmFactory = Callable[..., Path]
X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")


@pytest.fixture
def cover(tmp_path: Path) -> Path:
    """A still image that has more pixels than the film."""
    path = tmp_path / "cover.png"
    Image.fromarray(np.full((900, 900, 3), 99, np.uint8)).save(path)
    return path


@pytest.mark.parametrize(
    ("dispositions", "chosen", "height"),
    [(("0", "0"), 1, 180), (("default", "0"), 0, 90), (("0", "default"), 1, 180)],
)
def test_the_largest_picture_or_the_default(
    synthetic_film: Path,
    tmp_path: Path,
    dispositions: tuple[str, str],
    chosen: int,
    height: int,
) -> None:
    film = convert(synthetic_film, tmp_path / "two.mkv", "-filter_complex",
                   "[0:v]split[a][b];[a]scale=160:90[c]", "-map", "[c]", "-map", "[b]", *X264,
                   "-disposition:v:0", dispositions[0], "-disposition:v:1",
                   dispositions[1])  # fmt: skip
    info = probe_film(film)
    assert (info.streams.picture, info.picture.stored[0]) == (chosen, height)
    assert [
        note for note in map(str, info.notes) if f"stream {chosen}" in note and "2 pictures" in note
    ]


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_large_cover_is_not_the_film(
    synthetic_film: Path, tmp_path: Path, cover: Path, suffix: str
) -> None:
    film = tmp_path / f"film.{suffix}"
    if suffix == "mp4":
        ffmpeg("-i", synthetic_film, "-i", cover, "-map", 0, "-map", 1, "-c", "copy",
               "-disposition:v:1", "attached_pic", film)  # fmt: skip
    else:
        ffmpeg("-i", synthetic_film, "-attach", cover, "-metadata:s:t", "mimetype=image/png",
               "-map", 0, "-c", "copy", film)  # fmt: skip
    info = probe_film(film)
    assert (info.picture.stored, info.notes) == ((180, 320), ())


@pytest.mark.parametrize("suffix", ["m4a", "mka"])
def test_sound_with_a_cover_is_no_film(
    synthetic_film: Path, tmp_path: Path, cover: Path, suffix: str
) -> None:
    film = tmp_path / f"sound.{suffix}"
    if suffix == "m4a":
        ffmpeg("-i", synthetic_film, "-i", cover, "-map", "0:a", "-map", 1, "-c", "copy",
               "-disposition:v:0", "attached_pic", film)  # fmt: skip
    else:
        ffmpeg("-i", synthetic_film, "-attach", cover, "-metadata:s:t", "mimetype=image/png",
               "-map", "0:a", "-c", "copy", film)  # fmt: skip
    with pytest.raises(InputError, match="only sound and a cover picture"):
        probe_film(film)


def test_fields_after_whole_frames_are_noticed(synthetic_film: Path, tmp_path: Path) -> None:
    mpeg2 = ("-c:v", "mpeg2video", "-g", "12", "-q:v", "2")
    whole = convert(synthetic_film, tmp_path / "whole.ts", "-an", *mpeg2)
    fields = convert(synthetic_film, tmp_path / "fields.ts", "-an", "-vf", "setfield=tff", *mpeg2,
                     "-flags", "+ilme+ildct", "-output_ts_offset", "2")  # fmt: skip
    film = tmp_path / "film.ts"
    film.write_bytes(whole.read_bytes() + fields.read_bytes())
    assert not probe_film(whole).interlaced
    info = probe_film(film)
    assert info.interlaced and "one whole frame is made" in str(info.notes[0])
    off = without_deinterlacing(info)
    assert info.deinterlace and not off.deinterlace and "left as they are" in str(off.notes[0])


def test_search_for_bars_ends_at_a_full_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    random = np.random.default_rng(0)
    pictures = [random.integers(60, 255, (96, 160, 3), np.uint8) for _ in range(24)]
    info = probe_film(film_of(tmp_path / "film.mp4", pictures, *X264, "-g", "4"))
    looked = []

    def counted(*arguments: object) -> Brightness:
        looked.append(arguments)
        return Brightness(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("bladerunner_ae.film.reading.bars.Brightness", counted)
    assert find_bars(info) == (0, 0, 0, 0)
    assert len(looked) == 1


@pytest.mark.parametrize("noise", [12, 40, 90])
def test_noise_in_the_bars_costs_no_row_of_the_picture(tmp_path: Path, noise: int) -> None:
    pictures = []
    for number in range(12):
        random = np.random.default_rng(number)
        picture = random.integers(0, noise, (180, 320, 3), np.uint8)
        picture[30:150] = random.integers(60, 200, (120, 320, 3), np.uint8)
        pictures.append(picture)
    found = find_bars(probe_film(film_of(tmp_path / "film.mp4", pictures, *X264, "-crf", "4")))
    assert found[0] <= 30 and found[1] <= 30 and found[2:] == (0, 0)
    assert noise > 12 or min(found[:2]) >= 28  # what is nearly black is found


@pytest.mark.parametrize("layout", ["yuv420p", "yuv422p10le", "yuv444p12le", "gray", "gbrp",
                                    "nv12", "yuyv422", "yuvj420p"])  # fmt: skip
@pytest.mark.parametrize("colour", [(190, 190, 190), (0, 0, 120), (4, 4, 4)])
def test_brightness_by_the_planes_is_that_of_rgb(
    film_factory: FilmFactory, layout: str, colour: tuple[int, int, int]
) -> None:
    info = probe_film(film_factory())
    frame = next(sample_key_frames(info, 1))
    rgb = np.zeros((*info.picture.stored, 3), np.uint8)
    rgb[40:140] = colour
    source = type(frame).from_ndarray(rgb, "rgb24")
    brightness = Brightness(source.reformat(format=layout), info.picture)
    gray_blue = layout == "gray" and colour == (0, 0, 120)  # 14 of 255, once it is gray
    assert brightness.is_dark(0.01) == (max(colour) < 48 or gray_blue)
    if colour == (190, 190, 190):
        rows = np.flatnonzero(brightness.lit().mean(axis=1) > 0.5)
        assert (rows[0], rows[-1]) == (40, 139)


def test_every_frame_of_a_mixed_film_comes(synthetic_film: Path, tmp_path: Path) -> None:
    film = convert(synthetic_film, tmp_path / "film.ts", "-an", "-vf", "telecine", "-c:v",
                   "mpeg2video", "-flags", "+ilme+ildct", "-q:v", "2")  # fmt: skip
    with FrameReader(probe_film(film), size=(90, 160)) as reader:
        assert len(list(reader)) == 60
