"""Conversion of a film as items of work that any machine can do, in any order, more than once.

A film is planned, its shards are made one by one, and it is finished; all three on machines that
reach the same films and the same output folder, shared or in a bucket, by the same paths. Each step
leaves its results for the next in the hidden folder `.NAME.apart` next to the film's. The records,
and the card, are the bytes that `convert.convert_film` makes.

An item may be tried again, or twice at once: it writes under a name of its own and renames what is
complete, and accepts what another try has completed. In a bucket, which renames nothing, a shard is
made in a temporary folder and sent under its final name, then the state that marks it as complete;
the card is sent last, and until then `upload.json` is in its place.
"""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from bladerunner_ae.command_line.temporary_files import use_own_folder
from bladerunner_ae.conversion import upload
from bladerunner_ae.conversion.convert import convert_film
from bladerunner_ae.conversion.encode import FrameEncoder
from bladerunner_ae.conversion.existing import finished_card, refuse_other_identity
from bladerunner_ae.conversion.facts import Facts
from bladerunner_ae.conversion.make_card import make_card
from bladerunner_ae.conversion.options import ConversionOptions
from bladerunner_ae.conversion.plan import ConversionPlan, plan_conversion
from bladerunner_ae.errors import InputError
from bladerunner_ae.film.picture.shots import ShotMeter
from bladerunner_ae.film.reading.packet_table import PacketTable
from bladerunner_ae.film.reading.reading_mode import NotDivisibleError, ReadingMode
from bladerunner_ae.film.reading.source import Source
from tfrecords import storage
from tfrecords.card import CARD_NAME, FilmCard, Shard, load_card, save_card
from tfrecords.framing import frame_record
from tfrecords.hidden_names import hidden_path
from tfrecords.record_errors import RecordsError
from tfrecords.schema import serialize
from tfrecords.shards import is_shard_name, shard_name, shard_ranges
from tfrecords.storage import Location, RemotePath
from tfrecords.unfinished_parts import (
    Part,
    PartWriter,
    load_part,
    part_name,
    state_name,
    unfinished_identity,
    write_json,
)
from tfrecords.writer import FilmWriter

_IDENTITY = "identity.json"
_PACKETS = "packets.npz"
# Frames before its first that an item makes as well: enough to measure shots as if it had seen all
# the film, and to compare decoders at a border as far as the reader of a whole film does.
_FRAMES_BEFORE = 48


@dataclass(frozen=True)
class Job:
    """Everything that all items of a call have in common; the flags are those of `convert_film`.

    Attributes:
        name: unique to the call.
        output_dir: the folder that gets a folder for each film, by its absolute path or its URL.
    """

    name: str
    output_dir: Location
    options: ConversionOptions
    strict: bool = False
    overwrite: bool = False
    threads: int = 0
    keep_damaged: bool = False


@dataclass(frozen=True)
class Item:
    """A shard (number `shard`, from 0) to be made, or a whole film.

    Attributes:
        plan: of the film; its folder is that of local records only.
        directory: DATA/<film>.
        frames: number of the film's; 0 for a film that is converted as a whole.
        threads: decoders at once, 0 for as many as suit the machine.
    """

    plan: ConversionPlan
    directory: Location
    frames: int
    shard: int = 0
    threads: int = 0

    @property
    def folder(self) -> Location:
        """The hidden folder through which steps pass on their results."""
        return storage.hidden(self.directory, ".apart")

    def ranges(self) -> list[range]:
        return shard_ranges(self.frames, self.plan.options.num_shards)


class _SeveralDecoders:
    """Reading of a film whose shards were made separately; see `make_card.Reading`."""

    problem, jumps, repaired_timestamps, mode = None, None, 0, ReadingMode()

    def __init__(self, end_pts: int | None) -> None:
        self.end_pts = end_pts


