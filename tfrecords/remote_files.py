"""Remote files through `tf.io.gfile`, with errors that say what to do. For `storage` alone."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from tfrecords.record_errors import ConnectionLostError, StorageError

# What tensorflow-io adds, and the only TensorFlow that its last release was built for.
_IO_SCHEMES = ("s3", "az", "hdfs", "viewfs")
_IO_TENSORFLOW = "2.16."
# Here a file appears when it was sent whole; elsewhere it is written beside and renamed.
_OBJECT_STORES = ("s3", "gs", "az")
_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION, or ~/.aws",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, or gcloud auth application-default login",
    "az": "TF_AZURE_STORAGE_KEY",
}
_CONNECT_SECONDS = 10.0

_ready: set[str] = set()


def exists(path: str) -> bool:
    """Returns whether there is a file or folder."""
    path = _rooted(path)
    with _explained(path):
        return bool(_gfile(path).isdir(path)) or bool(_gfile(path).exists(path))


def is_directory(path: str) -> bool:
    """Returns whether `path` is a folder, or a bucket."""
    path = _rooted(path)
    with _explained(path):
        return bool(_gfile(path).isdir(path))


def _rooted(path: str) -> str:
    """Returns a path as it is, and the name of a bucket alone, which is no path for S3, with /."""
    return path.rstrip("/") + "/" if urlsplit(path).path in ("", "/") else path


def check_bucket(path: str) -> None:
    """Raises StorageError if the bucket of `path` is not there or may not be looked into."""
    scheme, bucket = urlsplit(path)[:2]
    if scheme not in _OBJECT_STORES or not bucket:
        return
    root = f"{scheme}://{bucket}/"
    with _explained(root):
        if not _gfile(root).isdir(root):
            raise StorageError(
                f"{path}: bucket {bucket!r} does not exist or may not be read; check its name and "
                f"the credentials ({_credentials(scheme)})"
            )


def names(directory: str) -> list[str]:
    """Returns the sorted names in a folder; none if it is not there."""
    with suppress(FileNotFoundError), _explained(directory):
        found = _gfile(directory).listdir(directory.rstrip("/") + "/")
        return sorted({name.strip("/") for name in found} - {""})
    return []


def size(path: str) -> int:
    """Returns the size of a file in bytes."""
    with _explained_file(path):
        return int(_gfile(path).stat(path).length)


@contextmanager
def reading(path: str) -> Iterator[Any]:
    """Opens a file of bytes."""
    with _explained_file(path), _gfile(path).GFile(path, "rb") as file:
        yield file


@contextmanager
def writing(path: str) -> Iterator[Any]:
    """Opens a file of bytes that replaces `path` when the block ends well."""
    gfile = _gfile(path)
    stored_whole = urlsplit(path).scheme in _OBJECT_STORES
    folder, _, name = path.rpartition("/")
    target = path if stored_whole else f"{folder}/.{name}.partial"
    with _explained(path):
        if not stored_whole:
            gfile.makedirs(folder)
            if gfile.exists(target):
                gfile.remove(target)  # a killed run's; not every file system empties what it opens
        try:
            with gfile.GFile(target, "wb") as file:
                yield file
            if not stored_whole:
                gfile.rename(target, path, overwrite=True)
        except BaseException:
            with suppress(Exception):
                gfile.remove(target)  # closing it has sent what there was
            raise


def make_directories(path: str) -> None:
    """Makes a folder and those above it, where there are folders."""
    if urlsplit(path).scheme not in _OBJECT_STORES:
        with _explained(path):
            _gfile(path).makedirs(path)


def remove(path: str) -> None:
    """Removes a file; one that is not there is no error."""
    with suppress(FileNotFoundError), _explained(path):
        _gfile(path).remove(path)


def files_below(directory: str) -> list[str]:
    """Returns all files below a folder by their paths relative to it, sorted."""
    base, found = directory.rstrip("/") + "/", set()
    with suppress(FileNotFoundError), _explained(directory):
        for folder, _, files in _gfile(directory).walk(base):
            below = folder.rstrip("/").removeprefix(directory.rstrip("/")).strip("/")
            found |= {f"{below}/{name}".lstrip("/") for name in files if name.strip("/")}
    return sorted(found)


def failure(error: BaseException) -> str | None:
    """Returns what a store said if `error` can only be TensorFlow's about one, else None."""
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
    return _reason(error) if isinstance(error, kinds) or broken else None


