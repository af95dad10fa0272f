"""Inspection of whole and of damaged records."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from bladerunner_ae.inspection.inspect_folder import Inspection, clock, inspect_film
from bladerunner_ae.inspection.screen import describe
from bladerunner_ae.inspection.verify_shards import verify
from tests.helpers.small_records import (
    FILM_ID,
    PTS_STEP,
    card_maker,
    encode,
    flip_byte,
    record_start,
)
from tests.helpers.synthetic_film import film_pictures
from tfrecords.record_errors import RecordsError
from tfrecords.schema import Frame
from tfrecords.shards import shard_name
from tfrecords.writer import FilmWriter

SHARDS = [shard_name(number, 4) for number in range(4)]


def verified(folder: Path) -> Inspection:
    found = inspect_film(folder)
    verify(found)
    return found


def said(folder: Path) -> list[str]:
    return [str(damage) for damage in verified(folder).damages]


def write_film(folder: Path, change: Callable[[Frame], Frame], frames: int = 8) -> None:
    """Write a film of two shards whose frames `change` may damage, with right checksums."""
    with FilmWriter(folder, frames, 2) as writer:
        for index, picture in enumerate(film_pictures(frames, 72, 128)):
            frame = Frame(encode(picture), "jpeg", 72, 128, index, PTS_STEP * index - 5, FILM_ID)
            writer.write(change(frame))
        writer.commit(card_maker(), overwrite=False)


def test_whole_records_are_whole(whole: Path) -> None:
    found = verified(whole)
    assert found.damages == [] and found.remarks == [] and found.verified == 40
    assert [row.shard.first_frame for row in found.rows] == [0, 10, 20, 30]
    step = 1001 / 24000
    begins = [row.begin for row in found.rows]
    assert begins == pytest.approx([0, 10 * step, 20 * step, 30 * step])
    assert found.rows[3].end == pytest.approx(40 * step)
    text = "\n".join(describe(found))
    for words in (
        "40\n", "0:00:01.668", "23.976 (24000/1001) frames a second, constant",
        "72x128 (height x width), jpeg quality 95 4:4:4", "sound: aac",
        "1\n", "made for a test: ümlaut", "verified: all 40 records are whole",
    ):  # fmt: skip
        assert words in text, words
    values = json.loads(json.dumps(found.to_json()))
    assert values["verified"] == 40 and values["card"]["frames"] == 40
    assert values["seconds"] == pytest.approx(40 * step)


def test_reading_continues_after_damaged_data(film: Path) -> None:
    flip_byte(film / SHARDS[1], record_start(film / SHARDS[1], 2) + 200)
    found = verified(film)
    (damage,) = found.damages
    assert str(damage) == (
        f"{SHARDS[1]}, record 2 (from 0), frame 12, at 0:00:00.500: damaged (checksum of its data)"
    )
    assert found.verified == 39


def test_every_damaged_record_is_named(film: Path) -> None:
    starts = [record_start(film / SHARDS[2], record) for record in (0, 4, 9)]
    for start in starts:
        flip_byte(film / SHARDS[2], start + 300)
    found = verified(film)
    assert [damage.frames for damage in found.damages] == [(20, 20), (24, 24), (29, 29)]
    assert found.verified == 37


def test_next_shard_is_read_after_a_damaged_length(film: Path) -> None:
    flip_byte(film / SHARDS[0], record_start(film / SHARDS[0], 3) + 1)
    flip_byte(film / SHARDS[3], record_start(film / SHARDS[3], 9) + 60)
    lines = said(film)
    assert lines == [
        f"{SHARDS[0]}, record 3 (from 0), frame 3, at 0:00:00.125: "
        "damaged (checksum of its length)",
        f"{SHARDS[0]}, frames 4 to 9, at 0:00:00.167: 6 frames cannot be reached",
        f"{SHARDS[3]}, record 9 (from 0), frame 39, at 0:00:01.627: damaged (checksum of its data)",
    ]


def test_cut_and_grown_shards(film: Path) -> None:
    cut = film / SHARDS[1]
    start = record_start(cut, 6)
    cut.write_bytes(cut.read_bytes()[: start + 40])
    whole_records = film / SHARDS[2]
    whole_records.write_bytes(whole_records.read_bytes()[: record_start(whole_records, 9)])
    with (film / SHARDS[0]).open("ab") as file:
        file.write(b"garbage" * 9)
    with (film / SHARDS[3]).open("ab") as file:
        file.write((film / SHARDS[3]).read_bytes()[: record_start(film / SHARDS[3], 1)])
    assert said(film) == [
        f"{SHARDS[0]}: bytes that are no record follow its last record",
        f"{SHARDS[1]}, record 6 (from 0), frame 16, at 0:00:00.667: cut short",
        f"{SHARDS[1]}, frames 17 to 19, at 0:00:00.709: 3 frames cannot be reached",
        f"{SHARDS[2]}, frame 29, at 0:00:01.210: 1 frame at its end missing",
        f"{SHARDS[3]}: holds more records than the 10 that film.json says",
    ]


def test_exchanged_shards_of_right_size_are_named(film: Path) -> None:
    first, second = film / SHARDS[1], film / SHARDS[2]
    first.rename(film / "other")
    second.rename(first)
    (film / "other").rename(second)
    lines = said(film)
    assert f"{SHARDS[1]}: is the file that should be called {SHARDS[2]}" in lines
    assert (
        f"{SHARDS[1]}, records 0 to 9 (from 0), frames 10 to 19, at 0:00:00.417: "
        "its frame number is off by +10"
    ) in lines
    assert len(lines) == 4 and verified(film).verified == 20


def test_missing_and_extra_shards_are_named_without_reading(film: Path) -> None:
    (film / SHARDS[1]).unlink()
    shutil.copy(film / SHARDS[0], film / "frames-00004-of-00004.tfrecord")
    found = inspect_film(film)
    assert [str(damage) for damage in found.damages] == [
        f"{SHARDS[1]}, frames 10 to 19, at 0:00:00.417: the shard is missing",
        "frames-00004-of-00004.tfrecord: is no shard of this film: film.json lacks it",
    ]
    assert [row.there for row in found.rows] == [True, False, True, True]
    verify(found)
    assert len(found.damages) == 2 and found.verified == 30


def test_without_card_the_shards_tell(film: Path) -> None:
    (film / "film.json").unlink()
    (film / SHARDS[2]).unlink()
    flip_byte(film / SHARDS[3], 500)
    found = verified(film)
    assert found.card is None
    assert [(row.shard.first_frame, row.shard.frames) for row in found.rows][:2] == [
        (0, 10),
        (10, 10),
    ]
    lines = [str(damage) for damage in found.damages]
    assert lines[0] == (
        "film.json: has no film.json, the card without which its records mean nothing"
    )
    assert f"{SHARDS[2]}: the shard is missing" in lines
    assert any(SHARDS[3] in line and "record 0 (from 0)" in line for line in lines)
    assert describe(found)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"schema_version": 1}', b"\xff\xfe"])
def test_damaged_card_is_named(film: Path, content: bytes) -> None:
    (film / "film.json").write_bytes(content)
    found = verified(film)
    assert found.damages[0].file == "film.json" and "is damaged (" in found.damages[0].what
    assert found.verified == 40


def test_edited_card_is_found(film: Path) -> None:
    path = film / "film.json"
    for name, value, words in (
        ("film_id", "f" * 16, "records 0 to 9 (from 0), frames 0 to 9, at 0:00:00.000: belongs to"),
        ("last_pts", 7, "'last_pts' is 7 but the record of frame 39 says 39034 (0:00:01.627)"),
        ("height", 80, "is 72x128, not 80x128 as film.json says"),
        ("encoding", {"format": "png"}, "is jpeg, not png as film.json says"),
    ):
        card = json.loads(path.read_text("utf-8"))
        before, card[name] = card[name], value
        path.write_text(json.dumps(card), "utf-8")
        assert any(words in line for line in said(film)), (name, said(film))
        card[name] = before
        path.write_text(json.dumps(card), "utf-8")
    size = card["shards"][1]["bytes"]
    card["shards"][1]["bytes"] = 1
    path.write_text(json.dumps(card), "utf-8")
    assert said(film) == [f"{SHARDS[1]}: has {size} bytes, not 1 as film.json says"]
    card["shards"][1]["bytes"] = size
    card["shards"][1]["sha256"] = "0" * 64
    path.write_text(json.dumps(card), "utf-8")
    assert said(film) == [
        f"{SHARDS[1]}: every record is whole, but its SHA-256 is not that of film.json"
    ]


def _cut_picture(frame: Frame) -> Frame:
    if frame.index != 5:
        return frame
    return Frame(frame.encoded[:-300], "jpeg", 72, 128, 5, frame.pts, FILM_ID)


def _other_time(frame: Frame) -> Frame:
    time = frame.pts - 2 * PTS_STEP if frame.index == 2 else frame.pts
    return Frame(frame.encoded, "jpeg", 72, 128, frame.index, time, FILM_ID)


def _other_size(frame: Frame) -> Frame:
    height = 64 if frame.index == 1 else 72
    return Frame(frame.encoded, "jpeg", height, 128, frame.index, frame.pts, FILM_ID)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_cut_picture, "record 1 (from 0), frame 5, at 0:00:00.209: its jpeg picture is damaged"),
        (_other_time, "frame 2, at 0:00:00.083: its time -5 is not later than 996 of the frame"),
        (_other_size, "frame 1, at 0:00:00.042: its picture is 72x128, not 64x128"),
    ],
)
def test_faults_under_right_checksums(
    change: Callable[[Frame], Frame], words: str, tmp_path: Path
) -> None:
    write_film(tmp_path / "film", change)
    lines = said(tmp_path / "film")
    assert any(words in line for line in lines), lines


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(RecordsError, match="there is no such folder"):
        inspect_film(tmp_path / "film")
    (tmp_path / ".film.partial").mkdir()
    with pytest.raises(RecordsError, match=r"is not there; there is an unfinished conversion"):
        inspect_film(tmp_path / "film")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordsError, match=r"has no film\.json"):
        inspect_film(tmp_path / "empty")


def test_unfinished_conversion_is_said(film: Path) -> None:
    partial = film.with_name(".film.partial")
    partial.mkdir()
    (partial / "part-00000").write_bytes(bytes(2**20))
    (remark,) = inspect_film(film).remarks
    assert remark.startswith("there is an unfinished conversion of it (.film.partial, 1 file, 1.0")


def test_times_read_well() -> None:
    assert clock(Fraction(24000, 1001)) == "0:00:23.976"
    assert clock(7019.9999) == "1:57:00.000"
    assert clock(-0.25) == "-0:00:00.250" and clock(None) == "?"
