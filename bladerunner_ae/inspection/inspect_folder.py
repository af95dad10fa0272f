"""Quick inspection of a folder of records: its card, its shards, and plain damage.

It reads the card and the first record of each shard; `verify` reads all of them. TensorFlow is
imported for remote folders only.
"""

import os
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from tfrecords import storage
from tfrecords.card import CARD_NAME, FilmCard, Shard, load_card
from tfrecords.framing import ShardScan
from tfrecords.record_errors import DamagedError, NewerVersionError, RecordsError
from tfrecords.schema import parse
from tfrecords.shards import is_shard_name, missing_shards
from tfrecords.unfinished_parts import partial_folder
from tfrecords.wording import counted


@dataclass(frozen=True)
class Damage:
    """One defect of a folder of records.

    Attributes:
        file: name of the shard or of the card.
        what: for the end of a sentence.
        records: first and last number in the shard of the records concerned, from 0, or None.
        frames: first and last number of the frames concerned, or None.
        time: seconds from the film's start to the first of these frames, or None.
    """

    file: str
    what: str
    records: tuple[int, int] | None = None
    frames: tuple[int, int] | None = None
    time: float | None = None

    def __str__(self) -> str:
        place = [self.file]
        if self.records is not None:
            place.append(f"{_span('record', self.records)} (from 0)")
        if self.frames is not None:
            place.append(_span("frame", self.frames))
        if self.time is not None:
            place.append(f"at {clock(self.time)}")
        return f"{', '.join(place)}: {self.what}"


def _span(thing: str, numbers: tuple[int, int]) -> str:
    first, last = numbers
    return f"{thing} {first}" if first == last else f"{thing}s {first} to {last}"


@dataclass(frozen=True)
class ShardRow:
    """One line of the table of shards.

    Attributes:
        shard: its entry of the card; without a card, derived from the file's records.
        begin, end: seconds from the film's start to its first frame and to the end of its last, or
            None if the records do not say.
        there: whether the file exists.
    """

    shard: Shard
    begin: float | None
    end: float | None
    there: bool = True


@dataclass
class Inspection:
    """The result of inspecting a folder of records.

    Attributes:
        card: None if it is missing or damaged.
        rows: one for each shard of the card, or of the folder if there is no card.
        remarks: further facts for a person, such as that a conversion is not finished.
        verified: number of records read and found undamaged; None if they were not read.
    """

    directory: str
    card: FilmCard | None
    rows: list[ShardRow]
    damages: list[Damage] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    verified: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "directory": self.directory,
            "card": None if self.card is None else self.card.to_json(),
            "seconds": None if self.card is None else float(film_seconds(self.card)),
            "shards": [
                {**asdict(row.shard), "begin": row.begin, "end": row.end, "there": row.there}
                for row in self.rows
            ],
            "damages": [asdict(damage) for damage in self.damages],
            "remarks": self.remarks,
            "verified": self.verified,
        }


def inspect_film(directory: storage.AnyPath) -> Inspection:
    """Inspect DATA/<film>, local or remote, reading only the beginning of each shard.

    Of a folder whose card is missing or damaged, the shards are described as far as possible.
    Raises RecordsError if there is no such folder, nothing in it is a shard or a card, or the card
    is of a newer version.
    """
    folder = os.fspath(directory)
    try:
        card = load_card(folder)
    except NewerVersionError:  # no damage, and nothing here that this version could judge
        raise
    except RecordsError as error:
        return _without_card(folder, error)
    found = Inspection(folder, card, [], remarks=_remarks(folder))
    begins = [_begin(folder, shard, card) for shard in card.shards]
    ends = [*begins[1:], float(film_start(card) + film_seconds(card))]
    for shard, begin, end in zip(card.shards, begins, ends, strict=True):
        try:
            size = storage.file_size(storage.join(folder, shard.name))
        except FileNotFoundError:
            size = None
        found.rows.append(ShardRow(shard, begin, end, size is not None))
        if size != shard.bytes:
            what = f"has {size} bytes, not {shard.bytes} as {CARD_NAME} says"
            frames = (shard.first_frame, shard.first_frame + shard.frames - 1)
            what = "the shard is missing" if size is None else what
            found.damages.append(Damage(shard.name, what, None, frames, begin))
    known = {shard.name for shard in card.shards}
    found.damages += [
        Damage(name, f"is no shard of this film: {CARD_NAME} lacks it")
        for name in filter(is_shard_name, storage.names(folder))
        if name not in known
    ]
    return found


