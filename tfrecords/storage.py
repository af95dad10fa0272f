"""Files on a local disk, or wherever fsspec reaches: s3://, gs://, az://, hf:// and others.

Only this module, `remote_files` and `spool` distinguish remote paths when reading or writing.
fsspec is imported for a remote path only.

Object stores have no folders (one exists while a file is in it), do not append and do not rename.
So a remote file is always written whole, under its own name.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from tfrecords import remote_files
from tfrecords.hidden_names import hidden_path
from tfrecords.record_errors import RecordsError

AnyPath = str | os.PathLike[str]
"""A path. A remote one must not be a `Path`: that would fold its two slashes into one."""

READ_BYTES = 1 << 20
"""Usual buffer of a reader; a remote file is then fetched in pieces of eight times as much."""


@dataclass(frozen=True)
class RemotePath(os.PathLike[str]):
    """A path such as s3://bucket/film, joined like a `Path`. It does no work itself."""

    url: str

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(f"{self.url}/{name}")

    def __fspath__(self) -> str:
        return self.url

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    @property
    def parent(self) -> RemotePath:
        return RemotePath(self.url.rpartition("/")[0])


Location = Path | RemotePath


def location(text: AnyPath) -> Location:
    """Return a person's path, local or remote; RecordsError if not UTF-8 (TensorFlow needs it)."""
    if isinstance(text, RemotePath):
        return text
    name = os.fspath(text)
    try:
        name.encode("utf-8")
    except UnicodeEncodeError as error:
        shown = os.fsencode(name).decode("utf-8", "replace")
        raise RecordsError(
            f"{shown}: the name is not UTF-8, and TensorFlow opens no others; rename the folder, "
            "or give another"
        ) from error
    if is_remote(text):
        return RemotePath(os.fspath(text).rstrip("/"))
    return Path(text)


def is_remote(path: AnyPath) -> bool:
    """Return whether `path` names its file system, as `s3://bucket/film` does."""
    return "://" in os.fspath(path)


def join(directory: AnyPath, name: str) -> str:
    return os.path.join(os.fspath(directory), name)


def hidden(path: Location, ending: str) -> Location:
    """Return the hidden path `.NAME` + `ending` next to a path."""
    if isinstance(path, Path):
        return hidden_path(path, ending)
    return path.parent / f".{path.name}{ending}"


def exists(path: AnyPath) -> bool:
    if is_remote(path):
        return remote_files.kind(os.fspath(path)) is not None
    return os.path.exists(path)


def is_directory(path: AnyPath) -> bool:
    """Return whether `path` is a folder or a bucket."""
    if is_remote(path):
        return remote_files.kind(os.fspath(path)) == "directory"
    return os.path.isdir(path)


def is_file(path: AnyPath) -> bool:
    if is_remote(path):
        return remote_files.kind(os.fspath(path)) == "file"
    return os.path.isfile(path)


def explain_missing(path: AnyPath) -> None:
    """Raise StorageError if a remote path is missing because its bucket is missing or closed."""
    if is_remote(path):
        remote_files.check_bucket(os.fspath(path))


def names(directory: AnyPath) -> list[str]:
    """Return the sorted names of the files and folders in a folder; none if it is missing."""
    if is_remote(directory):
        return sorted(remote_files.listing(os.fspath(directory)))
    return sorted(os.listdir(directory)) if os.path.isdir(directory) else []


def file_sizes(directory: AnyPath) -> dict[str, int]:
    """Return the bytes of each file in a folder by name, in one request; none if it is missing."""
    if is_remote(directory):
        found = remote_files.listing(os.fspath(directory)).items()
        return {name: size for name, size in found if size is not None}
    if not os.path.isdir(directory):
        return {}
    with os.scandir(directory) as entries:
        return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}


def file_size(path: AnyPath) -> int:
    """Return the size of a file in bytes; raise FileNotFoundError also for a remote one."""
    return remote_files.size(os.fspath(path)) if is_remote(path) else os.stat(path).st_size


@contextmanager
def open_for_reading(path: AnyPath, buffering: int = READ_BYTES) -> Iterator[BinaryIO]:
    """Open a file of bytes; `read(n)` returns `n` bytes unless the file ends before.

    `buffering` is the read-ahead in bytes; 0 for short reads at scattered places. A missing file
    raises FileNotFoundError, also a remote one.
    """
    if is_remote(path):
        with remote_files.reading(os.fspath(path), 8 * buffering) as remote:
            yield cast(BinaryIO, remote)
    else:
        with open(path, "rb", buffering=buffering) as file:
            yield file


