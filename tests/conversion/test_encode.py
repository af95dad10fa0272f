"""Several decoders at once give, to the byte, the frames of a single pass, or do not pretend to."""

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from bladerunner_ae.conversion.encode import FrameEncoder, RecordPicture, compress
from bladerunner_ae.conversion.options import ConversionOptions
from bladerunner_ae.film.reading.packet_table import PacketTable, read_packet_table
from bladerunner_ae.film.reading.parallel import default_threads
from bladerunner_ae.film.reading.probe import probe_film
from bladerunner_ae.film.reading.reading_mode import NotDivisibleError, Obstacle, ReadingMode
from bladerunner_ae.geometry import decide_geometry
from tests.helpers.awkward_films import cut, ffmpeg
from tests.helpers.synthetic_film import read_film, read_number

FilmFactory = Callable[..., Path]
Frames = list[tuple[int, int, RecordPicture]]
OPTIONS = ConversionOptions(height=72, width=128, bars=(0, 0, 0, 0))
SMALL = {"frames": 120, "height": 96, "width": 160, "flash_every": None}
CLOSED = ("-g", "30", "-bf", "3")

SINGLE = ReadingMode(Obstacle.UNTIMED_FRAMES)
FILMS: dict[str, dict[str, Any]] = {
    "h264 in mp4": {"extra_ffmpeg_args": CLOSED},
    "open groups": {"extra_ffmpeg_args": (*CLOSED, "-x264-params", "open-gop=1:bframes=3")},
    "24000/1001 in mkv": {"name": "film.mkv", "extra_ffmpeg_args": CLOSED},
    "variable rate": {"variable_rate": True, "extra_ffmpeg_args": CLOSED},
    "late start": {"start_offset": 0.5, "name": "film.mkv", "extra_ffmpeg_args": CLOSED},
    "transport stream": {"name": "film.ts", "extra_ffmpeg_args": CLOSED},
    "mpeg2 open groups": {"name": "film.mkv", "codec": "mpeg2video",
                          "extra_ffmpeg_args": ("-g", "15", "-bf", "2", "-q:v", "3")},
    "hevc open groups": {"codec": "libx265", "extra_ffmpeg_args": (
        "-x265-params", "keyint=30:min-keyint=30:open-gop=1:bframes=3:log-level=none")},
    "vp9": {"name": "film.webm", "codec": "libvpx-vp9", "audio": False,
            "extra_ffmpeg_args": ("-g", "30", "-deadline", "realtime", "-cpu-used", "8")},
    "every frame a key": {"name": "film.mov", "codec": "prores"},
}  # fmt: skip


def encoder(film: Path, **arguments: Any) -> FrameEncoder:
    info = probe_film(film)
    return FrameEncoder(
        info, decide_geometry(info.picture.stored, raster=(72, 128)), OPTIONS, **arguments
    )


def frames_of(film: Path, **arguments: Any) -> tuple[Frames, str]:
    """All frames, and why they were read in a single pass, or ""."""
    reader = encoder(film, **arguments)
    return list(reader.frames()), str(reader.mode)


@pytest.mark.parametrize("kind", FILMS)
def test_the_same_as_a_single_pass(film_factory: FilmFactory, kind: str) -> None:
    film = film_factory(**(SMALL | FILMS[kind]))
    single, reason = frames_of(film, mode=SINGLE)
    assert reason == str(SINGLE) and [index for index, _, _ in single] == list(range(120))
    table = encoder(film).table
    assert table is not None and len(table.runs()) >= 4
    for threads in (1, 3):
        several, reason = frames_of(film, threads=threads)
        assert reason == ""
        assert several == single  # indices, times and the bytes of the pictures
        for (*_, one), (*_, other) in zip(several, single, strict=True):
            assert np.array_equal(one.thumbnail, other.thumbnail)


