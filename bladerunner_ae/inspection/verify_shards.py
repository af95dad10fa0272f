"""Verification of a film's records: reads every one and reports all damage.

Shards are read in parallel threads. After a record whose data is damaged, reading continues with
the next record; after one whose length is damaged, with the next shard.
"""

import io
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from bladerunner_ae.command_line.progress import Progress
from bladerunner_ae.inspection.inspect_folder import (
    Damage,
    Inspection,
    clock,
    film_time,
    frame_seconds,
)
from tfrecords import storage
from tfrecords.card import CARD_NAME, FilmCard, Shard
from tfrecords.framing import ScannedRecord, ShardScan
from tfrecords.record_errors import RecordsError
from tfrecords.schema import Frame, parse
from tfrecords.wording import counted

Picture = NDArray[np.uint8]
_Result = TypeVar("_Result")


@dataclass
class ShardReport:
    """Findings in one shard.

    Of its frames, `whole` are undamaged, `first` to `last` readable; `sha256` is "" if unreadable.
    """

    shard: Shard
    damages: list[Damage] = field(default_factory=list)
    whole: int = 0
    sha256: str = ""
    first: Frame | None = None
    last: Frame | None = None


def verify(found: Inspection, threads: int | None = None) -> None:
    """Read every record; add defects to `found.damages` and set `found.verified`.

    Of each record: the container's checksums, the picture decodes completely and has the card's
    size and format, frame number and film are those of the card, times rise. Of each shard: SHA-256
    and number of records. `threads` shards are read at once, by default one per processor.
    """
    card = found.card
    shards = [row.shard for row in found.rows if row.there]
    # Damage to the size of a shard is reported more exactly below.
    read = {shard.name for shard in shards}
    found.damages = [one for one in found.damages if one.file not in read]
    stop, lock = threading.Event(), threading.Lock()
    with Progress("verify", sum(shard.frames for shard in shards)) as progress:

        def work(shard: Shard) -> ShardReport:
            reader = _ShardReader(shard, card)
            for record in reader.read(found.directory):
                if stop.is_set():
                    break
                reader.check(record)
                with lock:
                    progress.update()
            return reader.report

        reports = in_threads(work, shards, stop, threads)
    for report in reports:
        found.damages += report.damages
    found.damages += between_shards(reports)
    if card is not None:
        found.damages += _at_the_ends(reports, card)
        found.damages += other_content(reports, card)
    found.damages.sort(key=lambda one: (one.file != CARD_NAME, one.file))
    found.verified = sum(report.whole for report in reports)


def in_threads(
    work: Callable[[Shard], _Result],
    shards: Iterable[Shard],
    stop: threading.Event,
    threads: int | None = None,
) -> list[_Result]:
    """Call `work` with each shard, several at once; results are in the order of the shards.

    `stop` is set on an interruption, or when a call fails; `work` should then return soon.
    `threads` run at once, by default one per processor.
    """
    with ThreadPoolExecutor(max_workers=threads or os.cpu_count() or 1) as pool:
        futures = [pool.submit(work, shard) for shard in shards]
        try:
            return [future.result() for future in futures]
        except BaseException:
            stop.set()
            pool.shutdown(cancel_futures=True)
            raise


def decode_picture(frame: Frame) -> Picture:
    """Return a record's picture as uint8 [height, width, 3], RGB.

    Raises ValueError if it is damaged; the least warning of the decoder counts.
    """
    try:
        if frame.format == "jpeg":
            # Unlike Pillow it also fails where libjpeg only warns, as of an early end.
            return np.asarray(simplejpeg.decode_jpeg(frame.encoded, strict=True), np.uint8)
        with Image.open(io.BytesIO(frame.encoded), formats=[frame.format]) as image:
            return np.asarray(image.convert("RGB"), np.uint8)
    except (OSError, SyntaxError, ValueError, TypeError, Image.DecompressionBombError) as error:
        raise ValueError(f"its {frame.format} picture is damaged ({error})") from error