def read_bytes(path: AnyPath) -> bytes:
    """Return a whole file; raise FileNotFoundError as `open_for_reading` does."""
    if is_remote(path):
        return remote_files.read(os.fspath(path))
    return Path(path).read_bytes()


def read_text(path: AnyPath, errors: str = "strict") -> str:
    """Return a whole file of UTF-8; `errors` is that of `bytes.decode`."""
    return read_bytes(path).decode("utf-8", errors)


def partial(path: Path) -> Path:
    """Return the hidden name under which `write_bytes` writes a local file."""
    return hidden_path(path, ".partial")


def write_bytes(path: AnyPath, data: bytes) -> None:
    """Write a file whole or not at all, replacing one that exists.

    The folder of a local file must exist. Several processes may write one file at once: they take
    turns, and the last one's content stays.

    Raises:
        OSError: a local file cannot be written; `filename` is `path`.
        StorageError: a remote one cannot.
    """
    if is_remote(path):
        remote_files.write(os.fspath(path), data)
        return
    temporary = partial(Path(path))
    try:
        with _opened_alone(temporary) as file:
            try:
                file.truncate()  # what a killed writer has left
                file.write(data)
                file.flush()
                os.fsync(file.fileno())  # or a power cut could leave the name without the content
                os.replace(temporary, path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


@contextmanager
def _opened_alone(path: Path) -> Iterator[BinaryIO]:
    """Open a file for writing, once no other process has it open through this function."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        with open(descriptor, "r+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError as error:  # not every network drive knows locks
                if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL):
                    raise
            # Its previous owner may have renamed or removed it meanwhile.
            if not _is_named(path, file):
                continue
            yield file
            return


def _is_named(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def write_text(path: AnyPath, text: str) -> None:
    """Write a file of UTF-8 as `write_bytes` does."""
    write_bytes(path, text.encode("utf-8"))


def make_directories(path: AnyPath) -> None:
    """Make a local folder and those above it; remote ones come with their first file."""
    if not is_remote(path):
        os.makedirs(path, exist_ok=True)


def make_parent(path: Location) -> None:
    make_directories(path.parent)


def remove(path: AnyPath) -> None:
    """Remove a file; a missing one is no error."""
    if is_remote(path):
        remote_files.remove(os.fspath(path))
    else:
        Path(path).unlink(missing_ok=True)


def remove_folder(path: AnyPath) -> None:
    """Remove a folder with all its content; a missing one is no error."""
    if is_remote(path):
        remote_files.remove_folder(os.fspath(path))
    else:
        shutil.rmtree(path, ignore_errors=True)


def files_below(directory: AnyPath) -> list[str]:
    """Return all files below a folder, sorted relative paths with slashes; follows no links."""
    if is_remote(directory):
        return sorted(remote_files.files_below(os.fspath(directory)))
    found: list[str] = []
    for folder, folders, files in os.walk(directory):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        relative = os.path.relpath(folder, directory)
        found += (os.path.normpath(os.path.join(relative, name)) for name in (*files, *links))
    return sorted(found)


def failure(error: BaseException) -> str | None:
    """Return a remote store's message if TensorFlow's own readers failed on it, else None."""
    if "tensorflow" not in sys.modules:  # so it cannot be an error of TensorFlow's
        return None
    import tensorflow as tf

    kinds = (
        tf.errors.UnavailableError,
        tf.errors.DeadlineExceededError,
        tf.errors.AbortedError,
        tf.errors.PermissionDeniedError,
        tf.errors.UnauthenticatedError,
    )
    # The S3 client's own name for "the connection broke" is UnknownError with curl's number.
    broken = isinstance(error, tf.errors.UnknownError) and "curlCode" in str(error)
    if not isinstance(error, kinds) and not broken:
        return None
    text = " ".join(str(error.message).split())[:200].strip(" :.")  # type: ignore[attr-defined]
    return f"{type(error).__name__}: {text or 'no reason given'}"


def aborts_at_exit() -> bool:
    """Return whether a normal exit of this process would end in an abort.

    The destructors of tensorflow-io's S3 client run after those of what they need ("pure virtual
    method called"), so a process that has loaded it must flush and leave by `os._exit`.
    """
    return "tensorflow_io" in sys.modules


def copy_to_remote(
    source: Path, target: AnyPath, report: Callable[[int], None] | None = None
) -> None:
    """Copy a local file to a remote path, replacing one that exists there.

    `report` is called with the bytes of each piece. After a StorageError nothing of the file is
    visible.
    """
    remote_files.send(source, os.fspath(target), report)
