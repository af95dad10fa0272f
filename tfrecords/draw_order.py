"""Frames that a pass draws, and their order, computed from numbers alone without opening a file.

**How often.** Frames are laid end to end on a line, each as long as its quota, with marks on the
line at distance one; a frame is drawn once for every mark on it. So a quota of 2 gives two draws in
every pass, one of 0.1 a draw in one pass of ten, and of a long shot with small quotas each pass
draws frames evenly spread. Passes differ in the place of the first mark: in the first 2**k passes
it takes each of the 2**k equally spaced places once, so that each frame is drawn as often as 2**k
times its quota says, rounded up or down.

**Order in memory.** A stateless shuffle of all draws.

**Order when streamed.** Shards are shuffled and dealt to at most `CURSORS` cursors, which take
turns, a record each. The draws fill windows of `shuffle_buffer`, each shuffled as a whole. A pass
may begin at any draw: how far every cursor has come by then is counted, not read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

CURSORS = 64
_BITS = 20
_ONE = 1 << _BITS


def shuffle(values: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Return `values` in an order that depends on their number and `seed` (int64 [2]) alone."""
    order = tf.range(tf.size(values))
    return tf.gather(values, tf.random.experimental.stateless_shuffle(order, seed, alg="philox"))


def fold_in(seed: tf.Tensor, number: Any) -> tf.Tensor:
    """Return the seed (int64 [2]) number `number` of those derived from `seed`."""
    return tf.random.fold_in(seed, tf.cast(number, tf.int64), alg="philox")


class Draws:
    """Draws of each frame in each pass.

    Args:
        quotas: float64 [frames], not negative: draws per pass on average.
        seed: int64 [2].

    Attributes:
        per_pass: draws in every pass: the quotas' sum, rounded.
        plain: whether every quota is 0 or 1, so that all passes draw the same frames once.
    """

    def __init__(self, quotas: NDArray[np.float64], seed: tf.Tensor) -> None:
        self.plain = bool(np.isin(quotas, (0.0, 1.0)).all())
        sums = np.cumsum(quotas)
        self.per_pass = max(round(float(sums[-1])), 1)
        # Ends of the frames on the line, in whole parts of a draw: sums that must come to whole
        # draws do, whatever the additions' rounding.
        ends = np.rint(sums * (self.per_pass / sums[-1]) * _ONE).astype(np.int64)
        self._ends = tf.constant(np.concatenate([[0], ends]), tf.int64)
        self._shift = tf.bitwise.bitwise_and(fold_in(seed, -1)[0], tf.constant(_ONE - 1, tf.int64))

    def counts(self, epoch: tf.Tensor) -> tf.Tensor:
        """Return how often pass `epoch` (int64) draws each frame: int64 [frames]."""
        places = tf.range(_BITS, dtype=tf.int64)
        bits = tf.bitwise.bitwise_and(tf.bitwise.right_shift(epoch, places), tf.ones([], tf.int64))
        mirrored = tf.reduce_sum(tf.bitwise.left_shift(bits, _BITS - 1 - places))
        marks = tf.bitwise.right_shift(self._ends + (self._shift + mirrored) % _ONE, _BITS)
        return marks[1:] - marks[:-1]


@dataclass(frozen=True)
class Position:
    """A place in the stream of records of one pass.

    Attributes:
        window: the window that begins with a draw at this place.
        skip: draws of the first record that belong to the window before.
        cursor: the one whose turn it is.
        consumed: int64 [cursors], records that each cursor has given.
    """

    window: int
    skip: int
    cursor: int
    consumed: NDArray[np.int64]


class StreamedOrder:
    """Order of a streamed set's records in one pass.

    Args:
        lengths: int64 [shards], records of each shard.
        starts: int64 [shards], number of each shard's first frame among all frames of the set.
        shuffle_buffer: draws in a window.
    """

    def __init__(
        self, lengths: NDArray[np.int64], starts: NDArray[np.int64], shuffle_buffer: int
    ) -> None:
        self._lengths, self._starts = lengths, starts
        self.shuffle_buffer = shuffle_buffer
        self.cursors = min(CURSORS, len(lengths))

    def shards(self, seed: tf.Tensor) -> tf.Tensor:
        """Return the shards in the pass's order, int32 [shards]; cursor c has c, c + cursors..."""
        return shuffle(tf.range(len(self._lengths)), fold_in(seed, -1))

    def records(self, seed: tf.Tensor) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return frame numbers in the order of reading and their cursors, both int64 [frames]."""
        shards = self.shards(seed).numpy()
        lines = [
            np.concatenate(
                [self._starts[s] + np.arange(self._lengths[s]) for s in shards[c :: self.cursors]]
            )
            for c in range(self.cursors)
        ]
        cursor = np.repeat(np.arange(self.cursors), [len(line) for line in lines])
        turn = np.concatenate([np.arange(len(line)) for line in lines])
        order = np.lexsort((cursor, turn))
        return np.concatenate(lines)[order], cursor[order]

    def position(self, seed: tf.Tensor, counts: NDArray[np.int64], draw: int) -> Position:
        """Return the start of the window that holds draw number `draw` (from 0) of the pass.

        `seed` is int64 [2], of the pass; `counts`, int64 [frames], its draws of each frame.
        """
        frames, cursors = self.records(seed)
        window = draw // self.shuffle_buffer
        first = window * self.shuffle_buffer
        drawn = np.cumsum(counts[frames])
        place = int(np.searchsorted(drawn, first, side="right"))
        skip = first - int(drawn[place] - counts[frames[place]])
        consumed = np.bincount(cursors[:place], minlength=self.cursors)
        return Position(window, skip, int(cursors[place]), consumed)

    def draws(self, seed: tf.Tensor, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the frames' numbers as one pass draws them: int64 [draws]."""
        frames, _ = self.records(seed)
        drawn = np.repeat(frames, counts[frames])
        windows = range(0, len(drawn), self.shuffle_buffer)
        return np.concatenate(
            [
                shuffle(drawn[start : start + self.shuffle_buffer], fold_in(seed, number)).numpy()
                for number, start in enumerate(windows)
            ]
        )
