"""Black bars that come and go are told of; bars that stay, and darkness, are not."""

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from bladerunner_ae.conversion.watches import BarsWatch

Picture = NDArray[np.uint8]


def picture(top: int = 0, left: int = 0, brightness: int = 200, seed: int = 0) -> Picture:
    """Noise of 90x160 inside bars of so many rows and columns on both sides."""
    image = np.zeros((90, 160, 3), np.uint8)
    inside = image[top : 90 - top, left : 160 - left]
    inside[:] = np.random.default_rng(seed).integers(brightness // 2, brightness, inside.shape)
    return image


def watched(pictures: list[Picture]) -> BarsWatch:
    watch = BarsWatch()
    for one in pictures:
        watch.feed(one)
    return watch


def test_bars_above_and_below_come_and_go() -> None:
    note = watched([picture(top=9)] * 30 + [picture()] * 10).note()
    assert note == (
        "black bars come and go: 75 % of the frames have bars of 10 % above and below; the largest "
        "picture is kept"
    )


def test_bars_on_the_left_and_right_come_and_go() -> None:
    note = watched([picture(left=16)] * 20 + [picture()] * 20).note()
    assert "50 % of the frames have bars of 10 % on the left and right" in note
    assert "above" not in note


def test_wider_bars_count_from_those_always_there() -> None:
    note = watched([picture(top=18)] * 20 + [picture(top=9)] * 20).note()
    assert "50 % of the frames have bars of 10 % above and below" in note


@pytest.mark.parametrize(
    "pictures",
    [
        [],
        [picture()] * 40,
        [picture(top=9)] * 40,
        [picture(left=20)] * 40,
        [picture(top=9, brightness=24)] * 40,  # too dark to have edges
        [np.zeros((90, 160, 3), np.uint8)] * 40,
        [np.zeros((90, 160, 3), np.uint8)] * 20 + [picture()] * 20,  # fades are no bars
        [picture()] * 99 + [picture(top=9)],  # one frame is chance
        [picture()] * 20 + [picture(top=40)] * 20,  # titles are no format
        [picture()] * 20 + [picture(top=1)] * 20,  # a ragged edge is none
    ],
)
def test_nothing_to_say(pictures: list[Picture]) -> None:
    assert watched(pictures).note() == ""


def test_a_dark_part_above_only_is_no_pair_of_bars() -> None:
    sky = picture()
    sky[:20] = 0
    assert watched([sky] * 20 + [picture()] * 20).note() == ""


def test_it_goes_on_from_its_state() -> None:
    pictures = [picture(top=9, seed=n) if n % 3 else picture(seed=n) for n in range(30)]
    first = watched(pictures[:13])
    second = BarsWatch.from_state(json.loads(json.dumps(first.state())))
    assert second.state() == first.state()
    for one in pictures[13:]:
        second.feed(one)
    assert second.state() == watched(pictures).state()
    assert second.note() == watched(pictures).note() != ""


def test_parts_add_up_to_the_whole() -> None:
    pictures = [picture(top=9 * (n % 2), left=16 * (n % 5 == 0)) for n in range(40)]
    whole = watched(pictures[:17])
    whole.add(watched(pictures[17:]))
    assert whole.state() == watched(pictures).state()
    assert whole.note() == watched(pictures).note() != ""
