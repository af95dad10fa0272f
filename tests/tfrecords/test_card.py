"""The card: what it keeps, and what is said when it or a shard is not there."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.small_records import flip_byte, write_small_film
from tfrecords import storage
from tfrecords.card import CARD_NAME, FilmCard, check_shards, load_card, save_card
from tfrecords.record_errors import RecordsError

CURE = "run make_tfrecords again with --overwrite"


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Return a folder of 90 frames in 4 shards: 23, 23, 22 and 22."""
    write_small_film(tmp_path / "film", frames=90)
    return tmp_path / "film"


def change_card(film: Path, **changes: Any) -> None:
    """Rewrite single values of film.json; None removes a key."""
    values = json.loads((film / CARD_NAME).read_text())
    values = {k: v for k, v in (values | changes).items() if v is not None}
    (film / CARD_NAME).write_text(json.dumps(values))


def test_round_trip_is_exact(film: Path) -> None:
    card = load_card(film)
    assert card.frame_rate == Fraction(24000, 1001)
    assert card.shots() == [(0, 40), (40, 80), (80, 90)]
    assert FilmCard.from_json(json.loads(json.dumps(card.to_json()))) == card
    text = (film / CARD_NAME).read_bytes()
    save_card(film, card)
    assert (film / CARD_NAME).read_bytes() == text
    assert load_card(str(film)) == card


def test_card_is_readable_for_people(film: Path) -> None:
    text = (film / CARD_NAME).read_text(encoding="utf-8")
    assert '\n  "frame_rate": "24000/1001",\n' in text
    assert "ümlaut" in text


def test_saving_replaces_whole_or_not_at_all(film: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (film / CARD_NAME).read_bytes()
    card = load_card(film)

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        save_card(film, replace(card, notes=["changed"]))
    assert (film / CARD_NAME).read_bytes() == before
    assert not [path for path in film.iterdir() if path.name.startswith(".")]


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match=f"^{tmp_path}/none: there is no such folder; make it"):
        load_card(tmp_path / "none")


def test_file_in_place_of_the_folder(film: Path) -> None:
    path = film / CARD_NAME
    with pytest.raises(RecordsError, match=f"^{path}: is a file; give the folder of a film's"):
        load_card(path)


def test_missing_card(film: Path) -> None:
    (film / CARD_NAME).unlink()
    message = (
        f"^{film}: has no film.json, the card without which its records mean nothing; "
        "put it back or run make_tfrecords again with --overwrite$"
    )
    with pytest.raises(RecordsError, match=message):
        load_card(film)


def test_a_folder_one_level_too_high(film: Path) -> None:
    words = f"^{film.parent}: holds folders of records, not records; .* such as {film}$"
    with pytest.raises(RecordsError, match=words):
        load_card(film.parent)


def test_a_shard_that_is_not_on_the_card_is_named(film: Path) -> None:
    card = load_card(film)
    check_shards(film, card)
    (film / "notes.txt").write_text("mine")
    check_shards(film, card)
    (film / "frames-00016-of-00017.tfrecord").touch()
    with pytest.raises(
        RecordsError, match=r"/frames-00016-of-00017\.tfrecord: is no shard of this"
    ):
        check_shards(film, card)


def test_newer_schema_is_refused_before_anything_else(film: Path) -> None:
    (film / CARD_NAME).write_text('{"schema_version": 7}')
    message = f"^{film}/film.json: has schema version 7 but this program reads up to 1; update"
    with pytest.raises(RecordsError, match=message):
        load_card(film)


def test_unknown_key_of_the_same_schema_is_ignored(film: Path) -> None:
    card = load_card(film)
    change_card(film, mood="melancholy")
    assert load_card(film) == card


@pytest.mark.parametrize("text", ["", "{", "[1]", "\x00\x01", '{"schema_version": 1}'])
def test_damaged_card(film: Path, text: str) -> None:
    (film / CARD_NAME).write_text(text)
    with pytest.raises(RecordsError, match=rf"^{film}/film.json: is damaged \(.*\); {CURE}$"):
        load_card(film)