def plan_film(film: Path, job: Job) -> list[Item]:
    """Return the items of a film (absolute path): shards, the whole film, or none if up to date.

    Raises:
        InputError: the film cannot be read, or something else is in its place.
        RecordsError: existing records are damaged, or unfinished ones are of other options.
    """
    if not Source(film).exists:
        raise InputError(f"{film}: no such file or folder; check the path given to --film")
    directory = job.output_dir / Source(film).name
    if finished_card(film, directory, job.options, job.overwrite) is not None:
        return []
    with _local(job.output_dir) as output_dir:
        plan = plan_conversion(film, output_dir, job.options)
    table = FrameEncoder(plan.info, plan.geometry, plan.options, job.threads).table
    if table is None or not len(table.times):
        return [Item(plan, directory, 0, threads=job.threads)]
    first = Item(plan, directory, len(table.times), threads=job.threads)
    _prepare_folder(first, job)
    _save_table(first.folder, table)
    return [replace(first, shard=shard) for shard in range(len(first.ranges()))]


@contextmanager
def _local(directory: Location) -> Iterator[Path]:
    """Yield a temporary local folder in place of a remote one; a local one is yielded itself.

    The next item that runs on the same machine removes those of workers that were killed.
    """
    if isinstance(directory, Path):
        yield directory
        return
    use_own_folder()
    with tempfile.TemporaryDirectory(prefix="shard-") as folder:
        yield Path(folder)


def _prepare_folder(item: Item, job: Job) -> None:
    """Make the hidden folder, unless one of the same identity is there to resume from."""
    path, values = item.folder / _IDENTITY, item.plan.identity()
    found = _read_identity(path)
    if found is None or (job.overwrite and found["job"] != job.name):
        storage.remove_folder(item.folder)
        found = None
    if found is not None:
        refuse_other_identity(item.directory, found["identity"], values)
    if isinstance(item.directory, RemotePath):
        names = storage.names(item.directory)
        upload.refuse_to_replace(item.directory, names, job.overwrite)
        upload.make_room(item.directory, names, list(filter(is_shard_name, names)) if found else [])
    else:
        unfinished = unfinished_identity(item.directory.resolve())  # of a conversion without items
        if unfinished is not None and not job.overwrite:
            refuse_other_identity(item.directory, unfinished, values)
        storage.make_directories(item.folder)
    storage.write_text(path, json.dumps({"identity": values, "job": job.name}))


def _read_identity(path: Location) -> dict[str, Any] | None:
    """Return the identity of the hidden folder's conversion; None if it is unreadable."""
    try:
        found = json.loads(storage.read_text(path))
        return found if isinstance(found["identity"], dict) and "job" in found else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _temporary(path: Path) -> Path:
    return hidden_path(path, f".{uuid4().hex}")


def _save_table(folder: Location, table: PacketTable) -> None:
    file = BytesIO()
    end = [] if table.end_pts is None else [table.end_pts]
    np.savez_compressed(
        file, pts=table.pts, key=table.key, size=table.size, times=table.times,
        end=np.array(end, np.int64),
    )  # fmt: skip
    storage.write_bytes(folder / _PACKETS, file.getvalue())


def _load_table(folder: Location) -> PacketTable:
    file = BytesIO(storage.read_bytes(folder / _PACKETS))
    with np.load(file, allow_pickle=False) as found:
        end = next(map(int, found["end"]), None)
        return PacketTable(found["pts"], found["key"], found["size"], found["times"], end)


def make_item(item: Item, job: Job) -> str:
    """Make a shard, unless it is complete already, or convert a whole film.

    Returns:
        The reason to convert the film as a whole after all, or "".

    Raises:
        InputError: the film cannot be read, or has changed since it was planned.
        RecordsError: the shard cannot be written.
    """
    if not item.frames:
        if not job.overwrite and _finished(item) is not None:  # by an earlier try
            return ""
        _convert_whole(item, job)
        return ""
    if _restored(item, item.shard) is not None:
        return ""
    item.plan.source.check_unchanged()
    with _local(item.folder) as folder:
        try:
            _write_part(item, item.ranges()[item.shard], folder)
        except NotDivisibleError as reason:
            return str(reason)
        item.plan.source.check_unchanged()
        if isinstance(item.directory, RemotePath):
            part, state = part_name(item.shard), state_name(item.shard)
            storage.copy_to_remote(folder / part, item.directory / _name(item, item.shard))
            storage.copy_to_remote(folder / state, item.folder / state)
    return ""


def _name(item: Item, shard: int) -> str:
    return shard_name(shard, len(item.ranges()))


