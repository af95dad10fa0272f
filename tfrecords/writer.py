"""Writes a film's frames as shards and a card, whole or not at all.

Everything is written into a hidden sibling of the folder, which gets its name only at the end. So
whatever stops the program, a folder of the final name holds a complete film.
"""

from __future__ import annotations

import os
import shutil
from array import array
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from tfrecords import storage
from tfrecords.card import FilmCard, Shard, save_card
from tfrecords.errors import RecordsError, naming_the_disk
from tfrecords.framing import frame_record
from tfrecords.hidden_names import hidden_path
from tfrecords.lock import FileLock
from tfrecords.publication import (
    IDENTITY_NAME,
    finish_publishing,
    publish,
    read_back,
    refuse_other_identity,
    refuse_to_replace,
    states_folder,
    unfinished_identity,
)
from tfrecords.schema import Frame, serialize
from tfrecords.shard_files import (
    PartFile,
    apart_folder,
    divide_again,
    part_name,
    restore_part,
    write_json,
)
from tfrecords.shards import shard_name, shard_ranges


class FilmWriter:
    """Writes one film's records; a context manager.

    The shards depend on the frames and `num_shards` alone, whatever number of frames was expected.

    >>> with FilmWriter("data/film", expected_frames=48, num_shards=16) as writer:
    ...     for frame in frames:
    ...         writer.write(frame)
    ...     card = writer.commit(make_card, overwrite=False)

    Leaving the block without `commit`, by an exception or not, removes all that was written, unless
    the writer was given an `identity`: then finished shards stay hidden, and the next writer of the
    same identity goes on behind them.

    Attributes:
        state: what `make_state` gave at the end of the last finished shard of an earlier run, or
            None where writing begins at frame 0.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        expected_frames: int,
        num_shards: int,
        *,
        identity: dict[str, Any] | None = None,
        make_state: Callable[[], Any] = dict,
        start_over: bool = False,
    ) -> None:
        """Prepares to write the folder `directory`; its parent is created if need be.

        Args:
            directory: a local folder; it need not exist and is not touched before `commit`.
            expected_frames: how many frames there will be, as well as that is known, else 0. A
                wrong number costs one more pass over the written bytes, nothing else.
            num_shards: how many shards to write; a film of fewer frames gets one a frame.
            identity: JSON values of all that decides the bytes; None: nothing is kept for later.
            make_state: called when a shard is finished; JSON values for whoever goes on behind it.
            start_over: drop what an unfinished run has left, whatever its identity.

        Raises:
            RecordsError: the folder is remote, another live process is writing it, or an
                unfinished run of another identity has left its shards.
            ValueError: a number is out of range.
        """
        if storage.is_remote(directory):
            raise RecordsError(f"{directory}: records are written locally; copy the folder there")
        # A link is followed, so that its target is replaced and the link stays.
        self.directory = Path(directory).resolve()
        self.state: Any = None
        self._num_shards = num_shards
        self._expected = shard_ranges(expected_frames, num_shards) or [range(0)]
        self._identity, self._make_state = identity, make_state
        self._partial = hidden_path(self.directory, ".partial")
        self._states = states_folder(self.directory)
        self._record_bytes = array("q")  # a film of days has millions of frames
        self._files: list[PartFile] = []
        self._finished = 0  # so many of them outlive this run
        self._publishing = False
        with naming_the_disk(self.directory):
            self.directory.parent.mkdir(parents=True, exist_ok=True)
            lock_path = hidden_path(self.directory, ".lock")
            self._lock = FileLock(lock_path, purpose=str(self.directory))
            try:
                self._take_over(start_over)
            except BaseException as error:
                if isinstance(error, OSError) and not self._finished:
                    self.discard()
                self._lock.release()
                raise

    def _take_over(self, start_over: bool) -> None:
        """Puts right what a killed run has left; only the lock's owner may."""
        finish_publishing(self.directory)
        before = unfinished_identity(self.directory)
        if start_over or before is None or self._identity is None or not self._partial.exists():
            self.discard()
        else:
            refuse_other_identity(self.directory, before, self._identity)
            self._restore()
        self._partial.mkdir(exist_ok=True)
        if self._identity is not None:
            self._states.mkdir(exist_ok=True)
            write_json(self._states / IDENTITY_NAME, self._identity)

    def _restore(self) -> None:
        """Takes over the finished shards of an earlier run, and removes what lies behind them."""
        for number, frames in enumerate(self._expected[:-1]):
            found = restore_part(self._partial, self._states, number, frames.start)
            if found is None or len(found[1]) != len(frames):
                break
            part, record_bytes, self.state = found
            self._files.append(part)
            self._finished += 1
            self._record_bytes.extend(record_bytes)
        kept = {part.path.name for part in self._files}
        for path in self._partial.iterdir():
            if path.name not in kept:
                path.unlink()

    def discard(self) -> None:
        """Removes all that was written and is not published."""
        for part in self._files:
            part.abandon()
        self._files, self._finished = [], 0
        self._record_bytes = array("q")
        for folder in (self._partial, self._states):
            shutil.rmtree(folder, ignore_errors=True)

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
        with naming_the_disk(self.directory):
            shard = len(self._files)
            if shard < len(self._expected) and self.frames == self._expected[shard].start:
                path = self._partial / part_name(shard)
                self._files.append(PartFile(path, self.frames))
            self._record_bytes.append(self._files[-1].write(frame_record(serialize(frame))))
            # The last shard takes whatever comes beyond what was expected.
            shard = len(self._files)
            if shard < len(self._expected) and self.frames == self._expected[shard - 1].stop:
                self._finish_part()

    def adopt(self, part: PartFile, record_bytes: list[int]) -> None:
        """Takes the next frames' records from a part that was written elsewhere, and leaves it.

        Args:
            part: finished, in a folder beside this one.
            record_bytes: size of each of its records.
        """
        with naming_the_disk(self.directory):
            path = self._partial / part_name(len(self._files))
            try:
                os.link(part.path, path)
            except OSError:  # not every file system has links
                shutil.copyfile(part.path, path)
            self._files.append(PartFile.restored(path, self.frames, part.bytes, part.digest))
            self._record_bytes.extend(record_bytes)

    def _finish_part(self) -> None:
        part = self._files[-1]
        part.close()
        if self._identity is not None:
            sizes = self._record_bytes[part.first_frame :].tolist()
            state_file = self._states / f"{part.path.name}.json"
            part.save_state(state_file, sizes, self._make_state())
            self._finished = len(self._files)

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
        with naming_the_disk(self.directory):
            refuse_to_replace(self.directory, overwrite)
            ranges = shard_ranges(self.frames, self._num_shards)
            if [file.first_frame for file in self._files] != [r.start for r in ranges]:
                self._files = divide_again(self._files, self._record_bytes, ranges)
            shards = [
                file.finish(shard_name(index, len(ranges)), len(frames))
                for index, (file, frames) in enumerate(zip(self._files, ranges, strict=True))
            ]
            card = make_card(shards)
            if card.shards != shards:
                raise ValueError("the card does not describe the shards that were written")
            save_card(self._partial, card)
            card = read_back(self._partial)
            try:
                publish(self._partial, self.directory)
            finally:
                self._publishing = not self._partial.exists()
            self._files, self._finished = [], 0
            for folder in (self._states, apart_folder(self.directory)):
                shutil.rmtree(folder, ignore_errors=True)
        return card

    def __enter__(self) -> FilmWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Removes or keeps what `commit` has not published, and lets the next writer in."""
        if self._publishing:  # done, or for the next writer to complete
            self._files, self._finished = [], 0
        if kind is None or self._finished == 0:
            self.discard()
        for part in self._files[self._finished :]:
            part.abandon()
            part.path.unlink(missing_ok=True)  # its room may be what is needed now
        self._lock.release()