class _ShardReader:
    def __init__(self, shard: Shard, card: FilmCard | None) -> None:
        self.report = ShardReport(shard)
        self._shard, self._card = shard, card
        # Problems of records, by kind and record; those of one kind in a row are one damage.
        self._problems: defaultdict[Hashable, dict[int, str]] = defaultdict(dict)

    def read(self, directory: str) -> Iterator[ScannedRecord]:
        """Yield the shard's records, for `check`; after the last one the report is complete."""
        scan = ShardScan(storage.join(directory, self._shard.name))
        record, beyond = None, None
        try:
            for record in scan:
                if self._card is None or record.number < self._shard.frames:
                    yield record
                else:
                    beyond = beyond or record
        except OSError as error:
            self._add(f"cannot be read ({error.strerror or error})")
            return
        self.report.sha256 = scan.sha256
        self._add_problems()
        if beyond is not None:
            more = f"holds more records than the {self._shard.frames} that {CARD_NAME} says"
            self._add(more if beyond.data else "bytes that are no record follow its last record")
        broken = record is not None and record.last
        self._check_end(0 if record is None else record.number + 1, broken, scan)

    def check(self, record: ScannedRecord) -> None:
        number = record.number
        if record.data is None:
            self._problems["container", number][number] = record.problem
            return
        try:
            frame = parse(record.data)
        except (RecordsError, ValueError) as error:  # text that is not UTF-8 is a ValueError
            self._problems["schema"][number] = f"is no frame ({error})"
            return
        problems = list(self._frame_problems(number, frame))
        for kind, what in problems:
            self._problems[kind][number] = what
        self.report.whole += not problems
        self.report.first = self.report.first or frame
        self.report.last = frame

    def _frame_problems(self, number: int, frame: Frame) -> Iterator[tuple[Hashable, str]]:
        """Yield (kind, words) of each problem of a frame."""
        off = frame.index - self._shard.first_frame - number
        if off:
            yield ("index", off), f"its frame number is off by {off:+d}"
        previous, card, size = self.report.last, self._card, (frame.height, frame.width)
        if previous is not None and frame.pts <= previous.pts:
            what = f"its time {frame.pts} is not later than {previous.pts} of the frame before"
            yield ("time", number), what
        if card is not None:
            if frame.film_id != card.film_id:
                what = f"belongs to film {frame.film_id}, not {card.film_id}"
                yield ("film", frame.film_id), what
            if size != (card.height, card.width):
                what = f"is {size[0]}x{size[1]}, not {card.height}x{card.width} as {CARD_NAME} says"
                yield ("size", size), what
            if frame.format != card.encoding.get("format", frame.format):
                what = f"is {frame.format}, not {card.encoding['format']} as {CARD_NAME} says"
                yield ("format", frame.format), what
        try:
            found = decode_picture(frame).shape[:2]
            if found != size:
                what = f"its picture is {found[0]}x{found[1]}, not {size[0]}x{size[1]}"
                yield ("picture size", found), what
        except ValueError as error:
            yield ("picture", number), str(error)

    def _add(self, what: str, *, records: tuple[int, int] | None = None, first: int = -1,
             last: int = -1) -> None:  # fmt: skip
        frames = None if first < 0 else (first, last)
        time = frame_seconds(self._card, first) if self._card and frames else None
        self.report.damages.append(Damage(self._shard.name, what, records, frames, time))

    def _add_problems(self) -> None:
        runs: list[tuple[int, int, str]] = []
        for problems in self._problems.values():
            for number, what in problems.items():
                if number - 1 in problems:
                    first, _, what = runs.pop()
                    runs.append((first, number, what))
                else:
                    runs.append((number, number, what))
        start = self._shard.first_frame
        for first, last, what in sorted(runs, key=lambda run: run[0]):
            self._add(what, records=(first, last), first=start + first, last=start + last)

    def _check_end(self, records: int, broken: bool, scan: ShardScan) -> None:
        """Report missing records and a changed file."""
        shard = self._shard
        if self._card is None:
            if broken:
                self._add("what follows in this shard cannot be reached")
            return
        missing = shard.frames - records  # the record at which the shard broke is among `records`
        if missing > 0:
            ending = "cannot be reached" if broken else "at its end missing"
            first, last = shard.first_frame + records, shard.first_frame + shard.frames - 1
            self._add(f"{counted(missing, 'frame')} {ending}", first=first, last=last)
        if not self.report.damages and scan.bytes != shard.bytes:
            self._add(f"has {scan.bytes} bytes, not {shard.bytes} as {CARD_NAME} says")
        if not self.report.damages and scan.sha256 != shard.sha256:
            self._add(f"every record is whole, but its SHA-256 is not that of {CARD_NAME}")


def between_shards(reports: list[ShardReport]) -> Iterator[Damage]:
    """Yield the defects in the times from one shard to the next."""
    previous: Frame | None = None
    for report in reports:
        first = report.first
        # Records in the wrong place are reported as such; their times say nothing more.
        in_place = previous and first and first.index > previous.index
        if previous and first and in_place and first.pts <= previous.pts:
            what = f"its first frame's time {first.pts} is not later than {previous.pts}"
            yield Damage(report.shard.name, f"{what}, at which the shard before ends")
        previous = report.last or previous


def _at_the_ends(reports: list[ShardReport], card: FilmCard) -> Iterator[Damage]:
    """Yield the defects in the times at which the film begins and ends."""
    if not reports:
        return
    for name, wanted, frame, number in (
        ("first_pts", card.first_pts, reports[0].first, 0),
        ("last_pts", card.last_pts, reports[-1].last, card.frames - 1),
    ):
        if frame is not None and frame.index == number and frame.pts != wanted:
            yield Damage(
                CARD_NAME,
                f"'{name}' is {wanted} but the record of frame {number} says {frame.pts} "
                f"({clock(film_time(card, frame.pts))})",
            )


def other_content(reports: list[ShardReport], card: FilmCard) -> Iterator[Damage]:
    """Yield the shards that hold, byte for byte, the records of another one."""
    owners = {shard.sha256: shard.name for shard in card.shards}
    for report in reports:
        owner = owners.get(report.sha256, report.shard.name)
        if owner != report.shard.name:
            yield Damage(report.shard.name, f"is the file that should be called {owner}")
