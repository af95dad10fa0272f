"""Output files that get their name only when they are complete.

While it is written, OUT.mp4 is called `.OUT.partial.mp4`. However the program ends, the final name
never holds half a film, and the next run removes what a killed one left.
"""

import os
from pathlib import Path

from bladerunner_ae.errors import InputError, ReplaceableError, system_error
from tfrecords.hidden_names import hidden_path, longest_name
from tfrecords.lock import FileLock


class UnfinishedFilm:
    """Temporary files of one film, and its lock; use as a context manager.

    `path` is the final name, `pictures` that of the encoded pictures without sound, `partial` that
    of the film while it is written and verified.

    Raises:
        InputError: on entering: nothing can be written into the folder.
        OutputError: on entering: the disk is full.
        RecordsError: on entering: another process is writing the same film.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.pictures = hidden_path(path, ".pictures.mp4")
        self.partial = hidden_path(path.with_name(path.stem), f".partial{path.suffix}")
        self._lock_path = hidden_path(path, ".lock")

    def __enter__(self) -> "UnfinishedFilm":
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(self._lock_path, str(self.path))
        except OSError as error:
            raise system_error(error, self.path) or _unwritable(
                self.path, error.strerror
            ) from error
        self._remove()
        return self

    def publish(self) -> None:
        """Give the finished film its name, atomically and durably."""
        with open(self.partial, "rb") as file:
            os.fsync(file.fileno())
        os.replace(self.partial, self.path)

    def __exit__(self, *_: object) -> None:
        self._remove()
        self._lock.release()

    def _remove(self) -> None:
        self.pictures.unlink(missing_ok=True)
        self.partial.unlink(missing_ok=True)


def refuse_unwritable(path: Path) -> None:
    """Raise InputError if a file cannot be written, as far as that is known without writing.

    Missing folders would be made.
    """
    folder = path.absolute().parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise _unwritable(path, f"{folder} is not a folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
        raise _unwritable(path, "read-only file system" if read_only else "permission denied")
    size, most = len(os.fsencode(path.name)), longest_name(folder)
    if size > most:
        raise InputError(
            f"{path}: its name has {size} bytes, of {most} that are allowed; choose a shorter one"
        )


def _unwritable(path: Path, reason: str | None) -> InputError:
    return InputError(
        f"{path.parent.absolute()}: cannot be written to ({reason}); choose another folder for "
        "the output"
    )


def refuse_existing(path: Path, film: Path, overwrite: bool) -> None:
    """Raise InputError if a film must not be written to `path`: the original is never replaced."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder; give the name of a film file")
    unfinished = UnfinishedFilm(path)
    for temporary in (unfinished.pictures, unfinished.partial):
        if film.exists() and temporary.exists() and temporary.samefile(film):
            raise InputError(
                f"{film}: has the name of the temporary file of {path}; rename it, or choose "
                "another name for the output"
            )
    if not path.exists():
        return
    if film.exists() and path.samefile(film):
        raise InputError(f"{path}: is the film itself; choose another name for the output")
    if not overwrite:
        raise ReplaceableError(f"{path}: exists; use --overwrite or choose another name")
