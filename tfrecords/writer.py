"""Writes a film's frames as shards and a card, whole or not at all.

Everything is written into a hidden sibling of the folder, which gets its name only at the end. So
whatever stops the program, a folder of the final name holds a complete film.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from tfrecords import storage
from tfrecords.card import CARD_NAME, FilmCard, Shard, load_card, save_card
from tfrecords.errors import DiskError, RecordsError
from tfrecords.framing import frame_record
from tfrecords.lock import FileLock
from tfrecords.schema import Frame, serialize
from tfrecords.shards import shard_name, shard_ranges

_COPY_BYTES = 1 << 20

# What can go wrong with a path that was good to begin with.
_DISK_FAILURES = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}


class _ShardFile:
    """One shard while it is written: counts and checksums what goes into it."""

    def __init__(self, path: Path, first_frame: int) -> None:
        self.path = path
        self.first_frame = first_frame
        self.bytes = 0
        self._file: BinaryIO = open(path, "xb", buffering=_COPY_BYTES)  # noqa: SIM115
        self._sha256 = hashlib.sha256()

    def write(self, data: bytes) -> int:
        """Appends bytes as they are and returns how many."""
        self._sha256.update(data)
        self.bytes += len(data)
        return self._file.write(data)

    def close(self) -> None:
        """Writes what is buffered; an error of the disk may show only here."""
        self._file.close()

    def finish(self, name: str, frames: int) -> Shard:
        """Puts the bytes on the disk, renames the file and returns its entry of the card."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self.close()
        os.rename(self.path, self.path.with_name(name))
        return Shard(name, frames, self.first_frame, self.bytes, self._sha256.hexdigest())

    def abandon(self) -> None:
        """Closes a file that will be deleted; a full disk cannot take the rest of the buffer."""
        with suppress(OSError):
            self.close()