def test_an_edit_list_hides_the_same_frames(film_factory: FilmFactory, tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    ffmpeg("-ss", "1.3", "-i", film_factory(**SMALL, extra_ffmpeg_args=CLOSED), "-c", "copy", film)
    single, _ = frames_of(film, mode=SINGLE)
    several, reason = frames_of(film)
    assert (several, reason) == (single, "")
    assert len(single) == len(read_film(film)) < 100


def test_from_any_frame_on_to_any_other(film_factory: FilmFactory) -> None:
    film = film_factory(**SMALL, extra_ffmpeg_args=CLOSED)
    whole, _ = frames_of(film)
    for mode in (ReadingMode(), SINGLE):
        for first, end in ((0, 1), (29, 31), (30, 60), (45, None), (119, None), (7, 112)):
            part = list(encoder(film, mode=mode).frames(first, end))
            assert part == whole[first:end]


def test_a_key_frame_that_is_none_is_found_out(
    film_factory: FilmFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = film_factory(**SMALL, extra_ffmpeg_args=("-g", "60", "-bf", "0", "-refs", "3"))
    single, _ = frames_of(film, mode=SINGLE)

    def lie(*arguments: Any) -> PacketTable:
        table = read_packet_table(*arguments)
        key = table.key.copy()
        key[90] = True
        return dataclasses.replace(table, key=key)

    monkeypatch.setattr("bladerunner_ae.conversion.encode.read_packet_table", lie)
    several, reason = frames_of(film)
    assert several == single
    assert reason


def test_pictures_that_differ_at_a_border_are_found_out(
    film_factory: FilmFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each two decoders that see a frame, the second makes another picture of it."""
    film = film_factory(**SMALL, extra_ffmpeg_args=CLOSED)
    single, _ = frames_of(film, mode=SINGLE)
    seen: set[int] = set()
    make = FrameEncoder._maker

    def spoilt(self: FrameEncoder) -> Callable[[Any], RecordPicture]:
        made = make(self)

        def maker(frame: Any) -> RecordPicture:
            picture = made(frame)
            if frame.pts in seen:
                return dataclasses.replace(picture, encoded=b"other")
            seen.add(frame.pts)
            return picture

        return maker

    monkeypatch.setattr(FrameEncoder, "_maker", spoilt)
    several, reason = frames_of(film, threads=1)
    assert "gives other pictures" in reason
    assert several == single


@pytest.mark.parametrize(
    ("suffix", "arguments", "reason"),
    [
        ("avi", {"codec": "mpeg4", "name": "film.avi"}, "its container gives frames no times"),
        ("mp4", {"extra_ffmpeg_args": ("-flags", "+ildct+ilme", "-x264-params", "tff=1")},
         "deinterlacing needs"),
    ],
)  # fmt: skip
def test_what_is_read_in_a_single_pass(
    film_factory: FilmFactory, suffix: str, arguments: dict[str, Any], reason: str
) -> None:
    frames, found = frames_of(film_factory(**(SMALL | arguments)))
    assert reason in found
    assert len(frames) == 120


def test_a_film_with_one_key_frame_is_not_held_in_memory(
    film_factory: FilmFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bladerunner_ae.film.reading.packet_table._MOST_FRAMES", 100)
    film = film_factory(**SMALL, extra_ffmpeg_args=("-g", "600", "-sc_threshold", "0"))
    info = probe_film(film)
    with pytest.raises(NotDivisibleError, match=r"too far apart \(120 frames\)"):
        read_packet_table(info, None, None).runs()
    frames, reason = frames_of(film)
    assert len(frames) == 120 and "too far apart" in reason


def test_a_damaged_film_is_read_in_a_single_pass(film_factory: FilmFactory, tmp_path: Path) -> None:
    whole = film_factory(**SMALL, name="film.mkv", audio=False, extra_ffmpeg_args=CLOSED)
    film = cut(whole, tmp_path / whole.name, 0.7)
    reader = encoder(film)
    frames = list(reader.frames())
    assert str(reader.mode) == "it is damaged" and "cut off" in str(reader.problem)
    assert 60 < len(frames) < 110


def test_damage_inside_pictures_is_noticed_on_the_way(
    film_factory: FilmFactory, tmp_path: Path
) -> None:
    whole = film_factory(**SMALL, name="film.mkv", audio=False, extra_ffmpeg_args=CLOSED)
    data = bytearray(whole.read_bytes())
    table = encoder(whole).table
    assert table is not None
    middle = len(data) * 6 // 10
    data[middle : middle + 300] = bytes(300)
    film = tmp_path / whole.name
    film.write_bytes(data)
    reader, single = encoder(film), encoder(film, mode=ReadingMode(Obstacle.DAMAGED))
    frames = list(reader.frames())
    assert frames == list(single.frames())
    assert str(reader.mode) == "it is damaged"
    assert reader.problem == single.problem is not None


def test_damage_that_the_decoder_hides_is_noticed(
    film_factory: FilmFactory, tmp_path: Path
) -> None:
    """In HEVC, whose decoder only logs what it finds; some damage it does not find either."""
    whole = film_factory(**SMALL, **FILMS["hevc open groups"] | {"name": "film.mkv"})
    noise = np.random.default_rng(0)
    hidden = 0
    for place in range(20, 90, 10):
        data = bytearray(whole.read_bytes())
        middle = len(data) * place // 100
        data[middle : middle + 40] = noise.bytes(40)
        film = tmp_path / whole.name
        film.write_bytes(data)
        reader, single = encoder(film), encoder(film, mode=SINGLE)
        assert list(reader.frames()) == list(single.frames())
        hidden += reader.problem is not None and single.problem is None
    assert hidden


def test_numbers_and_quality(film_factory: FilmFactory) -> None:
    film = film_factory(frames=60, extra_ffmpeg_args=("-g", "12"))
    info = probe_film(film)
    options = dataclasses.replace(OPTIONS, image_format="png", height=180, width=320)
    reader = FrameEncoder(info, decide_geometry(info.picture.stored, raster=(180, 320)), options)
    errors = []
    for index, _, picture in reader.frames():
        image = np.asarray(Image.open(io.BytesIO(picture.encoded)))
        assert read_number(image) == index
        jpeg = np.asarray(Image.open(io.BytesIO(compress(image, OPTIONS))))
        errors.append(np.mean((image.astype(float) - jpeg) ** 2))
    assert np.median(10 * np.log10(255**2 / np.array(errors))) > 40


def test_threads_follow_the_size_of_the_pictures(
    film_factory: FilmFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    info = probe_film(film_factory(**SMALL))
    sizes = {(720, 1280): 4, (1080, 1920): 3, (2160, 3840): 2, (4320, 7680): 2}
    for size, threads in sizes.items():
        picture = dataclasses.replace(info.picture, stored=size)
        assert default_threads(dataclasses.replace(info, picture=picture)) == threads
