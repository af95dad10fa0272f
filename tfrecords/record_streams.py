"""Sources of a training set's pictures: memory, or the shards read again in every pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfrecords import local_copies, storage
from tfrecords.card import FilmCard, Shard
from tfrecords.draw_order import Draws, Position, StreamedOrder, fold_in, shuffle
from tfrecords.framing import read_records
from tfrecords.mixture import FilmPart
from tfrecords.record_errors import DamagedError
from tfrecords.record_offsets import chosen_data, record_offset
from tfrecords.schema import Frame, example_spec, parse

DECODED_BYTES = 256 << 20
"""Pictures held in memory are decoded beforehand if they take at most so much."""

Decode = Callable[[tf.Tensor], tf.Tensor]
_BUFFER_BYTES = 1 << 20
_CHUNK = 64
_DECODED_TOGETHER = 256


class InMemory:
    """A training set whose pictures are in memory; only numbers are shuffled.

    They are decoded if that takes at most `DECODED_BYTES`: decoding the same frames in every pass
    took three hundredths of the time of a small network's training on two cores. Raises
    RecordsError if a shard is missing, damaged or not as its card says.

    Args:
        draws: of the films' kept frames alone.
        seed: int64 [2].
        decode: scalar string -> uint8 [height, width, 3].
    """

    def __init__(
        self, parts: Sequence[FilmPart], draws: Draws, seed: tf.Tensor, decode: Decode
    ) -> None:
        self._draws, self._seed, self._decode = draws, seed, decode
        encoded = [picture for part in parts for picture in _read_kept(part)]
        card = parts[0].card
        self._decoded = _decoded(encoded, (len(encoded), card.height, card.width, 3), decode)
        self._encoded = tf.constant([] if self._decoded is not None else encoded, tf.string)
        kept = [np.flatnonzero(part.kept()) for part in parts]
        self._indices = tf.constant(np.concatenate(kept), tf.int64)
        films = np.repeat(np.arange(len(parts)), [len(indices) for indices in kept])
        self._films = tf.constant(films, tf.int64)

    def stream(self, first_epoch: int, first_draw: int) -> tf.data.Dataset:
        """Return places in memory for `fetch`, endlessly, from one draw of a pass on."""

        def places(epoch: tf.Tensor) -> tf.data.Dataset:
            chosen = tf.range(tf.size(self._indices, tf.int64))
            if not self._draws.plain:
                chosen = tf.repeat(chosen, self._draws.counts(epoch))
            order = shuffle(chosen, fold_in(self._seed, epoch))
            return tf.data.Dataset.from_tensor_slices(order)

        return tf.data.Dataset.range(first_epoch, tf.int64.max).flat_map(places).skip(first_draw)

    def fetch(self, place: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return {"image": uint8 [H, W, 3], "film", "index": scalar int64}."""
        if self._decoded is not None:
            image = tf.gather(self._decoded, place)
        else:
            image = self._decode(tf.gather(self._encoded, place))
        return {
            "image": image,
            "film": tf.gather(self._films, place),
            "index": tf.gather(self._indices, place),
        }


def _decoded(
    encoded: Sequence[bytes], shape: tuple[int, int, int, int], decode: Decode
) -> tf.Tensor | None:
    """Return all pictures, uint8 `shape`; None if they take too much, or one is damaged.

    Training reports a damaged one when it gets there.
    """
    if math.prod(shape) > DECODED_BYTES:
        return None
    pictures = np.empty(shape, np.uint8)
    batches = tf.data.Dataset.from_tensor_slices(list(encoded))
    batches = batches.map(decode, tf.data.AUTOTUNE, deterministic=True).batch(_DECODED_TOGETHER)
    try:
        for i, batch in enumerate(batches):
            pictures[i * _DECODED_TOGETHER : (i + 1) * _DECODED_TOGETHER] = batch.numpy()
    except tf.errors.InvalidArgumentError:
        return None
    return tf.constant(pictures)


