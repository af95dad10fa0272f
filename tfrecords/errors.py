"""The errors of a records folder that cannot be used or written."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

# What can go wrong with a path that was good to begin with.
_DISK_FAILURES = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


class RecordsError(Exception):
    """A records folder is missing, incomplete or damaged; the message names file and record."""

    exit_code = 2


class DiskError(RecordsError):
    """The disk failed or is full while records were written: no fault of the input."""

    exit_code = 3


class StorageError(RecordsError):
    """A remote path cannot be used: its kind, bucket or credentials are at fault."""


class ConnectionLostError(StorageError):
    """A remote store failed in the middle of the work: no fault of the input."""

    exit_code = 3


@contextmanager
def naming_the_disk(directory: str | os.PathLike[str]) -> Iterator[None]:
    """Turns the errors of a disk into one line that names the folder of records."""
    try:
        yield
    except OSError as error:
        kind = DiskError if error.errno in _DISK_FAILURES else RecordsError
        raise kind(
            f"{directory}: cannot be written ({error.strerror or error}); free space, "
            "mend the permissions or choose another folder"
        ) from error
