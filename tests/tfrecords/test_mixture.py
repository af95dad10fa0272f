"""Several films as one training set: whose frame is whose, how often, and where to go on."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from tests.helpers.small_records import FILM_ID, write_numbered_film
from tests.helpers.synthetic_film import read_number
from tfrecords.card import load_card
from tfrecords.draw_order import Draws, StreamedOrder, fold_in
from tfrecords.framing import read_records, write_record
from tfrecords.mixture import FilmPart, check_together, quotas
from tfrecords.reader import film_frames, mixed_frames, through_service
from tfrecords.record_errors import RecordsError
from tfrecords.schema import parse

FRAMES = (53, 30)
IDS = (FILM_ID, "fedcba9876543210")
ALL = sum(FRAMES)
SHAPE = (72, 128)
MODES: list[Any] = [
    pytest.param({"in_memory": True}, id="in memory"),
    pytest.param({"in_memory": False, "shuffle_buffer": 16}, id="streamed"),
]
SETS: list[Any] = [
    pytest.param((1.0, 1.0), "none", id="plain"),
    pytest.param((2.0, 1.0), "none", id="weights"),
    pytest.param((1.5, 1.0), "shots", id="balanced"),
]
# The same for tests of seconds: balanced films need all that the others do.
SOME_SETS: list[Any] = [
    pytest.param((1.0, 1.0), "none", id="plain", marks=pytest.mark.slow),
    pytest.param((2.0, 1.0), "none", id="weights", marks=pytest.mark.slow),
    pytest.param((1.5, 1.0), "shots", id="balanced"),
]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("records")
    for name, frames, film_id, shards in zip("ab", FRAMES, IDS, (4, 3), strict=True):
        write_numbered_film(folder / name, frames, *SHAPE, num_shards=shards, film_id=film_id)
    return [folder / "a", folder / "b"]


def parts_of(films: list[Path], weights: tuple[float, ...] = (1.0, 1.0)) -> list[FilmPart]:
    return [
        FilmPart(path, load_card(path), weight=weight)
        for path, weight in zip(films, weights, strict=True)
    ]


def held_out(parts: list[FilmPart]) -> list[FilmPart]:
    """Keep frames 3 to 12 of each film from training."""
    frames = [np.arange(part.card.frames) for part in parts]
    return [
        dataclasses.replace(part, keep=(number < 3) | (number > 12))
        for part, number in zip(parts, frames, strict=True)
    ]


def frames_of(dataset: tf.data.Dataset, batches: int) -> NDArray[np.int64]:
    """Return frames' numbers in the set: int64 [batches, batch]."""
    first = np.array([0, FRAMES[0]])
    return np.stack([first[b["film"].numpy()] + b["index"].numpy() for b in dataset.take(batches)])


# --- Who is who ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_every_pass_visits_every_frame_of_every_film_once(
    films: list[Path], mode: dict[str, Any]
) -> None:
    order = frames_of(mixed_frames(parts_of(films), batch_size=8, seed=3, **mode), 32).ravel()
    passes = order[: 3 * ALL].reshape(3, ALL)
    assert (np.sort(passes) == np.arange(ALL)).all()
    # Films are mixed, not one after the other.
    assert (passes[:, :40] < FRAMES[0]).any(axis=1).all()
    assert (passes[:, :40] >= FRAMES[0]).any(axis=1).all()


@pytest.mark.parametrize("mode", MODES)
def test_pictures_are_those_of_film_and_index(films: list[Path], mode: dict[str, Any]) -> None:
    originals = [np.concatenate([b["image"] for b in film_frames(f, batch_size=9)]) for f in films]
    for batch in mixed_frames(parts_of(films), batch_size=9, seed=3, **mode).take(10):
        values = (batch[name].numpy() for name in ("image", "film", "index"))
        for picture, film, index in zip(*values, strict=True):
            assert read_number(picture) == index
            assert (picture == originals[film][index]).all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("weights", "balance"), SETS)
def test_frames_come_as_often_as_their_quota(
    films: list[Path], mode: dict[str, Any], weights: tuple[float, ...], balance: str
) -> None:
    parts = held_out(parts_of(films, weights))
    often = quotas(parts, balance)
    per_pass = round(often.sum())
    dataset = mixed_frames(parts, batch_size=per_pass, seed=3, balance=balance, **mode)
    found = np.stack([np.bincount(order, minlength=ALL) for order in frames_of(dataset, 4)])
    assert (found[:, often == 0] == 0).all(), "held-out frames never come"
    exact = often * per_pass / often.sum()
    assert (np.abs(found.sum(axis=0) - 4 * exact) < 1.001).all()
    if balance == "none":
        assert (found == often).all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("weights", "balance"), SOME_SETS)
