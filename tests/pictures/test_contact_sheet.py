"""Contact sheets: places of pictures and captions, and the choice of frames."""

import numpy as np
import pytest

from bladerunner_ae.pictures.contact_sheet import make_contact_sheet, spread_frames


def _plain(colour: tuple[int, int, int], height: int = 72, width: int = 128) -> np.ndarray:
    return np.full((height, width, 3), colour, np.uint8)


def test_each_pair_is_in_its_place_original_left() -> None:
    colours = [(40 * n + 20, 30, 90) for n in range(5)]
    pairs = [(_plain(c), _plain((c[0], 200, 90)), f"frame {n}") for n, c in enumerate(colours)]
    sheet = np.asarray(make_contact_sheet(pairs, columns=2))
    places = []
    for colour in colours:
        for green in (30, 200):
            found = np.argwhere((sheet == (colour[0], green, 90)).all(-1))
            assert len(found) == 144 * 256  # enlarged by a whole factor, nothing covered
            places.append(tuple(found.min(0)))
    originals, dreams = places[::2], places[1::2]
    assert all(
        o[0] == d[0] and o[1] < d[1] < o[1] + 300 for o, d in zip(originals, dreams, strict=True)
    )
    assert originals[0][0] == originals[1][0] < originals[2][0] == originals[3][0] < originals[4][0]
    assert originals[0][1] == originals[2][1] == originals[4][1] < originals[1][1]


def test_captions_are_drawn_and_long_ones_cut() -> None:
    pair = (_plain((0, 0, 0)), _plain((0, 0, 0)))
    silent = np.asarray(make_contact_sheet([(*pair, "")]), int)
    spoken = np.asarray(make_contact_sheet([(*pair, "frame 12, 0:00:00.5, held out")]), int)
    endless = np.asarray(make_contact_sheet([(*pair, "held out " * 100)]), int)
    changed = np.argwhere(np.abs(spoken - silent).sum(-1) > 300)
    assert len(changed) > 100 and changed[:, 0].min() > silent.shape[0] // 2
    # The margin on the right stays empty.
    assert (endless[:, -20:] == silent[:, -20:]).all()
    assert endless.shape == silent.shape


def test_large_pictures_are_scaled_to_fit() -> None:
    sheet = make_contact_sheet([(_plain((9, 9, 9), 721, 1279), _plain((7, 7, 7), 90, 160), "x")])
    assert sheet.width < 700 and sheet.height < 300
    with pytest.raises(ValueError, match="at least one pair"):
        make_contact_sheet([])


def test_frames_are_even_and_in_the_middle_of_shots() -> None:
    shots = [(0, 10), (10, 12), (12, 40), (40, 100)]
    # Of the even places 10, 30, 50, 70 and 90 the first two are alone in their shots.
    assert spread_frames(shots, 100, 5) == [11, 26, 50, 70, 90]
    assert spread_frames([(0, 1000)], 1000, 4) == [125, 375, 625, 875]
    assert spread_frames([(0, 3)], 3, 9) == [0, 1, 2]


@pytest.mark.parametrize("count", [1, 2, 7, 18, 99, 100])
def test_frames_are_distinct_and_as_many_as_asked(count: int) -> None:
    shots = [(0, 1), (1, 3), (3, 4), (4, 50), (50, 51), (51, 100)]
    chosen = spread_frames(shots, 100, count)
    assert len(chosen) == count
    assert chosen == sorted(set(chosen))
    assert chosen[0] >= 0 and chosen[-1] < 100
