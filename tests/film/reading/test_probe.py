"""Properties of a film; every other file is refused with the reason."""

import os
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bladerunner_ae.errors import InputError
from bladerunner_ae.film.reading.probe import probe_film
from tests.helpers.awkward_films import BAD_FILMS, bad_film, convert, cut, ffmpeg, film_of

FilmFactory = Callable[..., Path]


def test_the_facts_of_a_plain_film(synthetic_film: Path) -> None:
    info = probe_film(synthetic_film)
    assert (
        info.kind,
        info.picture.stored,
        info.picture.direction.rotation,
        info.picture.sample_aspect,
    ) == ("film", (180, 320), 0, 1)
    assert (info.timing.frame_rate, info.timing.frames_estimate, info.timing.duration) == (
        24,
        48,
        2,
    )
    assert (info.timing.start_pts, info.timing.film_start) == (0, 0)
    assert (info.picture.tags.matrix, info.picture.tags.full_range) == ("bt709", False)
    assert (info.picture.codec, info.picture.pixel_format, info.interlaced) == (
        "h264",
        "yuv420p",
        False,
    )
    assert [stream["type"] for stream in info.streams.described] == ["video", "audio"]
    assert info.streams.described[1]["codec"] == "aac"
    assert info.notes == ()


@pytest.mark.parametrize(
    "rate",
    [Fraction(25), Fraction(24000, 1001), Fraction(30000, 1001)],
)
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_rates_are_exact(film_factory: FilmFactory, rate: Fraction, suffix: str) -> None:
    info = probe_film(film_factory(f"film.{suffix}", rate=rate, frames=30))
    assert info.timing.frame_rate == rate
    assert info.timing.frames_estimate is not None and abs(info.timing.frames_estimate - 30) <= 1


@pytest.mark.parametrize("rate", [Fraction(120000, 1001), 1000, 1200, 2000])
def test_fast_rates_are_exact(rate: Fraction, tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    ffmpeg("-f", "lavfi", "-i", f"testsrc2=s=64x48:r={rate}", "-frames:v", 50, film)
    info = probe_film(film)
    assert (info.timing.rate_candidates, info.timing.frames_estimate) == ((rate,), 50)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotation_and_the_upright_size(film_factory: FilmFactory, rotation: int) -> None:
    info = probe_film(film_factory(rotation=rotation))
    # ffmpeg's number is counterclockwise, ours clockwise.
    assert info.picture.direction.rotation == -rotation % 360
    assert info.picture.stored == ((180, 320) if rotation == 180 else (320, 180))
    assert info.picture.coded == (180, 320)


def test_a_slant_is_noted_and_taken_for_the_nearest_right_angle(
    synthetic_film: Path, tmp_path: Path
) -> None:
    film = tmp_path / "slant.mp4"
    ffmpeg("-display_rotation", "-30", "-i", synthetic_film, "-c", "copy", film)
    info = probe_film(film)
    assert (
        info.picture.direction.rotation == 0
        and info.picture.stored == probe_film(synthetic_film).picture.stored
    )
    assert list(map(str, info.notes)) == [
        "the film asks to be shown at a slant; its picture is turned by 0 degrees only"
    ]


@pytest.mark.parametrize(("layout", "notes"), [("bgr0", 0), ("bgra", 1)])
def test_films_that_can_be_transparent(
    layout: str, notes: int, synthetic_film: Path, tmp_path: Path
) -> None:
    film = convert(synthetic_film, tmp_path / "film.mkv", "-an", "-c:v", "ffv1", "-pix_fmt", layout)
    assert len([n for n in probe_film(film).notes if "can be transparent" in str(n)]) == notes


def test_sample_aspect_turns_with_the_picture(film_factory: FilmFactory) -> None:
    aspect = Fraction(64, 45)
    assert probe_film(film_factory(sample_aspect=aspect)).picture.sample_aspect == aspect
    turned = probe_film(film_factory(sample_aspect=aspect, rotation=90))
    assert turned.picture.sample_aspect == 1 / aspect


def test_where_the_picture_begins(film_factory: FilmFactory) -> None:
    info = probe_film(film_factory(start_offset=0.5))
    assert info.timing.start_pts * info.timing.time_base == Fraction(1, 2)
    assert info.timing.film_start == 0  # the sound begins there


@pytest.mark.parametrize(
    ("size", "tag", "matrix"),
    [
        ((720, 1280), None, "bt709"),
        ((536, 1280), None, "bt709"),  # 2.39:1 in high definition
        ((576, 720), None, "bt601"),
        ((480, 640), None, "bt601"),
        ((1920, 1080), None, "bt709"),  # upright films
        ((1080, 608), None, "bt709"),
        ((640, 480), None, "bt601"),
        ((720, 576), None, "bt601"),
        ((96, 128), "bt709", "bt709"),
        ((720, 1280), "smpte170m", "bt601"),
        ((96, 128), "bt470bg", "bt601"),
        ((96, 128), "bt2020nc", "bt2020"),
    ],
)
def test_matrices_tagged_and_by_convention(
    tmp_path: Path, size: tuple[int, int], tag: str | None, matrix: str
) -> None:
    picture = np.full((*size, 3), 128, np.uint8)
    tags = [] if tag is None else ["-colorspace", tag]
    encode = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"]
    film = film_of(tmp_path / "film.mp4", [picture] * 2, *encode, *tags)
    assert probe_film(film).picture.tags.matrix == matrix


def test_full_range_and_rgb(tmp_path: Path) -> None:
    picture = np.full((32, 32, 3), 128, np.uint8)
    jpeg = film_of(tmp_path / "jpeg.avi", [picture] * 2, "-c:v", "mjpeg", "-pix_fmt", "yuvj420p")
    assert probe_film(jpeg).picture.tags.full_range
    rgb = probe_film(film_of(tmp_path / "rgb.mkv", [picture] * 2))
    assert (rgb.picture.tags.matrix, rgb.picture.tags.full_range) == ("rgb", True)


def test_high_dynamic_range_is_noted(tmp_path: Path) -> None:
    picture = np.full((32, 32, 3), 128, np.uint8)
    tags = "setparams=color_trc=smpte2084:colorspace=bt2020nc:color_primaries=bt2020"
    encode = ["-vf", tags, "-c:v", "libx264", "-pix_fmt", "yuv420p10le"]
    info = probe_film(film_of(tmp_path / "film.mp4", [picture], *encode))
    assert (info.picture.tags.matrix, info.picture.tags.transfer, info.picture.pixel_format) == (
        "bt2020",
        "pq",
        "yuv420p10le",
    )
    assert "tone-mapped to SDR" in str(info.notes[0])


@pytest.mark.parametrize("kind", BAD_FILMS)
def test_what_is_no_film(kind: str, tmp_path: Path, synthetic_film: Path) -> None:
    path = bad_film(kind, tmp_path, synthetic_film)
    with pytest.raises(InputError) as caught:
        probe_film(path)
    message = str(caught.value)
    assert BAD_FILMS[kind] in message and message.startswith(str(path)) and "\n" not in message


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "film.mp4")
    with pytest.raises(InputError, match="is not a file"):
        probe_film(tmp_path / "film.mp4")


