"""Windows stay inside the picture, and moves are what they are called."""

import numpy as np
import pytest

from benchmarks.films.camera_moves import (
    LIGHTS,
    Camera,
    Flight,
    Light,
    Random,
    Window,
    choose_camera,
    choose_flight,
    choose_light,
    vary_light,
    widest,
)

SIZES = [(720, 360), (1280, 720), (451, 300), (256, 144), (640, 960), (960, 256)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("is_clip", [False, True])
def test_the_window_never_leaves_the_picture(size: tuple[int, int], is_clip: bool) -> None:
    random = Random(3)
    for _ in range(60):
        frames = int(random.randint(1, 200))
        camera = choose_camera(random, size, is_clip, frames)
        for frame in range(frames):
            left, top, right, bottom = camera.box(frame, frames)
            assert left >= 0 and top >= 0 and right <= size[0] and bottom <= size[1]
            assert 255.9 < right - left <= widest(size)
            assert (right - left) / (bottom - top) == pytest.approx(16 / 9, abs=0.001)


def test_moves_move() -> None:
    random, seen = Random(5), set()
    for _ in range(200):
        camera = choose_camera(random, (720, 360), False, 72)
        seen.add(camera.move)
        begin, end = camera.begin, camera.end
        if camera.move == "pan":
            assert begin.top == end.top and abs(begin.left - end.left) > 10
        elif camera.move == "push":
            assert end.width < begin.width
        elif camera.move == "pull":
            assert end.width > begin.width
        elif camera.move == "hand":
            boxes = {camera.box(frame, 72) for frame in range(72)}
            assert begin == end and len(boxes) > 60
    assert seen == {"pan", "tilt", "push", "pull", "hand"}


def test_a_fixed_camera_does_not_move() -> None:
    window = Window(10.0, 20.0, 320.0)
    camera = Camera("fixed", (720, 360), window, window)
    assert {camera.box(frame, 9) for frame in range(9)} == {(10.0, 20.0, 330.0, 200.0)}


def test_a_window_outside_is_moved_in() -> None:
    window = Window(700.0, -5.0, 320.0)
    assert Camera("pan", (720, 360), window, window).box(0, 1) == (400.0, 0.0, 720.0, 180.0)


def test_curves_of_a_light() -> None:
    assert (LIGHTS[0].curves() == np.arange(256)).all()
    red, green, blue = Light("x", 0.5, 1.0, 1.0, 2.0, 1.0, 51.0).curves()
    assert (red == green).all()
    assert [red[0], red[255], blue[255]] == [51, 153, 255]


def test_another_light_than_before() -> None:
    random = Random(0)
    assert all(choose_light(random, "day").name != "day" for _ in range(50))
    assert {choose_light(random, "").name for _ in range(200)} == {each.name for each in LIGHTS}
    varied = vary_light(random, LIGHTS[0])
    assert varied != LIGHTS[0] and abs(varied.exposure - 1) <= 0.05


def test_a_flight_crosses_the_frame() -> None:
    random = Random(1)
    for _ in range(50):
        flight = choose_flight(random, 4)
        assert 0 <= flight.ship < 4
        ends = sorted((flight.begin[0], flight.end[0]))
        assert ends[0] <= 0 and ends[1] >= 256


@pytest.mark.parametrize(
    ("end", "angle"), [((0.0, -9.0), 0.0), ((9.0, 0.0), -90.0), ((-9.0, 0.0), 90.0)]
)
def test_a_ship_flies_ahead(end: tuple[float, float], angle: float) -> None:
    flight = Flight(0, (0.0, 0.0, 40.0), (*end, 20.0))
    assert flight.angle == angle
    assert flight.at(1, 3) == (end[0] / 2, end[1] / 2, 30.0)
