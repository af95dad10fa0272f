"""A look at a folder of records: its card in words, its shards, and what is plainly wrong.

Everything here is quick: it reads the card and the first record of each shard. `verification` reads
all of them. TensorFlow is imported for remote folders only.
"""

import os
import re
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from tfrecords import storage
from tfrecords.card import CARD_NAME, FilmCard, Shard, load_card
from tfrecords.errors import RecordsError
from tfrecords.framing import ShardScan
from tfrecords.hidden_names import hidden_path
from tfrecords.messages import counted
from tfrecords.schema import parse

_SHARD_NAME = re.compile(r"frames-(\d{5})-of-(\d{5})\.tfrecord")


@dataclass(frozen=True)
class Damage:
    """One thing that is wrong with a folder of records.

    Attributes:
        file: name of the shard or of the card.
        what: what is wrong, for the end of a sentence.
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


@dataclass(frozen=True)
class ShardRow:
    """One line of the table of shards.

    Attributes:
        shard: as on the card; where there is no card, what the file's records say.
        begin, end: seconds from the film's start to its first frame and to the end of its last, or
            None where the records do not say.
        there: whether the file is there.
    """

    shard: Shard
    begin: float | None
    end: float | None
    there: bool = True


@dataclass
class Inspection:
    """What a folder of records is.

    Attributes:
        directory: as given.
        card: None where it is missing or damaged.
        rows: one for each shard of the card, or of the folder where there is no card.
        damages: all that was found wrong so far.
        remarks: what a person should know beside, such as that a conversion is not finished.
        verified: how many records were read and found whole; None if nobody looked.
    """

    directory: str
    card: FilmCard | None
    rows: list[ShardRow]
    damages: list[Damage] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    verified: int | None = None

    @property
    def name(self) -> str:
        """Name of the folder."""
        return os.path.basename(self.directory.rstrip("/")) or self.directory

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
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
    """Looks at a folder of records without reading more than the beginning of each shard.

    Args:
        directory: DATA/<film>, local or remote.

    Returns:
        What is there. Of a folder whose card is missing or damaged, what its shards tell.

    Raises:
        RecordsError: there is no such folder, or nothing in it is a shard or a card.
    """
    folder = os.fspath(directory)
    try:
        card = load_card(folder)
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
            found.damages.append(_wrong_size(shard, size, begin))
    known = {shard.name for shard in card.shards}
    for name in shard_files(folder):
        if name not in known:
            found.damages.append(Damage(name, f"is no shard of this film: {CARD_NAME} lacks it"))
    return found


def film_time(card: FilmCard, pts: int) -> float:
    """Seconds from the start of the film to a frame's time; an excerpt counts from the film's."""
    return float(film_start(card) + (pts - card.first_pts) * card.time_base)


def film_start(card: FilmCard) -> Fraction:
    """Seconds of the film that were left out before the first frame of its records."""
    try:
        return Fraction(card.options.get("start") or 0)
    except (ValueError, TypeError, ZeroDivisionError):
        return Fraction(0)


def film_seconds(card: FilmCard) -> Fraction:
    """How long the frames are shown, the last one as long as the average."""
    last = 1 / card.frame_rate if card.frame_rate > 0 else Fraction(0)
    return Fraction((card.last_pts - card.first_pts) * card.time_base + last)


def frame_seconds(card: FilmCard, frame: int) -> float | None:
    """When a frame that cannot be read is shown, or None in a film of variable rate."""
    if card.variable_rate or card.frame_rate <= 0:
        return None
    return float(film_start(card) + frame / card.frame_rate)


def clock(seconds: float | Fraction | None) -> str:
    """A time as h:mm:ss.mmm; "?" for None."""
    if seconds is None:
        return "?"
    sign = "-" if seconds < 0 else ""
    minutes, milliseconds = divmod(round(abs(float(seconds)) * 1000), 60_000)
    return (
        f"{sign}{minutes // 60}:{minutes % 60:02d}:"
        f"{milliseconds // 1000:02d}.{milliseconds % 1000:03d}"
    )


def shard_files(directory: str) -> list[str]:
    """Names of the files of a folder that look like shards, in order."""
    return [name for name in storage.names(directory) if _SHARD_NAME.fullmatch(name)]


def _span(thing: str, numbers: tuple[int, int]) -> str:
    first, last = numbers
    return f"{thing} {first}" if first == last else f"{thing}s {first} to {last}"


def _begin(directory: str, shard: Shard, card: FilmCard) -> float | None:
    """When a shard's first frame is shown: as its first record says, else as reckoned."""
    try:
        for record in ShardScan(storage.join(directory, shard.name)):
            frame = None if record.data is None else parse(record.data)
            if frame is not None and frame.index == shard.first_frame:
                return film_time(card, frame.pts)
            break
    except (OSError, RecordsError):
        pass
    return frame_seconds(card, shard.first_frame)