def _without_card(folder: str, error: RecordsError) -> Inspection:
    """Return an inspection by the shards of a folder whose card cannot be read."""
    remarks = _remarks(folder)
    if not storage.is_directory(folder):
        if remarks:
            raise RecordsError(f"{folder}: is not there; {remarks[0]}") from error
        raise error
    names = [name for name in storage.names(folder) if is_shard_name(name)]
    if not names and not storage.exists(storage.join(folder, CARD_NAME)):
        raise error
    what = error.problem if isinstance(error, DamagedError) else str(error)
    found = Inspection(folder, None, [], [Damage(CARD_NAME, what)], remarks)
    next_frame = 0
    for name in names:
        path = storage.join(folder, name)
        count, first = _count_and_first(path, next_frame)
        shard = Shard(name, count, first, storage.file_size(path), "")
        found.rows.append(ShardRow(shard, None, None))
        next_frame = first + count
    found.damages += [Damage(name, "the shard is missing") for name in missing_shards(names)]
    return found


def _count_and_first(path: str, first: int) -> tuple[int, int]:
    """Return the number of undamaged records in a shard, and its first frame, else `first`."""
    count = 0
    with suppress(OSError, RecordsError):
        for record in ShardScan(path):
            if record.data is not None:
                first = parse(record.data).index if count == 0 else first
                count += 1
    return count, first


def _remarks(folder: str) -> list[str]:
    """Return a remark on an unfinished conversion next to the folder, if there is one."""
    if storage.is_remote(folder):
        return []
    partial = partial_folder(Path(os.path.abspath(folder)))
    if not partial.is_dir():
        return []
    sizes = [one.stat().st_size for one in partial.iterdir() if one.is_file()]
    return [
        f"there is an unfinished conversion of it ({partial.name}, {counted(len(sizes), 'file')}, "
        f"{sum(sizes) / 2**20:.1f} MiB); make_tfrecords resumes it"
    ]


def _begin(directory: str, shard: Shard, card: FilmCard) -> float | None:
    """Return the time of a shard's first frame: by its first record, else as computed."""
    with suppress(OSError, RecordsError):
        record = next(iter(ShardScan(storage.join(directory, shard.name))), None)
        if record is not None and record.data is not None:
            frame = parse(record.data)
            if frame.index == shard.first_frame:
                return film_time(card, frame.pts)
    return frame_seconds(card, shard.first_frame)


def film_time(card: FilmCard, pts: int) -> float:
    """Return the seconds from the start of the film (records may be an excerpt) to a frame."""
    return float(film_start(card) + (pts - card.first_pts) * card.time_base)


def film_start(card: FilmCard) -> Fraction:
    """Return the seconds of the film that were left out before the first frame of its records."""
    try:
        return Fraction(card.options.get("start") or 0)
    except (ValueError, TypeError, ZeroDivisionError):
        return Fraction(0)


def film_seconds(card: FilmCard) -> Fraction:
    """Return the duration of the frames, the last one as long as the average."""
    return Fraction((card.last_pts - card.first_pts) * card.time_base + 1 / card.frame_rate)


def frame_seconds(card: FilmCard, frame: int) -> float | None:
    """Return the time of a frame that cannot be read, or None in a film of variable rate."""
    return None if card.variable_rate else float(film_start(card) + frame / card.frame_rate)


def clock(seconds: float | Fraction | None) -> str:
    """Return a time as h:mm:ss.mmm; "?" for None."""
    if seconds is None:
        return "?"
    sign = "-" if seconds < 0 else ""
    minutes, milliseconds = divmod(round(abs(float(seconds)) * 1000), 60_000)
    return (
        f"{sign}{minutes // 60}:{minutes % 60:02d}:"
        f"{milliseconds // 1000:02d}.{milliseconds % 1000:03d}"
    )
