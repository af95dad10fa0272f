"""Local copies of remote folders, for readers of local files such as TensorFlow.

A copy is named after its URL and the checksums of the card, or the versions of the files. So runs
share it, a killed fetch is resumed, and a folder that changes gets a new copy. Copies stay for the
next command; the least recently used are removed when there is no room.

Environment variables:
    BLADERUNNER_SPOOL: folder of the copies; by default in the user's cache.
    BLADERUNNER_SPOOL_GIB: most space for all copies, 200 by default.
    BLADERUNNER_STREAM: schemes that TensorFlow reads itself, without a copy; "gs" by default. "gs
        s3 hdfs" needs the extra [io].
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

from tqdm import tqdm

from tfrecords import remote_files, storage
from tfrecords.card import FilmCard
from tfrecords.hidden_names import hidden_path
from tfrecords.record_errors import DiskError, RecordsError, ReplaceableError, StorageError
from tfrecords.system_failures import system_failure

FOLDER = "BLADERUNNER_SPOOL"
_GIB, _STREAM = "BLADERUNNER_SPOOL_GIB", "BLADERUNNER_STREAM"
_USUAL_GIB = 200.0
_WHOLE = ".whole"
_PIECE = 8 << 20
_AT_ONCE = 4
_RESERVE = 64 << 20  # bytes of the disk that are left to others
# The only TensorFlow that the last release of tensorflow-io was built for.
_IO_TENSORFLOW = "2.16."

# The copies that this process reads, each with the descriptor whose lock keeps it from removal. The
# kernel gives the locks up when the process ends.
_in_use: dict[Path, int] = {}


@dataclass(frozen=True)
class _File:
    name: str
    bytes: int
    version: str
    sha256: str = ""


def folder(chosen: str | None = None) -> Path:
    """Return the folder for local work on remote paths: the chosen one, or the user's."""
    if found := chosen or os.environ.get(FOLDER):
        return Path(found).expanduser().absolute()
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "bladerunner_ae" / "spool"


def local_records(
    directory: storage.AnyPath, card: FilmCard, fetch: bool = True
) -> storage.AnyPath:
    """Return a path at which the records of a film can be read: a copy if they are remote.

    Paths that TensorFlow reads itself are returned unchanged. Every shard is checked against the
    card when it is fetched. Without `fetch` a copy is used only if it exists.

    Raises:
        RecordsError: a shard is missing or not as the card says.
        StorageError: the store cannot be read.
        DiskError: there is no room for the copy.
    """
    if not storage.is_remote(directory) or streams(directory):
        return directory
    files = [_File(s.name, s.bytes, s.sha256, s.sha256) for s in card.shards]
    return _copy(os.fspath(directory), files, fetch) or directory


def local_folder(folder: storage.AnyPath, start: str = "") -> storage.AnyPath:
    """Return a path at which the files of a folder can be read: a copy if it is remote.

    Only files whose names begin with `start` are needed. Raises StorageError and DiskError as
    `local_records`.
    """
    if not storage.is_remote(folder) or streams(folder):
        return folder
    found = remote_files.files_below(os.fspath(folder)).items()
    files = [_File(name, *facts) for name, facts in sorted(found) if name.startswith(start)]
    return _copy(os.fspath(folder), files, fetch=True) or folder


def streams(path: storage.AnyPath) -> bool:
    """Return whether TensorFlow is to read a remote path itself, and make sure that it can."""
    url = os.fspath(path)
    scheme = urlsplit(url).scheme
    if scheme not in os.environ.get(_STREAM, "gs").replace(",", " ").split():
        return False
    if scheme != "gs":
        _load_tensorflow_io(url, scheme)
    return True


def _load_tensorflow_io(url: str, scheme: str) -> None:
    """Register the schemes of tensorflow-io, and hand it the settings of other S3 programs."""
    for ours, theirs in (
        ("S3_ENDPOINT", "AWS_ENDPOINT_URL_S3"),
        ("S3_ENDPOINT", "AWS_ENDPOINT_URL"),
        ("AWS_REGION", "AWS_DEFAULT_REGION"),
    ):
        if os.environ.get(theirs):
            os.environ.setdefault(ours, os.environ[theirs])
    import tensorflow as tf

    if tf.__version__.startswith(_IO_TENSORFLOW) and find_spec("tensorflow_io"):
        import tensorflow_io  # noqa: F401
    known = {os.fsdecode(name) for name in tf.io.gfile.get_registered_schemes()}
    if scheme not in known:
        raise StorageError(
            f"{url}: TensorFlow {tf.__version__} does not read {scheme}:// by itself; leave "
            f"{scheme} out of {_STREAM}, or use an environment of its own with Python 3.11 or "
            '3.12: pip install "bladerunner_ae[io]"'
        )


