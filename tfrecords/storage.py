"""Reading from a local disk, or through TensorFlow from wherever its file systems reach.

A folder of records may lie in `gs://bucket/film` or, with tensorflow-io, in `s3://`, `az://` or
`hdfs://`. TensorFlow is imported for such a path only, so that local work never waits for it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

AnyPath = str | os.PathLike[str]
"""A path. A remote one must be a `str`: `pathlib` would fold its two slashes into one."""


def is_remote(path: AnyPath) -> bool:
    """Returns whether `path` names its file system, as `gs://bucket/film` does."""
    return "://" in os.fspath(path)


def join(directory: AnyPath, name: str) -> str:
    """Returns the path of the file `name` in `directory`."""
    return os.path.join(os.fspath(directory), name)


def is_directory(path: AnyPath) -> bool:
    """Returns whether `path` is a folder."""
    if is_remote(path):
        return bool(_gfile().isdir(os.fspath(path)))
    return os.path.isdir(path)


def file_size(path: AnyPath) -> int:
    """Returns the size of a file in bytes.

    Raises:
        FileNotFoundError: there is no such file, here or remote.
    """
    if is_remote(path):
        with _missing_as_file_not_found(path):
            return int(_gfile().stat(os.fspath(path)).length)
    return os.stat(path).st_size


@contextmanager
def open_for_reading(path: AnyPath) -> Iterator[BinaryIO]:
    """Opens a file of bytes; `read(n)` returns `n` bytes unless the file ends before.

    Raises:
        FileNotFoundError: there is no such file, here or remote.
    """
    if is_remote(path):
        with _missing_as_file_not_found(path), _gfile().GFile(os.fspath(path), "rb") as remote:
            yield cast(BinaryIO, remote)
    else:
        with open(path, "rb", buffering=1 << 20) as file:
            yield file


def _gfile() -> Any:
    import tensorflow as tf

    return tf.io.gfile


@contextmanager
def _missing_as_file_not_found(path: AnyPath) -> Iterator[None]:
    import tensorflow as tf

    try:
        yield
    except tf.errors.NotFoundError as error:
        raise FileNotFoundError(os.fspath(path)) from error
