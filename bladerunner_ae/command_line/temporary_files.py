"""Temporary folder for each process, so that the next one can remove what a killed one left.

TensorFlow writes a file for every Python function that it compiles, and removes them only when the
process ends normally.
"""

import atexit
import fcntl
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path

_own: int | None = None


def use_own_folder() -> None:
    """Make this process's temporary files in a locked folder of its own, if there is room for one.

    It is removed at the end; those of dead processes of the same user are removed now.
    """
    global _own
    if _own is not None:
        return
    with suppress(OSError):
        prefix = f"bladerunner_ae-{os.getuid()}-"
        for folder in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
            with suppress(OSError):
                _remove_abandoned(folder)
        while (descriptor := _locked(made := tempfile.mkdtemp(prefix=prefix))) is None:
            pass
        _own, tempfile.tempdir = descriptor, made
        atexit.register(_remove, made, os.getpid())


def _locked(folder: str) -> int | None:
    """Lock a folder; return its descriptor, or None if another process has just removed it."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    if os.path.exists(folder):
        return descriptor
    os.close(descriptor)
    return None


def _remove_abandoned(folder: Path) -> None:
    """Remove a folder of this user; BlockingIOError if its process lives."""
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)


def _remove(folder: str, process: int) -> None:
    if os.getpid() == process:  # not a child that was forked
        shutil.rmtree(folder, ignore_errors=True)
