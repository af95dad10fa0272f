"""The errors of a records folder that cannot be used or written."""


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
