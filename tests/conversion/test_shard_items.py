"""Films made shard by shard, in any order and more than once, are those of one conversion."""

import dataclasses
import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bladerunner_ae.conversion import shard_items
from bladerunner_ae.conversion.convert import convert_film, plan_conversion
from bladerunner_ae.conversion.encode import FrameEncoder
from bladerunner_ae.conversion.options import ConversionOptions
from bladerunner_ae.conversion.shard_items import Item, Job, finish_film, make_item, plan_film
from bladerunner_ae.conversion.upload import UPLOAD_NAME
from bladerunner_ae.errors import InputError
from bladerunner_ae.film.reading.packet_table import PacketTable, read_packet_table
from bladerunner_ae.film.reading.reading_mode import NotDivisibleError, Obstacle, ReadingMode
from tests.helpers.small_records import flip_byte
from tfrecords import storage
from tfrecords.card import CARD_NAME, FilmCard, load_card
from tfrecords.record_errors import RecordsError
from tfrecords.storage import Location, RemotePath
from tfrecords.unfinished_parts import PartWriter

FilmFactory = Callable[..., Path]
_numbers = itertools.count()
OPTIONS = ConversionOptions(height=48, width=80, num_shards=7, bars=(0, 0, 0, 0))
FILM = {"frames": 120, "height": 96, "width": 160, "extra_ffmpeg_args": ("-g", "24", "-bf", "3")}
OPEN = "keyint=24:min-keyint=24:open-gop=1:bframes=3:log-level=none"
FILMS: dict[str, dict[str, Any]] = {
    "b frames": FILM,
    "flashes": FILM | {"flash_every": 7},
    "open groups": FILM | {"codec": "libx265", "extra_ffmpeg_args": ("-x265-params", OPEN)},
}


def job(output: Location, options: ConversionOptions = OPTIONS, **rest: Any) -> Job:
    return Job("one", output, options, **rest)


def whole(film: Path, output: Path, options: ConversionOptions = OPTIONS) -> FilmCard:
    return convert_film(plan_conversion(film, output, options))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def finished(film: Path, job: Job, items: list[Item]) -> FilmCard:
    return finish_film(items[0], [make_item(item, job) for item in items], job)


@pytest.fixture(scope="module")
def film(film_factory: FilmFactory) -> Path:
    return film_factory(**FILM)


