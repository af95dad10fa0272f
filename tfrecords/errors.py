"""Errors a person can do something about, each with the exit code of its kind.

Every message is one line that names the file, the problem and the fix.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from tfrecords.system_failures import system_failure


class BladerunnerError(Exception):
    """Base of the errors whose message is meant for the person at the terminal."""

    exit_code = 2
    cured_by_overwrite = False
    """Whether --overwrite would do what was refused, or replace what is damaged."""


class RecordsError(BladerunnerError):
    """A records folder is missing, incomplete or damaged."""


class ReplaceableError(RecordsError):
    """Records are in the way, or damaged, and --overwrite would replace them."""

    cured_by_overwrite = True


class DiskError(RecordsError):
    """The disk failed or is full while records were written."""

    exit_code = 3


class StorageError(RecordsError):
    """A remote path cannot be used: its kind, bucket or credentials are at fault."""


class ConnectionLostError(StorageError):
    """A remote store failed in the middle of the work."""

    exit_code = 3


@contextmanager
def naming_the_disk(directory: str | os.PathLike[str]) -> Iterator[None]:
    """Turn an OSError into one line that names the folder of records."""
    try:
        yield
    except OSError as error:
        failure = system_failure(error)
        kind = DiskError if failure and failure.exit_code == DiskError.exit_code else RecordsError
        cure = failure.cure if failure else "choose another folder"
        if isinstance(error, FileNotFoundError):
            cure = "the folder was removed or renamed meanwhile; run the same command again"
        raise kind(f"{directory}: cannot be written ({error.strerror or error}); {cure}") from error
