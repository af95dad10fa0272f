"""Reads every record of a film and says all that is wrong; nothing is passed over.

Shards are read at the same time in several threads. Behind a record whose data is damaged reading
goes on with the next record; behind one whose length is damaged, with the next shard.
"""

import io
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from bladerunner_ae.command_line.progress import Progress
from bladerunner_ae.inspection.folder import Damage, Inspection, clock, film_time, frame_seconds
from tfrecords import storage
from tfrecords.card import CARD_NAME, FilmCard, Shard
from tfrecords.errors import RecordsError
from tfrecords.framing import ScannedRecord, ShardScan
from tfrecords.schema import Frame, parse

Picture = NDArray[np.uint8]


@dataclass
class ShardReport:
    """What was found in one shard; times in seconds, pts in the film's time base."""

    shard: Shard
    damages: list[Damage] = field(default_factory=list)
    whole: int = 0
    sha256: str = ""
    first: Frame | None = None
    last: Frame | None = None


@dataclass
class _Finding:
    """A problem of consecutive records that is the same for all of them.

    Attributes:
        kind: equal kinds of neighbouring records are one finding.
        what: for the end of a sentence, said of the first record.
        first, last: numbers of the records in their shard.
    """

    kind: tuple[Any, ...]
    what: str
    first: int
    last: int


def verify(found: Inspection, threads: int | None = None) -> None:
    """Reads every record and adds what is wrong to `found.damages`.

    Of each record: the container's checksums, the picture decodes whole and has the card's size and
    format, frame number and film are those the card says, times rise. Of each shard: SHA-256 and
    number of records.

    Args:
        found: from `inspect_film`; gets `verified`, the number of records that are whole.
        threads: shards read at once; by default as many as there are processors.
    """
    card = found.card
    shards = [row.shard for row in found.rows if row.there]
    # What is wrong with the size of a shard is told more exactly below.
    read = {shard.name for shard in shards}
    found.damages = [one for one in found.damages if one.file not in read]
    stop = threading.Event()
    with Progress("verify", sum(shard.frames for shard in shards)) as progress:
        lock = threading.Lock()

        def count() -> None:
            with lock:
                progress.update()

        def work(shard: Shard) -> ShardReport:
            return _ShardReader(found.directory, shard, card, count, stop).read()

        reports = in_threads(work, shards, stop, threads)
    for report in reports:
        found.damages += report.damages
    found.damages += between_shards(reports, card)
    found.damages += other_content(reports, card)
    found.damages.sort(key=lambda one: (one.file != CARD_NAME, one.file))
    found.verified = sum(report.whole for report in reports)


