"""A lock between processes that disappears with its owner, however that ends."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from tfrecords.record_errors import RecordsError


class FileLock:
    """An exclusive `flock` on a file that exists only while it is locked or was abandoned.

    The kernel releases the lock when its process dies, so a file left by a killed run never blocks
    the next. Not for file systems without `flock`.
    """

    def __init__(self, path: Path, purpose: str) -> None:
        """Take the lock at once; raise RecordsError if it is held, also by this process.

        The folder of `path` must exist; `purpose` says in the message what the lock protects.
        """
        self._path = path
        self._descriptor = -1
        while self._descriptor < 0:
            self._descriptor = self._try_to_lock(purpose)
        try:
            os.truncate(self._descriptor, 0)
            os.write(self._descriptor, f"{os.getpid()}\n".encode())
        except OSError:  # the disk is full
            self.release()
            raise

    def _try_to_lock(self, purpose: str) -> int:
        """Return the locked descriptor, or -1 if the file was replaced meanwhile."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its last owner may have removed the name between our open and our lock; then we hold
            # a lock on a file that no other process will ever open.
            if os.fstat(descriptor).st_nlink > 0:
                return descriptor
            os.close(descriptor)
            return -1
        except BlockingIOError:
            owner = os.read(descriptor, 32).decode(errors="replace").strip() or "unknown"
            os.close(descriptor)
            raise RecordsError(
                f"{purpose}: process {owner} is writing it; wait for it to end or stop it"
            ) from None

    def release(self) -> None:
        """Release the lock and remove its file. Idempotent."""
        if self._descriptor >= 0:
            # Removed while still locked, or a successor's file could be the one removed.
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1
