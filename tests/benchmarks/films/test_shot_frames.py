"""Frames: colours, light, dissolves and fades, ships, and clips read from any frame on."""

import dataclasses
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from benchmarks.films.camera_moves import LIGHTS, Camera, Flight, Window
from benchmarks.films.encoding import decoded_sha256, write_film
from benchmarks.films.shot_frames import (
    Clip,
    Fleet,
    Pixels,
    Studio,
    crop_planes,
    film_frames,
    grade,
    load_photograph,
    mix,
    rgb,
    shade_ends,
    yuv420,
)
from benchmarks.films.shot_plan import SetUp, Shot, Take
from bladerunner_ae.errors import InputError

WHOLE = Camera("fixed", (640, 360), Window(0, 0, 640), Window(0, 0, 640))
SHOT = Shot(0, 10, 0, 0, 0, WHOLE, LIGHTS[0])
CLIP_FRAMES = 60


def _flat(*colour: int) -> Pixels:
    return np.broadcast_to(np.array(colour, np.uint8), (144, 256, 3)).copy()


def _luma(frame: int) -> int:
    return 20 + 3 * frame


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a clip of 1280x720 whose luma says which frame it is; a keyframe every 24."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24, options={"g": "24", "crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 24)
        for number in range(CLIP_FRAMES):
            planes = np.full((1080, 1280), 128, np.uint8)
            planes[:720] = _luma(number)
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(("first", "frames"), [(0, 60), (30, 5), (23, 2), (59, 1)])
def test_a_clip_is_read_from_any_frame_on(clip: Path, first: int, frames: int) -> None:
    with Clip(clip) as reader:
        for _ in range(2):  # back again
            found = [y.getpixel((640, 360)) for y, _, _ in reader.read(first, frames)]
            assert found == pytest.approx([_luma(first + k) for k in range(frames)], abs=1)


@pytest.mark.parametrize(
    "colour", [(0, 0, 0), (255, 255, 255), (128, 128, 128), (200, 30, 40), (20, 90, 220)]
)
def test_colours_survive_the_way_to_yuv_and_back(colour: tuple[int, int, int]) -> None:
    planes = yuv420(_flat(*colour))
    assert planes.shape == (216, 256)
    y, cb, cr = planes[:144], planes[144:180].reshape(72, 128), planes[180:].reshape(72, 128)
    images = [Image.fromarray(plane) for plane in (y, cb, cr)]
    back = crop_planes((images[0], images[1], images[2]), (0, 0, 256, 144))
    assert np.abs(back.astype(int) - colour).max() <= 3


def test_bt709_of_limited_range() -> None:
    def pixel(*values: int) -> list[int]:
        return rgb(*(np.full((1, 1), value, np.uint8) for value in values))[0, 0].tolist()

    assert pixel(16, 128, 128) == [0, 0, 0]
    assert pixel(235, 128, 128) == [255, 255, 255]
    assert pixel(63, 102, 240) == pytest.approx([255, 0, 0], abs=2)


def test_light_grades_a_picture() -> None:
    picture = _flat(100, 50, 200)
    assert (grade(picture, LIGHTS[0].curves(), 1.0) == picture).all()
    grey = grade(picture, LIGHTS[0].curves(), 0.0)[0, 0]
    assert len(set(grey.tolist())) == 1 and grey[0] == (54 * 100 + 183 * 50 + 19 * 200) >> 8
    night = {light.name: light for light in LIGHTS}["night"]
    assert grade(picture, night.curves(), night.saturation).mean() < picture.mean() * 0.7


def test_a_dissolve_goes_from_one_picture_to_the_other() -> None:
    one, other = _flat(0, 0, 0), _flat(130, 130, 130)
    assert [int(mix(one, other, part, 13)[0, 0, 0]) for part in (1, 6, 12)] == [10, 60, 120]


def test_fades_darken_the_ends_only() -> None:
    shot = dataclasses.replace(SHOT, frames=30, fade_in=4, fade_out=4, tail=0)
    found = [int(shade_ends(_flat(250, 250, 250), shot, k)[0, 0, 0]) for k in range(30)]
    assert found[:4] == sorted(found[:4]) and found[0] < 60 and found[3] < 250
    assert set(found[4:26]) == {250}
    assert found[26:] == sorted(found[26:], reverse=True) and found[29] < 60
    cut = dataclasses.replace(SHOT, frames=20, tail=12)
    assert [int(shade_ends(_flat(250, 250, 250), cut, k)[0, 0, 0]) for k in (0, 19, 31)] == [
        250
    ] * 3