@pytest.mark.parametrize("name", ["Film: A Story.mp4", "file:x.mp4", "c:d.mp4"])
def test_a_colon_in_a_name_is_no_protocol(
    name: str, synthetic_film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(synthetic_film, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert probe_film(name).picture.codec == probe_film(synthetic_film).picture.codec


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("film.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n"),
        ("film.ffconcat", "ffconcat version 1.0\nfile {}\n"),
    ],
)
def test_a_list_of_films_is_no_film(
    name: str, text: str, synthetic_film: Path, tmp_path: Path
) -> None:
    convert(synthetic_film, tmp_path / "part.ts", "-c", "copy")
    (tmp_path / name).write_text(text.format("part.ts"))
    with pytest.raises(InputError, match="is a list of films, not a film"):
        probe_film(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("list.m3u8", "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nwaits\n"),
        ("list.txt", "ffconcat version 1.0\nfile waits\n"),
        ("list.sdp", "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
         "m=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n"),
    ],
)  # fmt: skip
def test_what_a_list_names_is_not_opened(name: str, text: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "waits")  # whoever opens it waits for ever
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match="is a list of films, not a film"):
        probe_film(tmp_path / name)
    with pytest.raises(InputError, match="is not a file"):
        probe_film(tmp_path / "waits")


def test_a_huge_picture_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    film = film_of(tmp_path / "film.mov", [np.zeros((32, 32, 3), np.uint8)], "-c:v", "rawvideo")
    header = b"\0\x20\0\x20\0\x48"
    data = film.read_bytes()
    assert data.count(header) == 1
    film.write_bytes(data.replace(header, b"\x3e\x80\x3e\x80\0\x48"))  # 16000x16000
    with pytest.raises(InputError, match="more than 134217728 pixels, which cannot be read"):
        probe_film(film)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 40), (40, 1)])
def test_a_picture_without_a_second_row_or_column(height: int, width: int, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    pixels = np.zeros((height, width, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "images" / "1.png")
    film = film_of(tmp_path / "film.mkv", [pixels], "-c:v", "png")
    for one in (tmp_path / "images", film):
        with pytest.raises(InputError, match=f"{one.name}: has pictures of {height}x{width} .*;"):
            probe_film(one)


def test_a_film_without_one_whole_frame(synthetic_film: Path, tmp_path: Path) -> None:
    matroska = convert(synthetic_film, tmp_path / "film.mkv", "-c", "copy", "-an")
    head = cut(matroska, tmp_path / "cut.mkv", 700 / matroska.stat().st_size)
    with pytest.raises(InputError, match=r"(not one frame|is not a film)"):
        probe_film(head)


def test_a_folder_of_images(tmp_path: Path) -> None:
    for number in (2, 10, 1):
        Image.fromarray(np.zeros((24, 40, 3), np.uint8)).save(tmp_path / f"{number}.png")
    info = probe_film(tmp_path, Fraction(25))
    assert (info.kind, info.picture.stored, info.timing.frames_estimate) == ("images", (24, 40), 3)
    assert (info.timing.frame_rate, info.timing.time_base, info.timing.duration) == (
        25,
        Fraction(1, 25),
        Fraction(3, 25),
    )
    assert list(map(str, info.notes)) == ["7 numbers are missing among the images"]
