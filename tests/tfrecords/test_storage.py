"""Files local and remote, the remote ones in TensorFlow's own file system in memory (ram://)."""

from __future__ import annotations

import errno
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

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
        yield RemotePath(f"ram://storage{next(_numbers)}/folder")


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
    source, target = tmp_path / "source", RemotePath("ram://copy/deep/target")
    data = os.urandom(9 << 20)
    source.write_bytes(data)
    reported: list[int] = []
    for _ in range(2):
        storage.copy_to_remote(source, target, reported.append)
    assert storage.read_bytes(target) == data
    assert reported == [8 << 20, 1 << 20] * 2


def test_a_file_whose_writing_fails_does_not_appear(folder: Location) -> None:
    if isinstance(folder, Path):
        pytest.skip("write_bytes has its bytes at hand")
    storage.write_bytes(folder / "file", b"old")
    with pytest.raises(KeyError), remote_files.writing(str(folder / "file")) as file:
        file.write(b"half")
        raise KeyError
    assert storage.read_bytes(folder / "file") == b"old"
    assert storage.names(folder) == ["file"]


def test_a_file_that_is_listed_but_not_read_is_denied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_files, "names", lambda folder: ["secret"])
    for call in (storage.file_size, storage.read_bytes):
        with pytest.raises(StorageError, match="ram://films/secret: access denied"):
            call("ram://films/secret")


@pytest.mark.parametrize("scheme", ["s3", "az", "hdfs"])
def test_a_scheme_of_tensorflow_io_names_what_to_install(scheme: str) -> None:
    if scheme in remote_files._schemes(tf) or tf.__version__.startswith("2.16."):
        pytest.skip("this TensorFlow may have it")
    with pytest.raises(StorageError) as caught:
        storage.exists(f"{scheme}://bucket/film")
    assert str(caught.value) == (
        f"{scheme}://bucket/film: TensorFlow {tf.__version__} alone does not reach {scheme}://; "
        'use an environment of its own with Python 3.11 or 3.12: pip install "bladerunner_ae[io]"'
    )
    assert caught.value.exit_code == 2


def test_an_unknown_scheme_lists_the_known() -> None:
    with pytest.raises(StorageError, match=r"unknown kind of path ftp://; known are .*gs.*s3"):
        storage.names("ftp://host/film")


def test_a_server_that_does_not_answer_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("S3_ENDPOINT", raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(StorageError, match=r"S3 server http://127\.0\.0\.1:9 does not answer"):
        storage.exists("s3://bucket/film")
    monkeypatch.delenv("S3_ENDPOINT")  # taken over from the other name


@pytest.mark.parametrize(
    ("error", "message", "kind", "named"),
    [
        ("PermissionDeniedError", "No response body", StorageError, "access denied.*AWS_ACCESS"),
        ("UnauthenticatedError", "401", StorageError, "access denied"),
        ("NotFoundError", "NoSuchBucket: The ...", StorageError, "there is no bucket 'films'"),
        ("NotFoundError", "The specified bucket does not exist.", StorageError, "no bucket"),
        ("NotFoundError", "Object does not exist", FileNotFoundError, "No such file"),
        ("UnavailableError", "a\nb.", ConnectionLostError, "UnavailableError: a b; check"),
        ("AbortedError", "", ConnectionLostError, "no reason given"),
    ],
)
def test_errors_say_what_to_do(
    monkeypatch: pytest.MonkeyPatch, error: str, message: str, kind: type[Exception], named: str
) -> None:
    monkeypatch.setattr(remote_files, "_ready", {"s3"})
    with pytest.raises(kind, match=named) as caught, remote_files._explained("s3://films/a"):
        raise getattr(tf.errors, error)(None, None, message)
    assert "s3://films/a" in str(caught.value) and "\n" not in str(caught.value)


def test_local_files_need_no_tensorflow(tmp_path: Path) -> None:
    program = (
        "import sys; from tfrecords import storage, card; "
        "p = storage.location(sys.argv[1]); storage.write_text(p / 'a', 'x'); "
        "assert storage.names(p) == ['a'] and storage.is_file(p / 'a'); "
        "storage.remove(p / 'a'); sys.exit('tensorflow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True)