class Streamed:
    """A training set that is read from its shards again in every pass.

    Args:
        draws: of all frames of the films.
        seed: int64 [2].
        decode: scalar string -> uint8 [height, width, 3].
        shuffle_buffer: draws shuffled together.
    """

    def __init__(
        self,
        parts: Sequence[FilmPart],
        draws: Draws,
        seed: tf.Tensor,
        decode: Decode,
        shuffle_buffer: int,
    ) -> None:
        self._draws, self._seed, self._decode = draws, seed, decode
        self._shards: list[tuple[str, Shard]] = [
            (storage.join(part.directory, shard.name), shard)
            for part in parts
            for shard in part.card.shards
        ]
        self._paths = tf.constant([path for path, _ in self._shards])
        self._film_ids = tf.constant([part.card.film_id for part in parts])
        first = np.cumsum([0] + [part.card.frames for part in parts])
        self._first_frames = tf.constant(first[:-1], tf.int64)
        lengths = np.array([shard.frames for _, shard in self._shards], np.int64)
        starts = np.concatenate([[0], np.cumsum(lengths)[:-1]])
        self.order = StreamedOrder(lengths, starts, shuffle_buffer)
        self._begins = tf.constant(starts, tf.int64)
        self._ends = tf.constant(starts + lengths, tf.int64)
        names = ("image/encoded", "frame/index", "film/id")
        self._spec = {name: example_spec()[name] for name in names}

    def stream(self, first_epoch: int, first_draw: int) -> tf.data.Dataset:
        """Return records for `fetch`, endlessly, from one draw of a pass on.

        Of the pass before that draw, at most one window is read. Raises RecordsError if a record
        that had to be read to find the place is damaged.
        """
        if first_draw == 0:
            return tf.data.Dataset.range(first_epoch, tf.int64.max).flat_map(self._epoch)
        epoch = tf.constant(first_epoch, tf.int64)
        seed, counts = fold_in(self._seed, epoch), self._draws.counts(epoch)
        position = self.order.position(seed, counts.numpy(), first_draw)
        tail = self._windows(self._records_from(seed, position), seed, counts, position)
        rest = tf.data.Dataset.range(first_epoch + 1, tf.int64.max).flat_map(self._epoch)
        skipped = first_draw - position.window * self.order.shuffle_buffer
        return tail.skip(skipped).concatenate(rest)

    def fetch(self, record: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Return {"image": uint8 [H, W, 3], "film", "index": scalar int64}."""
        return {
            "image": self._decode(record["encoded"]),
            "film": record["film"],
            "index": record["index"],
        }

    def _epoch(self, epoch: tf.Tensor) -> tf.data.Dataset:
        seed = fold_in(self._seed, epoch)
        shards = self.order.shards(seed)

        def read(cursor: tf.Tensor) -> tf.data.Dataset:
            own = shards[cursor :: self.order.cursors]
            nothing = tf.zeros(tf.shape(own), tf.int64)
            return self._read_shards(own, consumed=nothing, offsets=nothing)

        cursors = tf.data.Dataset.range(self.order.cursors)
        records = _take_turns(cursors, read, self.order.cursors)
        return self._windows(records, seed, self._draws.counts(epoch), None)

    def _records_from(self, seed: tf.Tensor, position: Position) -> tf.data.Dataset:
        """Return the records of a pass from a position on, without reading those before."""
        shards = self.order.shards(seed).numpy()
        # Of each shard that is left: (number, records to leave out, byte at which the rest begins).
        left: list[tuple[int, int, int]] = []
        slices: list[tuple[int, int]] = []
        count = self.order.cursors
        for cursor in [*range(position.cursor, count), *range(position.cursor)]:
            consumed, begin = int(position.consumed[cursor]), len(left)
            for number in shards[cursor::count].tolist():
                path, shard = self._shards[number]
                if consumed < shard.frames:
                    left.append((number, consumed, record_offset(path, shard, consumed)))
                consumed = max(consumed - shard.frames, 0)
            if len(left) > begin:
                slices.append((begin, len(left)))
        table = tf.constant(left, tf.int64)

        def read(piece: tf.Tensor) -> tf.data.Dataset:
            own, consumed, offsets = tf.unstack(table[piece[0] : piece[1]], axis=1)
            return self._read_shards(own, consumed, offsets)

        return _take_turns(tf.data.Dataset.from_tensor_slices(slices), read, len(slices))

    def _read_shards(
        self, shards: tf.Tensor, consumed: tf.Tensor, offsets: tf.Tensor
    ) -> tf.data.Dataset:
        """Return (record, expected frame number in the set) of shards (int [n]) one after another.

        Of each, `consumed` records (int64 [n]) are left out; the rest begins at byte `offsets`
        (int64 [n]).
        """
        # `tf.data.TFRecordDataset` is this operation without the offsets.
        variant = tf.raw_ops.TFRecordDatasetV2(
            filenames=tf.gather(self._paths, shards),
            compression_type="",
            buffer_size=_BUFFER_BYTES,
            byte_offsets=offsets,
        )
        records = tf.data.experimental.from_variant(variant, tf.TensorSpec([], tf.string))
        begins = tf.gather(self._begins, shards) + consumed
        due = tf.ragged.range(begins, tf.gather(self._ends, shards)).values
        return tf.data.Dataset.zip((records, tf.data.Dataset.from_tensor_slices(due)))

    def _windows(
        self,
        records: tf.data.Dataset,
        seed: tf.Tensor,
        counts: tf.Tensor,
        position: Position | None,
    ) -> tf.data.Dataset:
        """Return the draws of the records, shuffled window by window.

        `Dataset.shuffle` is not used, because its order also depends on TensorFlow's global seed.
        """

        def parse_drawn(serialized: tf.Tensor, due: tf.Tensor) -> dict[str, tf.Tensor]:
            chunk = self._parse(serialized, due)
            order = tf.repeat(tf.range(tf.size(due)), tf.gather(counts, due))
            return {name: tf.gather(values, order) for name, values in chunk.items()}

        def shuffled(number: tf.Tensor, window: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            order = shuffle(tf.range(tf.size(window["index"])), fold_in(seed, number))
            return {name: tf.gather(values, order) for name, values in window.items()}

        size = self.order.shuffle_buffer
        # Many records at a time: the calls cost more than the work.
        chunks = records.batch(_CHUNK).map(parse_drawn, tf.data.AUTOTUNE, deterministic=True)
        if position is not None and position.skip:
            windows = chunks.unbatch().skip(position.skip).batch(size)
        else:
            windows = chunks.rebatch(size)
        first = position.window if position is not None else 0
        return windows.enumerate(first).prefetch(1).map(shuffled).unbatch()

    def _parse(self, serialized: tf.Tensor, due: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return {"encoded": string [records], "film", "index": int64 [records]}."""
        features = tf.io.parse_example(serialized, self._spec)
        film = tf.searchsorted(self._first_frames, due, side="right", out_type=tf.int64) - 1
        index = due - tf.gather(self._first_frames, film)
        # Checksums say nothing about undamaged records, or shards, in the place of others.
        right = tf.equal(features["frame/index"], index) & tf.equal(
            features["film/id"], tf.gather(self._film_ids, film)
        )
        message = ["a record is not the frame that is due", features["film/id"], index]
        with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(right), message)]):
            encoded = tf.identity(features["image/encoded"])
        return {"encoded": encoded, "film": film, "index": index}