def in_threads(
    work: Callable[[Shard], Any],
    shards: Iterable[Shard],
    stop: threading.Event,
    threads: int | None = None,
) -> list[Any]:
    """Calls `work` with each shard, several at once; results are in the order of the shards.

    Args:
        work: should return soon once `stop` is set.
        shards: what to work on.
        stop: is set when this is interrupted, or a call of `work` fails.
        threads: how many at once; by default as many as there are processors.
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
    """Returns a record's picture as uint8 [height, width, 3], RGB.

    Raises:
        ValueError: it is damaged; the least warning of the decoder counts.
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
    """Reads one shard to its end."""

    def __init__(
        self,
        directory: str,
        shard: Shard,
        card: FilmCard | None,
        count: Callable[[], None],
        stop: threading.Event,
    ) -> None:
        self._path = storage.join(directory, shard.name)
        self._shard, self._card = shard, card
        self._count, self._stop = count, stop
        self._findings: list[_Finding] = []
        self._latest: dict[tuple[Any, ...], _Finding] = {}
        self._report = ShardReport(shard)

    def read(self) -> ShardReport:
        """Returns all that is wrong with the shard by itself."""
        scan = ShardScan(self._path)
        number = -1
        broken = False
        try:
            for record in scan:
                if self._stop.is_set():
                    return self._report
                number = record.number
                broken = broken or record.last
                self._look_at(record)
                self._count()
        except OSError as error:
            self._report.damages.append(
                Damage(self._shard.name, f"cannot be read ({error.strerror or error})")
            )
            return self._report
        self._report.sha256 = scan.sha256
        self._report.damages += [self._damage(finding) for finding in self._findings]
        self._about_the_end(number + 1, broken, scan)
        return self._report

    def _look_at(self, record: ScannedRecord) -> None:
        if self._card is not None and record.number >= self._shard.frames:
            self._add_once(
                "bytes that are no record follow its last record"
                if record.data is None
                else f"holds more records than the {self._shard.frames} that {CARD_NAME} says"
            )
            return
        if record.data is None:
            self._note(record.number, ("container", record.problem), record.problem)
            return
        try:
            frame = parse(record.data)
        except (RecordsError, ValueError) as error:  # text that is no UTF-8 is a ValueError
            self._note(record.number, ("schema",), f"is no frame ({error})")
            return
        problems = list(self._problems(record.number, frame))
        for kind, what in problems:
            self._note(record.number, kind, what)
        self._report.whole += not problems
        self._report.first = self._report.first or frame
        self._report.last = frame

    def _problems(self, number: int, frame: Frame) -> Iterable[tuple[tuple[Any, ...], str]]:
        """(kind, words) of each thing that is wrong with a frame."""
        wanted = self._shard.first_frame + number
        if frame.index != wanted:
            yield ("index", frame.index - wanted), f"holds frame {frame.index}, not {wanted}"
        previous = self._report.last
        if previous is not None and frame.pts <= previous.pts:
            what = f"its time {frame.pts} is not later than {previous.pts} of the frame before"
            yield ("time", number), what
        size = (frame.height, frame.width)
        card = self._card
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

    def _note(self, number: int, kind: tuple[Any, ...], what: str) -> None:
        finding = self._latest.get(kind)
        if finding is not None and finding.last == number - 1 and kind[0] != "container":
            finding.last = number
            return
        self._latest[kind] = _Finding(kind, what, number, number)
        self._findings.append(self._latest[kind])

    def _damage(self, finding: _Finding) -> Damage:
        start = self._shard.first_frame
        frames = (start + finding.first, start + finding.last)
        what = finding.what
        if finding.kind[0] == "index" and finding.first != finding.last:
            shift = finding.kind[1]
            what = f"hold frames {frames[0] + shift} to {frames[1] + shift} instead"
        time = None if self._card is None else frame_seconds(self._card, frames[0])
        return Damage(self._shard.name, what, (finding.first, finding.last), frames, time)

    def _about_the_end(self, records: int, broken: bool, scan: ShardScan) -> None:
        """Says how many records are missing or too many, and whether the file is as it was."""
        shard, card = self._shard, self._card
        if card is None:
            if broken:
                self._add_once("what follows in this shard cannot be reached")
            return
        # The record at which the shard broke was told by itself.
        missing = shard.frames - records
        if missing > 0:
            frames = (shard.first_frame + records, shard.first_frame + shard.frames - 1)
            count = "1 frame" if missing == 1 else f"{missing} frames"
            what = f"{count} cannot be reached" if broken else f"{count} at its end missing"
            time = frame_seconds(card, frames[0])
            self._report.damages.append(Damage(shard.name, what, None, frames, time))
        if scan.bytes != shard.bytes and not self._report.damages:
            self._add_once(f"has {scan.bytes} bytes, not {shard.bytes} as {CARD_NAME} says")
        if scan.sha256 != shard.sha256 and not self._report.damages:
            self._add_once(f"every record is whole, but its SHA-256 is not that of {CARD_NAME}")
        self._count_missing(max(missing, 0))

    def _count_missing(self, missing: int) -> None:
        for _ in range(missing):
            self._count()

    def _add_once(self, what: str) -> None:
        damage = Damage(self._shard.name, what)
        if damage not in self._report.damages:
            self._report.damages.append(damage)


def between_shards(reports: list[ShardReport], card: FilmCard | None) -> Iterable[Damage]:
    """What is wrong with the times from one shard to the next, and at both ends of the film."""
    previous: Frame | None = None
    for report in reports:
        first = report.first
        if (
            previous is not None
            and first is not None
            # Of records in the wrong place that was said; their times say nothing more.
            and first.index > previous.index
            and first.pts <= previous.pts
        ):
            yield Damage(
                report.shard.name,
                f"its first frame's time {first.pts} is not later than {previous.pts}, "
                "at which the shard before ends",
            )
        previous = report.last or previous
    if card is None or not card.shards:
        return
    ends = (
        ("first_pts", card.first_pts, reports[0].first if reports else None, 0),
        ("last_pts", card.last_pts, reports[-1].last if reports else None, card.frames - 1),
    )
    for name, wanted, frame, number in ends:
        if frame is not None and frame.index == number and frame.pts != wanted:
            yield Damage(
                CARD_NAME,
                f"'{name}' is {wanted} but the record of frame {number} says {frame.pts} "
                f"({clock(film_time(card, frame.pts))})",
            )


def other_content(reports: list[ShardReport], card: FilmCard | None) -> Iterable[Damage]:
    """Names the shards that hold, byte for byte, what another one should."""
    owners = {} if card is None else {shard.sha256: shard.name for shard in card.shards}
    for report in reports:
        owner = owners.get(report.sha256, report.shard.name)
        if owner != report.shard.name:
            yield Damage(report.shard.name, f"is the file that should be called {owner}")
