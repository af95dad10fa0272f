"""Facts about frames: bars of a picture, and the same facts whatever parts a film is made in."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bladerunner_ae.conversion.changes import changes
from bladerunner_ae.conversion.encode import RecordPicture
from bladerunner_ae.conversion.facts import DARK, Facts, bar_widths
from bladerunner_ae.film.picture.shots import ShotMeter
from bladerunner_ae.film.reading.probe import FilmInfo, probe_film
from tests.conversion.test_changes import Picture, picture


def record_pictures(info: FilmInfo) -> list[RecordPicture]:
    """Six shots, of which the third and fourth are in a wider format; two frames are interlaced."""
    images = np.random.default_rng(0).integers(60, 256, (6, 48, 80, 3), np.uint8)
    images = images[np.arange(60) // 10].copy()
    images[20:40, :8] = images[20:40, -8:] = 0
    wide = info.picture.first._replace(width=200)
    return [
        RecordPicture(
            b"", wide if 20 <= number < 40 else info.picture.first, number in (30, 44), image
        )
        for number, image in enumerate(images)
    ]


def gather(pictures: list[RecordPicture], first: int = 0) -> Facts:
    facts, meter = Facts(), ShotMeter()
    for number, one in enumerate(pictures):
        mark = meter.mark(one.thumbnail)
        if number >= first:
            facts.add(3 * number, one, mark)
    return facts


@pytest.mark.parametrize("length", [1, 7, 30, 60])
def test_facts_pass_through_json_in_parts(film_factory: Callable[..., Path], length: int) -> None:
    info = probe_film(film_factory(frames=120, height=96, width=160))
    facts, joined = gather(record_pictures(info)), Facts()
    for first in range(0, 60, length):
        values = json.loads(json.dumps(facts.to_json(range(first, min(first + length, 60)))))
        joined.extend(Facts.from_json(values))
    assert joined.to_json(range(60)) == facts.to_json(range(60))
    assert joined.times == facts.times and joined.formats == facts.formats
    assert joined.shot_starts() == [0, 10, 20, 30, 40, 50]
    assert np.flatnonzero(joined.interlaced()).tolist() == [30, 44]
    assert changes(joined, info) == changes(facts, info)
    interlaced, size, bars = map(str, changes(facts, info))
    assert "2 frames are interlaced, the first at 0.0 s" in interlaced  # 90 units
    assert "size changes on the way (2 times, first at 0.0 s, 96x160 to 96x200)" in size
    assert "33 % of the frames have bars" in bars


@pytest.mark.parametrize(
    ("image", "widths"),
    [
        (picture(), (0, 0)),
        (picture(top=9), (100, 0)),
        (picture(left=16), (0, 100)),
        (picture(top=18, left=8), (200, 50)),
        (picture(top=9, brightness=24), (DARK, DARK)),  # too dark to have edges
        (np.zeros((90, 160, 3), np.uint8), (DARK, DARK)),
        (np.vstack([np.zeros((20, 160, 3), np.uint8), picture()[20:]]), (0, 0)),  # no pair
    ],
)
def test_widths_of_bars(image: Picture, widths: tuple[int, int]) -> None:
    assert bar_widths(image) == widths
