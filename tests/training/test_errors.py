"""Messages of training when a step fails on its records."""

from __future__ import annotations

from pathlib import Path

import pytest
import tensorflow as tf

from bladerunner_ae.evaluation.measurement import explain_reading
from tests.helpers.small_records import flip_byte, write_numbered_film
from tfrecords.card import load_card
from tfrecords.mixture import FilmPart
from tfrecords.reader import film_frames, training_frames
from tfrecords.record_errors import RecordsError

LOSS = tf.errors.DataLossError(None, None, "corrupted record at 12")
OTHER = tf.errors.InvalidArgumentError(None, None, "shapes differ")


@pytest.fixture
def parts(tmp_path: Path) -> list[FilmPart]:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        write_numbered_film(folder, 12)
    return [FilmPart(folder, load_card(folder)) for folder in folders]


def test_damage_is_named(parts: list[FilmPart]) -> None:
    path = Path(parts[1].directory) / parts[1].card.shards[2].name
    flip_byte(path, 300)
    for error in (LOSS, OTHER):
        found = explain_reading(error, parts)
        assert str(found).startswith(f"{path}: record 0 (from 0) is damaged")


def test_a_loss_that_cannot_be_found_again_is_one_line(parts: list[FilmPart]) -> None:
    found = str(explain_reading(LOSS, parts))
    assert found.startswith(
        f"{parts[0].directory}, {parts[1].directory}: reading failed, yet every"
    )
    assert "\n" not in found


def test_other_errors_are_not_blamed_on_records(parts: list[FilmPart]) -> None:
    assert explain_reading(OTHER, parts) is None


def test_a_shard_that_is_not_on_the_card_is_refused(parts: list[FilmPart]) -> None:
    folder = Path(parts[0].directory)
    surplus = folder / "frames-00016-of-00017.tfrecord"
    surplus.touch()
    with pytest.raises(RecordsError, match=f"^{surplus}: is no shard of this film"):
        film_frames(folder, batch_size=4)
    with pytest.raises(RecordsError, match=f"^{surplus}: is no shard of this film"):
        training_frames(folder, batch_size=4, seed=1)
