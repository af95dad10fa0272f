"""A temporary folder of the process's own, so that what a killed process left can be told.

TensorFlow writes a file for every Python function that it translates, and removes them only when
the process ends by itself. The next command of the same user removes the folders of those that
are dead.
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
    """Has this process's temporary files made in a folder of its own, if there is room for one.

    The folder is locked while the process lives and removed when it ends.
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
    """Locks a folder; returns its descriptor, or None if another process has just removed it."""
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
    """Removes a folder of this user whose process is dead."""
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
