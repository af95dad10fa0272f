"""Conversions into folders that exist."""

import dataclasses
import os
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from bladerunner_ae.conversion.convert import convert_film, plan_conversion
from bladerunner_ae.conversion.existing import finished_card, refuse_other_identity
from bladerunner_ae.conversion.options import ConversionOptions
from bladerunner_ae.errors import InputError
from tests.helpers.small_records import flip_byte
from tfrecords.card import FilmCard
from tfrecords.record_errors import RecordsError

FilmFactory = Callable[..., Path]
SMALL = ConversionOptions(height=72, width=128, num_shards=4, bars=(0, 0, 0, 0))


def convert(
    film: Path, output: Path, options: ConversionOptions = SMALL, **arguments: Any
) -> tuple[Path, FilmCard]:
    plan = plan_conversion(film, output, options)
    return plan.directory, convert_film(plan, **arguments)


@pytest.fixture
def records(film_factory: FilmFactory, tmp_path: Path) -> tuple[Path, Path, FilmCard]:
    """A film of its own, its records and their card."""
    film = tmp_path / "film.mp4"
    shutil.copy2(film_factory(frames=12, height=96, width=160), film)
    folder, card = convert(film, tmp_path / "data")
    return film, folder, card


Records = tuple[Path, Path, FilmCard]


def test_the_same_again_is_up_to_date(records: Records) -> None:
    film, folder, card = records
    assert finished_card(film, folder, SMALL) == card
    os.utime(film)  # touched, and still the same
    assert finished_card(film, folder, SMALL) == card
    # The rate of a folder of images means nothing to a film.
    other = dataclasses.replace(SMALL, frame_rate=Fraction(30))
    assert finished_card(film, folder, other) == card


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"height": 144}, "--height: 72 -> 144"),
        ({"width": None}, "--width: 128 -> not given"),
        ({"bars": (138, 138, 0, 0)}, "--crop_bars: none -> 138:138:0:0"),
        ({"quality": 90}, "--quality: 95 -> 90"),
        ({"image_format": "png"}, "--format: jpeg -> png"),
        ({"bars": None}, "--crop_bars: none -> auto"),
        ({"start": Fraction(1, 2)}, "--start: the beginning -> 1/2"),
        ({"fit": "cover", "num_shards": 2}, "--fit: contain -> cover; --num_shards: 4 -> 2"),
    ],
)
def test_other_options_are_named(records: Records, change: dict[str, Any], words: str) -> None:
    film, folder, _ = records
    with pytest.raises(InputError, match=f"holds other records .{words}.; use --overwrite or ano"):
        finished_card(film, folder, dataclasses.replace(SMALL, **change))


def test_another_film_of_the_same_name_is_noticed(records: Records) -> None:
    film, folder, _ = records
    flip_byte(film, -1)
    with pytest.raises(InputError, match=r"film\.mp4 had another content"):
        finished_card(film, folder, SMALL)
    assert finished_card(film, folder, SMALL, overwrite=True) is None


def test_damaged_records_are_named(records: Records) -> None:
    film, folder, card = records
    with (folder / card.shards[2].name).open("rb+") as file:
        file.truncate(100)
    with pytest.raises(RecordsError, match=card.shards[2].name):
        finished_card(film, folder, SMALL)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, overwrite: bool) -> None:
    folder = tmp_path / "film"
    folder.mkdir()
    assert finished_card(tmp_path, folder, SMALL, overwrite) is None  # empty: nothing to lose
    (folder / "diary.txt").write_text("mine")
    with pytest.raises(InputError, match="exists and holds no records"):
        finished_card(tmp_path, folder, SMALL, overwrite)


def test_shards_without_their_card_are_replaced_if_asked_for(records: Records) -> None:
    film, folder, card = records
    (folder / "film.json").unlink()
    (folder / ".film.json.4711").write_text("{")  # whoever wrote it was killed
    with pytest.raises(InputError, match=r"card film\.json is missing; put it back, or use"):
        finished_card(film, folder, SMALL)
    assert finished_card(film, folder, SMALL, overwrite=True) is None
    plan = plan_conversion(film, folder.parent, SMALL)
    assert convert_film(plan, overwrite=True) == card
    assert len(list(folder.iterdir())) == 1 + len(card.shards)

    (folder / "film.json").unlink()
    (folder / "diary.txt").write_text("mine")
    with pytest.raises(InputError, match="holds no records"):
        finished_card(film, folder, SMALL, overwrite=True)


def test_overwriting_keeps_the_film_that_lies_among_its_records(records: Records) -> None:
    film, folder, card = records
    inside = Path(shutil.copy2(film, folder / "film.mp4"))
    film.unlink()
    (folder / "notes.txt").write_text("mine")
    other = dataclasses.replace(SMALL, quality=90, num_shards=2)
    again = convert_film(plan_conversion(inside, folder.parent, other), overwrite=True)
    assert (again.film_id, len(again.shards)) == (card.film_id, 2)
    assert (folder / "notes.txt").read_text() == "mine" and inside.stat().st_size
    assert finished_card(inside, folder, other) == again
    assert len(list(folder.iterdir())) == 1 + 2 + 2


def test_a_film_in_a_folder_that_a_conversion_empties_is_refused(records: Records) -> None:
    film, folder, _ = records
    hidden = folder.with_name(".film.partial")
    hidden.mkdir()
    film = Path(shutil.move(film, hidden / "film.mp4"))
    with pytest.raises(InputError, match=r"is in \.film\.partial, where records are made"):
        plan_conversion(film, folder.parent, SMALL)
    assert film.exists()


def test_leftovers_of_a_kill_after_the_last_rename(records: Records) -> None:
    film, folder, card = records
    folder.with_name(".film.state").mkdir()
    folder.with_name(".film.lock").touch()
    assert finished_card(film, folder, SMALL) == card
    assert [path.name for path in folder.parent.iterdir()] == ["film"]


BEFORE: dict[str, Any] = {
    "film": "0" * 64, "height": 72, "bars": None, "geometry": {"crop": 1}, "tool_version": "1",
}  # fmt: skip


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"height": 144, "geometry": {"crop": 2}}, "other options is there (--height: 72 -> 144);"),
        ({"film": "f" * 64, "geometry": {}}, "of another film, or of an earlier version of this"),
        ({"geometry": {}}, "(the film's picture is placed otherwise in the records);"),
        ({"tool_version": "2"}, "(another version of this program began it);"),
    ],
)
def test_an_unfinished_run_of_something_else(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError) as caught:
        refuse_other_identity(Path("data/film"), BEFORE, BEFORE | change)
    message = str(caught.value)
    assert message.startswith("data/film: an unfinished run ")
    assert words in message and "--overwrite" in message
    assert "000" not in message and "fff" not in message
    refuse_other_identity(Path("data/film"), BEFORE, dict(BEFORE))
