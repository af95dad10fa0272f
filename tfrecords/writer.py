"""Writer of a film's frames as shards and a card, complete or not at all.

Everything is written into a hidden folder next to the final one, which gets its name only at the
end. So whatever stops the program, a folder of the final name holds a complete film.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tfrecords import storage
from tfrecords.card import FilmCard, Shard, load_card, save_card
from tfrecords.framing import frame_record
from tfrecords.lock import FileLock
from tfrecords.publication import (
    finish_publishing,
    lock_path,
    publish,
    refuse_to_replace,
)
from tfrecords.record_errors import DiskError, RecordsError, ReplaceableError
from tfrecords.schema import Frame, serialize
from tfrecords.shards import shard_name, shard_ranges
from tfrecords.system_failures import system_failure
from tfrecords.unfinished_parts import (
    Part,
    PartWriter,
    apart_folder,
    divide_again,
    load_part,
    part_name,
    partial_folder,
    save_identity,
    state_name,
    states_folder,
    unfinished_identity,
    write_json,
)


class FilmWriter:
    """A context manager that writes one film's records.

    The shards depend on the frames and `num_shards` alone, not on the expected number of frames.

    >>> with FilmWriter("data/film", expected_frames=48, num_shards=16) as writer:
    ...     for frame in frames:
    ...         writer.write(frame)
    ...     card = writer.commit(make_card, overwrite=False)

    Leaving the block without `commit`, by an exception or not, removes all that was written, unless
    the writer has an `identity`: then finished parts stay hidden after an exception, and the next
    writer of the same identity resumes after them.

    Attributes:
        states: result of `make_state` for each part of an earlier run that is resumed.
        dropped: whether an earlier run's parts cannot be resumed and were removed.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        expected_frames: int,
        num_shards: int,
        *,
        identity: dict[str, Any] | None = None,
        make_state: Callable[[range], Any] = lambda frames: None,
        start_over: bool = False,
    ) -> None:
        """Prepare to write the local folder `directory`, which is not touched before `commit`.

        Args:
            expected_frames: the number if known, else 0. A wrong number costs one more pass over
                the written bytes, nothing else.
            num_shards: shards to write; a film of fewer frames gets one per frame.
            identity: JSON values of all that decides the bytes; None: nothing is kept for later.
            make_state: called with the frames of each finished part; returns JSON values for
                resuming after it.
            start_over: drop an unfinished run, whatever its identity.

        Raises:
            RecordsError: the folder is remote, another live process is writing it, or an unfinished
                run of another identity has left its parts.
            ValueError: a number is out of range.
        """
        if storage.is_remote(directory):
            raise RecordsError(f"{directory}: records are written locally; copy the folder there")
        # A link is followed, so that its target is replaced and the link stays.
        self.directory = Path(directory).resolve()
        self.states: list[Any] = []
        self.dropped = False
        self._num_shards = num_shards
        self._expected = shard_ranges(expected_frames, num_shards) or [range(0)]
        # As JSON returns it, to compare.
        self._identity = identity and json.loads(json.dumps(identity))
        self._make_state = make_state
        self._partial = partial_folder(self.directory)
        self._parts: list[Part] = []
        self._saved = 0  # so many of them outlive this run
        self._open: PartWriter | None = None
        with self._naming_the_disk():
            self.directory.parent.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(lock_path(self.directory), purpose=str(self.directory))
            try:
                self._take_over(start_over)
            except BaseException as error:
                if isinstance(error, OSError) and not self._parts:
                    self.discard()
                self._lock.release()
                raise

    @contextmanager
    def _naming_the_disk(self) -> Iterator[None]:
        """Turn an OSError into one line that names the folder of records."""
        try:
            yield
        except OSError as error:
            failure = system_failure(error)
            full = failure is not None and failure.exit_code == DiskError.exit_code
            fix = failure.cure if failure else "choose another folder"
            if isinstance(error, FileNotFoundError):
                fix = "the folder was removed or renamed meanwhile; run the same command again"
            what = f"{self.directory}: cannot be written ({error.strerror or error}); {fix}"
            raise (DiskError if full else RecordsError)(what) from error

    def _take_over(self, start_over: bool) -> None:
        """Complete, resume or remove what an earlier run has left; requires the lock."""
        finish_publishing(self.directory)
        before = unfinished_identity(self.directory)
        if start_over or before is None or self._identity is None:
            self.discard()
        elif before != self._identity:
            raise ReplaceableError(
                f"{self.directory}: an unfinished run of something else is there; --overwrite "
                "starts over"
            )
        else:
            self._resume()
        self._partial.mkdir(exist_ok=True)
        if self._identity is not None:
            save_identity(self.directory, self._identity)

    def _resume(self) -> None:
        """Take over the finished parts of an earlier run, and remove what follows them."""
        for number, frames in enumerate(self._expected[:-1]):
            part = load_part(self._partial, states_folder(self.directory), number, frames)
            if part is None:
                break
            self._parts.append(part)
        self._saved = len(self._parts)
        self.states = [part.state for part in self._parts]
        self.dropped = not self._parts
        kept = {part.path.name for part in self._parts}
        for path in self._partial.iterdir():
            if path.name not in kept:
                path.unlink()

    def discard(self) -> None:
        self._abandon()
        self._parts, self._saved = [], 0
        for folder in (self._partial, states_folder(self.directory)):
            shutil.rmtree(folder, ignore_errors=True)

    def _abandon(self) -> None:
        if self._open is not None:
            with self._open:
                self._open.part.path.unlink(missing_ok=True)  # its room may be needed now
            self._open = None

    @property
    def frames(self) -> int:
        if self._open is not None:
            return self._open.part.frames.stop
        return self._parts[-1].frames.stop if self._parts else 0

    def write(self, frame: Frame) -> None:
        """Append the next frame, whose `index` is the number of frames written before."""
        if frame.index != self.frames:
            raise ValueError(f"frame {frame.index} was written where {self.frames} was due")
        with self._naming_the_disk():
            number = len(self._parts)
            if self._open is None:
                self._open = PartWriter(self._partial / part_name(number), self.frames)
            self._open.write(frame_record(serialize(frame)))
            # The last part takes whatever comes beyond what was expected.
            if number + 1 < len(self._expected) and self.frames == self._expected[number].stop:
                self._finish_part()

    def _finish_part(self) -> None:
        assert self._open is not None
        part = self._open.finish()
        if self._identity is not None:
            part.state = self._make_state(part.frames)
            path = states_folder(self.directory) / state_name(len(self._parts))
            write_json(path, part.to_json())
            self._saved += 1
        self._parts.append(part)
        self._open = None

    def adopt(self, part: Part) -> None:
        """Take the next frames' records from a part written elsewhere, and leave it there."""
        with self._naming_the_disk():
            path = self._partial / part_name(len(self._parts))
            try:
                os.link(part.path, path)
            except OSError:  # not every file system has links
                shutil.copyfile(part.path, path)
            self._parts.append(Part(path, part.first_frame, part.sizes, part.sha256))

    def commit(self, make_card: Callable[[list[Shard]], FilmCard], overwrite: bool) -> FilmCard:
        """Complete shards and card and give the folder its name.

        Args:
            make_card: returns the film's card for its shards, which are in film order.
            overwrite: replace an existing folder of records. Any other folder must be empty.

        Returns:
            The written card, as `load_card` returns it (JSON has no tuples).

        Raises:
            RecordsError: no frame was written, the folder exists, or the disk is full or fails.
            ValueError: the card does not describe these shards, or contradicts itself.
        """
        if self.frames == 0:
            raise RecordsError(f"{self.directory}: not written, because the film gave no frame")
        with self._naming_the_disk():
            refuse_to_replace(self.directory, overwrite)
            if self._open is not None:
                self._parts.append(self._open.finish())
                self._open = None
            ranges = shard_ranges(self.frames, self._num_shards)
            if [part.frames for part in self._parts] != ranges:
                self._parts = divide_again(self._parts, ranges)
            shards = [
                part.publish(shard_name(number, len(ranges)))
                for number, part in enumerate(self._parts)
            ]
            card = make_card(shards)
            if card.shards != shards:
                raise ValueError("the card does not describe the shards that were written")
            save_card(self._partial, card)
            try:
                card = load_card(self._partial)
            except RecordsError as error:
                raise ValueError(f"the card contradicts itself: {error}") from error
            publish(self._partial, self.directory)
            for folder in (states_folder(self.directory), apart_folder(self.directory)):
                shutil.rmtree(folder, ignore_errors=True)
        return card

    def __enter__(self) -> FilmWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Remove or keep what `commit` has not published, and let the next writer in."""
        self._abandon()
        if kind is None or not self._saved or not self._partial.exists():
            self.discard()
        for part in self._parts[self._saved :]:
            part.path.unlink(missing_ok=True)
        self._lock.release()
