"""Every frame once, in the order of showing, upright, at its own time, from every kind of file."""

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bladerunner_ae.errors import InputError
from bladerunner_ae.film.reading.frame_reader import DecodedFrame, FrameReader
from bladerunner_ae.film.reading.probe import probe_film
from bladerunner_ae.geometry import Geometry, decide_geometry
from tests.helpers.awkward_films import convert, cut, ffmpeg, film_of
from tests.helpers.synthetic_film import frame_times, read_film, read_number

FilmFactory = Callable[..., Path]

# A cyan, red, green and blue quarter; no turn or reflection maps it to itself.
QUARTERS = np.zeros((48, 80, 3), np.uint8)
QUARTERS[:24, :40], QUARTERS[:24, 40:] = (0, 200, 200), (200, 30, 30)
QUARTERS[24:, :40], QUARTERS[24:, 40:] = (30, 160, 30), (40, 40, 220)
EXACT = ("-c:v", "libx264", "-qp", "0", "-pix_fmt", "yuv444p", "-vf",
         "scale=out_color_matrix=bt709:out_range=tv", "-colorspace", "bt709")  # fmt: skip


def read(path: Path, geometry: Geometry | None = None, **options: object) -> list[DecodedFrame]:
    """All frames; the film must be whole."""
    with FrameReader(probe_film(path), geometry=geometry, **options) as reader:  # type: ignore[arg-type]
        frames = list(reader)
        assert reader.problem is None
    assert [frame.index for frame in frames] == list(range(len(frames)))
    return frames


def numbers(frames: list[DecodedFrame]) -> list[int]:
    return [read_number(frame.image) for frame in frames]


def seconds(path: Path, frames: list[DecodedFrame]) -> list[Fraction]:
    return [frame.pts * probe_film(path).timing.time_base for frame in frames]


@pytest.mark.parametrize("rate", [24, 25, Fraction(24000, 1001), Fraction(30000, 1001)])
@pytest.mark.parametrize("count", [pytest.param(47, marks=pytest.mark.slow), 64])
def test_every_frame_in_order_at_its_time(
    film_factory: FilmFactory, rate: Fraction, count: int
) -> None:
    film = film_factory(rate=rate, frames=count, height=96, width=160)
    frames = read(film)
    assert numbers(frames) == list(range(count))
    assert seconds(film, frames) == frame_times(count, Fraction(rate))


@pytest.mark.parametrize("suffix", ["mkv", "mov", "ts", "avi", "flv"])
def test_every_container(film_factory: FilmFactory, suffix: str) -> None:
    film = film_factory(f"film.{suffix}", frames=47, height=96, width=160)
    frames = read(film)
    assert numbers(frames) == list(range(47))
    first = frames[0].pts
    step = 1 / (24 * probe_film(film).timing.time_base)
    assert all(abs(frame.pts - first - n * step) <= 1 for n, frame in enumerate(frames))


@pytest.mark.parametrize(
    ("codec", "suffix"), [("mpeg2video", "mpg"), ("libvpx-vp9", "webm"), ("ffv1", "mkv")]
)
def test_other_codecs(synthetic_film: Path, tmp_path: Path, codec: str, suffix: str) -> None:
    film = convert(synthetic_film, tmp_path / f"film.{suffix}", "-an", "-c:v", codec,
                   "-q:v", "2", "-b:v", "2M", "-deadline", "realtime")  # fmt: skip
    assert numbers(read(film)) == list(range(48))


def test_a_bare_stream_without_times(synthetic_film: Path, tmp_path: Path) -> None:
    film = convert(synthetic_film, tmp_path / "film.h264", "-c", "copy", "-an")
    frames = read(film)
    assert numbers(frames) == list(range(48))
    assert all(one.pts < later.pts for one, later in pairwise(frames))


def test_many_b_frames(film_factory: FilmFactory) -> None:
    slow = ("-preset", "medium", "-bf", "8", "-b_strategy", "0", "-x264-params", "b-pyramid=2")
    film = film_factory(frames=53, height=96, width=160, extra_ffmpeg_args=slow)
    assert numbers(read(film)) == list(range(53))


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_variable_rate_keeps_every_frames_own_time(film_factory: FilmFactory, suffix: str) -> None:
    film = film_factory(f"f.{suffix}", frames=47, variable_rate=True, height=96, width=160)
    frames = read(film)
    assert numbers(frames) == list(range(47))
    expected = frame_times(47, variable_rate=True)
    unit = probe_film(film).timing.time_base
    assert all(
        abs(time - true) <= unit / 2
        for time, true in zip(seconds(film, frames), expected, strict=True)
    )


def test_a_picture_that_starts_late(film_factory: FilmFactory) -> None:
    film = film_factory(start_offset=0.5, height=96, width=160)
    frames = read(film)
    assert numbers(frames) == list(range(48))
    assert seconds(film, frames)[0] == Fraction(1, 2)