def _take_turns(cursors: tf.data.Dataset, read: Any, count: int) -> tf.data.Dataset:
    """Return one record of each cursor in turn; one that has ended is passed over."""
    return cursors.interleave(
        read, cycle_length=count, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )


def film_records(directory: storage.AnyPath, card: FilmCard) -> Iterator[Frame]:
    """Yield every frame of a film in order, still encoded; raise RecordsError at any damage."""
    directory = local_copies.local_records(directory, card)
    for shard in card.shards:
        path = storage.join(directory, shard.name)
        for number, record in enumerate(read_records(path)):
            yield _due(record, path, card, shard, number)


def chosen_records(
    directory: storage.AnyPath, card: FilmCard, frames: NDArray[np.int64]
) -> Iterator[Frame]:
    """Yield the frames numbered `frames` (ascending), still encoded, without those between."""
    directory = local_copies.local_records(directory, card, fetch=False)
    for shard in card.shards:
        first, after = np.searchsorted(
            frames, [shard.first_frame, shard.first_frame + shard.frames]
        )
        if first < after:
            path = storage.join(directory, shard.name)
            numbers = (frames[first:after] - shard.first_frame).tolist()
            for number, record in chosen_data(path, shard, numbers):
                yield _due(record, path, card, shard, number)


def _due(record: bytes, path: str, card: FilmCard, shard: Shard, number: int) -> Frame:
    """Return the frame in record `number` of a shard; raise RecordsError if it is another."""
    frame = parse(record)
    if frame.index != shard.first_frame + number or frame.film_id != card.film_id:
        raise DamagedError(
            path,
            f"record {number} (from 0) is frame {frame.index} of film {frame.film_id}, not frame "
            f"{shard.first_frame + number} of {card.film_id}",
        )
    if (frame.height, frame.width) != (card.height, card.width):
        raise DamagedError(
            path,
            f"record {number} (from 0) is {frame.height}x{frame.width} but the card says "
            f"{card.height}x{card.width}",
        )
    return frame


def _read_kept(part: FilmPart) -> list[bytes]:
    keep = part.kept()
    frames = film_records(part.directory, part.card)
    return [frame.encoded for frame in frames if keep[frame.index]]
