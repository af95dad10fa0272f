"""Cuts of synthetic films, to the frame."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from av.filter import Graph
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from bladerunner_ae.film.picture.shots import MARK_BITS, WARM_UP_FRAMES, ShotMeter, shot_starts
from bladerunner_ae.film.reading.frame_reader import FrameReader
from bladerunner_ae.film.reading.probe import probe_film
from bladerunner_ae.geometry import decide_geometry
from tests.helpers import synthetic_film
from tests.helpers.synthetic_film import film_pictures

Picture = NDArray[np.uint8]


def starts(pictures: list[Picture]) -> list[int]:
    return shot_starts(marks(pictures))


def marks(pictures: list[Picture], first: int = 0) -> list[int]:
    """Return the marks from frame `first` on."""
    meter = ShotMeter()
    return [meter.mark(picture) for picture in pictures][first:]


def still(seed: int) -> Picture:
    """A soft picture that has little in common with that of another seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), np.uint8)
    return coarse.repeat(12, 0).repeat(16, 1)


@pytest.mark.parametrize("seed", range(4))
def test_the_cuts_of_the_synthetic_film(seed: int) -> None:
    pictures = list(film_pictures(240, 72, 128, seed=seed, flash_every=None))
    assert starts(pictures) == synthetic_film.shot_starts(240)


def test_cuts_survive_compression_and_scaling(film_factory: Callable[..., Path]) -> None:
    info = probe_film(film_factory(frames=200, seed=3, flash_every=None, audio=False))
    geometry = decide_geometry(info.picture.stored, raster=(72, 128))
    with FrameReader(info, geometry=geometry) as reader:
        assert starts([frame.image for frame in reader]) == synthetic_film.shot_starts(200)


def test_a_film_without_cuts_is_one_shot() -> None:
    moving = [np.roll(still(0), 2 * n, axis=1) for n in range(60)]
    assert starts(moving) == [0]
    assert starts([still(0)]) == [0]
    assert starts([]) == [0]


def test_a_cut_between_pictures_of_the_same_brightness() -> None:
    red, blue = np.zeros((72, 128, 3), np.uint8), np.zeros((72, 128, 3), np.uint8)
    red[..., 0], blue[..., 2], blue[..., 1] = 160, 200, 28  # luma 34 by BT.709
    assert starts([red] * 20 + [blue] * 20) == [0, 20]


@pytest.mark.parametrize("length", [1, 2, 3])
def test_a_flash_does_not_end_a_shot(length: int) -> None:
    white = np.full_like(still(0), 255)
    assert starts([still(0)] * 20 + [white] * length + [still(0)] * 20) == [0]


def test_a_cut_soon_after_a_flash_is_found() -> None:
    white = np.full_like(still(0), 255)
    pictures = [still(0)] * 20 + [white] + [still(0)] * 9 + [still(1)] * 20
    assert starts(pictures) == [0, 30]


def test_a_shot_begins_after_black_even_if_it_fades_in() -> None:
    fade = [(still(1) * (n / 24)).astype(np.uint8) for n in range(24)]
    black = np.zeros_like(still(0))
    found = starts([still(0)] * 20 + fade[::-1][1:] + [black] * 5 + fade + [still(1)] * 9)
    assert found[0] == 0 and found[-1] in (49, 50, 51, 52)
    assert starts([black] * 10 + [still(0)] * 10) == [0, 10]


def awkward_pictures() -> list[Picture]:
    """Cuts, flashes of several lengths, flashes after cuts, a fade to black and out of it."""
    white, black = np.full_like(still(0), 255), np.zeros_like(still(0))
    fade = [(still(1) * (n / 8)).astype(np.uint8) for n in range(8)]
    moving = [np.roll(still(4), 2 * n, axis=1) for n in range(9)]
    return [
        *[still(0)] * 7, white, *[still(0)] * 6, white, white, white, *[still(0)] * 2,
        *[still(2)] * 2, *[still(3)] * 5, white, *[still(0)] * 6, *moving, *fade[::-1],
        *[black] * 5, *fade, *[still(1)] * 5, *[black] * 2, *[still(1)] * 5, white, white,
        *[still(2)] * 4, white,
    ]  # fmt: skip


@pytest.mark.parametrize("length", [1, 2, 3, 5, 7, 40])
def test_marks_do_not_depend_on_where_the_meter_began(length: int) -> None:
    pictures = awkward_pictures()
    found = list[int]()
    for first in range(0, len(pictures), length):
        begin = max(first - WARM_UP_FRAMES, 0)
        found += marks(pictures[begin : first + length], first - begin)
    assert found == marks(pictures) and max(found) < 1 << MARK_BITS
    assert len(shot_starts(found)) >= 6


def test_a_meter_needs_the_frames_before() -> None:
    pictures = [still(0)] * 20 + [still(1)] * 20
    assert shot_starts(marks(pictures[:20]) + marks(pictures[20:])) == [0] != starts(pictures)


def test_further_bits_of_a_mark_are_ignored() -> None:
    found = marks(awkward_pictures())
    assert shot_starts(mark | 1 << MARK_BITS for mark in found) == shot_starts(found)


def test_scores_are_those_of_the_filter() -> None:
    rng = np.random.default_rng(5)
    pictures = [rng.integers(0, 256, (36, 64, 3), np.uint8) // n for n in (1, 1, 3, 9, 1, 2, 2, 9)]
    graph, meter = Graph(), ShotMeter()
    nodes = [
        graph.add_buffer(width=64, height=36, format="rgb24", time_base=Fraction(1)),
        graph.add("scdet", "threshold=12"),
        graph.add("buffersink"),
    ]
    graph.link_nodes(*nodes).configure()
    for number, picture in enumerate(pictures):
        frame = VideoFrame.from_ndarray(picture, "rgb24")
        frame.pts, frame.time_base = number, Fraction(1)
        graph.vpush(frame)
        # The filter writes three decimals.
        expected = float(graph.vpull().metadata.get("lavfi.scd.score", 0))
        assert meter.mark(picture) & 1 == (expected >= 12)
        assert meter.score == pytest.approx(expected, abs=2e-3)