def _copy(url: str, files: list[_File], fetch: bool) -> Path | None:
    """Return the copy of some files of a remote folder, made if `fetch`, else None if absent."""
    name = hashlib.sha256(repr((url, files)).encode()).hexdigest()[:16]
    copy = folder() / "copies" / name
    if copy in _in_use:
        return copy
    if not fetch and not (copy / _WHOLE).exists():
        return None
    with _naming_the_disk(copy):
        copy.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(f"{copy}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            _lock(descriptor, fcntl.LOCK_SH, url)
            if not _is_whole(copy, files):
                _lock(descriptor, fcntl.LOCK_EX, url)
                if not _is_whole(copy, files):  # nor made by whoever had the lock meanwhile
                    copy.mkdir(exist_ok=True)  # it was removed to make room
                    _fetch(url, copy, files)
                _lock(descriptor, fcntl.LOCK_SH, url)
            os.utime(descriptor)
        except BaseException:
            os.close(descriptor)
            raise
    _in_use[copy] = descriptor
    return copy


def _lock(descriptor: int, how: int, url: str) -> None:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        print(f"{url}: waiting for another process that is fetching it", file=sys.stderr)
        fcntl.flock(descriptor, how)


def _is_whole(copy: Path, files: list[_File]) -> bool:
    return (copy / _WHOLE).exists() and not _missing(copy, files)


def _missing(copy: Path, files: list[_File]) -> list[_File]:
    """Return the absent files; a file under its own name was checked before it got it."""

    def is_there(file: _File) -> bool:
        with suppress(OSError):
            return (copy / file.name).stat().st_size == file.bytes
        return False

    return [file for file in files if not is_there(file)]


def _fetch(url: str, copy: Path, files: list[_File]) -> None:
    """Fetch the missing files of a copy, several at once."""
    missing = _missing(copy, files)
    total = sum(file.bytes for file in missing)
    _make_room(total, copy, url)
    print(f"{url}: fetching {total / 2**20:.1f} MiB to {copy}", file=sys.stderr)
    over = threading.Event()
    with (
        tqdm(total=total, desc="fetch", unit="B", unit_scale=True, unit_divisor=1024,
             disable=not sys.stderr.isatty()) as bar,
        ThreadPoolExecutor(_AT_ONCE) as pool,
    ):  # fmt: skip
        tasks = [pool.submit(_fetch_file, url, copy, file, over, bar.update) for file in missing]
        try:
            for task in tasks:
                task.result()
        except BaseException:
            over.set()  # an error or a signal is not to wait for gigabytes
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    (copy / _WHOLE).touch()


def _fetch_file(
    url: str, copy: Path, file: _File, over: threading.Event, report: Callable[[int], object]
) -> None:
    source, target = storage.join(url, file.name), copy / file.name
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = hidden_path(target, ".partial")
    digest, count = hashlib.sha256(), 0
    try:
        with storage.open_for_reading(source) as remote, partial.open("wb") as local:
            while not over.is_set() and (piece := remote.read(_PIECE)):
                digest.update(piece)
                count += local.write(piece)
                report(len(piece))
            local.flush()
            os.fsync(local.fileno())
    except FileNotFoundError as error:
        raise ReplaceableError(
            f"{source}: is missing; restore it or make the folder again"
        ) from error
    if over.is_set():
        return
    if count != file.bytes or (file.sha256 and digest.hexdigest() != file.sha256):
        partial.unlink()
        raise ReplaceableError(
            f"{source}: does not have the size and checksum that were expected; restore it or make "
            "the folder again"
        )
    os.replace(partial, target)


def _make_room(wanted: int, copy: Path, url: str) -> None:
    """Remove unused copies, oldest first, until there is room; raise DiskError if too few."""
    base = copy.parent
    limit = float(os.environ.get(_GIB) or _USUAL_GIB) * 2**30
    others = {path: _bytes(path) for path in base.iterdir() if path.is_dir() and path != copy}
    locks = sorted(((_used_at(path), path) for path in others), key=lambda one: one[0])
    for _, path in locks:
        free = shutil.disk_usage(base).free - _RESERVE
        if wanted <= free and sum(others.values()) + wanted <= limit:
            return
        if _remove_unused(path):
            del others[path]
    free = max(shutil.disk_usage(base).free - _RESERVE, 0)
    if wanted > free:
        raise DiskError(
            f"{base}: has room for {free / 2**30:.1f} GiB, but {url} takes "
            f"{wanted / 2**30:.1f} GiB; free some space, or name a folder on a larger disk in "
            f"{FOLDER} or --spool_dir"
        )


def _used_at(copy: Path) -> float:
    with suppress(OSError):
        return Path(f"{copy}.lock").stat().st_mtime
    return 0.0


def _remove_unused(copy: Path) -> bool:
    descriptor = os.open(f"{copy}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(copy, ignore_errors=True)
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)


def _bytes(copy: Path) -> int:
    return sum(path.stat().st_size for path in copy.rglob("*") if path.is_file())


@contextmanager
def _naming_the_disk(copy: Path) -> Iterator[None]:
    """Turn errors of the local disk into a line that names the other folder to choose."""
    try:
        yield
    except RecordsError:
        raise
    except OSError as error:
        failure = system_failure(error)
        reason = failure.reason if failure else error.strerror or str(error)
        raise DiskError(
            f"{copy}: cannot be written ({reason}); free some space, or name another folder in "
            f"{FOLDER} or --spool_dir"
        ) from error
