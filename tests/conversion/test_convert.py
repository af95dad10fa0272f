"""A film's records: every frame, once, in order, as near to the film as was asked for."""

import dataclasses
import errno
import io
import os
import shutil
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from bladerunner_ae.conversion.convert import convert_film, plan_conversion
from bladerunner_ae.conversion.existing import finished_card
from bladerunner_ae.conversion.options import ConversionOptions
from bladerunner_ae.errors import InputError, UsageError
from bladerunner_ae.film.reading.frame_reader import FrameReader
from bladerunner_ae.film.reading.source import film_name
from bladerunner_ae.geometry import Geometry
from tests.helpers.synthetic_film import frame_times, read_number, shot_starts
from tfrecords.card import FilmCard, load_card
from tfrecords.framing import read_records
from tfrecords.reader import film_frames
from tfrecords.record_errors import DiskError
from tfrecords.schema import Frame, parse

FilmFactory = Callable[..., Path]
SMALL = ConversionOptions(height=72, width=128, num_shards=4, bars=(0, 0, 0, 0))


def convert(
    film: Path, output: Path, options: ConversionOptions = SMALL, **arguments: Any
) -> tuple[Path, FilmCard]:
    plan = plan_conversion(film, output, options)
    return plan.directory, convert_film(plan, **arguments)


def frames_of(folder: Path, card: FilmCard) -> list[Frame]:
    """Records in the order of the shards, without TensorFlow."""
    return [parse(data) for shard in card.shards for data in read_records(folder / shard.name)]


def pictures_of(frames: list[Frame]) -> list[NDArray[np.uint8]]:
    return [np.asarray(Image.open(io.BytesIO(frame.encoded)).convert("RGB")) for frame in frames]


@pytest.mark.parametrize("rate", [24, 25, Fraction(24000, 1001), Fraction(30000, 1001)])
def test_every_frame_number_comes_back_through_tensorflow(
    film_factory: FilmFactory, tmp_path: Path, rate: Fraction
) -> None:
    film = film_factory(frames=47, rate=rate, height=96, width=160)
    folder, card = convert(film, tmp_path)
    batches = list(film_frames(folder, batch_size=10).as_numpy_iterator())
    images = np.concatenate([batch["image"] for batch in batches])
    assert [read_number(image) for image in images] == list(range(47))
    assert np.concatenate([batch["index"] for batch in batches]).tolist() == list(range(47))
    times = [int(pts) * card.time_base for batch in batches for pts in batch["pts"]]
    assert times == frame_times(47, Fraction(rate))
    assert (card.frames, card.frame_rate, card.variable_rate) == (47, rate, False)


def test_what_the_card_says(film_factory: FilmFactory, tmp_path: Path) -> None:
    film = film_factory("A film's name.mp4", frames=90, bars=(22, 22), flash_every=None)
    folder, card = convert(film, tmp_path, ConversionOptions(num_shards=4))
    assert folder == tmp_path / "A_film_s_name"
    assert card == load_card(folder)
    assert card.source["name"] == "A film's name.mp4" and card.source["kind"] == "film"
    assert card.source["bytes"] == film.stat().st_size
    assert card.film_id == card.source["sha256"][:16]
    assert card.frames == 90 and card.first_pts == 0
    assert card.last_pts * card.time_base == Fraction(89, 24)
    assert card.shot_starts == shot_starts(90)
    assert [shard.frames for shard in card.shards] == [23, 23, 22, 22]
    assert card.encoding == {"format": "jpeg", "quality": 95, "subsampling": "4:4:4"}
    assert card.options["bars"] is None and card.options["num_shards"] == 4
    assert card.colour["matrix"] == "bt709"
    assert [stream["type"] for stream in card.streams] == ["video", "audio"]
    geometry = Geometry.from_json(card.geometry)
    assert (geometry.raster, geometry.stored) == ((card.height, card.width), (180, 320))
    assert 20 <= geometry.crop.top <= 22 and 136 <= geometry.crop.height <= 140
    assert card.notes == []
    frame = frames_of(folder, card)[40]
    assert (frame.index, frame.format, frame.film_id) == (40, "jpeg", card.film_id)
    assert (frame.height, frame.width) == (card.height, card.width)


def test_variable_rate_keeps_the_times(film_factory: FilmFactory, tmp_path: Path) -> None:
    film = film_factory(frames=47, variable_rate=True, height=96, width=160)
    folder, card = convert(film, tmp_path)
    times = [frame.pts * card.time_base for frame in frames_of(folder, card)]
    assert times == frame_times(47, variable_rate=True)
    assert card.variable_rate and 17 < card.frame_rate < 19


def test_png_is_the_decoded_picture_and_jpeg_is_near(
    film_factory: FilmFactory, tmp_path: Path
) -> None:
    film = film_factory(frames=24)
    plan = plan_conversion(film, tmp_path, SMALL)
    with FrameReader(plan.info, geometry=plan.geometry) as reader:
        decoded = [frame.image for frame in reader]
    png = dataclasses.replace(SMALL, image_format="png")
    folder, card = convert(film, tmp_path / "png", png)
    assert card.encoding == {"format": "png"}
    for picture, expected in zip(pictures_of(frames_of(folder, card)), decoded, strict=True):
        assert np.array_equal(picture, expected)
    folder, card = convert(film, tmp_path / "jpeg", SMALL)
    errors = [
        np.mean((picture.astype(float) - expected) ** 2)
        for picture, expected in zip(pictures_of(frames_of(folder, card)), decoded, strict=True)
    ]
    assert np.median(10 * np.log10(255**2 / np.array(errors))) >= 40