def test_a_ship_glides_over_the_picture(tmp_path: Path) -> None:
    ship = Image.new("RGBA", (40, 80), (255, 0, 0, 255))
    ship.save(tmp_path / "ship.png")
    fleet = Fleet([tmp_path / "ship.png"])
    flight = Flight(0, (28.0, 72.0, 40.0), (228.0, 72.0, 40.0))  # to the right: 40 wide, 20 high
    centres = []
    for frame in range(0, 101, 10):
        shown = fleet.show(_flat(0, 0, 90), flight, frame, 101)
        red = shown[..., 0].astype(float)
        assert red.sum() / 255 == pytest.approx(40 * 20, rel=0.06)
        assert (shown[:40, :, 2] == 90).all()
        centres.append((red * (np.arange(256) + 0.5)).sum() / red.sum())
    assert centres == pytest.approx([28 + 20 * k for k in range(11)], abs=0.6)
    outside = fleet.show(_flat(0, 0, 90), Flight(0, (-90, 5, 30), (-80, 5, 30)), 0, 2)
    assert (outside == _flat(0, 0, 90)).all()


def _studio(folder: Path, reader: Clip) -> tuple[Studio, list[SetUp]]:
    Image.new("RGB", (640, 360), (200, 100, 50)).save(folder / "photo.png")
    set_ups = [
        SetUp("photo", "place", 640, 360),
        SetUp("clip#0", "film", 1280, 720, (Take(5, 50),)),
    ]
    return Studio(set_ups, {"photo": folder / "photo.png"}, reader, []), set_ups


def test_shots_become_a_film(clip: Path, tmp_path: Path) -> None:
    camera = Camera("fixed", (1280, 720), Window(0, 0, 1280), Window(0, 0, 1280))
    shots = [
        dataclasses.replace(SHOT, frames=20, tail=12),
        dataclasses.replace(
            SHOT, start=20, frames=30, set_up=1, camera=camera, first=7, dissolve=12
        ),
    ]
    with Clip(clip) as reader:
        studio, _ = _studio(tmp_path, reader)
        frames = [*film_frames(shots, studio)]
        again = [*film_frames(shots, studio)]
    assert len(frames) == 50
    assert all((one == other).all() for one, other in zip(frames, again, strict=True))
    assert frames[0][5, 5].tolist() == [200, 100, 50] == frames[19][5, 5].tolist()
    grey = [(298 * (_luma(7 + k) - 16) + 128) >> 8 for k in range(30)]
    assert frames[20][5, 5, 0] == pytest.approx((200 * 12 + grey[0]) / 13, abs=3)
    assert [int(frame[5, 5, 0]) for frame in frames[32:]] == pytest.approx(grey[12:], abs=3)


def test_the_file_has_the_frames(tmp_path: Path) -> None:
    told = []
    noise = np.random.RandomState(0).randint(0, 12, (144, 256, 3)).astype(np.uint8)
    frames = [_flat(4 * k, 100, 230 - 4 * k) + noise for k in range(50)]
    sums = [
        write_film(frames, tmp_path / name, lambda: told.append(1)) for name in ("a.mp4", "b.mp4")
    ]
    assert sums[0] == sums[1] and len(told) == 100
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    decoded, count = decoded_sha256(tmp_path / "a.mp4")
    assert count == 50 and decoded != sums[0]
    with av.open(str(tmp_path / "a.mp4")) as film:
        stream = film.streams.video[0]
        assert (stream.average_rate, stream.width, stream.height) == (24, 256, 144)
        picture = next(film.decode(stream)).to_ndarray(format="rgb24")
    means = picture.mean((0, 1)) - frames[0].mean((0, 1))
    assert np.abs(means).max() < 2.5


def test_a_damaged_photograph_is_named(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(b"none")
    with pytest.raises(InputError, match=r"photo\.jpg"):
        load_photograph(tmp_path / "photo.jpg", (64, 36))