def test_an_edit_list_hides_frames(film_factory: FilmFactory, tmp_path: Path) -> None:
    film = film_factory(frames=47, height=96, width=160)
    edited = tmp_path / "edited.mp4"
    ffmpeg("-ss", "0.7", "-i", film, "-c", "copy", edited)
    shown = numbers(read(edited))
    assert 0 < shown[0] <= 17  # the key frame before is in the file, but not shown
    assert shown == list(range(shown[0], 47)) == [number for number, _ in read_film(edited)]


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_pictures_stand_upright(tmp_path: Path, rotation: int) -> None:
    film = film_of(tmp_path / "film.mp4", [QUARTERS] * 2, *EXACT)
    turned = tmp_path / "turned.mp4"
    ffmpeg("-display_rotation", rotation, "-i", film, "-c", "copy", turned)
    upright = np.rot90(QUARTERS, rotation // 90)
    height, width = upright.shape[:2]
    geometry = decide_geometry(
        (height, width), bars=(4, 0, 8, 0), raster=(height - 4, width - 8), fit="stretch"
    )
    (frame, _) = read(turned, geometry, display_size=(height, width))
    assert frame.display is not None
    assert distance(frame.display, upright) <= 2
    assert distance(frame.image, upright[4:, 8:]) <= 2


def distance(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> int:
    """Largest difference of two pictures, in grey levels."""
    assert one.shape == other.shape
    return int(np.abs(one.astype(int) - other).max())


def test_a_picture_in_a_record_with_margins(tmp_path: Path) -> None:
    film = film_of(tmp_path / "film.mkv", [QUARTERS])
    (frame,) = read(film, decide_geometry((48, 80), raster=(48, 100)))
    assert distance(frame.image[:, 10:90], QUARTERS) == 0
    assert not frame.image[:, :10].any() and not frame.image[:, 90:].any()


@pytest.mark.parametrize("size", [(99, 131), (2, 3), (97, 16)])
def test_odd_sizes_to_the_pixel(tmp_path: Path, size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3, *size, 3), np.uint8)
    film = film_of(tmp_path / "film.mkv", list(noise))
    assert all(
        distance(frame.image, one) == 0 for frame, one in zip(read(film), noise, strict=True)
    )


def test_ten_bits(tmp_path: Path) -> None:
    encode = (*EXACT[:4], "-pix_fmt", "yuv444p10le", *EXACT[6:])
    film = film_of(tmp_path / "film.mp4", [QUARTERS], *encode)
    assert probe_film(film).picture.pixel_format == "yuv444p10le"
    assert distance(read(film)[0].image, QUARTERS) <= 1


@pytest.mark.parametrize("order", ["tff", "bff"])
def test_interlaced_films_lose_no_frame(synthetic_film: Path, tmp_path: Path, order: str) -> None:
    film = convert(synthetic_film, tmp_path / "film.ts", "-an", "-vf", f"setfield={order}", "-c:v",
                   "mpeg2video", "-flags", "+ilme+ildct", "-q:v", "2")  # fmt: skip
    assert probe_film(film).interlaced
    assert numbers(read(film)) == list(range(48))


def test_fields_are_not_left_woven(tmp_path: Path) -> None:
    # A bar that moves 16 columns between the fields of a frame.
    pictures = []
    for number in range(6):
        picture = np.zeros((64, 160, 3), np.uint8)
        picture[0::2, 32 * number : 32 * number + 12] = 200
        picture[1::2, 32 * number + 16 : 32 * number + 28] = 200
        pictures.append(picture)
    film = film_of(tmp_path / "film.mkv", pictures, "-vf",
                   "scale=interl=1,format=yuv422p,setfield=tff", "-c:v", "ffv1",
                   "-field_order", "tt")  # fmt: skip
    assert probe_film(film).interlaced
    for frame in read(film)[1:-1]:
        image = frame.image[8:-8].astype(int)
        combing = np.abs(image[1:-1] * 2 - image[:-2] - image[2:]).mean()
        assert combing < 10  # 47 as stored


LONG = {"frames": 240, "height": 96, "width": 160, "extra_ffmpeg_args": ("-g", "12")}


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "ts", "avi"])
@pytest.mark.parametrize(
    ("start", "duration", "expected"),
    [
        (None, Fraction(1), range(24)),
        (Fraction(0), Fraction(1, 24), range(1)),
        (Fraction(5), Fraction(1, 2), range(120, 132)),
        (Fraction(113, 24), Fraction(7, 24), range(113, 120)),
        (Fraction(9), None, range(216, 240)),
        (Fraction(99, 10), Fraction(100), range(238, 240)),
        (Fraction(11), None, range(0)),
    ],
)
def test_excerpts_to_the_frame(
    film_factory: FilmFactory,
    suffix: str,
    start: Fraction | None,
    duration: Fraction | None,
    expected: range,
) -> None:
    film = film_factory(f"film.{suffix}", **LONG)
    frames = read(film, start=start, duration=duration)
    assert numbers(frames) == list(expected)


