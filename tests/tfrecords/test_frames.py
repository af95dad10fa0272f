"""Frames that are learnt from, and reading the few that are watched."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from bladerunner_ae.errors import InputError
from bladerunner_ae.runs.training_set import hold_out_runs, hold_out_shots, in_shots
from bladerunner_ae.training import batches as data
from tests.helpers.small_records import PTS_STEP, card_maker, flip_byte, write_numbered_film
from tests.helpers.synthetic_film import film_pictures
from tfrecords.card import FilmCard, Shard
from tfrecords.frames import chosen_batches, read_frames, read_images
from tfrecords.record_errors import RecordsError


def card_of(shot_lengths: list[int]) -> FilmCard:
    """Return the card of a film of such shots, which has no shards worth the name."""
    frames = sum(shot_lengths)
    card = card_maker()([Shard("frames-00000-of-00001.tfrecord", frames, 0, 1, "0" * 64)])
    starts = [0, *np.cumsum(shot_lengths)[:-1].tolist()]
    return dataclasses.replace(card, shot_starts=starts)


UNEVEN = [3, 40, 17, 120, 9, 60, 31, 5, 88, 12, 44, 71, 26, 8, 150, 33, 19, 52]


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.25, 0.5])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_held_out_shots_are_whole_and_near_the_fraction(fraction: float, seed: int) -> None:
    card = card_of(UNEVEN)
    held = hold_out_shots(card, fraction, seed)
    assert held == sorted(set(held))
    assert set(held) < set(card.shots())
    total = sum(end - start for start, end in held)
    assert abs(total - fraction * card.frames) <= max(UNEVEN) / 2
    assert 0 < total < card.frames


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.3])
def test_a_film_of_many_shots_is_split_closely(fraction: float) -> None:
    card = card_of(np.random.default_rng(0).integers(10, 200, 300).tolist())
    held = hold_out_shots(card, fraction)
    assert sum(end - start for start, end in held) / card.frames == pytest.approx(
        fraction, abs=0.003
    )


def test_holding_out_depends_on_the_seed_alone() -> None:
    card = card_of(UNEVEN)
    assert hold_out_shots(card, 0.2, 5) == hold_out_shots(card, 0.2, 5)
    assert len({tuple(hold_out_shots(card, 0.2, seed)) for seed in range(5)}) > 1


def test_nothing_is_held_out_for_fraction_zero() -> None:
    assert hold_out_shots(card_of([10]), 0.0) == []
    assert hold_out_runs(card_of([10]), 0.0, 1.0) == []


@pytest.mark.parametrize(
    ("shots", "fraction"), [([100], 0.1), ([50, 50], 0.1), ([1000, 900, 1100], 0.1), ([5, 5], 0.99)]
)
def test_shots_that_cannot_be_split_are_an_error(shots: list[int], fraction: float) -> None:
    with pytest.raises(InputError, match=rf"film.mp4: has too few shots .{len(shots)}.") as error:
        hold_out_shots(card_of(shots), fraction)
    # The cure must be one: a run of two seconds has 48 frames here.
    helps = bool(sum(shots) > (max(round(1 / fraction), 2) - 1) * 48)
    assert ("add --holdout_seconds=2" in str(error.value)) == helps
    if helps:
        assert hold_out_runs(card_of(shots), fraction, 2.0)


@pytest.mark.parametrize(
    ("frames", "fraction", "seconds", "expected"),
    [
        (240, 0.25, 1.0, [(72, 96), (168, 192)]),
        (100, 0.5, 1.0, [(24, 48), (72, 96)]),
        (90, 0.25, 1.0, [(72, 90)]),
        (10, 0.5, 0.001, [(1, 2), (3, 4), (5, 6), (7, 8), (9, 10)]),
    ],
)
def test_held_out_runs(
    frames: int, fraction: float, seconds: float, expected: list[tuple[int, int]]
) -> None:
    assert hold_out_runs(card_of([frames]), fraction, seconds) == expected


def test_a_film_too_short_for_runs_is_an_error() -> None:
    with pytest.raises(InputError, match="48 frames are too few to hold out one of 10 runs of 1 s"):
        hold_out_runs(card_of([48]), 0.1, 1.0)


def test_in_shots() -> None:
    assert in_shots(7, [[1, 3], (6, 7)]).tolist() == [False, True, True, False, False, False,
                                                           True]  # fmt: skip
    assert in_shots(3, []).tolist() == [False] * 3


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FilmCard]:
    folder = tmp_path_factory.mktemp("film") / "film"
    return folder, write_numbered_film(folder, 12, 24, 32, num_shards=3, image_format="png")


@pytest.mark.parametrize("indices", [[0], [11, 0, 5], [4, 3, 7, 8], [], list(range(12))])
def test_images_are_read_in_the_order_asked_for(
    film: tuple[Path, FilmCard], indices: list[int]
) -> None:
    folder, card = film
    pictures = list(film_pictures(12, 24, 32))
    found = read_images(folder, card, indices)
    assert found.shape == (len(indices), 24, 32, 3) and found.dtype == np.uint8
    for picture, index in zip(found, indices, strict=True):
        np.testing.assert_array_equal(picture, pictures[index])


def test_only_the_shards_that_are_needed_are_opened(tmp_path: Path) -> None:
    folder = tmp_path / "film"
    card = write_numbered_film(folder, 12, 24, 32, num_shards=3)
    (folder / card.shards[1].name).unlink()
    flip_byte(folder / card.shards[2].name, -1)
    assert len(read_images(folder, card, [3, 8])) == 2
    with pytest.raises(RecordsError, match=rf"{card.shards[2].name}.*record 3"):
        read_images(folder, card, [3, 11])


def test_frames_asked_for_twice_come_twice(film: tuple[Path, FilmCard]) -> None:
    folder, card = film
    images, pts = read_frames(folder, card, [5, 2, 5])
    np.testing.assert_array_equal(images[0], images[2])
    assert pts.tolist() == [5 * PTS_STEP - 5, 2 * PTS_STEP - 5, 5 * PTS_STEP - 5]


@pytest.mark.parametrize("chosen", [range(12), [0, 3, 4, 5, 11], [7], range(1, 12)])
@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_batches_of_chosen_frames(
    film: tuple[Path, FilmCard], chosen: Sequence[int], batch_size: int
) -> None:
    folder, card = film
    mask = np.isin(np.arange(12), chosen)
    batches = list(chosen_batches(folder, card, mask, batch_size))
    sizes = [len(images) for images, _, _ in batches]
    assert max(sizes) == min(batch_size, len(chosen)) and set(sizes[:-1]) <= {batch_size}
    images, index, pts = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    assert index.tolist() == list(chosen)
    assert pts.tolist() == [PTS_STEP * number - 5 for number in chosen]
    pictures = list(film_pictures(12, 24, 32))
    np.testing.assert_array_equal(images, np.stack([pictures[number] for number in chosen]))


def test_a_chosen_frame_that_is_damaged_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "film"
    card = write_numbered_film(folder, 40, 24, 32, num_shards=1)
    (shard,) = card.shards
    whole = (folder / shard.name).read_bytes()
    flip_byte(folder / shard.name, -1)
    chosen = np.isin(np.arange(40), [2, 30])
    assert len(next(chosen_batches(folder, card, chosen, 64))[0]) == 2
    chosen[39] = True
    with pytest.raises(RecordsError, match=rf"{shard.name}: record 39 .*damaged"):
        list(chosen_batches(folder, card, chosen, 64))
    (folder / shard.name).write_bytes(whole[:-2])
    with pytest.raises(RecordsError, match=rf"{shard.name}: record 39 .*cut short"):
        list(chosen_batches(folder, card, chosen, 64))
    (folder / shard.name).unlink()
    with pytest.raises(RecordsError, match="shard is missing"):
        list(chosen_batches(folder, card, chosen, 64))


def test_collecting_stops_at_the_count() -> None:
    images = np.arange(40, dtype=np.uint8).reshape(10, 4)
    batches = tf.data.Dataset.from_tensor_slices({"image": images}).batch(3).repeat()
    np.testing.assert_array_equal(data.collect_images(batches, 7), images[:7])
