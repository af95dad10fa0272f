"""Files local and remote, the remote ones in fsspec's file system in memory (memory://)."""

from __future__ import annotations

import errno
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import tensorflow as tf

from tfrecords import remote_files, storage
from tfrecords.record_errors import ConnectionLostError, RecordsError, StorageError
from tfrecords.storage import Location, RemotePath

_numbers = itertools.count()


@pytest.fixture(params=["local", "remote"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Location]:
    if request.param == "local":
        yield tmp_path / "folder"
    else:
        yield RemotePath(f"memory://storage{next(_numbers)}/folder")


def test_locations_join_alike() -> None:
    assert storage.location("a/b/") / "c" == Path("a/b/c")
    assert storage.location(Path("a")) == Path("a")
    remote = storage.location("gs://bucket/films/")
    assert str(remote / "film" / "film.json") == "gs://bucket/films/film/film.json"
    assert os.fspath(remote) == f"{remote}" == "gs://bucket/films"
    assert (remote / "film").name == "film"
    assert storage.location(remote) is remote and storage.is_remote(remote)


def test_a_name_that_is_no_utf8_is_one_line() -> None:
    """TensorFlow's readers and writers fail on it, and do not say why."""
    with pytest.raises(RecordsError, match=r"^films/caf\ufffd: the name is not UTF-8, .*rename"):
        storage.location(os.fsdecode(b"films/caf\xe9"))
    assert storage.location("films/caf\u00e9") == Path("films/caf\u00e9")


def test_what_is_written_is_read_and_replaced(folder: Location) -> None:
    storage.make_directories(folder)
    path = folder / "ümlaut.txt"
    for text in ("first, and longer", "second ü"):
        storage.write_text(path, text)
        assert storage.read_text(path) == text
        assert storage.file_size(path) == len(text.encode())
    assert storage.names(folder) == ["ümlaut.txt"], "no temporary file stays"
    with storage.open_for_reading(path) as file:
        assert (file.read(3), file.read(100), file.read(1)) == (b"sec", "ond ü".encode(), b"")


def test_files_and_folders_are_told_apart(folder: Location) -> None:
    assert not storage.exists(folder) and storage.names(folder) == []
    storage.make_directories(folder / "sub")
    storage.write_bytes(folder / "sub" / "b", b"1")
    storage.write_bytes(folder / "a", b"")
    assert storage.names(folder) == ["a", "sub"]
    for path, file, directory in (
        (folder / "a", True, False),
        (folder / "sub", False, True),
        (folder / "none", False, False),
    ):
        assert storage.is_file(path) is file
        assert storage.is_directory(path) is directory
        assert storage.exists(path) is (file or directory)


def test_removing(folder: Location) -> None:
    storage.make_directories(folder / "sub")
    for name in ("a", "b"):
        storage.write_bytes(folder / "sub" / name, b"1")
    storage.remove(folder / "sub" / "a")
    storage.remove(folder / "sub" / "a")
    assert storage.names(folder / "sub") == ["b"]
    assert storage.files_below(folder) == ["sub/b"]
    storage.remove(folder / "sub" / "b")
    assert storage.files_below(folder) == [] == storage.files_below(folder / "none")


def test_writers_of_one_file_wait_for_each_other(tmp_path: Path) -> None:
    """Each writes it whole, and none takes the other's temporary file away."""
    path, program = (
        tmp_path / "a.json",
        (
            "import sys; from tfrecords import storage\n"
            "for _ in range(150): storage.write_text(sys.argv[1], sys.argv[2] * 5000)"
        ),
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", program, str(path), letter]) for letter in "abc"
    ]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert path.read_text() in {letter * 5000 for letter in "abc"}
    assert os.listdir(tmp_path) == ["a.json"]


def test_what_a_killed_writer_left_is_no_obstacle(tmp_path: Path) -> None:
    storage.partial(tmp_path / "a").write_text("half of something longer")
    storage.write_text(tmp_path / "a", "whole")
    assert (tmp_path / "a").read_text() == "whole" and os.listdir(tmp_path) == ["a"]


def test_a_write_that_fails_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="quota") as caught:
        storage.write_text(tmp_path / "a", "text")
    assert (caught.value.errno, caught.value.filename) == (errno.EDQUOT, str(tmp_path / "a"))
    assert os.listdir(tmp_path) == []


def test_a_missing_file_is_named(folder: Location) -> None:
    path = folder / "none"
    for call in (storage.file_size, storage.read_bytes):
        with pytest.raises(FileNotFoundError) as caught:
            call(path)
        assert caught.value.filename in (path, str(path))


def test_a_copy_reports_its_bytes(tmp_path: Path) -> None:
    source, target = tmp_path / "source", RemotePath(f"memory://copy{next(_numbers)}/deep/target")
    data = os.urandom(9 << 20)
    source.write_bytes(data)
    reported: list[int] = []
    for _ in range(2):
        storage.copy_to_remote(source, target, reported.append)
    assert storage.read_bytes(target) == data
    assert sum(reported) == 2 * len(data)
    with pytest.raises(FileNotFoundError, match="gone"):
        storage.copy_to_remote(tmp_path / "gone", target)


