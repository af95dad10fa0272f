"""Local copies of remote folders: checked, shared, resumed, and no larger than they may be."""

from __future__ import annotations

import errno
import itertools
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tensorflow as tf

from tests.helpers.small_records import flip_byte, write_numbered_film
from tfrecords import local_copies, storage
from tfrecords.card import FilmCard, load_card
from tfrecords.mixture import FilmPart
from tfrecords.reader import mixed_frames
from tfrecords.record_errors import DiskError, RecordsError, StorageError
from tfrecords.storage import RemotePath

_numbers = itertools.count()


@pytest.fixture(autouse=True)
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a spool of the test's own, which no process uses yet."""
    monkeypatch.setenv(local_copies.FOLDER, str(tmp_path / "spool"))
    monkeypatch.setattr(local_copies, "_in_use", {})
    yield tmp_path / "spool" / "copies"
    for descriptor in local_copies._in_use.values():
        os.close(descriptor)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("film") / "film"
    write_numbered_film(folder, 24, 24, 32, num_shards=4)
    return folder


@pytest.fixture
def remote(film: Path) -> RemotePath:
    folder = RemotePath(f"memory://spool{next(_numbers)}/film")
    for path in film.iterdir():
        storage.copy_to_remote(path, folder / path.name)
    return folder


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets the name of every file that is fetched."""
    names: list[str] = []
    fetch = local_copies._fetch_file

    def fetching(url: str, copy: Path, file: Any, *rest: Any) -> None:
        names.append(file.name)
        fetch(url, copy, file, *rest)

    monkeypatch.setattr(local_copies, "_fetch_file", fetching)
    return names


def contents(folder: Path, card: FilmCard) -> dict[str, bytes]:
    return {shard.name: (folder / shard.name).read_bytes() for shard in card.shards}


def release() -> None:
    """Do what the end of the process would do."""
    for descriptor in local_copies._in_use.values():
        os.close(descriptor)
    local_copies._in_use.clear()


def test_a_copy_is_made_once_and_shared(film: Path, remote: RemotePath, fetched: list[str]) -> None:
    card = load_card(remote)
    copy = Path(local_copies.local_records(remote, card))
    assert contents(copy, card) == contents(film, card)
    release()
    assert local_copies.local_records(str(remote), card) == copy
    assert sorted(fetched) == [shard.name for shard in card.shards]
    assert local_copies.local_records(film, card) == film


def test_nothing_is_fetched_where_a_few_records_will_do(
    remote: RemotePath, fetched: list[str]
) -> None:
    card = load_card(remote)
    assert local_copies.local_records(remote, card, fetch=False) == remote and fetched == []
    copy = local_copies.local_records(remote, card)
    assert local_copies.local_records(remote, card, fetch=False) == copy


def test_training_reads_a_copy_in_the_same_order(film: Path, remote: RemotePath) -> None:
    def indices(folder: Any, in_memory: bool) -> list[list[int]]:
        part = FilmPart(folder, load_card(folder))
        frames = mixed_frames([part], batch_size=8, seed=1, in_memory=in_memory, first_batch=2)
        return [batch["index"].numpy().tolist() for batch in frames.take(5)]

    for in_memory in (True, False):
        assert indices(remote, in_memory) == indices(film, in_memory)


@pytest.mark.parametrize("damage", ["cut", "changed", "gone"])
def test_a_shard_that_is_not_the_cards_is_named(
    film: Path, remote: RemotePath, tmp_path: Path, damage: str, base: Path
) -> None:
    card = load_card(remote)
    name = card.shards[2].name
    changed = tmp_path / "shard"
    changed.write_bytes((film / name).read_bytes())
    if damage == "gone":
        storage.remove(remote / name)
    elif damage == "cut":
        storage.write_bytes(remote / name, changed.read_bytes()[:-1])
    else:
        flip_byte(changed, 40)
        storage.copy_to_remote(changed, remote / name)
    said = "is missing" if damage == "gone" else "size and checksum that were expected"
    with pytest.raises(RecordsError, match=rf"^{remote}/{name}: .*{said}.*; restore it"):
        local_copies.local_records(remote, card)
    assert not list(base.rglob(name))
    storage.copy_to_remote(film / name, remote / name)
    assert contents(Path(local_copies.local_records(remote, card)), card) == contents(film, card)


def test_a_fetch_that_was_stopped_is_resumed(
    film: Path, remote: RemotePath, fetched: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    card = load_card(remote)
    monkeypatch.setattr(local_copies, "_AT_ONCE", 1)
    counting = local_copies._fetch_file

    def stopped(*arguments: Any) -> None:
        if len(fetched) == 2:
            raise KeyboardInterrupt
        counting(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(local_copies, "_fetch_file", stopped)
        with pytest.raises(KeyboardInterrupt):
            local_copies.local_records(remote, card)
    copy = Path(local_copies.local_records(remote, card))
    assert fetched == [shard.name for shard in card.shards], "none twice"
    assert contents(copy, card) == contents(film, card)


def test_two_processes_fetch_it_once(tmp_path: Path, film: Path) -> None:
    program = (
        "import sys, time; from tfrecords import local_copies, card\n"
        "fetch = local_copies._fetch_file\n"
        "def slow(*a): time.sleep(0.3); fetch(*a)\n"
        "local_copies._fetch_file = slow\n"
        "found = card.load_card(sys.argv[1]); print(local_copies.local_records(sys.argv[1], found))"
    )
    url = f"file://{film}"
    both = [
        subprocess.Popen([sys.executable, "-c", program, url], text=True,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]  # fmt: skip
    said = [process.communicate(timeout=100) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert said[0][0] == said[1][0] and Path(said[0][0].strip()).is_dir(), said
    assert sum(": fetching " in err for _, err in said) == 1
    assert sum("waiting for another process" in err for _, err in said) <= 1


def test_unused_copies_make_room_the_oldest_first(
    film: Path, remote: RemotePath, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = load_card(remote)
    others = []
    for number in range(3):
        other = RemotePath(f"memory://spool{next(_numbers)}/film{number}")
        for path in film.iterdir():
            storage.copy_to_remote(path, other / path.name)
        others.append(Path(local_copies.local_records(other, card)))
        os.utime(f"{others[-1]}.lock", (number, number))
    in_use = local_copies._in_use.pop(others[0])
    for descriptor in local_copies._in_use.values():
        os.close(descriptor)
    local_copies._in_use.clear()
    size = sum(shard.bytes for shard in card.shards)
    monkeypatch.setenv("BLADERUNNER_SPOOL_GIB", str(3.5 * size / 2**30))
    copy = Path(local_copies.local_records(remote, card))
    assert [path.exists() for path in others] == [True, False, True], "the first is in use"
    assert copy.exists()
    os.close(in_use)


def test_a_full_disk_is_one_line(
    remote: RemotePath, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = load_card(remote)
    with monkeypatch.context() as patch:
        patch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=0))
        with pytest.raises(DiskError, match=rf"^{base}: has room for 0\.0 GiB, but {remote}"):
            local_copies.local_records(remote, card)

    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(DiskError, match=r"the disk is full.*BLADERUNNER_SPOOL or --spool_dir"):
        local_copies.local_records(remote, card)


def test_a_folder_that_changes_gets_another_copy() -> None:
    model = RemotePath(f"memory://spool{next(_numbers)}/model")
    for name in ("saved_model.pb", "variables/variables.index", "other"):
        storage.write_text(model / name, name)
    copy = Path(local_copies.local_folder(model))
    assert storage.files_below(copy) == [
        ".whole", "other", "saved_model.pb", "variables/variables.index"
    ]  # fmt: skip
    assert local_copies.local_folder(model) == copy
    assert not (Path(local_copies.local_folder(model, start="saved")) / "other").exists()
    time.sleep(0.01)
    storage.write_text(model / "other", "eight..")
    assert Path(local_copies.local_folder(model)) != copy
    assert (Path(local_copies.local_folder(model)) / "other").read_text() == "eight.."


def test_tensorflow_reads_by_itself_what_it_is_asked_to(monkeypatch: pytest.MonkeyPatch) -> None:
    assert local_copies.streams("gs://bucket/film") and not local_copies.streams("s3://bucket/film")
    assert local_copies.local_folder("gs://bucket/model") == "gs://bucket/model"
    monkeypatch.setenv("BLADERUNNER_STREAM", "s3, hdfs")
    assert not local_copies.streams("gs://bucket/film")
    if tf.__version__.startswith("2.16."):
        pytest.skip("this TensorFlow may have it")
    with pytest.raises(StorageError, match=r"^s3://bucket/film: TensorFlow .* does not read s3://"):
        local_copies.streams("s3://bucket/film")