def test_excerpts_at_a_rate_that_is_no_whole_number(film_factory: FilmFactory) -> None:
    film = film_factory(rate=Fraction(24000, 1001), **LONG)
    frames = read(film, start=Fraction(6), duration=Fraction(1))
    # Frame n is shown at n * 1001 / 24000 seconds.
    assert numbers(frames) == list(range(144, 168))


@pytest.mark.parametrize(
    ("suffix", "arguments"),
    [("mp4", ("-movflags", "+faststart")), ("mkv", ()), ("ts", ()), ("avi", ())],
)
def test_of_a_film_cut_short_what_is_there(
    film_factory: FilmFactory, tmp_path: Path, suffix: str, arguments: tuple[str, ...]
) -> None:
    whole = film_factory(f"film.{suffix}", frames=96, extra_ffmpeg_args=arguments)
    film = cut(whole, tmp_path / whole.name, 0.6)
    with FrameReader(probe_film(film)) as reader:
        shown = [read_number(frame.image) for frame in reader]
        assert "cut off" in str(reader.problem)
    # Of the last few, some lean on frames that are gone.
    assert shown[:-3] == list(range(len(shown) - 3)) and 25 < len(shown) < 90
    assert all(one < later for one, later in pairwise(shown[-4:]))


def test_damage_in_the_middle_costs_some_frames_and_is_said(
    film_factory: FilmFactory, tmp_path: Path
) -> None:
    film = tmp_path / "film.mkv"
    whole = film_factory("film.mkv", frames=96, audio=False, extra_ffmpeg_args=("-g", "8"))
    data = bytearray(whole.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 20_000] = bytes(20_000)
    film.write_bytes(data)
    with FrameReader(probe_film(film)) as reader:
        frames = list(reader)
        assert str(reader.problem) == "1 frame is damaged in parts"
    assert 40 < len(frames) < 96
    assert read_number(frames[0].image) == 0 and read_number(frames[-1].image) == 95
    assert all(one.pts < later.pts for one, later in pairwise(frames))


@pytest.mark.parametrize(("suffix", "codec"), [("mkv", "srt"), ("mp4", "mov_text")])
def test_subtitles_that_outlast_the_picture_are_no_cut(
    synthetic_film: Path, tmp_path: Path, suffix: str, codec: str
) -> None:
    subtitles = tmp_path / "film.srt"
    subtitles.write_text("1\n00:00:01,000 --> 00:00:09,000\nTime to die.\n")
    film = tmp_path / f"film.{suffix}"
    ffmpeg("-i", synthetic_film, "-i", subtitles, "-c", "copy", "-c:s", codec, film)
    assert len(read(film)) == 48  # and `read` found no problem


def test_a_broadcast_that_changes_its_size(film_factory: FilmFactory, tmp_path: Path) -> None:
    parts = [
        film_factory("film.ts", frames=24, height=height, width=height * 2).read_bytes()
        for height in (180, 96)
    ]
    film = tmp_path / "film.ts"
    film.write_bytes(b"".join(parts))
    frames = read(film)
    assert numbers(frames) == [*range(24), *range(24)]
    assert {frame.image.shape for frame in frames} == {(180, 360, 3)}
    assert all(one.pts < later.pts for one, later in pairwise(frames))


def test_images_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    pictures = {number: random.integers(0, 256, (24, 40, 3), np.uint8) for number in (9, 10, 101)}
    for number, picture in pictures.items():
        Image.fromarray(picture).save(tmp_path / f"scene2_{number}.png")
    frames = read(tmp_path)
    assert [frame.pts for frame in frames] == [0, 1, 2]
    for frame, picture in zip(frames, pictures.values(), strict=True):
        assert distance(frame.image, picture) == 0
    assert [frame.pts for frame in read(tmp_path, start=Fraction(1, 24))] == [1, 2]


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_images_of_unknown_white_are_refused(kind: type, tmp_path: Path) -> None:
    Image.fromarray(np.linspace(0, 60000, 384).reshape(16, 24).astype(kind)).save(
        tmp_path / "1.tif"
    )
    with pytest.raises(InputError, match=r"1\.tif: has values of neither 8 nor 16 bits"):
        probe_film(tmp_path)


def test_leaving_early_and_closing_twice(film_factory: FilmFactory) -> None:
    reader = FrameReader(probe_film(film_factory(**LONG)))
    assert read_number(next(iter(reader)).image) == 0
    reader.close()
    reader.close()
