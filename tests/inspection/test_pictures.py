"""Pictures made of whole and of damaged records: contact sheet, barcode, single frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bladerunner_ae.errors import InputError, UsageError
from bladerunner_ae.film.images.image_sequence import list_images
from bladerunner_ae.inspection.pictures import (
    export_frames,
    mean_light,
    parse_frames,
    write_barcode,
    write_contact_sheet,
)
from bladerunner_ae.pictures.barcode import UNREADABLE, barcode_colours
from tests.helpers.number_panel import read_number
from tests.helpers.small_records import flip_byte, record_start, write_numbered_film
from tests.helpers.synthetic_film import film_pictures
from tfrecords.card import load_card
from tfrecords.framing import read_records
from tfrecords.shards import shard_name

SHARDS = [shard_name(number, 4) for number in range(4)]


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


def test_export_continues_after_damage(film: Path, tmp_path: Path) -> None:
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
