"""Records sent to a remote folder (memory://): whole, in order, resumed, never half a film."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import pytest

from bladerunner_ae.conversion.options import ConversionOptions
from bladerunner_ae.conversion.upload import UPLOAD_NAME, prepare, publish, spool_directory
from bladerunner_ae.errors import InputError
from tests.helpers.small_records import write_small_film
from tfrecords import storage
from tfrecords.card import CARD_NAME, load_card
from tfrecords.record_errors import RecordsError, StorageError
from tfrecords.storage import RemotePath
from tools.make_tfrecords import Request, convert

_numbers = itertools.count()


@pytest.fixture
def remote() -> RemotePath:
    return RemotePath(f"memory://publishing{next(_numbers)}/data/film")


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets the name of every file sent, in order."""
    names: list[str] = []
    copy, write = storage.copy_to_remote, storage.write_bytes

    def copying(source: Path, target: RemotePath, report: Any = None) -> None:
        if names.count("stop") == 0 and len(names) == 3:
            names.append("stop")
            raise StorageError("stopped")
        names.append(target.name)
        copy(source, target, report)

    def writing(path: Any, data: bytes) -> None:
        if storage.is_remote(path):
            names.append(path.name)
        write(path, data)

    monkeypatch.setattr(storage, "copy_to_remote", copying)
    monkeypatch.setattr(storage, "write_bytes", writing)
    return names


def contents(folder: Any) -> dict[str, bytes]:
    return {name: storage.read_bytes(folder / name) for name in storage.names(folder)}


def test_the_remote_folder_is_the_local_one(tmp_path: Path, remote: RemotePath) -> None:
    spool = tmp_path / "spool"
    card = write_small_film(spool / "film")
    expected = contents(spool / "film")
    publish(spool / "film", remote)
    assert contents(remote) == expected and CARD_NAME in expected
    assert load_card(remote) == card
    assert not spool.exists(), "the spool is removed"


def test_a_stopped_upload_goes_on_behind_what_is_there(
    tmp_path: Path, remote: RemotePath, sent: list[str]
) -> None:
    shards = [shard.name for shard in write_small_film(tmp_path / "film").shards]
    expected = contents(tmp_path / "film")
    with pytest.raises(StorageError, match="stopped"):
        publish(tmp_path / "film", remote)
    assert sent == [UPLOAD_NAME, UPLOAD_NAME, shards[0], "stop"]
    assert storage.names(remote) == [shards[0], UPLOAD_NAME]
    assert (tmp_path / "film" / CARD_NAME).exists(), "nothing is removed before it is sent"
    sent[:] = ["stop"]
    publish(tmp_path / "film", remote)
    assert sent == ["stop", UPLOAD_NAME, *shards[1:], CARD_NAME], "the card is last"
    assert contents(remote) == expected


def test_a_shard_of_another_film_of_the_same_size_is_sent_again(
    tmp_path: Path, remote: RemotePath, sent: list[str]
) -> None:
    write_small_film(tmp_path / "film", first_byte=1)
    with pytest.raises(StorageError, match="stopped"):
        publish(tmp_path / "film", remote)
    (tmp_path / "other").mkdir()
    write_small_film(tmp_path / "other" / "film", first_byte=2)
    expected = contents(tmp_path / "other" / "film")
    first = sorted(expected)[1]
    assert len(storage.read_bytes(remote / first)) == len(expected[first])
    sent[:] = ["stop"]
    publish(tmp_path / "other" / "film", remote)
    assert contents(remote) == expected


def test_a_shard_that_was_cut_is_sent_again(
    tmp_path: Path, remote: RemotePath, sent: list[str]
) -> None:
    shards = write_small_film(tmp_path / "film").shards
    expected = contents(tmp_path / "film")
    with pytest.raises(StorageError, match="stopped"):
        publish(tmp_path / "film", remote)
    storage.write_bytes(remote / shards[0].name, b"cut")
    publish(tmp_path / "film", remote)
    assert contents(remote) == expected