def test_the_same_bytes_every_time(film_factory: FilmFactory, tmp_path: Path) -> None:
    film = film_factory(frames=47, height=96, width=160)
    cards = [convert(film, tmp_path / name)[1] for name in ("one", "two")]
    assert cards[0] == cards[1]  # with the checksum of every shard


def test_an_excerpt_counts_from_0_and_keeps_the_films_times(
    film_factory: FilmFactory, tmp_path: Path
) -> None:
    film = film_factory(frames=96)
    options = dataclasses.replace(SMALL, start=Fraction(1), duration=Fraction(3, 2))
    plan = plan_conversion(film, tmp_path, options)
    assert plan.frames_estimate() == 36
    card = convert_film(plan)
    frames = frames_of(plan.directory, card)
    assert [read_number(picture) for picture in pictures_of(frames)] == list(range(24, 60))
    assert [frame.index for frame in frames] == list(range(36))
    assert frames[0].pts * card.time_base == 1


def test_an_empty_excerpt_is_refused(film_factory: FilmFactory, tmp_path: Path) -> None:
    options = dataclasses.replace(SMALL, start=Fraction(100))
    with pytest.raises(UsageError, match=r"^--start=100: no frame of .*film\.mp4 is in that range"):
        convert(film_factory(frames=24), tmp_path, options)
    assert not list(tmp_path.iterdir())


def test_images_in_numeric_order_whether_or_not_padded(tmp_path: Path) -> None:
    source = tmp_path / "frames"
    source.mkdir()
    numbers = [2, 10, 9, 100, 1]
    for number in numbers:
        picture = np.full((32, 48, 3), number, np.uint8)
        Image.fromarray(picture).save(source / f"{number}.png")
    options = ConversionOptions(
        height=32, width=48, image_format="png", bars=(0, 0, 0, 0), frame_rate=Fraction(12)
    )
    folder, card = convert(source, tmp_path / "data", options)
    pictures = pictures_of(frames_of(folder, card))
    assert [int(picture[0, 0, 0]) for picture in pictures] == sorted(numbers)
    assert card.frame_rate == 12 and card.source["kind"] == "images"
    assert card.options["frame_rate"] == "12"
    assert finished_card(source, folder, options) == card
    Image.fromarray(np.zeros((32, 48, 3), np.uint8)).save(source / "11.png")
    with pytest.raises(InputError, match="frames had another content"):
        finished_card(source, folder, options)


def test_of_a_film_cut_short_what_is_there_is_kept_or_refused(
    film_factory: FilmFactory, tmp_path: Path
) -> None:
    data = film_factory("film.ts", frames=96).read_bytes()
    film = tmp_path / "film.ts"
    film.write_bytes(data[: len(data) * 55 // 100 // 188 * 188 + 18])  # within a packet of 188
    with pytest.raises(InputError, match=r"cut off.*nothing was written \(--strict\)"):
        convert(film, tmp_path / "data", strict=True)
    assert not list((tmp_path / "data").iterdir())
    folder, card = convert(film, tmp_path / "data")
    assert "cut off" in card.notes[0]
    numbers = [read_number(picture) for picture in pictures_of(frames_of(folder, card))]
    assert numbers[:-3] == list(range(len(numbers) - 3)) and 30 < len(numbers) < 90
    assert card.shots()[-1][1] == card.frames == len(numbers)


# --- What goes wrong on the way ---


def test_a_disk_that_fills_up_leaves_nothing(
    film_factory: FilmFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskError, match="No space left on device") as caught:
        convert(film_factory(frames=24), tmp_path / "data")
    assert caught.value.exit_code == 3
    assert not list((tmp_path / "data").iterdir())


def test_an_output_folder_below_a_file(film_factory: FilmFactory, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputError, match=r"cannot be written to .*file is not a folder"):
        convert(film_factory(frames=24), tmp_path / "file" / "data")


def test_a_name_that_is_no_utf8(film_factory: FilmFactory, tmp_path: Path) -> None:
    film = film_factory(frames=4)
    strange = Path(os.fsdecode(bytes(tmp_path) + b"/caf\xe9 noir.mp4"))
    shutil.copy(film, strange)
    card = convert_film(plan_conversion(strange, tmp_path / "out", ConversionOptions()))
    assert card.source["name"] == "caf\ufffd noir.mp4"
    assert load_card(tmp_path / "out" / film_name(strange)) == card


@pytest.mark.parametrize(
    "wrong", [{"image_format": "gif"}, {"quality": 0}, {"quality": 101}, {"num_shards": 0}]
)
def test_impossible_options(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        ConversionOptions(**wrong)


def test_names_of_folders(tmp_path: Path) -> None:
    (tmp_path / "my frames").mkdir()
    assert film_name(tmp_path / "my frames") == "my_frames"
    assert film_name(Path("Début: a film (2017).mkv")) == "Début_a_film_2017"
    assert film_name(Path(".hidden.mp4")) == "hidden"
    assert film_name(Path("!?.mp4")) == "film"
    assert film_name(tmp_path / "my frames" / "..") == tmp_path.name
    (tmp_path / "link.mp4").symlink_to(tmp_path / "0001.mp4")
    assert film_name(tmp_path / "link.mp4") == "link"