def test_where_files_are_renamed_one_whose_writing_fails_does_not_appear(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fsspec's local files stand for hdfs:// and sftp://, which are no object stores."""
    path = RemotePath(f"file://{tmp_path}/deep/file")
    storage.write_bytes(path, b"old")
    monkeypatch.setattr(
        "fsspec.implementations.local.LocalFileSystem.mv", mock.Mock(side_effect=OSError("broken"))
    )
    with pytest.raises(ConnectionLostError, match="deep/file: OSError: broken; check the network"):
        storage.write_bytes(path, b"new")
    assert os.listdir(tmp_path / "deep") == []
    monkeypatch.undo()
    storage.write_bytes(path, b"new")
    assert storage.read_bytes(path) == b"new" and storage.names(path.parent) == ["file"]


def test_sizes_of_a_folder_and_hidden_names(folder: Location) -> None:
    assert storage.file_sizes(folder) == {}
    storage.make_directories(folder / "sub")
    storage.write_bytes(folder / "sub" / "b", b"1")
    storage.write_bytes(folder / "a", b"123")
    assert storage.file_sizes(folder) == {"a": 3}
    assert os.fspath(storage.hidden(folder / "a", ".apart")) == f"{folder}/.a.apart"
    assert (folder / "a").parent == folder
    storage.remove_folder(folder)
    storage.remove_folder(folder)
    assert not storage.exists(folder)


def test_names_that_would_leave_the_folder_are_left_out() -> None:
    found = {f"/odd/{name}": {"size": 1} for name in ("a", "../../x", "b/../../y", "made/")}
    with mock.patch("fsspec.implementations.memory.MemoryFileSystem.find", return_value=found):
        assert storage.files_below("memory://odd") == ["a"]


@pytest.mark.parametrize(
    ("scheme", "extra"),
    [("s3", '"bladerunner_ae[s3]"'), ("gs", '"bladerunner_ae[gs]"'), ("az", '"bladerunner_ae[az]"'),
     ("hf", '"bladerunner_ae[hf]"')],
)  # fmt: skip
def test_a_missing_package_is_named(
    scheme: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fsspec.core.url_to_fs", mock.Mock(side_effect=ImportError("no")))
    with pytest.raises(StorageError) as caught:
        storage.exists(f"{scheme}://bucket/film")
    assert str(caught.value) == (
        f"{scheme}://bucket/film: {scheme}:// paths need another package; pip install {extra}"
    )
    assert caught.value.exit_code == 2


def test_an_unknown_scheme_lists_the_known() -> None:
    with pytest.raises(StorageError, match=r"unknown kind of path abc://; known are s3://, gs"):
        storage.names("abc://host/film")


class RefusedError(Exception):
    """As of a store's own library, with a number of HTTP's."""

    def __init__(self, text: str, **attributes: Any) -> None:
        super().__init__(text)
        self.__dict__.update(attributes)


class NoCredentialsError(Exception):
    """As of botocore."""


@pytest.mark.parametrize(
    ("error", "kind", "named"),
    [
        (PermissionError("Forbidden"), StorageError, "access denied .*Forbidden.*AWS_ACCESS"),
        (NoCredentialsError("none"), StorageError, "access denied .*AWS_ACCESS_KEY_ID"),
        (RefusedError("401", status=401), StorageError, "access denied"),
        (
            RefusedError("gated", response=SimpleNamespace(status_code=403)),
            StorageError,
            "access den",
        ),
        (
            RefusedError("bad name", code=400),
            StorageError,
            r"cannot be used \(RefusedError: bad name\)",
        ),
        (
            RefusedError("slow", status_code=429),
            ConnectionLostError,
            "RefusedError: slow; check the net",
        ),
        (OSError(5, "a\nb."), ConnectionLostError, r"OSError: \[Errno 5\] a b; check"),
        (TimeoutError(), ConnectionLostError, "TimeoutError; check"),
        (FileNotFoundError("x"), FileNotFoundError, "No such file"),
        (RecordsError("ours"), RecordsError, "^ours$"),
    ],
)
def test_errors_say_what_to_do(error: Exception, kind: type[Exception], named: str) -> None:
    with pytest.raises(kind, match=named) as caught, remote_files.explained("s3://films/a"):
        raise error
    assert type(caught.value) is kind and "\n" not in str(caught.value)
    assert "s3://films/a" in str(caught.value) or kind is RecordsError


def test_of_tensorflows_errors_only_a_stores_are_explained() -> None:
    """Where it reads gs:// by itself."""
    gone = tf.errors.UnavailableError(None, None, "a\nb.")
    assert storage.failure(gone) == "UnavailableError: a b"
    assert storage.failure(tf.errors.AbortedError(None, None, "")).endswith("no reason given")
    assert storage.failure(tf.errors.InvalidArgumentError(None, None, "ours")) is None
    assert storage.failure(OSError(5, "x")) is None


def test_local_files_need_neither_tensorflow_nor_fsspec(tmp_path: Path) -> None:
    program = (
        "import sys; from tfrecords import storage, card; "
        "p = storage.location(sys.argv[1]); storage.write_text(p / 'a', 'x'); "
        "assert storage.names(p) == ['a'] and storage.is_file(p / 'a'); "
        "storage.remove(p / 'a'); sys.exit('tensorflow' in sys.modules or 'fsspec' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
