"""Frames that a decoder of several threads still holds are not lost with a damaged packet."""

from collections.abc import Callable
from pathlib import Path

import av
import pytest

from bladerunner_ae.film.reading.frame_reader import FrameReader
from bladerunner_ae.film.reading.probe import probe_film
from tests.helpers.synthetic_film import read_number

FilmFactory = Callable[..., Path]
FRAMES = 36


def read(film: Path) -> tuple[list[int], str]:
    with FrameReader(probe_film(film)) as reader:
        return [read_number(frame.image) for frame in reader], str(reader.problem or "")


@pytest.mark.parametrize(
    ("last", "problem"),
    [
        ((), ""),
        ((1,), "1 frame is damaged and left out"),
        ((2,), "1 frame is damaged and left out"),
        ((1, 3), "2 frames are damaged and left out"),
        ((5, 20), "2 frames are damaged and left out"),
    ],
)
def test_only_damaged_frames_are_missing(
    film_factory: FilmFactory, tmp_path: Path, last: tuple[int, ...], problem: str
) -> None:
    # Every frame is whole by itself, so that the others do not suffer with it.
    whole = film_factory(frames=FRAMES, audio=False, extra_ffmpeg_args=("-g", "1"))
    with av.open(str(whole)) as container:
        places = [(one.pos, one.size) for one in container.demux(video=0) if one.size]
    data = bytearray(whole.read_bytes())
    for number in last:
        position, size = places[-number]
        assert position is not None
        data[position + 4 : position + size] = bytes(size - 4)
    film = tmp_path / "film.mp4"
    film.write_bytes(data)
    numbers, said = read(film)
    missing = {FRAMES - number for number in last}
    assert numbers == [number for number in range(FRAMES) if number not in missing]
    assert said == problem


def test_a_film_that_is_whole_is_not_read_twice(
    film_factory: FilmFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = film_factory(frames=FRAMES, audio=False)
    monkeypatch.setattr("bladerunner_ae.film.reading.tail.open_film", None)
    assert read(film) == (list(range(FRAMES)), "")
