"""What inspection says of whole and of damaged records, and the pictures it makes of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bladerunner_ae.barcode import UNREADABLE, barcode_colours
from bladerunner_ae.errors import InputError, UsageError
from bladerunner_ae.film.images import list_images
from bladerunner_ae.inspection import Inspection, clock, inspect_film
from bladerunner_ae.inspection_pictures import (
    export_frames,
    mean_light,
    parse_frames,
    write_barcode,
    write_contact_sheet,
)
from bladerunner_ae.inspection_text import describe
from bladerunner_ae.verification import verify
from tests.number_panel import read_number
from tests.small_records import (
    FILM_ID,
    PTS_STEP,
    card_maker,
    encode,
    flip_byte,
    write_numbered_film,
)
from tests.synthetic_film import film_pictures
from tfrecords.card import load_card
from tfrecords.errors import RecordsError
from tfrecords.framing import OVERHEAD, read_records
from tfrecords.schema import Frame
from tfrecords.writer import FilmWriter

SHARDS = [f"frames-{number:05d}-of-00004.tfrecord" for number in range(4)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty frames in four shards of ten."""
    folder = tmp_path_factory.mktemp("whole") / "film"
    write_numbered_film(folder, 40)
    return folder


@pytest.fixture
def film(whole: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(whole, tmp_path / "film"))


def verified(folder: Path) -> Inspection:
    found = inspect_film(folder)
    verify(found)
    return found


def said(folder: Path) -> list[str]:
    return [str(damage) for damage in verified(folder).damages]


def record_start(shard: Path, number: int) -> int:
    """Where in the file a record begins."""
    sizes = [len(record) + OVERHEAD for record in read_records(shard)]
    return sum(sizes[:number])


def write_film(folder: Path, change: Callable[[Frame], Frame], frames: int = 8) -> None:
    """Writes a film of two shards whose frames `change` may damage, with right checksums."""
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


def test_behind_damaged_data_reading_goes_on(film: Path) -> None:
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


def test_behind_a_damaged_length_the_next_shard_is_read(film: Path) -> None:
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
        "hold frames 20 to 29 instead"
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
    with pytest.raises(RecordsError, match=r"is not there; an unfinished conversion lies beside"):
        inspect_film(tmp_path / "film")
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordsError, match=r"has no film\.json"):
        inspect_film(tmp_path / "empty")


def test_unfinished_conversion_is_said(film: Path) -> None:
    partial = film.with_name(".film.partial")
    partial.mkdir()
    (partial / "part-00000").write_bytes(bytes(2**20))
    (remark,) = inspect_film(film).remarks
    assert remark.startswith("an unfinished conversion lies beside it (.film.partial, 1 file, 1.0")


def test_times_read_well() -> None:
    assert clock(Fraction(24000, 1001)) == "0:00:23.976"
    assert clock(7019.9999) == "1:57:00.000"
    assert clock(-0.25) == "-0:00:00.250" and clock(None) == "?"


def test_contact_sheet_shows_the_frames_it_names(whole: Path, film: Path, tmp_path: Path) -> None:
    assert write_contact_sheet(str(whole), load_card(whole), tmp_path / "sheet.png", 6) == 0
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    # Three columns of pictures at twice their size; the first frame shown is number 3 of 40.
    margin, line = 24, 25
    picture = sheet[margin + line : margin + line + 144, margin : margin + 256]
    small = np.asarray(Image.fromarray(picture).resize((128, 72), Image.Resampling.BOX))
    assert read_number(small) == 3
    flip_byte(film / SHARDS[0], record_start(film / SHARDS[0], 3) + 200)
    assert write_contact_sheet(str(film), load_card(film), tmp_path / "sheet.png", 6) == 1
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert (sheet == UNREADABLE).all(-1).sum() == 144 * 256
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film", "sheet.png"]


def test_one_picture_a_shot(tmp_path: Path) -> None:
    write_numbered_film(tmp_path / "film", 90, 24, 32)
    card = load_card(tmp_path / "film")
    assert len(card.shot_starts) == 3
    write_contact_sheet(str(tmp_path / "film"), card, tmp_path / "sheet.png", 0)
    three = Image.open(tmp_path / "sheet.png").size
    write_contact_sheet(str(tmp_path / "film"), card, tmp_path / "sheet.png", 3)
    assert Image.open(tmp_path / "sheet.png").size == three


