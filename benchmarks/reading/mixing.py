"""How well an order mixes a film: are neighbouring frames, which look alike, kept apart?

Worked out from numbers alone, for a film as long as a feature film.

*Near pairs*: of all pairs of frames in one batch, how many lie within a second of each other in the
film. *Order kept*: the rank correlation of a frame's place in the pass and its place in the film, 0
if the pass tells nothing of the film's order, 1 in film order. *Span*: how much of the film lies
between the first and the last frame of a batch.
"""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfrecords.draw_order import StreamedOrder, fold_in, shuffle
from tfrecords.reader import SHUFFLE_BUFFER
from tfrecords.shards import shard_ranges

FEATURE_FILM = 168_480
"""Frames of a film of 117 minutes at 24 a second."""


@dataclass(frozen=True)
class Mixing:
    """The measures of the module's head.

    Attributes:
        near_pairs: 0 to 1.
        order_kept: -1 to 1.
        span: 0 to 1.
    """

    near_pairs: float
    order_kept: float
    span: float


def measure_mixing(order: NDArray[np.int64], batch_size: int = 64, near: int = 24) -> Mixing:
    """Measures one pass over a film.

    Args:
        order: frames' numbers in the film in the order of the pass: int64 [frames].
        batch_size: frames in a batch.
        near: frames in a second.
    """
    batches = order[: len(order) // batch_size * batch_size].reshape(-1, batch_size)
    sorted_batches = np.sort(batches, axis=1)
    pairs = 0
    # Pairs at distance 1, 2, ... in the sorted batch, until none is near.
    for distance in range(1, batch_size):
        found = int((sorted_batches[:, distance:] - sorted_batches[:, :-distance] <= near).sum())
        pairs += found
        if not found:
            break
    ranks = np.argsort(np.argsort(order))
    return Mixing(
        near_pairs=pairs / (len(batches) * batch_size * (batch_size - 1) / 2),
        order_kept=float(np.corrcoef(np.arange(len(order)), ranks)[0, 1]),
        span=float((sorted_batches[:, -1] - sorted_batches[:, 0]).mean() / (order.max() or 1)),
    )


def order_in_memory(frames: int, epoch: int = 0) -> NDArray[np.int64]:
    """Returns one pass over a film in memory: a shuffle of all."""
    seed = fold_in(tf.constant([0, 0], tf.int64), epoch)
    return shuffle(tf.range(frames, dtype=tf.int64), seed).numpy()  # type: ignore[no-any-return]


def order_streamed(
    frames: int, num_shards: int = 16, shuffle_buffer: int = SHUFFLE_BUFFER, epoch: int = 0
) -> NDArray[np.int64]:
    """Returns one pass over a film that is streamed from its shards."""
    ranges = shard_ranges(frames, num_shards)
    lengths = np.array([len(frames) for frames in ranges], np.int64)
    starts = np.array([frames.start for frames in ranges], np.int64)
    order = StreamedOrder(lengths, starts, shuffle_buffer)
    seed = fold_in(tf.constant([0, 0], tf.int64), epoch)
    return order.draws(seed, np.ones(frames, np.int64))


def mixing_table(frames: int = FEATURE_FILM) -> list[str]:
    """Returns the lines of a Markdown table."""
    orders = {
        "in memory (a perfect shuffle)": order_in_memory(frames),
        "streamed, 16 shards, buffer 4,096 (default)": order_streamed(frames),
        "streamed, 16 shards, buffer 16,384": order_streamed(frames, shuffle_buffer=16_384),
        "streamed, 64 shards, buffer 4,096": order_streamed(frames, 64),
        "streamed, 256 shards, buffer 4,096": order_streamed(frames, 256),
        "film order": np.arange(frames),
    }
    lines = [
        f"Mixing of {frames:,} frames in batches of 64:",
        "",
        "| order | pairs of a batch within 1 s | order kept | span of a batch |",
        "|---|---|---|---|",
    ]
    for name, order in orders.items():
        found = measure_mixing(order)
        lines.append(
            f"| {name} | {100 * found.near_pairs:.3f} % | {found.order_kept:.3f} "
            f"| {100 * found.span:.1f} % |"
        )
    return lines