def test_going_on_anywhere_gives_what_would_have_come(
    films: list[Path], mode: dict[str, Any], weights: tuple[float, ...], balance: str
) -> None:
    parts = held_out(parts_of(films, weights))
    arguments: dict[str, Any] = {"batch_size": 8, "seed": 5, "balance": balance, **mode}
    whole = frames_of(mixed_frames(parts, **arguments), 34)
    for first in (1, 2, 3, 9, 13, 20, 31):
        rest = frames_of(mixed_frames(parts, first_batch=first, **arguments), 3)
        assert (rest == whole[first : first + 3]).all(), first


@pytest.mark.parametrize(("weights", "balance"), SETS)
def test_the_streamed_order_is_the_one_computed_from_numbers(
    films: list[Path], weights: tuple[float, ...], balance: str
) -> None:
    parts = parts_of(films, weights)
    draws = Draws(quotas(parts, balance), tf.constant([5, 0], tf.int64))
    lengths = np.array([shard.frames for part in parts for shard in part.card.shards])
    order = StreamedOrder(lengths, np.concatenate([[0], np.cumsum(lengths)[:-1]]), 16)
    expected = []
    for epoch in range(3):
        number = tf.constant(epoch, tf.int64)
        seed = fold_in(tf.constant([5, 0], tf.int64), number)
        expected += order.draws(seed, draws.counts(number).numpy()).tolist()
    dataset = mixed_frames(
        parts, batch_size=1, seed=5, balance=balance, in_memory=False, shuffle_buffer=16
    )
    assert frames_of(dataset, len(expected)).ravel().tolist() == expected


def test_what_is_left_out_is_not_read(films: list[Path], tmp_path: Path) -> None:
    """Damage before the place to resume at would be found, were it read."""
    write_numbered_film(tmp_path / "film", 400, 24, 32, num_shards=4)
    card = load_card(tmp_path / "film")
    arguments: dict[str, Any] = {
        "batch_size": 8, "seed": 5, "in_memory": False, "shuffle_buffer": 16
    }  # fmt: skip
    part = FilmPart(tmp_path / "film", card)
    *_, expected = mixed_frames([part], **arguments).take(131)
    for shard in card.shards:
        path = tmp_path / "film" / shard.name
        data = bytearray(path.read_bytes())
        place = 0
        for number, record in enumerate(read_records(path)):
            if number < 50:
                data[place + 40] ^= 0xFF
            place += len(record) + 16
        path.write_bytes(data)
    with pytest.raises(tf.errors.DataLossError):
        list(mixed_frames([part], **arguments).take(1))
    (batch,) = mixed_frames([part], first_batch=130, **arguments).take(1)
    assert (batch["index"].numpy() == expected["index"].numpy()).all()


# --- What does not go together ------------------------------------------------------------------


def test_films_of_different_size_are_refused(films: list[Path], tmp_path: Path) -> None:
    write_numbered_film(tmp_path / "small", 4, 24, 32, film_id="0" * 16)
    parts = parts_of([films[0], tmp_path / "small"])
    with pytest.raises(RecordsError, match=rf"^{tmp_path}/small: frames are 24x32 but those of "
                       rf"{films[0]} are 72x128; convert .* --height=72 --width=128$"):  # fmt: skip
        check_together(parts)


def test_one_film_twice_is_refused(films: list[Path]) -> None:
    with pytest.raises(RecordsError, match=r"is the same film as .*; name it once"):
        mixed_frames(parts_of([films[0], films[0]]), batch_size=4, seed=1, in_memory=True)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_weights(films: list[Path], weight: float) -> None:
    with pytest.raises(ValueError, match="not above 0"):
        check_together(parts_of(films, (1.0, weight)))
    with pytest.raises(ValueError, match="at least one film"):
        check_together([])


def test_a_record_of_a_stranger_does_not_pass(films: list[Path], tmp_path: Path) -> None:
    write_numbered_film(tmp_path / "film", 8, 24, 32, num_shards=1)
    card = load_card(tmp_path / "film")
    path = tmp_path / "film" / card.shards[0].name
    records = list(read_records(path))
    with path.open("wb") as file:
        for record in records:
            write_record(file, record.replace(FILM_ID.encode(), IDS[1].encode()))
    assert parse(next(read_records(path))).film_id == IDS[1]
    part = FilmPart(tmp_path / "film", card)
    with pytest.raises(tf.errors.InvalidArgumentError, match="not the frame that is due"):
        list(mixed_frames([part], batch_size=4, seed=1, in_memory=False).take(1))


