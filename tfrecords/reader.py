"""Records as `tf.data`: a film in its own order, or shuffled endlessly for training.

A damaged record raises `tf.errors.DataLossError`, which names neither film nor record nor fix;
`explain_data_loss` returns an error that does.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from tfrecords import local_copies, storage
from tfrecords.card import FilmCard, check_shards, load_card
from tfrecords.draw_order import Draws
from tfrecords.mixture import FilmPart, check_together, quotas
from tfrecords.record_errors import RecordsError, UnexplainedLossError
from tfrecords.record_streams import InMemory, Streamed, film_records
from tfrecords.schema import example_spec

MEMORY_LIMIT = 1 << 30
"""Bytes of records up to which a training set is held in memory, still encoded."""

SHUFFLE_BUFFER = 4096
"""Frames of a streamed set that are shuffled together."""

_BUFFER_BYTES = 8 << 20


def decode_image(encoded: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Return the picture in a JPEG or PNG file as uint8 [height, width, 3], RGB.

    The accurate integer transform is both the fastest and, by 2 dB, the nearest to the original.

    Raises:
        tf.errors.InvalidArgumentError: the file is no picture or of another size.
    """
    image = tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")
    return tf.ensure_shape(image, [height, width, 3])


def film_frames(
    directory: storage.AnyPath,
    *,
    batch_size: int,
    parallel: int = tf.data.AUTOTUNE,
    pad: bool = False,
) -> tf.data.Dataset:
    """Return every frame of a film once, in film order.

    Args:
        directory: a folder of records, local or remote.
        parallel: frames decoded at once; the order does not depend on it.
        pad: fill the last batch up, so that all have one shape, and mark which frames are real.

    Returns:
        Batches {"image": uint8 [batch, height, width, 3], "index": int64 [batch], "pts": int64
        [batch]}; the last may be shorter. With `pad` none is, and there is "mask": bool [batch];
        where it is false, the picture is black and index and pts are 0.

    Raises:
        RecordsError: card or shards are missing, or of another size than the card says.
        tf.errors.DataLossError: while iterating, a record is damaged.
        tf.errors.InvalidArgumentError: while iterating, a record is not the expected frame.
    """
    card = load_card(directory)
    check_shards(directory, card)
    directory = local_copies.local_records(directory, card)
    names = ("image/encoded", "frame/index", "frame/pts", "film/id")
    spec = {key: example_spec()[key] for key in names}

    def decode(number: tf.Tensor, serialized: tf.Tensor) -> dict[str, tf.Tensor]:
        features = tf.io.parse_single_example(serialized, spec)
        found = features["frame/index"], features["film/id"]
        # Checksums say nothing about undamaged records, or shards, in the place of others.
        due = tf.equal(found[0], number) & tf.equal(found[1], card.film_id)
        with tf.control_dependencies([tf.debugging.Assert(due, [number, *found])]):
            features["frame/index"] = tf.identity(found[0])
        return {
            "image": decode_image(features["image/encoded"], card.height, card.width),
            "index": features["frame/index"],
            "pts": features["frame/pts"],
        }

    def fill_up(batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        real = tf.size(batch["index"])
        batch = {name: _pad(values, batch_size) for name, values in batch.items()}
        return {**batch, "mask": tf.range(batch_size) < real}

    records = tf.data.TFRecordDataset(shard_paths(directory, card), buffer_size=_BUFFER_BYTES)
    frames = records.enumerate().map(decode, num_parallel_calls=parallel, deterministic=True)
    batches = frames.batch(batch_size)
    if pad:
        batches = batches.map(fill_up, num_parallel_calls=parallel, deterministic=True)
    return batches.prefetch(2).with_options(_options(tf.data.experimental.AutoShardPolicy.DATA))


def training_frames(
    directory: storage.AnyPath,
    *,
    batch_size: int,
    seed: int,
    first_batch: int = 0,
    keep: NDArray[np.bool_] | None = None,
    shuffle_buffer: int = SHUFFLE_BUFFER,
    memory_limit: int = MEMORY_LIMIT,
) -> tf.data.Dataset:
    """Return the frames of one film for training as `mixed_frames` does, which see for the rest.

    Args:
        keep: bool [frames], the frames to train on; None for all.
        memory_limit: a set of at most so many bytes of records is read once and shuffled as a
            whole; a larger one is streamed. Another limit may give another order.
    """
    part = FilmPart(directory, load_card(directory), keep)
    return mixed_frames(
        [part],
        batch_size=batch_size,
        seed=seed,
        first_batch=first_batch,
        shuffle_buffer=shuffle_buffer,
        in_memory=fits([part], memory_limit),
    )


def fits(parts: Sequence[FilmPart], memory_limit: int) -> bool:
    return sum(shard.bytes for part in parts for shard in part.card.shards) <= memory_limit


def mixed_frames(
    parts: Sequence[FilmPart],
    *,
    batch_size: int,
    seed: int,
    in_memory: bool,
    first_batch: int = 0,
    balance: str = "none",
    shuffle_buffer: int = SHUFFLE_BUFFER,
    shard: tuple[int, int] = (0, 1),
) -> tf.data.Dataset:
    """Return the frames of films for training: shuffled, endless, repeatable.

    Every pass draws each kept frame of each film as often as `tfrecords.mixture` says: of films of
    equal weight and without balance exactly once. The order follows from `seed` and the number of
    the pass alone: not from the number of cores, TensorFlow's global seed or the point of an
    interruption. Batches run on from one pass into the next, so no frame is ever dropped.

    In memory, all draws of a pass are shuffled as a whole. Streamed, shards come in random order, a
    record each in turn, and `shuffle_buffer` draws are shuffled at a time.

    Args:
        parts: the films, of one size.
        seed: any integer of 64 bits.
        in_memory: read everything once and keep it, decoded if that takes little memory; else
            stream it.
        first_batch: batches to leave out; the rest is the same as without. They are not decoded,
            and not read either, except for at most `shuffle_buffer` records.
        balance: "none" or "shots", see `tfrecords.mixture`.
        shuffle_buffer: frames shuffled together if streamed; each takes three times its encoded
            size in memory.
        shard: (this worker's number from 0, workers). Of every `batch_size` * workers frames of the
            order each worker takes its part: the first worker the first `batch_size`, and so on. So
            the workers' batches, one after the other, are the batches that one worker would have.

    Returns:
        Batches {"image": uint8 [batch_size, height, width, 3], "film": int64 [batch_size], the
        place in `parts`, "index": int64 [batch_size], the frame's number in its film}.

    Raises:
        RecordsError: shards are missing or damaged, or films cannot be combined.
        ValueError: a film's mask has another length than the film, or keeps nothing.
        tf.errors.DataLossError: while iterating over a streamed set, a record is damaged.
        tf.errors.InvalidArgumentError: while iterating over one, a record is of another film.
    """
    check_together(parts)
    worker, workers = shard
    parts = [
        dataclasses.replace(part, directory=local_copies.local_records(part.directory, part.card))
        for part in parts
    ]
    card = parts[0].card
    often = quotas(parts, balance)
    source: InMemory | Streamed
    decode = functools.partial(decode_image, height=card.height, width=card.width)
    with tf.device("CPU"):  # where tf.data works; a tensor on a GPU would be fetched every time
        base_seed = tf.constant([seed, 0], tf.int64)
        if in_memory:
            draws = Draws(often[often > 0], base_seed)
            source = InMemory(parts, draws, base_seed, decode)
        else:
            draws = Draws(often, base_seed)
            source = Streamed(parts, draws, base_seed, decode, shuffle_buffer)
        entries = source.stream(*divmod(first_batch * batch_size * workers, draws.per_pass))

    if workers > 1:
        own = slice(worker * batch_size, (worker + 1) * batch_size)
        together = entries.batch(batch_size * workers)
        entries = together.map(lambda entry: tf.nest.map_structure(lambda v: v[own], entry))
        entries = entries.unbatch()
    frames = entries.map(source.fetch, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    batches = frames.batch(batch_size, drop_remainder=True).prefetch(tf.data.AUTOTUNE)
    policy = tf.data.experimental.AutoShardPolicy
    # Passes, not files, are the source here, so workers that tf.distribute divides the set among
    # can only take turns at the batches; AUTO would look for files and fail with few of them.
    return batches.with_options(_options(policy.OFF if workers > 1 else policy.DATA))


def _options(policy: tf.data.experimental.AutoShardPolicy) -> tf.data.Options:
    options = tf.data.Options()
    options.deterministic = True
    options.experimental_distribute.auto_shard_policy = policy
    return options


def _pad(values: tf.Tensor, length: int) -> tf.Tensor:
    missing = length - tf.shape(values)[0]
    padded = tf.pad(values, [[0, missing]] + [[0, 0]] * (len(values.shape) - 1))
    return tf.ensure_shape(padded, [length, *values.shape[1:]])


def shard_paths(directory: storage.AnyPath, card: FilmCard) -> list[str]:
    return [storage.join(directory, shard.name) for shard in card.shards]


def through_service(batches: tf.data.Dataset, address: str) -> tf.data.Dataset:
    """Return a streamed training set that the workers of a tf.data service read and decode.

    Each worker takes whole passes, first come, first served: no frame is seen twice in a pass, but
    several workers' passes mix. The order is that of `batches` with one worker, and not repeatable
    with several.

    Args:
        batches: from `mixed_frames`, streamed and from its start. Workers must reach the records
            under the same paths.
        address: grpc://host:port of the dispatcher.
    """
    service = tf.data.experimental.service
    distributed = batches.apply(
        service.distribute(processing_mode=service.ShardingPolicy.DYNAMIC, service=address)
    )
    # Its workers cannot be divided among those of tf.distribute by files.
    return distributed.with_options(_options(tf.data.experimental.AutoShardPolicy.OFF))


def find_damage(directory: storage.AnyPath, card: FilmCard) -> RecordsError | None:
    """Return the damage of a folder of records, if any; reads all up to it."""
    try:
        check_shards(directory, card)
        for _ in film_records(directory, card):
            pass
    except RecordsError as error:
        return error
    return None


def explain_data_loss(directory: storage.AnyPath, card: FilmCard) -> RecordsError:
    """Return an error that names the damage on which reading failed; reads all up to it."""
    return find_damage(directory, card) or unexplained_loss(directory)


def unexplained_loss(*directories: storage.AnyPath) -> UnexplainedLossError:
    """Return the error for folders in which reading failed, but no damage can be found."""
    return UnexplainedLossError(
        f"{', '.join(map(str, directories))}: reading failed, yet every record is undamaged when "
        "read again; check the disk and the memory of this machine"
    )
