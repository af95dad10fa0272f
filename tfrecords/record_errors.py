"""Errors that a person can fix, each with the exit code of its kind.

Every message is one line that names the file, the problem and the fix.
"""

from __future__ import annotations


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


class DamagedError(ReplaceableError):
    """A card or shard is missing, damaged or foreign; `problem` names neither file nor fix."""

    def __init__(
        self,
        path: object,
        problem: str,
        fix: str = "restore it or run make_tfrecords again with --overwrite",
    ) -> None:
        super().__init__(f"{path}: {problem}; {fix}")
        self.path, self.problem = path, problem


class NewerVersionError(RecordsError):
    """Records are of a newer version of this program; they are not damaged."""


class UnexplainedLossError(RecordsError):
    """Reading records failed, but none of them is found damaged."""


class DiskError(RecordsError):
    """The disk failed or is full while records were written."""

    exit_code = 3


class StorageError(RecordsError):
    """A remote path cannot be used: its scheme, bucket or credentials are at fault."""


class ConnectionLostError(StorageError):
    """A remote store failed in the middle of the work."""

    exit_code = 3