def _restored(item: Item, shard: int) -> Part | None:
    """Return a complete shard, as `load_part`."""
    frames, folder = item.ranges()[shard], item.folder
    if isinstance(folder, Path):
        return load_part(folder, folder, shard, frames)
    try:
        values = json.loads(storage.read_text(folder / state_name(shard)))
        part = Part.from_json(Path(part_name(shard)), values)
        size = storage.file_size(item.directory / _name(item, shard))
        return part if part.frames == frames and sum(part.sizes) == size else None
    except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _convert_whole(item: Item, job: Job) -> FilmCard:
    with _local(item.directory) as directory:
        if isinstance(item.directory, RemotePath):
            directory /= item.directory.name
        card = convert_film(
            replace(item.plan, directory=directory), strict=job.strict, overwrite=job.overwrite,
            threads=item.threads, keep_damaged=job.keep_damaged,
        )  # fmt: skip
        if isinstance(item.directory, RemotePath):
            upload.publish(directory, item.directory, job.overwrite)
    return card


def _write_part(item: Item, frames: range, folder: Path) -> None:
    plan, path = item.plan, folder / part_name(item.shard)
    encoder = FrameEncoder(
        plan.info, plan.geometry, plan.options, item.threads, table=_load_table(item.folder)
    )
    facts, meter, made = Facts(), ShotMeter(), _temporary(path)
    try:
        with PartWriter(made, frames.start) as writer:
            first = max(frames.start - _FRAMES_BEFORE, 0)
            for index, pts, picture in encoder.divided_frames(first, frames.stop):
                mark = meter.mark(picture.thumbnail)
                if index >= frames.start:
                    facts.add(pts, picture, mark)
                    frame = plan.frame(picture.encoded, index, pts)
                    writer.write(frame_record(serialize(frame)))
            part = writer.finish()
        part.state = facts.to_json(range(len(frames)))
        state = path.with_name(state_name(item.shard))
        temporary = _temporary(state)
        write_json(temporary, part.to_json())
        os.replace(made, path)
        os.replace(temporary, state)  # last: a part with a state is complete
    finally:
        made.unlink(missing_ok=True)


def finish_film(item: Item, reasons: list[str], job: Job) -> FilmCard:
    """Make a film's folder out of its shards and return its card.

    `item` is any of the film's; `reasons` are the results of `make_item` for all of them.

    Raises:
        InputError: the film was read in a single pass, which failed.
        RecordsError: the folder cannot be written or replaced, or a shard is gone.
    """
    if not item.frames:
        return load_card(item.directory)
    card = None
    if not (job.overwrite and storage.exists(item.folder)):
        card = _finished(item)  # an earlier try may have been stopped just after its end
    if card is None and any(reasons):
        card = _convert_whole(item, job)
    elif card is None:
        card = _join_parts(item, job)
    storage.remove_folder(item.folder)
    return card


def _finished(item: Item) -> FilmCard | None:
    return finished_card(item.plan.info.path, item.directory, item.plan.options)


def _join_parts(item: Item, job: Job) -> FilmCard:
    facts, parts = Facts(), list[Part]()
    for shard in range(len(item.ranges())):
        part = _restored(item, shard)
        if part is None:
            raise RecordsError(
                f"{item.folder / part_name(shard)}: is gone or damaged; run the same command again"
            )
        parts.append(part)
        facts.extend(Facts.from_json(part.state))
    reading = _SeveralDecoders(_load_table(item.folder).end_pts)

    def card(shards: list[Shard]) -> FilmCard:
        return make_card(item.plan, facts, reading, shards)

    if isinstance(item.directory, RemotePath):
        return _publish(item.directory, card([
            Shard(_name(item, number), len(part.sizes), part.first_frame, sum(part.sizes),
                  part.sha256)
            for number, part in enumerate(parts)
        ]))  # fmt: skip
    with FilmWriter(item.directory, item.frames, item.plan.options.num_shards) as writer:
        for part in parts:
            writer.adopt(part)
        return writer.commit(card, job.overwrite)


def _publish(directory: RemotePath, card: FilmCard) -> FilmCard:
    with tempfile.TemporaryDirectory() as folder:
        save_card(folder, card)
        upload.finish(card, directory, (Path(folder) / CARD_NAME).read_bytes())
        return load_card(folder)
