"""Frequency and order of drawn frames, by numbers alone."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from tests.helpers.parameters import some_slow
from tests.helpers.small_records import card_maker
from tfrecords.card import FilmCard, Shard
from tfrecords.draw_order import Draws, StreamedOrder, fold_in
from tfrecords.mixture import FilmPart, quotas

LENGTHS = np.array([7, 7, 7, 6, 6, 6], np.int64)


def seed(number: int = 0) -> tf.Tensor:
    return tf.constant([number, 0], tf.int64)


def counts(draws: Draws, passes: int) -> NDArray[np.int64]:
    """Return int64 [passes, frames]."""
    return np.stack([draws.counts(tf.constant(e, tf.int64)).numpy() for e in range(passes)])


def card_of(*shots: int) -> FilmCard:
    frames = sum(shots)
    card = card_maker()([Shard("frames-00000-of-00001.tfrecord", frames, 0, 1, "0" * 64)])
    return dataclasses.replace(card, shot_starts=[0, *np.cumsum(shots)[:-1].tolist()])


# --- Quotas -------------------------------------------------------------------------------------


def test_weights_are_relative_to_the_smallest() -> None:
    parts = [FilmPart("a", card_of(3), weight=0.75), FilmPart("b", card_of(2), weight=0.5)]
    assert quotas(parts).tolist() == [1.5, 1.5, 1.5, 1.0, 1.0]
    keep = np.array([True, False, True])
    held = dataclasses.replace(parts[0], keep=keep)
    assert quotas([held, parts[1]]).tolist() == [1.5, 0.0, 1.5, 1.0, 1.0]


def test_balanced_shots_go_by_the_root_of_their_length() -> None:
    part = FilmPart("a", card_of(1, 4, 16, 9))
    found = quotas([part], "shots")
    assert found.sum() == pytest.approx(30)
    shots = [found[start:end].sum() for start, end in part.card.shots()]
    assert shots == pytest.approx([30 * root / 10 for root in (1, 2, 4, 3)])
    for start, end in part.card.shots():
        assert np.ptp(found[start:end]) == 0


def test_balance_counts_kept_frames_and_keeps_the_sum() -> None:
    keep = np.ones(30, bool)
    keep[5:21] = False
    keep[21:26] = False  # 4 of the last shot's 9 are left
    parts = [
        FilmPart("a", card_of(1, 4, 16, 9), keep, weight=2.0),
        FilmPart("b", card_of(6, 2), weight=1.0),
    ]
    found = quotas(parts, "shots")
    assert (found[:30][~keep] == 0).all()
    assert found[:30].sum() == pytest.approx(2 * 9) and found[30:].sum() == pytest.approx(8)
    assert found[26] == pytest.approx(found[1]), "shots of as many kept frames are alike"


def test_unknown_balance() -> None:
    with pytest.raises(ValueError, match="'frames' is not one of"):
        quotas([FilmPart("a", card_of(3))], "frames")


# --- Draws --------------------------------------------------------------------------------------


def test_plain_sets_draw_each_kept_frame_once() -> None:
    draws = Draws(np.array([1.0, 0.0, 1.0, 1.0]), seed())
    assert (draws.plain, draws.per_pass) == (True, 3)
    assert (counts(draws, 5) == [1, 0, 1, 1]).all()


def test_whole_weights_draw_alike_in_every_pass() -> None:
    often = np.repeat([3.0, 0.0, 1.0, 2.0], [100_000, 7, 50_000, 3])
    draws = Draws(often, seed(5))
    assert draws.per_pass == 350_006 and not draws.plain
    assert (counts(draws, 3) == often).all()


@pytest.mark.parametrize("number", [0, 1, 99])
def test_other_weights_come_right_over_passes(number: int) -> None:
    """In the first 2**k passes each frame is drawn 2**k times its quota, up or down to whole."""
    generator = np.random.default_rng(number)
    often = generator.uniform(0, 3, 200) * (generator.uniform(size=200) < 0.8)
    draws = Draws(often, seed(number))
    found = counts(draws, 64)
    assert (found.sum(axis=1) == draws.per_pass).all()
    assert (found[:, often == 0] == 0).all()
    exact = often * draws.per_pass / often.sum()
    assert (np.abs(found - exact) < 1 + 1e-5).all()
    for passes in (1, 2, 8, 64):
        assert (np.abs(found[:passes].sum(axis=0) - passes * exact) < 1 + 1e-3).all(), passes


def test_balanced_draws_are_exact_over_passes() -> None:
    """Shots of 4 and 64 frames count as 2 and 8."""
    part = FilmPart("a", card_of(4, 64))
    often = quotas([part], "shots")
    assert often[0] / often[-1] == pytest.approx(math.sqrt(64 / 4))
    draws = Draws(often, seed(3))
    found = counts(draws, 128).sum(axis=0)
    assert draws.per_pass == 68 and found.sum() == 128 * 68
    # The shots share 68 draws as 2 to 8.
    assert found[:4].sum() == pytest.approx(128 * 68 * 0.2, abs=1)
    assert found[4:].sum() == pytest.approx(128 * 68 * 0.8, abs=1)
    assert np.ptp(found[:4]) <= 1 and np.ptp(found[4:]) <= 1


def test_a_long_shot_is_drawn_evenly_spread() -> None:
    draws = Draws(np.concatenate([np.full(90, 0.1), [1.0]]), seed(2))
    (found,) = counts(draws, 1)
    assert (np.diff(np.flatnonzero(found[:90])) == 10).all()


# --- Streamed order -----------------------------------------------------------------------------


def tail(order: StreamedOrder, start: tf.Tensor, often: NDArray[np.int64], draw: int) -> list[int]:
    """Return a pass's draws from the window of `draw` on as `position` would have them read."""
    position = order.position(start, often, draw)
    shards = order.shards(start).numpy()
    lines = []
    starts = np.concatenate([[0], np.cumsum(order._lengths)[:-1]])
    for cursor in [*range(position.cursor, order.cursors), *range(position.cursor)]:
        line = np.concatenate(
            [starts[s] + np.arange(order._lengths[s]) for s in shards[cursor :: order.cursors]]
        )
        lines.append(line[position.consumed[cursor] :].tolist())
    found: list[int] = []
    while any(lines):
        found += [frame for line in lines if line for frame in [line.pop(0)]]
    drawn = np.repeat(found, often[found]) if found else np.zeros(0, int)
    return [int(frame) for frame in drawn[position.skip :]]


