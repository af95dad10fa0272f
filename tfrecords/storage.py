"""Files on a local disk, or through TensorFlow wherever its file systems reach.

Records and runs may lie in `gs://bucket/film` or, with tensorflow-io, in `s3://`, `az://` or
`hdfs://`. Nothing outside this module and `remote_files` asks whether a path is remote in order to
read or write it. TensorFlow is imported for a remote path only, so that local work never waits for
it.

Stores of objects know no folders: one is there while a file lies in it. Nor do they rename or
append. So a remote file is always written whole, in one piece, under its own name.
"""

from __future__ import annotations

import errno
import fcntl
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from tfrecords.hidden_names import hidden_path
from tfrecords.record_errors import RecordsError

AnyPath = str | os.PathLike[str]
"""A path. A remote one must not be a `Path`: that would fold its two slashes into one."""

_COPY_BYTES = 8 << 20


@dataclass(frozen=True)
class RemotePath(os.PathLike[str]):
    """A path such as gs://bucket/film, to be joined as a `Path` is. It does no work itself."""

    url: str

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(f"{self.url}/{name}")

    def __fspath__(self) -> str:
        return self.url

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """The part behind the last slash."""
        return self.url.rpartition("/")[2]


Location = Path | RemotePath


def location(text: AnyPath) -> Location:
    """Returns the path that a person gave, local or remote, ready to be joined with `/`.

    Raises:
        RecordsError: it has no UTF-8 name. TensorFlow takes no other, and would say so in the
            middle of the work.
    """
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
    """Returns whether `path` names its file system, as `gs://bucket/film` does."""
    return "://" in os.fspath(path)


def join(directory: AnyPath, name: str) -> str:
    """Returns the path of the file `name` in `directory`."""
    return os.path.join(os.fspath(directory), name)


def exists(path: AnyPath) -> bool:
    """Returns whether there is a file or folder."""
    if is_remote(path):
        from tfrecords import remote_files

        return remote_files.exists(os.fspath(path))
    return os.path.exists(path)


def is_directory(path: AnyPath) -> bool:
    """Returns whether `path` is a folder."""
    if is_remote(path):
        from tfrecords import remote_files

        return remote_files.is_directory(os.fspath(path))
    return os.path.isdir(path)


def is_file(path: AnyPath) -> bool:
    """Returns whether `path` is a file."""
    if is_remote(path):
        return exists(path) and not is_directory(path)
    return os.path.isfile(path)


def explain_missing(path: AnyPath) -> None:
    """Says why a remote path that is not there cannot be there; else returns.

    Raises:
        StorageError: there is no such bucket, or it may not be looked into.
    """
    if is_remote(path):
        from tfrecords import remote_files

        remote_files.check_bucket(os.fspath(path))


def names(directory: AnyPath) -> list[str]:
    """Returns the names of the files and folders in a folder, sorted; none if it is not there."""
    if is_remote(directory):
        from tfrecords import remote_files

        return remote_files.names(os.fspath(directory))
    return sorted(os.listdir(directory)) if os.path.isdir(directory) else []


def file_size(path: AnyPath) -> int:
    """Returns the size of a file in bytes.

    Raises:
        FileNotFoundError: there is no such file, here or remote.
    """
    if is_remote(path):
        from tfrecords import remote_files

        return remote_files.size(os.fspath(path))
    return os.stat(path).st_size


@contextmanager
def open_for_reading(path: AnyPath) -> Iterator[BinaryIO]:
    """Opens a file of bytes; `read(n)` returns `n` bytes unless the file ends before.

    Raises:
        FileNotFoundError: there is no such file, here or remote.
    """
    if is_remote(path):
        from tfrecords import remote_files

        with remote_files.reading(os.fspath(path)) as remote:
            yield cast(BinaryIO, remote)
    else:
        with open(path, "rb", buffering=1 << 20) as file:
            yield file


def read_bytes(path: AnyPath) -> bytes:
    """Returns a whole file; raises `FileNotFoundError` as `open_for_reading` does."""
    with open_for_reading(path) as file:
        return file.read()