def test_records_are_replaced_only_when_asked(tmp_path: Path, remote: RemotePath) -> None:
    write_small_film(tmp_path / "film", num_shards=5)
    publish(tmp_path / "film", remote)
    before = contents(remote)
    write_small_film(tmp_path / "film", num_shards=3, first_byte=9)
    expected = contents(tmp_path / "film")
    with pytest.raises(RecordsError, match="film: exists; replace it with --overwrite"):
        publish(tmp_path / "film", remote)
    assert contents(remote) == before
    publish(tmp_path / "film", remote, overwrite=True)
    assert contents(remote) == expected, "and no shard of the earlier ones stays"


def test_an_overwriting_that_is_stopped_leaves_no_card(
    tmp_path: Path, remote: RemotePath, sent: list[str]
) -> None:
    sent.append("stop")
    write_small_film(tmp_path / "film")
    publish(tmp_path / "film", remote)
    write_small_film(tmp_path / "film", first_byte=7)
    expected = contents(tmp_path / "film")
    sent.clear()
    with pytest.raises(StorageError, match="stopped"):
        publish(tmp_path / "film", remote, overwrite=True)
    assert CARD_NAME not in storage.names(remote) and UPLOAD_NAME in storage.names(remote)
    publish(tmp_path / "film", remote)  # what is there is half a film: nothing to be lost
    assert contents(remote) == expected


def test_a_folder_of_other_things_is_left_alone(tmp_path: Path, remote: RemotePath) -> None:
    storage.write_text(remote / "holiday.txt", "precious")
    write_small_film(tmp_path / "film")
    for overwrite in (False, True):
        with pytest.raises(RecordsError, match=r"not empty and holds no film\.json"):
            publish(tmp_path / "film", remote, overwrite)
    assert storage.names(remote) == ["holiday.txt"]


def test_a_folder_is_tried_before_the_work(tmp_path: Path, remote: RemotePath) -> None:
    prepare(remote)
    prepare(remote)
    assert storage.names(remote) == [UPLOAD_NAME]
    write_small_film(tmp_path / "film")
    expected = contents(tmp_path / "film")
    publish(tmp_path / "film", remote)
    assert contents(remote) == expected


def test_the_spool_is_one_a_remote_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("BLADERUNNER_SPOOL")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    one, other = spool_directory(RemotePath("s3://a/b")), spool_directory(RemotePath("s3://a/c"))
    assert one != other and one.parent == other.parent == tmp_path / "bladerunner_ae" / "spool"
    assert spool_directory(RemotePath("s3://a/b")) == one
    assert spool_directory(RemotePath("s3://a/b"), str(tmp_path / "x")).parent == tmp_path / "x"


def request(output_dir: object, spool: Path, quality: int = 95) -> Request:
    options = ConversionOptions(height=24, width=32, num_shards=3, quality=quality)
    return Request([], str(output_dir), str(spool), options, False, False, 1, False, False, "local",
                   "")  # fmt: skip


def test_a_film_is_converted_into_a_remote_folder(
    synthetic_film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    remote = RemotePath(f"memory://publishing{next(_numbers)}/data")

    def make(output_dir: object, quality: int = 95, **changes: bool) -> str:
        asked = request(output_dir, tmp_path / "spool", quality)
        convert(synthetic_film, dataclasses.replace(asked, **changes))
        return capsys.readouterr().out

    film = synthetic_film.stem
    make(tmp_path / "local")
    make(remote, dry_run=True)
    assert not storage.exists(remote)
    said = make(remote)
    assert said.startswith(f"{remote}/{film}: 48 frames 24x32")
    assert contents(remote / film) == contents(tmp_path / "local" / film)
    assert not [path for path in (tmp_path / "spool").rglob("*") if path.is_file()]
    assert make(remote) == said.rstrip() + "; up to date\n"
    with pytest.raises(InputError, match=r"holds other records \(--quality: 95 -> 60\)"):
        make(remote, quality=60)
    make(remote, quality=60, overwrite=True)
    assert load_card(remote / film).encoding["quality"] == 60


def test_records_whose_sending_was_stopped_are_not_made_again(
    synthetic_film: Path, tmp_path: Path, sent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = RemotePath(f"memory://publishing{next(_numbers)}/data")
    with pytest.raises(StorageError, match="stopped"):
        convert(synthetic_film, request(remote, tmp_path))
    monkeypatch.delattr("tools.make_tfrecords.convert_film")
    convert(synthetic_film, request(remote, tmp_path))
    assert len(load_card(remote / synthetic_film.stem).shards) == 3
