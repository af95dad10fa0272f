"""The readers: every frame is the one it says, and orders are laws."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from tests.helpers.parameters import some_slow
from tests.helpers.small_records import encode, flip_byte, write_numbered_film, write_small_film
from tests.helpers.synthetic_film import film_pictures, read_number
from tfrecords import reader, record_streams, storage
from tfrecords.card import load_card
from tfrecords.reader import decode_image, explain_data_loss, film_frames, training_frames
from tfrecords.record_errors import RecordsError

ROOT = Path(__file__).parent.parent.parent
FRAMES = 53  # prime: no batch size divides it
HEIGHT, WIDTH = 48, 80

# Either way of holding a training set; both must obey the same laws.
MODES: list[Any] = [
    pytest.param({}, id="in memory"),
    pytest.param({"memory_limit": 0, "shuffle_buffer": 16}, id="streamed"),
]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of 53 numbered pictures in 4 shards; not to be damaged."""
    directory = tmp_path_factory.mktemp("records") / "film"
    write_numbered_film(directory, FRAMES, HEIGHT, WIDTH)
    return directory


@pytest.fixture
def fragile_film(film: Path, tmp_path: Path) -> Path:
    """Return a copy of `film` to damage."""
    return Path(shutil.copytree(film, tmp_path / "film"))


def indices(dataset: tf.data.Dataset, batches: int) -> NDArray[np.int64]:
    """Return the frame numbers of the first batches, int64 [batches, batch]."""
    return np.stack([batch["index"].numpy() for batch in dataset.take(batches)])


# --- Decoding -----------------------------------------------------------------------------------


@pytest.mark.parametrize("image_format", ["jpeg", "png"])
def test_decoded_picture_is_the_encoded_one(image_format: str) -> None:
    (picture,) = film_pictures(1, 72, 128)
    image = decode_image(tf.constant(encode(picture, image_format)), 72, 128)
    assert image.dtype == tf.uint8 and image.shape == (72, 128, 3)
    error = np.abs(image.numpy().astype(int) - picture)
    if image_format == "png":
        assert error.max() == 0
    else:
        assert 0 < error.mean() < 3  # grain and hard edges cost something at quality 95


def test_decoded_picture_of_another_size_is_refused() -> None:
    encoded = tf.constant(encode(np.zeros((72, 128, 3), np.uint8)))
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError), match="128"):
        decode_image(encoded, 128, 72)


# --- Film order ---------------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [1, 8, 53, 60])
@pytest.mark.parametrize("parallel", [1, 4, tf.data.AUTOTUNE])
def test_film_order(film: Path, batch_size: int, parallel: int) -> None:
    batches = list(film_frames(film, batch_size=batch_size, parallel=parallel))
    sizes = [len(batch["index"]) for batch in batches]
    assert sizes == [batch_size] * (FRAMES // batch_size) + [FRAMES % batch_size] * (
        FRAMES % batch_size > 0
    )
    frames = [(i, p) for b in batches for i, p in zip(b["index"], b["pts"], strict=True)]
    assert frames == [(number, 1001 * number - 5) for number in range(FRAMES)]


@pytest.mark.parametrize("image_format", ["jpeg", "png"])
def test_pictures_are_those_of_their_numbers(tmp_path: Path, image_format: str) -> None:
    directory = tmp_path / "film"
    write_numbered_film(directory, 30, image_format=image_format)
    for dataset in (
        film_frames(directory, batch_size=7),
        training_frames(directory, batch_size=7, seed=1).take(9),
        training_frames(directory, batch_size=7, seed=1, memory_limit=0).take(9),
    ):
        for batch in dataset:
            numbers = [read_number(picture) for picture in batch["image"].numpy()]
            assert numbers == batch["index"].numpy().tolist()


def test_film_order_of_a_remote_folder(film: Path) -> None:
    remote = "memory://reader/film"
    for path in film.iterdir():
        storage.copy_to_remote(path, f"{remote}/{path.name}")
    (batch,) = film_frames(remote, batch_size=100)
    assert batch["index"].numpy().tolist() == list(range(FRAMES))
    for mode in ({}, {"memory_limit": 0}):
        ours = training_frames(film, batch_size=8, seed=1, **mode)
        theirs = training_frames(remote, batch_size=8, seed=1, **mode)
        assert sorted(indices(theirs, 7).ravel()[:FRAMES]) == list(range(FRAMES))
        if not mode:
            assert (indices(ours, 7) == indices(theirs, 7)).all()