@pytest.mark.parametrize("shards", some_slow(1, 65, of=(1, 6, 64, 65, 150)))
@pytest.mark.parametrize("buffer", [1, 16, 10_000])
@pytest.mark.parametrize("repeats", [False, True])
def test_positions_lead_to_the_same_draws(shards: int, buffer: int, repeats: bool) -> None:
    generator = np.random.default_rng(shards)
    lengths = generator.integers(1, 9, shards)
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
    order = StreamedOrder(lengths, starts, buffer)
    often = generator.integers(0, 4 if repeats else 2, lengths.sum())
    often[0] = 1
    start = fold_in(seed(1), 4)
    whole = order.draws(start, often)
    assert (np.bincount(whole, minlength=len(often)) == often).all()
    frames, _ = order.records(start)
    unshuffled = np.repeat(frames, often[frames]).tolist()
    for draw in np.unique(generator.integers(0, len(whole), 12)):
        first = int(draw) // buffer * buffer
        assert tail(order, start, often, int(draw)) == unshuffled[first:]


def test_passes_differ_and_repeat() -> None:
    order = StreamedOrder(LENGTHS, np.concatenate([[0], np.cumsum(LENGTHS)[:-1]]), 8)
    ones = np.ones(39, np.int64)
    first, again, other = (order.draws(fold_in(seed(), e), ones).tolist() for e in (0, 0, 1))
    assert first == again != other
    assert sorted(first) == sorted(other) == list(range(39))