# --- Several workers ----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("workers", [3, pytest.param(8, marks=pytest.mark.slow)])
def test_any_number_of_workers_shares_the_frames(
    films: list[Path], mode: dict[str, Any], workers: int
) -> None:
    """More workers than shards too; their batches in a row are those of one reader."""
    batches = mixed_frames(parts_of(films), batch_size=4 * workers, seed=5, **mode)
    whole = frames_of(batches, 3)
    for first in (0, 2) if workers == 3 else (2,):
        shares = []
        for worker in range(workers):
            context = tf.distribute.InputContext(workers, worker, workers)
            shard = (context.input_pipeline_id, context.num_input_pipelines)
            dataset = mixed_frames(
                parts_of(films), batch_size=4, seed=5, first_batch=first, shard=shard, **mode
            )
            shares.append(frames_of(dataset, 3 - first))
        np.testing.assert_array_equal(np.concatenate(shares, axis=1), whole[first:])


@pytest.mark.parametrize("workers", [pytest.param(2, marks=pytest.mark.slow), 5])
@pytest.mark.parametrize("mode", MODES)
def test_distribute_divides_batches_among_workers(
    films: list[Path], mode: dict[str, Any], workers: int
) -> None:
    """As MultiWorkerMirroredStrategy does; 7 shards would not suffice for AUTO."""
    from tensorflow.python.data.experimental.ops import distribute

    dataset = mixed_frames(parts_of(films), batch_size=4, seed=5, **mode)
    whole = frames_of(dataset, 4 * workers).reshape(4, workers, 4)
    for worker in range(workers):
        share = distribute._AutoShardDataset(dataset, workers, worker)
        assert (frames_of(share, 4) == whole[:, worker]).all()
    films_share = film_frames(films[0], batch_size=4)
    together = [
        batch["index"].numpy()
        for worker in range(workers)
        for batch in distribute._AutoShardDataset(films_share, workers, worker)
    ]
    assert sorted(np.concatenate(together)) == list(range(FRAMES[0]))


# --- Padding ------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 8, 53, 60])
def test_padded_batches_have_one_shape_and_say_what_is_real(
    films: list[Path], batch_size: int
) -> None:
    dataset = film_frames(films[0], batch_size=batch_size, pad=True)
    assert dataset.element_spec["image"].shape == (batch_size, *SHAPE, 3)
    assert dataset.element_spec["mask"] == tf.TensorSpec((batch_size,), tf.bool)
    batches = [{name: v.numpy() for name, v in batch.items()} for batch in dataset]
    whole = {name: np.concatenate([b[name] for b in batches]) for name in batches[0]}
    mask = whole["mask"]
    assert len(mask) == -(-FRAMES[0] // batch_size) * batch_size
    assert mask.tolist() == [True] * FRAMES[0] + [False] * (len(mask) - FRAMES[0])
    assert whole["index"][mask].tolist() == list(range(FRAMES[0]))
    assert not whole["image"][~mask].any() and not whole["pts"][~mask].any()
    assert read_number(whole["image"][mask][-1]) == FRAMES[0] - 1


# --- tf.data service ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dispatcher() -> Iterator[tf.data.experimental.service.DispatchServer]:
    service = tf.data.experimental.service
    server = service.DispatchServer(service.DispatcherConfig(port=0))
    yield server
    server._stop()


def start_worker(address: str) -> tf.data.experimental.service.WorkerServer:
    service = tf.data.experimental.service
    return service.WorkerServer(
        service.WorkerConfig(dispatcher_address=address, heartbeat_interval_ms=100)
    )


def test_a_service_gives_the_same_order_and_no_frame_twice(
    films: list[Path], dispatcher: tf.data.experimental.service.DispatchServer
) -> None:
    address = dispatcher.target.removeprefix("grpc://")
    here = mixed_frames(parts_of(films), batch_size=8, seed=5, in_memory=False, shuffle_buffer=16)
    first = start_worker(address)
    there = through_service(here, dispatcher.target)
    assert there.element_spec == here.element_spec
    assert (frames_of(there, 30) == frames_of(here, 30)).all(), "one worker"
    second = start_worker(address)
    together = frames_of(through_service(here, dispatcher.target), 100).ravel()
    counts = np.bincount(together, minlength=ALL)
    # Two passes at a time: whole ones count alike, those begun count more or less by one each.
    assert counts.min() >= 1 and np.ptp(counts) <= len(together) // ALL
    for worker in (first, second):
        worker._stop()