class FilmWriter:
    """Writes one film's records; a context manager.

    The shards depend on the frames and `num_shards` alone, whatever number of frames was expected.

    >>> with FilmWriter("data/film", expected_frames=48, num_shards=16) as writer:
    ...     for frame in frames:
    ...         writer.write(frame)
    ...     card = writer.commit(make_card, overwrite=False)

    Leaving the block without `commit`, by an exception or not, removes all that was written. What a
    killed run has left is removed by the next run on the same folder.
    """

    def __init__(
        self, directory: str | os.PathLike[str], expected_frames: int, num_shards: int
    ) -> None:
        """Prepares to write the folder `directory`; its parent is created if need be.

        Args:
            directory: a local folder; it need not exist and is not touched before `commit`.
            expected_frames: how many frames there will be, as well as that is known, else 0. A
                wrong number costs one more pass over the written bytes, nothing else.
            num_shards: how many shards to write; a film of fewer frames gets one a frame.

        Raises:
            RecordsError: the folder is remote, or another live process is writing it.
            ValueError: a number is out of range.
        """
        if storage.is_remote(directory):
            raise RecordsError(f"{directory}: records are written locally; copy the folder there")
        # A link is followed, so that its target is replaced and the link stays.
        self.directory = Path(directory).resolve()
        self._num_shards = num_shards
        self._expected = shard_ranges(expected_frames, num_shards) or [range(0)]
        self._partial = self.directory.with_name(f".{self.directory.name}.partial")
        self._replaced = self.directory.with_name(f".{self.directory.name}.replaced")
        self._record_bytes = array("q")  # a film of days has millions of frames
        self._files: list[_ShardFile] = []
        with self._naming_the_disk():
            self.directory.parent.mkdir(parents=True, exist_ok=True)
            lock_path = self.directory.with_name(f".{self.directory.name}.lock")
            self._lock = FileLock(lock_path, purpose=str(self.directory))
            try:
                self._clean_up_after_killed_run()
                self._partial.mkdir()
            except BaseException:
                self._lock.release()
                raise

    def _clean_up_after_killed_run(self) -> None:
        """Removes what is left of a run that was killed; only the lock's owner may."""
        if self._partial.exists():
            shutil.rmtree(self._partial)
        if self._replaced.exists():
            if self.directory.exists():
                shutil.rmtree(self._replaced)
            else:  # killed between the two renames of `_publish`
                os.rename(self._replaced, self.directory)

    @property
    def frames(self) -> int:
        """How many frames were written."""
        return len(self._record_bytes)

    def write(self, frame: Frame) -> None:
        """Appends the next frame.

        Raises:
            ValueError: `frame.index` is not the number of frames written before.
            RecordsError: the disk is full or fails.
        """
        if frame.index != self.frames:
            raise ValueError(f"frame {frame.index} was written where {self.frames} was due")
        with self._naming_the_disk():
            shard = len(self._files)
            if shard < len(self._expected) and self.frames == self._expected[shard].start:
                self._files.append(_ShardFile(self._partial / f"part-{shard:05d}", self.frames))
            self._record_bytes.append(self._files[-1].write(frame_record(serialize(frame))))

    def commit(self, make_card: Callable[[list[Shard]], FilmCard], overwrite: bool) -> FilmCard:
        """Completes shards and card and gives the folder its name.

        Args:
            make_card: returns the film's card for its shards, which are in film order.
            overwrite: whether to replace a folder of records that exists. Of another kind of
                folder only an empty one is ever replaced.

        Returns:
            The card that was written, as `load_card` returns it (JSON knows no tuples).

        Raises:
            RecordsError: no frame was written, the folder exists, or the disk is full or fails.
            ValueError: the card does not describe these shards, or contradicts itself.
        """
        if self.frames == 0:
            raise RecordsError(f"{self.directory}: not written, because the film gave no frame")
        with self._naming_the_disk():
            self._refuse_to_replace(overwrite)
            ranges = shard_ranges(self.frames, self._num_shards)
            if [file.first_frame for file in self._files] != [r.start for r in ranges]:
                self._divide_again(ranges)
            shards = [
                file.finish(shard_name(index, len(ranges)), len(frames))
                for index, (file, frames) in enumerate(zip(self._files, ranges, strict=True))
            ]
            card = make_card(shards)
            if card.shards != shards:
                raise ValueError("the card does not describe the shards that were written")
            save_card(self._partial, card)
            card = _read_back(self._partial)
            _synchronise(self._partial)
            self._publish()
        return card

    def _refuse_to_replace(self, overwrite: bool) -> None:
        """Raises RecordsError if the folder exists and may not be replaced."""
        if not self.directory.exists():
            return
        if not self.directory.is_dir():
            raise RecordsError(f"{self.directory}: is a file; choose another folder")
        if not any(self.directory.iterdir()):
            return
        if not (self.directory / CARD_NAME).exists():
            raise RecordsError(
                f"{self.directory}: is not empty and holds no {CARD_NAME}; choose another folder"
            )
        if not overwrite:
            raise RecordsError(f"{self.directory}: exists; replace it with --overwrite")

    def _divide_again(self, ranges: list[range]) -> None:
        """Cuts the shards anew where the film was longer or shorter than expected.

        Only the cuts move: the records, one after the other, are the same bytes. Each old shard is
        removed as soon as it is copied, so this takes the room of one shard more, not of the film.
        """
        for file in self._files:
            file.close()
        pieces = _read_and_remove([file.path for file in self._files])
        self._files = []
        rest = b""
        for number, frames in enumerate(ranges):
            file = _ShardFile(self._partial / f"divided-{number:05d}", frames.start)
            self._files.append(file)
            wanted = sum(self._record_bytes[frames.start : frames.stop])
            while wanted > 0:
                piece = rest or next(pieces)
                rest = piece[wanted:]
                wanted -= file.write(piece[:wanted])
        next(pieces, None)  # no bytes are left, but the last old shard is still to be removed

    def _publish(self) -> None:
        """Renames the partial folder to its final name."""
        replaces = self.directory.exists() and any(self.directory.iterdir())
        if replaces:
            # No rename replaces a folder that is not empty. A run killed between these two is put
            # right by `_clean_up_after_killed_run`.
            os.rename(self.directory, self._replaced)
        try:
            os.rename(self._partial, self.directory)
        except OSError:
            if replaces:
                os.rename(self._replaced, self.directory)
            raise
        _synchronise(self.directory.parent)
        shutil.rmtree(self._replaced, ignore_errors=True)

    @contextmanager
    def _naming_the_disk(self) -> Iterator[None]:
        """Turns the errors of a disk into one line for the person at the terminal."""
        try:
            yield
        except OSError as error:
            kind = DiskError if error.errno in _DISK_FAILURES else RecordsError
            raise kind(
                f"{self.directory}: cannot be written ({error.strerror or error}); free space, "
                "mend the permissions or choose another folder"
            ) from error

    def __enter__(self) -> FilmWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Removes what `commit` has not published and lets the next writer in."""
        for file in self._files:
            file.abandon()
        shutil.rmtree(self._partial, ignore_errors=True)
        self._lock.release()


def _read_back(directory: Path) -> FilmCard:
    """Returns the card in a folder; one that could not be read again must not be published."""
    try:
        return load_card(directory)
    except RecordsError as error:
        raise ValueError(f"the card contradicts itself: {error}") from error


def _read_and_remove(paths: list[Path]) -> Iterator[bytes]:
    """Yields the bytes of all files, one after the other, and removes each at its end."""
    for path in paths:
        with open(path, "rb") as file:
            while piece := file.read(_COPY_BYTES):
                yield piece
        path.unlink()


def _synchronise(directory: Path) -> None:
    """Puts the names in a folder on the disk, so that a power cut cannot undo a rename."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
