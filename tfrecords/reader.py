"""Records as `tf.data`: a film in its own order, or shuffled without end for training.

A damaged record shows as `tf.errors.DataLossError`, which names neither film nor record nor cure;
`explain_data_loss` makes the sentence for people out of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfrecords import storage
from tfrecords.card import FilmCard, check_shards, load_card
from tfrecords.errors import RecordsError
from tfrecords.framing import read_records
from tfrecords.schema import example_spec, parse

MEMORY_LIMIT = 1 << 30
"""Bytes of records up to which a training set is held in memory, still encoded."""

_INTERLEAVED_SHARDS = 64
_BUFFER_BYTES = 8 << 20


def decode_image(encoded: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Returns the picture in a JPEG or PNG file.

    The accurate integer transform is both the fastest and, by 2 dB, the nearest to the original.

    Args:
        encoded: scalar string, the file; TensorFlow tells the formats apart by their first bytes.
        height: rows that the picture must have.
        width: columns that the picture must have.

    Returns:
        uint8 [height, width, 3], RGB.

    Raises:
        tf.errors.InvalidArgumentError: the file is no picture or of another size.
    """
    image = tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")
    return tf.ensure_shape(image, [height, width, 3])


def film_frames(
    directory: storage.AnyPath, *, batch_size: int, parallel: int = tf.data.AUTOTUNE
) -> tf.data.Dataset:
    """Returns every frame of a film once, in the film's order.

    Args:
        directory: a folder of records, local or remote.
        batch_size: frames in a batch.
        parallel: how many frames are decoded at once; the order is the same for any number.

    Returns:
        Batches {"image": uint8 [batch, height, width, 3], "index": int64 [batch], "pts": int64
        [batch]}; the last one may be shorter.

    Raises:
        RecordsError: card or shards are missing, or of another size than the card says.
        tf.errors.DataLossError: while iterating, a record is damaged.
    """
    card = load_card(directory)
    check_shards(directory, card)
    spec = example_spec()

    def decode(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        features = tf.io.parse_single_example(serialized, spec)
        return {
            "image": decode_image(features["image/encoded"], card.height, card.width),
            "index": features["frame/index"],
            "pts": features["frame/pts"],
        }

    records = tf.data.TFRecordDataset(_shard_paths(directory, card), buffer_size=_BUFFER_BYTES)
    frames = records.map(decode, num_parallel_calls=parallel, deterministic=True)
    return frames.batch(batch_size).prefetch(2)


def training_frames(
    directory: storage.AnyPath,
    *,
    batch_size: int,
    seed: int,
    first_batch: int = 0,
    keep: NDArray[np.bool_] | None = None,
    shuffle_buffer: int = 4096,
    memory_limit: int = MEMORY_LIMIT,
) -> tf.data.Dataset:
    """Returns the frames of a film for training: shuffled, without end, repeatable.

    Every epoch visits each kept frame exactly once, in an order that follows from `seed` and the
    number of the epoch alone: not from the number of cores, TensorFlow's global seed or where the
    run was interrupted. Batches run on from one epoch into the next, so no frame is ever dropped.

    A set of at most `memory_limit` bytes is read once and shuffled as a whole. A larger one is
    streamed: shards in random order, interleaved, and shuffled `shuffle_buffer` frames at a time.

    Args:
        directory: a folder of records, local or remote.
        batch_size: frames in a batch.
        seed: any integer of 64 bits.
        first_batch: how many batches to leave out. The rest is what a data set from the start gives
            after that many; no picture is decoded for it.
        keep: bool [frames], which frames to train on; all if None.
        shuffle_buffer: frames shuffled together if streamed; each takes thrice its encoded size
            of memory.
        memory_limit: bytes of records; it must stay the same for the order to stay the same.

    Returns:
        Batches {"image": uint8 [batch_size, height, width, 3], "index": int64 [batch_size]}.

    Raises:
        RecordsError: card or shards are missing or damaged.
        ValueError: `keep` has another length than the film, or keeps nothing.
        tf.errors.DataLossError: while iterating over a streamed set, a record is damaged.
    """
    card = load_card(directory)
    check_shards(directory, card)
    keep = np.ones(card.frames, bool) if keep is None else np.asarray(keep)
    if keep.shape != (card.frames,) or keep.dtype != np.bool_ or not keep.any():
        raise ValueError(f"'keep' must be bool [{card.frames}] and keep at least one frame")

    source: _InMemory | _Streamed
    with tf.device("CPU"):  # where tf.data works; a tensor on a GPU would be fetched every time
        if sum(shard.bytes for shard in card.shards) <= memory_limit:
            source = _InMemory(_read_kept(directory, card, keep), np.flatnonzero(keep))
        else:
            source = _Streamed(_shard_paths(directory, card), keep, shuffle_buffer)
    first_epoch, first_frame = divmod(first_batch * batch_size, int(keep.sum()))

    def epoch_of_records(epoch: tf.Tensor) -> tf.data.Dataset:
        return source.epoch(_fold_in(tf.constant([seed, 0], tf.int64), epoch))

    def decode(entry: Any) -> dict[str, tf.Tensor]:
        record = source.fetch(entry)
        image = decode_image(record["encoded"], card.height, card.width)
        return {"image": image, "index": record["index"]}

    epochs = tf.data.Dataset.range(first_epoch, tf.int64.max)
    records = epochs.flat_map(epoch_of_records).skip(first_frame)
    frames = records.map(decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    batches = frames.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)
    options = tf.data.Options()
    options.deterministic = True
    # Epochs, not files, are the source here, so several workers can only take turns at the frames.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return batches.with_options(options)


class _InMemory:
    """A training set whose encoded pictures lie in memory; only numbers are shuffled."""

    def __init__(self, encoded: list[bytes], indices: NDArray[np.int64]) -> None:
        self._encoded = tf.constant(encoded, tf.string)
        self._indices = tf.constant(indices, tf.int64)

    def epoch(self, seed: tf.Tensor) -> tf.data.Dataset:
        """Returns the places of one epoch's frames in memory, in order: scalar int64."""
        places = tf.range(tf.size(self._indices, tf.int64))
        return tf.data.Dataset.from_tensor_slices(_shuffle(places, seed))

    def fetch(self, place: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns {"encoded": scalar string, "index": scalar int64}."""
        return {
            "encoded": tf.gather(self._encoded, place),
            "index": tf.gather(self._indices, place),
        }


class _Streamed:
    """A training set that is read from its shards again in every epoch."""

    def __init__(self, paths: list[str], keep: NDArray[np.bool_], shuffle_buffer: int) -> None:
        self._paths = tf.constant(paths)
        self._keep = tf.constant(keep)
        self._shuffle_buffer = shuffle_buffer
        self._spec = {key: example_spec()[key] for key in ("image/encoded", "frame/index")}

    def epoch(self, seed: tf.Tensor) -> tf.data.Dataset:
        """Returns one epoch's records in order, as `fetch` wants them.

        `Dataset.shuffle` is not used, because its order also depends on TensorFlow's global seed.
        """
        paths = tf.data.Dataset.from_tensor_slices(_shuffle(self._paths, _fold_in(seed, -1)))
        records = paths.interleave(
            lambda path: tf.data.TFRecordDataset(path, buffer_size=_BUFFER_BYTES // 8),
            cycle_length=min(_INTERLEAVED_SHARDS, self._paths.shape[0]),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        kept = records.map(self._parse).filter(
            lambda record: tf.gather(self._keep, record["index"])
        )
        windows = kept.batch(self._shuffle_buffer).enumerate().prefetch(1)
        return windows.flat_map(
            lambda number, window: self._shuffled_window(_fold_in(seed, number), window)
        )

    def fetch(self, record: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Returns {"encoded": scalar string, "index": scalar int64}."""
        return record

    def _parse(self, serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        features = tf.io.parse_single_example(serialized, self._spec)
        return {"encoded": features["image/encoded"], "index": features["frame/index"]}

    def _shuffled_window(self, seed: tf.Tensor, window: dict[str, tf.Tensor]) -> tf.data.Dataset:
        order = _shuffle(tf.range(tf.size(window["index"])), seed)
        return tf.data.Dataset.from_tensor_slices(
            {name: tf.gather(values, order) for name, values in window.items()}
        )


def _shuffle(values: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Returns `values` in an order that depends on their number and `seed` (int64 [2]) alone."""
    order = tf.range(tf.size(values))
    return tf.gather(values, tf.random.experimental.stateless_shuffle(order, seed, alg="philox"))


def _fold_in(seed: tf.Tensor, number: Any) -> tf.Tensor:
    """Returns a seed (int64 [2]) for thing `number` of those that belong to `seed`."""
    return tf.random.fold_in(seed, tf.cast(number, tf.int64), alg="philox")


def _shard_paths(directory: storage.AnyPath, card: FilmCard) -> list[str]:
    """Returns the paths of all shards in film order."""
    return [storage.join(directory, shard.name) for shard in card.shards]


def _read_kept(directory: storage.AnyPath, card: FilmCard, keep: NDArray[np.bool_]) -> list[bytes]:
    """Returns the encoded pictures of the kept frames, in film order.

    Raises:
        RecordsError: a shard is missing or damaged, or holds other frames than the card says.
    """
    encoded = []
    for shard in card.shards:
        path = storage.join(directory, shard.name)
        for number, record in enumerate(read_records(path)):
            frame = parse(record)
            if frame.index != shard.first_frame + number or frame.film_id != card.film_id:
                raise RecordsError(
                    f"{path}: record {number} (from 0) is frame {frame.index} of film "
                    f"{frame.film_id}, not frame {shard.first_frame + number} of {card.film_id}; "
                    "run make_tfrecords again with --overwrite"
                )
            if keep[frame.index]:
                encoded.append(frame.encoded)
    return encoded


def explain_data_loss(directory: storage.AnyPath, card: FilmCard) -> RecordsError:
    """Returns what is wrong with a folder of records in which reading failed.

    Reads every record until it finds the damage; raises nothing.

    Returns:
        An error to raise, that names the shard and the number of the record in it, from 0.
    """
    try:
        check_shards(directory, card)
        for path in _shard_paths(directory, card):
            for _ in read_records(path):
                pass
    except RecordsError as error:
        return error
    return RecordsError(
        f"{directory}: reading failed, yet every record is whole when read again; "
        "check the disk and the memory of this machine"
    )