def test_barcode_columns_are_mean_light() -> None:
    # Half black, half white is a half in light, which is 188 as a code value, not 128.
    means = np.array([[0.5, 0.5, 0.5], [0, 0, 0], [1, 1, 1], [1, 0, 0]])
    assert barcode_colours(means, 10).tolist() == [
        [188, 188, 188], [0, 0, 0], [255, 255, 255], [255, 0, 0],
    ]  # fmt: skip
    assert barcode_colours(means, 2).tolist() == [[137, 137, 137], [255, 188, 188]]
    means[2:] = np.nan
    assert barcode_colours(means, 2).tolist() == [[137, 137, 137], list(UNREADABLE)]
    # A film of any length: every frame in one column.
    ramp = np.repeat(np.linspace(0, 1, 168_480)[:, None], 3, 1)
    columns = barcode_colours(ramp, 1920)
    assert columns.shape == (1920, 3) and (np.diff(columns[:, 0].astype(int)) >= 0).all()


def test_barcode_of_records(whole: Path, film: Path, tmp_path: Path) -> None:
    card = load_card(whole)
    means = mean_light(str(whole), card)
    pictures = np.stack(list(film_pictures(40, 72, 128))) / 255
    light = np.where(pictures <= 0.04045, pictures / 12.92, ((pictures + 0.055) / 1.055) ** 2.4)
    assert np.abs(means - light.mean((1, 2))).max() < 0.01
    assert write_barcode(str(whole), card, tmp_path / "code.png") == 0
    picture = np.asarray(Image.open(tmp_path / "code.png"))
    assert picture.shape == (200, 1920, 3)  # 48 columns a frame
    assert (picture == picture[:1]).all() and (picture[:, :48] == picture[:, :1]).all()
    (film / SHARDS[3]).unlink()
    assert write_barcode(str(film), card, tmp_path / "code.png", 40) == 10
    picture = np.asarray(Image.open(tmp_path / "code.png"))
    assert (picture[:, 30:] == UNREADABLE).all() and not (picture[:, :30] == UNREADABLE).all(
        -1
    ).any()


def test_exported_frames_are_a_film_again(whole: Path, tmp_path: Path) -> None:
    card = load_card(whole)
    assert export_frames(str(whole), card, [7, 8, 9, 10, 31], tmp_path / "png", "png") == 0
    images = list_images(tmp_path / "png")
    assert [path.name for path in images.paths] == [
        f"frame_{number:07d}.png" for number in (7, 8, 9, 10, 31)
    ]
    numbers = [read_number(np.asarray(Image.open(path))) for path in images.paths]
    assert numbers == [7, 8, 9, 10, 31]
    export_frames(str(whole), card, [12], tmp_path / "jpeg", "jpeg")
    records = list(read_records(whole / SHARDS[1]))
    assert (tmp_path / "jpeg" / "frame_0000012.jpg").read_bytes() in records[2]
    with pytest.raises(InputError, match=r"holds frame_0000010\.png already"):
        export_frames(str(whole), card, [10, 11], tmp_path / "png", "jpeg")
    assert len(list((tmp_path / "png").iterdir())) == 5


def test_export_goes_on_behind_damage(film: Path, tmp_path: Path) -> None:
    flip_byte(film / SHARDS[1], record_start(film / SHARDS[1], 2) + 100)
    lost = export_frames(str(film), load_card(film), range(8, 16), tmp_path / "out", "jpeg")
    assert lost == 1
    assert len(list((tmp_path / "out").iterdir())) == 7
    assert not (tmp_path / "out" / "frame_0000012.jpg").exists()


def test_frame_ranges() -> None:
    assert parse_frames("100:200", 1000) == list(range(100, 200))
    assert parse_frames("3,1,3", 5) == [1, 3]
    assert parse_frames(":", 4) == parse_frames("0:", 4) == [0, 1, 2, 3]
    for text in ("", "5:5", "a", "1:2:3", "3:9", "-1", "1,9", "-2:2"):
        with pytest.raises(UsageError, match="--frames="):
            parse_frames(text, 5)