def test_card_that_is_not_utf_8(film: Path) -> None:
    (film / CARD_NAME).write_bytes(b'{"a": "\xff\xfe"}')
    with pytest.raises(RecordsError, match="is damaged"):
        load_card(film)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"height": None}, "'height' is missing"),
        ({"height": "72"}, "'height' is '72', not of type int"),
        ({"frames": True}, "'frames' is True, not of type int"),
        ({"shards": {}}, r"'shards' is \{\}, not of type list"),
        ({"shards": [{"name": "x"}]}, "malformed"),
        ({"shards": ["x"]}, "malformed"),
        ({"shot_starts": [0, "x"]}, "malformed"),
        ({"frame_rate": "24/0"}, "malformed"),
        ({"frame_rate": "fast"}, "fast"),
        ({"frames": 91}, "'shards' hold 90 frames but 'frames' is 91"),
        ({"shot_starts": [1, 40]}, "'shot_starts'"),
        ({"shot_starts": [0, 90]}, "'shot_starts'"),
        ({"shot_starts": []}, "'shot_starts'"),
    ],
)
def test_card_that_contradicts_itself(film: Path, changes: dict[str, Any], words: str) -> None:
    change_card(film, **changes)
    with pytest.raises(RecordsError, match=words):
        load_card(film)


def test_shards_out_of_order(film: Path) -> None:
    card = load_card(film)
    change_card(film, shards=card.to_json()["shards"][::-1])
    with pytest.raises(RecordsError, match=r"frames-00003-of-00004\.tfrecord does not follow"):
        load_card(film)


def test_sound_shards_pass(film: Path) -> None:
    check_shards(film, load_card(film))


def test_missing_shard_is_named_with_its_frames(film: Path) -> None:
    path = film / "frames-00001-of-00004.tfrecord"
    path.unlink()
    with pytest.raises(RecordsError, match=rf"^{path}: shard is missing \(frames 23 to 45\); "):
        check_shards(film, load_card(film))


def test_short_shard_is_named_with_the_record_where_it_breaks(film: Path) -> None:
    path = film / "frames-00002-of-00004.tfrecord"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(RecordsError, match=rf"^{path}: record 21 \(from 0\) is cut short; "):
        check_shards(film, load_card(film))


def test_shard_cut_between_records_is_named_with_both_counts(film: Path) -> None:
    path, card = film / "frames-00002-of-00004.tfrecord", load_card(film)
    shutil.copy(film / "frames-00001-of-00004.tfrecord", path)
    sizes = card.shards[1].bytes, card.shards[2].bytes
    message = re.escape(
        f"{path}: holds 23 records in {sizes[0]} bytes but film.json says 22 in {sizes[1]}; "
    )
    with pytest.raises(RecordsError, match=message):
        check_shards(film, card)


def test_check_of_shards_reads_no_records(film: Path) -> None:
    # Damage inside is for `explain_data_loss`; the quick check must stay quick.
    flip_byte(film / "frames-00000-of-00004.tfrecord", 40)
    check_shards(film, load_card(film))


def test_remote_folder(film: Path) -> None:
    remote = "memory://card/film"
    storage.write_text(f"{remote}/notes.txt", "")
    with pytest.raises(RecordsError, match=r"^memory://card/film: has no film\.json"):
        load_card(remote)
    with pytest.raises(RecordsError, match=r"^memory://card/none: there is no such folder"):
        load_card("memory://card/none")
    for path in film.iterdir():
        storage.copy_to_remote(path, f"{remote}/{path.name}")
    card = load_card(remote)
    assert card == load_card(film)
    check_shards(remote, card)
    storage.remove(f"{remote}/{card.shards[3].name}")
    with pytest.raises(RecordsError, match=r"frames-00003-of-00004\.tfrecord: shard is missing"):
        check_shards(remote, card)