def _wrong_size(shard: Shard, size: int | None, begin: float | None) -> Damage:
    frames = (shard.first_frame, shard.first_frame + shard.frames - 1)
    if size is None:
        return Damage(shard.name, "the shard is missing", None, frames, begin)
    what = f"has {size} bytes, not {shard.bytes} as {CARD_NAME} says"
    return Damage(shard.name, what, None, frames, begin)


def _without_card(folder: str, error: RecordsError) -> Inspection:
    """What a folder tells whose card cannot be read."""
    remarks = _remarks(folder)
    if not storage.is_directory(folder):
        if remarks:
            raise RecordsError(f"{folder}: is not there; {remarks[0]}") from error
        raise error
    names = shard_files(folder)
    if not names and not storage.exists(storage.join(folder, CARD_NAME)):
        raise error
    # "DATA/film/film.json: is damaged (...); ..." or "DATA/film: has no film.json, so ...".
    what = str(error).partition(": ")[2].partition("; ")[0]
    found = Inspection(folder, None, [], [Damage(CARD_NAME, what)], remarks)
    next_frame = 0
    for name in names:
        size = storage.file_size(storage.join(folder, name))
        frames = _count_and_first(storage.join(folder, name))
        first = next_frame if frames[1] is None else frames[1]
        found.rows.append(ShardRow(Shard(name, frames[0], first, size, ""), None, None))
        next_frame = first + frames[0]
    found.damages += [Damage(name, "the shard is missing") for name in _missing_names(names)]
    return found


def _count_and_first(path: str) -> tuple[int, int | None]:
    """How many whole records a shard has, and the number of the first one's frame."""
    count, first = 0, None
    try:
        for record in ShardScan(path):
            if record.data is not None:
                first = parse(record.data).index if count == 0 else first
                count += 1
    except (OSError, RecordsError):
        pass
    return count, first


def _missing_names(names: list[str]) -> Iterator[str]:
    """The shards that the names of the others promise."""
    there = [match for name in names if (match := _SHARD_NAME.fullmatch(name))]
    totals = {int(match[2]) for match in there}
    if len(totals) == 1:
        (total,) = totals
        numbers = {int(match[1]) for match in there}
        for number in sorted(set(range(total)) - numbers):
            yield f"frames-{number:05d}-of-{total:05d}.tfrecord"


def _remarks(folder: str) -> list[str]:
    """What lies beside the folder: a conversion that is not finished."""
    if storage.is_remote(folder):
        return []
    path = Path(os.path.abspath(folder))
    partial = hidden_path(path, ".partial")
    if not partial.is_dir():
        return []
    files = sum(1 for one in partial.iterdir() if one.is_file())
    size = sum(one.stat().st_size for one in partial.iterdir() if one.is_file())
    return [
        f"an unfinished conversion lies beside it ({partial.name}, {counted(files, 'file')}, "
        f"{size / 2**20:.1f} MiB); make_tfrecords goes on with it"
    ]


def shot_lengths(card: FilmCard) -> list[int]:
    """Frames of each shot."""
    return [end - start for start, end in card.shots()]


def median_shot(card: FilmCard) -> float:
    """Frames of the shot in the middle of all shots by length."""
    return float(statistics.median(shot_lengths(card)))