@pytest.fixture(scope="module")
def unbroken(film: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("unbroken")
    whole(film, output)
    return output / film.stem


@pytest.mark.parametrize("kind", FILMS)
@pytest.mark.parametrize("num_shards", [1, pytest.param(7, marks=pytest.mark.slow), 40])
def test_the_same_bytes(
    film_factory: FilmFactory, tmp_path: Path, kind: str, num_shards: int
) -> None:
    film = film_factory(**FILMS[kind])
    options = dataclasses.replace(OPTIONS, num_shards=num_shards)
    call = job(tmp_path / "items", options)
    items = plan_film(film, call)
    assert len(items) == num_shards
    for item in reversed(items):
        assert make_item(item, call) == ""
    assert [make_item(item, call) for item in items] == [""] * num_shards  # there already
    card = finish_film(items[0], [""] * num_shards, call)
    assert card == whole(film, tmp_path / "whole", options) and len(card.shot_starts) >= 2
    assert files(tmp_path / "items" / film.stem) == files(tmp_path / "whole" / film.stem)
    assert os.listdir(tmp_path / "items") == [film.stem]
    assert plan_film(film, call) == []


def test_a_part_of_a_film_in_png(film: Path, tmp_path: Path) -> None:
    options = dataclasses.replace(OPTIONS, image_format="png", start=1, duration=2)
    call = job(tmp_path / "items", options)
    finished(film, call, plan_film(film, call))
    assert whole(film, tmp_path / "whole", options).frames == 48
    assert files(tmp_path / "items" / film.stem) == files(tmp_path / "whole" / film.stem)


def test_a_film_of_a_single_pass_is_one_item(film_factory: FilmFactory, tmp_path: Path) -> None:
    film = film_factory(**FILM | {"name": "film.avi", "codec": "mpeg4"})
    call = job(tmp_path / "items")
    (item,) = plan_film(film, call)
    assert item.frames == 0
    finished(film, call, [item])
    finished(film, call, [item])  # tried again
    whole(film, tmp_path / "whole")
    assert files(tmp_path / "items" / film.stem) == files(tmp_path / "whole" / film.stem)


def test_found_out_on_the_way(
    film_factory: FilmFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each border between runs is checked by some item, wherever the shards' borders lie."""
    film = film_factory(**FILM | {"extra_ffmpeg_args": ("-g", "60", "-bf", "0", "-refs", "3")})

    def lie(*arguments: Any) -> PacketTable:
        table = read_packet_table(*arguments)
        key = table.key.copy()
        key[90] = True
        return dataclasses.replace(table, key=key)

    monkeypatch.setattr("bladerunner_ae.conversion.encode.read_packet_table", lie)
    whole(film, tmp_path / "whole")
    for num_shards in (4, 7, 120):  # the border is a shard's first frame, its second, every frame
        options = dataclasses.replace(OPTIONS, num_shards=num_shards)
        call = job(tmp_path / str(num_shards), options)
        items = plan_film(film, call)
        ranges = items[0].ranges()
        at_border = [item for item in items if 90 in ranges[item.shard]]
        reasons = [make_item(item, call) for item in at_border]
        assert reasons[0]
    reasons = [
        make_item(item, job(tmp_path / "7")) for item in plan_film(film, job(tmp_path / "7"))
    ]
    finish_film(plan_film(film, job(tmp_path / "7"))[0], reasons, job(tmp_path / "7"))
    assert files(tmp_path / "7" / film.stem) == files(tmp_path / "whole" / film.stem)


def test_an_item_that_breaks_off_leaves_nothing_and_is_tried_again(
    film: Path, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = job(tmp_path)
    items = plan_film(film, call)
    before = sorted(os.listdir(items[0].folder))
    for owner, broken, survives in ((PartWriter, "write", 7), (PartWriter, "finish", 0),
                                    (shard_items, "write_json", 0)):  # fmt: skip
        calls: list[int] = []
        original = getattr(owner, broken)

        def dies(
            *rest: Any, calls: list[int] = calls, original: Any = original, survives: int = survives
        ) -> Any:
            calls.append(1)
            if len(calls) > survives:
                raise KeyboardInterrupt
            return original(*rest)

        with monkeypatch.context() as patch:
            patch.setattr(owner, broken, dies)
            with pytest.raises(KeyboardInterrupt):
                make_item(items[3], call)
        assert sorted(os.listdir(items[0].folder)) == before
    # A killed try cannot clean up; nobody takes its file for a part.
    (items[0].folder / ".part-00003.killed").write_bytes(b"half")
    (items[0].folder / "part-00004").write_bytes(b"without a state")
    finished(film, call, items)
    assert files(tmp_path / film.stem) == files(unbroken)
    assert os.listdir(tmp_path) == [film.stem]


def below(folder: Location) -> dict[str, bytes]:
    return {name: storage.read_bytes(folder / name) for name in storage.files_below(folder)}


@pytest.fixture
def bucket() -> RemotePath:
    return RemotePath(f"memory://items{next(_numbers)}/data")


def test_in_a_bucket_each_shard_is_sent_once_and_the_card_last(
    film: Path, unbroken: Path, bucket: RemotePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = job(bucket)
    items = plan_film(film, call)
    for item in reversed(items):
        assert make_item(item, call) == ""
    there = storage.names(bucket / film.stem)
    assert there == [*sorted(files(unbroken))[1:], UPLOAD_NAME], "no card yet"
    with monkeypatch.context() as patch:
        patch.delattr(shard_items, "_write_part")
        assert [make_item(item, call) for item in items] == [""] * 7
    finish_film(items[0], [""], call)
    assert below(bucket) == {f"{film.stem}/{name}": data for name, data in files(unbroken).items()}
    assert plan_film(film, call) == []


def test_in_a_bucket_a_later_call_makes_what_is_missing_or_cut(
    film: Path, unbroken: Path, bucket: RemotePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = job(bucket)
    items = plan_film(film, first)
    for item in items[:4]:
        make_item(item, first)
    storage.write_bytes(bucket / film.stem / "frames-00001-of-00007.tfrecord", b"cut")
    storage.remove(items[0].folder / "part-00002.json")  # killed between a shard and its state
    made: list[int] = []
    write = shard_items._write_part
    monkeypatch.setattr(
        shard_items,
        "_write_part",
        lambda item, *rest: (made.append(item.shard), write(item, *rest)),
    )
    second = dataclasses.replace(first, name="two")
    finished(film, second, plan_film(film, second))
    assert made == [1, 2, 4, 5, 6]
    assert below(bucket / film.stem) == files(unbroken)


def test_in_a_bucket_records_are_replaced_only_when_asked(
    film: Path, unbroken: Path, bucket: RemotePath
) -> None:
    other = job(bucket, dataclasses.replace(OPTIONS, num_shards=3))
    finished(film, other, plan_film(film, other))
    storage.write_text(bucket / film.stem / "holiday.txt", "precious")
    with pytest.raises(InputError, match=r"holds other records \(--num_shards: 3 -> 7\)"):
        plan_film(film, job(bucket))
    over = Job("two", bucket, OPTIONS, overwrite=True)
    finished(film, over, plan_film(film, over))
    assert below(bucket / film.stem) == {**files(unbroken), "holiday.txt": b"precious"}


def test_in_a_bucket_another_persons_folder_is_left_alone(film: Path, bucket: RemotePath) -> None:
    storage.write_text(bucket / film.stem / "holiday.txt", "precious")
    for overwrite in (False, True):
        with pytest.raises(InputError, match="exists and holds no records"):
            plan_film(film, job(bucket, overwrite=overwrite))
    assert storage.files_below(bucket) == [f"{film.stem}/holiday.txt"]


def test_in_a_bucket_a_shard_that_is_gone_is_named(film: Path, bucket: RemotePath) -> None:
    call = job(bucket)
    items = plan_film(film, call)
    for item in items[1:]:
        make_item(item, call)
    with pytest.raises(RecordsError, match=r"apart/part-00000: is gone or damaged; run the same"):
        finish_film(items[0], [""], call)
    assert CARD_NAME not in storage.names(bucket / film.stem)


def test_the_same_items_twice_at_once(film: Path, unbroken: Path, tmp_path: Path) -> None:
    call = job(tmp_path)
    items = plan_film(film, call)
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda item: make_item(item, call), [*items, *items])) == {""}
    finish_film(items[0], [""], call)
    assert files(tmp_path / film.stem) == files(unbroken)


def test_a_later_call_goes_on(
    film: Path, unbroken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = job(tmp_path)
    items = plan_film(film, first)
    for item in items[:5]:
        make_item(item, first)
    flip_byte(items[0].folder / "part-00002", 1000)
    made: list[int] = []
    write = shard_items._write_part

    def counted(item: Item, frames: range, folder: Path) -> None:
        made.append(item.shard)
        write(item, frames, folder)

    monkeypatch.setattr(shard_items, "_write_part", counted)
    second = dataclasses.replace(first, name="two")
    finished(film, second, plan_film(film, second))
    assert made == [2, 5, 6]
    assert files(tmp_path / film.stem) == files(unbroken)


def test_other_options_are_refused_with_the_difference(
    film: Path, unbroken: Path, tmp_path: Path
) -> None:
    first = job(tmp_path, dataclasses.replace(OPTIONS, quality=80))
    items = plan_film(film, first)
    make_item(items[0], first)
    with pytest.raises(InputError, match=r"an unfinished run .*quality: 80 -> 95\); give its"):
        plan_film(film, job(tmp_path))
    over = Job("two", tmp_path, OPTIONS, overwrite=True)
    items = plan_film(film, over)
    make_item(items[0], over)
    assert plan_film(film, over) == items  # planned again, it does not start over again
    assert (items[0].folder / "part-00000").exists()
    finished(film, over, items)
    assert files(tmp_path / film.stem) == files(unbroken)
    with pytest.raises(InputError, match="holds other records"):
        plan_film(film, first)


def test_records_that_are_there_are_replaced_on_request(
    film: Path, unbroken: Path, tmp_path: Path
) -> None:
    whole(film, tmp_path, dataclasses.replace(OPTIONS, quality=80))
    over = job(tmp_path, overwrite=True)
    items = plan_film(film, over)
    reasons = [make_item(item, over) for item in items]
    assert load_card(tmp_path / film.stem).options["quality"] == 80
    for _ in range(2):  # the second try finds it done
        finish_film(items[0], reasons, over)
        assert files(tmp_path / film.stem) == files(unbroken)


def test_an_unfinished_conversion_of_other_options_is_not_lost(
    film: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = FrameEncoder.frames

    def interrupted(self: FrameEncoder, *arguments: Any) -> Any:
        for frame in frames(self, *arguments):
            if frame[0] == 70:
                raise KeyboardInterrupt
            yield frame

    with monkeypatch.context() as patch:
        patch.setattr(FrameEncoder, "frames", interrupted)
        with pytest.raises(KeyboardInterrupt):
            whole(film, tmp_path, dataclasses.replace(OPTIONS, quality=80))
    with pytest.raises(InputError, match="quality: 80 -> 95"):
        plan_film(film, job(tmp_path))


def test_parts_that_are_gone_and_films_that_change(
    film_factory: FilmFactory, tmp_path: Path
) -> None:
    film = tmp_path / "film.mp4"
    film.write_bytes(film_factory(**FILM).read_bytes())
    call = job(tmp_path / "data")
    items = plan_film(film, call)
    for item in items[1:]:
        make_item(item, call)
    with pytest.raises(RecordsError, match="part-00000: is gone or damaged; run the same"):
        finish_film(items[0], [""], call)
    assert not (tmp_path / "data" / "film").exists()
    film.write_bytes(film_factory(**FILM | {"seed": 1}).read_bytes())
    with pytest.raises(InputError, match="changed while it was converted"):
        make_item(items[0], call)
    with pytest.raises(InputError, match="unfinished run of another film, or of an ear"):
        plan_film(film, call)
    film.unlink()
    with pytest.raises(InputError, match="no such file"):
        plan_film(film, call)


def test_the_reader_of_a_shard_never_falls_back(film: Path) -> None:
    plan = plan_conversion(film, film.parent, OPTIONS)
    mode = ReadingMode(Obstacle.JUMPS)
    encoder = FrameEncoder(plan.info, plan.geometry, OPTIONS, mode=mode)
    with pytest.raises(NotDivisibleError, match="its times jump"):
        next(encoder.divided_frames())
