"""A log of lines that goes on after a restart, on a disk or in a store that cannot append."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

import tensorflow as tf

from tfrecords import storage
from tfrecords.storage import Location

# A remote log is written anew as a whole; one of a long run has about a megabyte.
_REMOTE_EVERY_SECONDS = 30.0


class LogFile:
    """Appends lines to a text file; a context manager.

    A local line is on its way to the disk when `write` returns. Remote lines are collected, and the
    whole file is written at most every half minute, and by `synchronise` and `close`.
    """

    def __init__(self, path: Location, keep: Callable[[str], bool] = lambda line: True) -> None:
        """Opens the file, which need not exist.

        Args:
            path: local or remote; the folder of a local file must exist.
            keep: tells which of the file's lines stay.
        """
        self._path = path
        self._file: TextIO | None = None
        old = storage.read_bytes(path).decode("utf-8", "replace") if storage.is_file(path) else ""
        kept = "".join(line + "\n" for line in old.splitlines() if keep(line))
        self._text = ""  # all that a remote file is to hold
        self._unwritten = False
        self._written_at = time.monotonic()
        if isinstance(path, Path):
            if kept != old:
                storage.write_text(path, kept)
            self._file = path.open("a", encoding="utf-8")
        else:
            self._text, self._unwritten = kept, kept != old

    def write(self, line: str) -> None:
        """Appends a line, given without its end."""
        if self._file is not None:
            self._file.write(line + "\n")
            self._file.flush()
            return
        self._text += line + "\n"
        self._unwritten = True
        if time.monotonic() - self._written_at >= _REMOTE_EVERY_SECONDS:
            self.synchronise()

    def synchronise(self) -> None:
        """Writes what is not written yet."""
        if self._unwritten:
            storage.write_text(self._path, self._text)
            self._unwritten = False
            self._written_at = time.monotonic()

    def close(self) -> None:
        """Writes the rest and lets go of the file; may be called again."""
        self.synchronise()
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> LogFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


_TERMS = 3


def fetched(logs: Mapping[str, Any]) -> dict[str, float]:
    """Fetches scalars of any device, all at once."""
    if not logs:
        return {}
    if all(isinstance(value, float) for value in logs.values()):  # Keras has fetched them
        return dict(logs)
    values = tf.stack([tf.cast(value, tf.float32) for value in logs.values()]).numpy()
    return dict(zip(logs, values.tolist(), strict=True))


def status_line(logs: Mapping[str, float]) -> str:
    """The decoder's loss and the first few terms."""
    terms = [name for name in logs if name.startswith("term/")][:_TERMS]
    shown = {"loss": logs.get("loss/decoder", math.nan), **{n[5:]: logs[n] for n in terms}}
    return ", ".join(f"{name} {value:.4g}" for name, value in shown.items())