# --- Training order -----------------------------------------------------------------------------


def test_element_shapes_are_static(film: Path) -> None:
    spec = training_frames(film, batch_size=8, seed=1).element_spec
    assert spec["image"] == tf.TensorSpec((8, HEIGHT, WIDTH, 3), tf.uint8)
    assert spec["index"] == tf.TensorSpec((8,), tf.int64)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("batch_size", some_slow(8, 60, of=(1, 8, 53, 60)))
def test_every_epoch_visits_every_frame_once(
    film: Path, mode: dict[str, int], batch_size: int
) -> None:
    epochs = 3
    dataset = training_frames(film, batch_size=batch_size, seed=3, **mode)
    order = indices(dataset, -(-epochs * FRAMES // batch_size)).ravel()
    visited = order[: epochs * FRAMES].reshape(epochs, FRAMES)
    assert (np.sort(visited) == np.arange(FRAMES)).all()
    orders = {tuple(epoch) for epoch in visited}
    assert len(orders | {tuple(range(FRAMES))}) == epochs + 1  # all different, none in film order


@pytest.mark.parametrize(
    ("mode", "batch_size", "with_holdout"),
    [
        pytest.param(MODES[0].values[0], 8, False, id="8-False-in memory"),
        pytest.param(MODES[1].values[0], 60, True, id="60-True-streamed"),
        pytest.param(MODES[0].values[0], 60, True, id="60-True-in memory", marks=pytest.mark.slow),
        pytest.param(MODES[1].values[0], 8, False, id="8-False-streamed", marks=pytest.mark.slow),
    ],
)
def test_first_batch_continues_exactly(
    film: Path, mode: dict[str, int], batch_size: int, with_holdout: bool
) -> None:
    keep = (np.arange(FRAMES) % 4 != 1) if with_holdout else None
    arguments: dict[str, Any] = {"batch_size": batch_size, "seed": 5, "keep": keep, **mode}
    whole = indices(training_frames(film, **arguments), 16)
    for first in (0, 1, 5, 6, 7, 13, 15):  # 53 / 8: an epoch ends within batch 6
        rest = indices(training_frames(film, first_batch=first, **arguments), min(3, 16 - first))
        assert (rest == whole[first : first + 3]).all(), first


@pytest.mark.parametrize("mode", MODES)
def test_pictures_continue_exactly_too(film: Path, mode: dict[str, int]) -> None:
    *_, whole = training_frames(film, batch_size=8, seed=5, **mode).take(10)
    (rest,) = training_frames(film, batch_size=8, seed=5, first_batch=9, **mode).take(1)
    assert (whole["image"].numpy() == rest["image"].numpy()).all()


def test_pictures_decoded_beforehand_are_those_decoded_each_time(
    film: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = list(training_frames(film, batch_size=8, seed=5).take(9))
    monkeypatch.setattr(record_streams, "DECODED_BYTES", FRAMES * HEIGHT * WIDTH * 3 - 1)
    each_time = list(training_frames(film, batch_size=8, seed=5).take(9))
    for ours, theirs in zip(decoded, each_time, strict=True):
        np.testing.assert_array_equal(ours["image"], theirs["image"])
        np.testing.assert_array_equal(ours["index"], theirs["index"])


def test_damaged_picture_in_memory_is_met_in_training(tmp_path: Path) -> None:
    write_small_film(tmp_path / "film")
    batches = training_frames(tmp_path / "film", batch_size=8, seed=1)
    with pytest.raises(tf.errors.InvalidArgumentError):
        list(batches.take(9))


def test_far_first_batch_costs_no_more_than_an_epoch(film: Path) -> None:
    # A million batches of one second each could not be read through.
    for mode in ({}, {"memory_limit": 0}):
        dataset = training_frames(film, batch_size=53, seed=5, first_batch=10**9, **mode)
        assert sorted(indices(dataset, 1)[0]) == list(range(FRAMES))


@pytest.mark.parametrize("mode", MODES)
def test_order_follows_from_the_seed_alone(film: Path, mode: dict[str, int]) -> None:
    first = indices(training_frames(film, batch_size=8, seed=1, **mode), 14)
    tf.random.set_seed(99)
    again = indices(training_frames(film, batch_size=8, seed=1, **mode), 14)
    other = indices(training_frames(film, batch_size=8, seed=2, **mode), 14)
    assert (first == again).all()
    assert (first != other).any()


@pytest.mark.parametrize("mode", MODES)
def test_iterating_twice_gives_the_same(film: Path, mode: dict[str, int]) -> None:
    dataset = training_frames(film, batch_size=8, seed=1, **mode)
    assert (indices(dataset, 14) == indices(dataset, 14)).all()


@pytest.mark.slow
def test_order_is_the_same_in_a_fresh_process_on_one_core(film: Path) -> None:
    program = (
        "import sys, tensorflow as tf\n"
        "from tests.tfrecords.test_reader import MODES, indices, training_frames\n"
        "tf.config.threading.set_inter_op_parallelism_threads(1)\n"
        "tf.config.threading.set_intra_op_parallelism_threads(1)\n"
        "for mode in MODES:\n"
        "    arguments = mode.values[0]\n"
        "    dataset = training_frames(sys.argv[1], batch_size=8, seed=11, **arguments)\n"
        "    print(indices(dataset, 20).ravel().tolist())\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program, str(film)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONHASHSEED": "1"},
    )
    orders = [
        indices(training_frames(film, batch_size=8, seed=11, **mode.values[0]), 20).ravel()
        for mode in MODES
    ]
    assert result.stdout.splitlines() == [str(order.tolist()) for order in orders], result.stderr


@pytest.mark.parametrize(
    ("mode", "first"),
    [
        (MODES[0].values[0], [1, 4, 20, 35, 51, 27, 37, 25, 13, 9]),
        (MODES[1].values[0], [30, 2, 16, 29, 14, 43, 3, 40, 0, 15]),
    ],
)
def test_order_is_pinned(film: Path, mode: dict[str, int], first: list[int]) -> None:
    """A run that is resumed after an update must keep its old order."""
    dataset = training_frames(film, batch_size=10, seed=0, **mode)
    assert indices(dataset, 1)[0].tolist() == first


def test_streamed_order_mixes_the_whole_film(tmp_path: Path) -> None:
    # Neighbouring frames look alike: a batch has to hold frames from all over the film.
    write_numbered_film(tmp_path / "film", 400, HEIGHT, WIDTH, num_shards=16)
    dataset = training_frames(
        tmp_path / "film", batch_size=32, seed=0, memory_limit=0, shuffle_buffer=128
    )
    for batch in indices(dataset, 10):
        assert np.ptp(batch) > 300
        assert np.median(np.abs(np.diff(batch))) > 50


@pytest.mark.parametrize("mode", MODES)
def test_held_out_frames_never_come(film: Path, mode: dict[str, int]) -> None:
    keep = np.ones(FRAMES, bool)
    keep[10:30] = False
    dataset = training_frames(film, batch_size=8, seed=3, keep=keep, **mode)
    order = indices(dataset, 25).ravel()
    epochs = order[: len(order) // 33 * 33].reshape(-1, 33)
    assert len(epochs) == 6
    assert (np.sort(epochs) == np.flatnonzero(keep)).all()


@pytest.mark.parametrize("mode", MODES)
def test_one_kept_frame_fills_every_batch(film: Path, mode: dict[str, int]) -> None:
    keep = np.arange(FRAMES) == 52
    dataset = training_frames(film, batch_size=4, seed=3, keep=keep, **mode)
    assert (indices(dataset, 3) == 52).all()


@pytest.mark.parametrize(
    "keep",
    [np.zeros(FRAMES, bool), np.ones(FRAMES - 1, bool), np.ones(FRAMES, int)],
    ids=["nothing", "another length", "not bool"],
)
def test_impossible_mask_is_refused(film: Path, keep: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match=r"bool \[53\]"):
        training_frames(film, batch_size=4, seed=3, keep=keep)


def test_small_sets_are_read_once(fragile_film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "Streamed", None)  # would fail
    dataset = training_frames(fragile_film, batch_size=8, seed=3)
    shutil.rmtree(fragile_film)
    assert sorted(indices(dataset, 7).ravel()[:FRAMES]) == list(range(FRAMES))


def test_two_replicas_share_the_batches(film: Path) -> None:
    """MirroredStrategy divides a batch among its replicas and drops nothing."""
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    dataset = training_frames(film, batch_size=8, seed=11).take(5)
    together = [
        np.concatenate([share.numpy() for share in batch["index"].values])
        for batch in strategy.experimental_distribute_dataset(dataset)
    ]
    assert (np.stack(together) == indices(dataset, 5)).all()


# --- Damage -------------------------------------------------------------------------------------


def test_missing_things_are_refused_at_once(fragile_film: Path) -> None:
    path = fragile_film / "frames-00002-of-00004.tfrecord"
    data = path.read_bytes()
    for read in (film_frames, training_frames):
        seed = {"seed": 1} if read is training_frames else {}
        path.write_bytes(data[:-1])
        with pytest.raises(RecordsError, match=rf"^{path}: record 12 \(from 0\) is cut short"):
            read(fragile_film, batch_size=8, **seed)
        path.unlink()
        with pytest.raises(RecordsError, match=f"^{path}: shard is missing"):
            read(fragile_film, batch_size=8, **seed)
        path.write_bytes(data)
    (fragile_film / "film.json").unlink()
    with pytest.raises(RecordsError, match=r"has no film\.json"):
        film_frames(fragile_film, batch_size=8)
    with pytest.raises(RecordsError, match="there is no such folder"):
        training_frames(fragile_film / "none", batch_size=8, seed=1)


def test_flipped_byte_is_data_loss_and_is_explained(fragile_film: Path) -> None:
    card = load_card(fragile_film)
    path = fragile_film / "frames-00001-of-00004.tfrecord"
    flip_byte(path, -200)  # in the last of its records, number 12
    message = rf"^{re.escape(str(path))}: record 12 \(from 0\) is damaged \(checksum of its data\);"

    frames = []
    with pytest.raises(tf.errors.DataLossError):
        for batch in film_frames(fragile_film, batch_size=1):
            frames += batch["index"].numpy().tolist()
    assert frames == list(range(len(frames))) and len(frames) <= card.shards[1].first_frame + 12

    with pytest.raises(tf.errors.DataLossError):
        list(training_frames(fragile_film, batch_size=8, seed=1, memory_limit=0).take(10))
    with pytest.raises(RecordsError, match=message):
        training_frames(fragile_film, batch_size=8, seed=1)

    error = explain_data_loss(fragile_film, card)
    assert isinstance(error, RecordsError)
    assert re.match(message, str(error))


def test_explanation_of_other_losses(fragile_film: Path) -> None:
    card = load_card(fragile_film)
    assert "every record is undamaged when read again" in str(explain_data_loss(fragile_film, card))
    path = fragile_film / card.shards[3].name
    path.unlink()
    assert str(explain_data_loss(fragile_film, card)).startswith(f"{path}: shard is missing")


def test_shard_of_another_film_is_refused(fragile_film: Path, tmp_path: Path) -> None:
    first, second = (fragile_film / f"frames-0000{n}-of-00004.tfrecord" for n in (1, 2))
    data = first.read_bytes(), second.read_bytes()
    card = load_card(fragile_film)
    # The right size, sound records, the wrong place.
    shards = [*card.shards[:1], *card.shards[1:3], *card.shards[3:]]
    first.write_bytes(data[1])
    second.write_bytes(data[0])
    text = (fragile_film / "film.json").read_text()
    sizes = [str(shard.bytes) for shard in shards]
    text = text.replace(f'"bytes": {sizes[1]},', '"bytes": -1,')
    text = text.replace(f'"bytes": {sizes[2]},', f'"bytes": {sizes[1]},')
    text = text.replace('"bytes": -1,', f'"bytes": {sizes[2]},')
    (fragile_film / "film.json").write_text(text)
    with pytest.raises(
        RecordsError, match=r"record 0 \(from 0\) is frame 27 of film .*, not frame 14"
    ):
        training_frames(fragile_film, batch_size=8, seed=1)


def test_record_that_is_no_picture(tmp_path: Path) -> None:
    write_small_film(tmp_path / "film")
    with pytest.raises(tf.errors.InvalidArgumentError):
        list(film_frames(tmp_path / "film", batch_size=8))