def _reason(error: Any) -> str:
    text = " ".join(str(error.message).split())[:200].strip(" :.")
    return f"{type(error).__name__}: {text or 'no reason given'}"


def _gfile(path: str) -> Any:
    scheme = urlsplit(path).scheme
    try:
        import tensorflow as tf
    except ModuleNotFoundError as error:
        raise StorageError(
            f"{path}: a remote path needs TensorFlow; pip install 'bladerunner_ae[cpu]'"
        ) from error
    if scheme not in _ready:
        if scheme == "s3":
            _prepare_s3(path)
        if scheme not in _schemes(tf):
            _load_tensorflow_io(path, scheme, tf)
        _ready.add(scheme)
    return tf.io.gfile


def _schemes(tf: Any) -> set[str]:
    return {
        name.decode() if isinstance(name, bytes) else name
        for name in tf.io.gfile.get_registered_schemes()
    }


def _load_tensorflow_io(path: str, scheme: str, tf: Any) -> None:
    """Registers the schemes of tensorflow-io; raises StorageError if that does not help."""
    if scheme in _IO_SCHEMES:
        if tf.__version__.startswith(_IO_TENSORFLOW) and find_spec("tensorflow_io"):
            import tensorflow_io  # noqa: F401

            if scheme in _schemes(tf):
                return
        raise StorageError(
            f"{path}: TensorFlow {tf.__version__} alone does not reach {scheme}://; use an "
            'environment of its own with Python 3.11 or 3.12: pip install "bladerunner_ae[io]"'
        )
    known = sorted({*_schemes(tf), *_IO_SCHEMES} - {""})
    raise StorageError(f"{path}: unknown kind of path {scheme}://; known are {', '.join(known)}")


def _prepare_s3(path: str) -> None:
    """Takes the settings of other S3 programs over, and tries the door of a private server."""
    for ours, theirs in (
        ("S3_ENDPOINT", "AWS_ENDPOINT_URL_S3"),
        ("S3_ENDPOINT", "AWS_ENDPOINT_URL"),
        ("AWS_REGION", "AWS_DEFAULT_REGION"),
    ):
        if os.environ.get(theirs):
            os.environ.setdefault(ours, os.environ[theirs])
    endpoint = os.environ.get("S3_ENDPOINT")
    if not endpoint or os.environ.get("S3_PROXY_HOST"):
        return
    parts = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}")
    port = parts.port or (80 if parts.scheme == "http" else 443)
    try:
        # The client itself would try again for minutes, without a word.
        socket.create_connection((parts.hostname or "", port), _CONNECT_SECONDS).close()
    except OSError as error:
        raise StorageError(
            f"{path}: the S3 server {endpoint} does not answer ({error.strerror or error}); check "
            "AWS_ENDPOINT_URL or S3_ENDPOINT"
        ) from error


def _credentials(scheme: str) -> str:
    return _CREDENTIALS.get(scheme, f"those of {scheme}://")


def _denied(path: str) -> StorageError:
    credentials = _credentials(urlsplit(path).scheme)
    return StorageError(f"{path}: access denied; check the credentials ({credentials})")


@contextmanager
def _explained_file(path: str) -> Iterator[None]:
    """As `_explained`, for the reading of a file.

    To the S3 client a file that may not be read is none; but it may be listed.
    """
    try:
        with _explained(path):
            yield
    except FileNotFoundError as error:
        folder, _, name = path.rpartition("/")
        if name in names(folder):
            raise _denied(path) from error
        raise


@contextmanager
def _explained(path: str) -> Iterator[None]:
    """Turns TensorFlow's errors into FileNotFoundError or a sentence for people.

    Raises:
        StorageError: what a person can mend.
        ConnectionLostError: what may be better the next time.
    """
    _gfile(path)
    import tensorflow as tf

    try:
        yield
    except tf.errors.NotFoundError as error:
        if "nosuchbucket" in str(error).lower() or "bucket does not exist" in str(error):
            raise StorageError(
                f"{path}: there is no bucket {urlsplit(path).netloc!r}; make it, or check the name"
            ) from error
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from error
    except (tf.errors.PermissionDeniedError, tf.errors.UnauthenticatedError) as error:
        raise _denied(path) from error
    except tf.errors.InvalidArgumentError as error:
        raise StorageError(f"{path}: is no usable path ({_reason(error)})") from error
    except tf.errors.OpError as error:
        raise ConnectionLostError(
            f"{path}: {_reason(error)}; check the network and the path, then run the same "
            "command again"
        ) from error