def read_text(path: AnyPath, errors: str = "strict") -> str:
    """Returns a whole file of UTF-8; raises `FileNotFoundError` as `open_for_reading` does.

    Args:
        path: of the file.
        errors: what becomes of bytes that are no UTF-8, as in `bytes.decode`.
    """
    return read_bytes(path).decode("utf-8", errors)


def partial(path: Path) -> Path:
    """Returns the hidden name under which `write_bytes` writes a local file."""
    return hidden_path(path, ".partial")


def write_bytes(path: AnyPath, data: bytes) -> None:
    """Writes a file whole or not at all, in the place of one that is there.

    The folder of a local file must exist. Several processes may write one file at once: one after
    the other does, and the last one's content stays.

    Raises:
        OSError: it cannot be written; `filename` is `path`.
    """
    if is_remote(path):
        from tfrecords import remote_files

        with remote_files.writing(os.fspath(path)) as remote:
            remote.write(data)
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
    """Opens a file for writing, once no other process has it open through this function."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        with open(descriptor, "r+b") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError as error:  # not every network drive knows locks
                if error.errno not in (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL):
                    raise
            # Whoever had it before us has renamed or removed it meanwhile.
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
    """Writes a file of UTF-8 as `write_bytes` does."""
    write_bytes(path, text.encode("utf-8"))


def make_directories(path: AnyPath) -> None:
    """Makes a folder and those above it; in a store of objects they come with the first file."""
    if is_remote(path):
        from tfrecords import remote_files

        remote_files.make_directories(os.fspath(path))
    else:
        os.makedirs(path, exist_ok=True)


def make_parent(path: Location) -> None:
    """Makes the folder that a file lies in."""
    if isinstance(path, Path):
        path.parent.mkdir(parents=True, exist_ok=True)  # a remote one comes with its first file


def remove(path: AnyPath) -> None:
    """Removes a file; one that is not there is no error."""
    if is_remote(path):
        from tfrecords import remote_files

        remote_files.remove(os.fspath(path))
    else:
        Path(path).unlink(missing_ok=True)


def files_below(directory: AnyPath) -> list[str]:
    """Returns all files below a folder by their paths relative to it, with slashes, sorted.

    Links are files: what they lead to is not looked into.
    """
    if is_remote(directory):
        from tfrecords import remote_files

        return remote_files.files_below(os.fspath(directory))
    found: list[str] = []
    for folder, folders, files in os.walk(directory):
        links = [name for name in folders if os.path.islink(os.path.join(folder, name))]
        relative = os.path.relpath(folder, directory)
        found += (os.path.normpath(os.path.join(relative, name)) for name in (*files, *links))
    return sorted(found)


def failure(error: BaseException) -> str | None:
    """Returns what a remote store said when TensorFlow's own readers and writers failed on it.

    Returns:
        None for an error that is none of a remote store.
    """
    if "tensorflow" not in sys.modules:  # so no error can be one of its
        return None
    from tfrecords import remote_files

    return remote_files.failure(error)


def aborts_at_exit() -> bool:
    """Returns whether a normal exit of this process would end in an abort.

    The destructors of tensorflow-io's S3 client run after those of what they need ("pure virtual
    method called"), so a process that has loaded it must flush and leave by `os._exit`.
    """
    return "tensorflow_io" in sys.modules


def copy_to_remote(
    source: Path, target: AnyPath, report: Callable[[int], None] | None = None
) -> None:
    """Copies a local file to a remote path.

    Args:
        source: the local file.
        target: the remote path; a file that is there is replaced.
        report: is called with the number of bytes behind each piece.

    Raises:
        StorageError: it cannot be written there. Nothing of it is left then, if that can be helped.
    """
    from tfrecords import remote_files

    with open(source, "rb") as file, remote_files.writing(os.fspath(target)) as remote:
        while piece := file.read(_COPY_BYTES):
            remote.write(piece)
            if report is not None:
                report(len(piece))
