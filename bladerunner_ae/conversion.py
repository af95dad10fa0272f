"""From a film to its records: decoded, scaled and compressed in parallel, whole or not at all.

TensorFlow is not needed here, and not imported.
"""

import dataclasses
import hashlib
import io
import os
import re
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import bladerunner_ae
from bladerunner_ae.errors import InputError, UsageError
from bladerunner_ae.film.bars import Bars, find_bars
from bladerunner_ae.film.decode import DecodedFrame, FrameReader
from bladerunner_ae.film.images import list_images
from bladerunner_ae.film.probe import FilmInfo, probe_film
from bladerunner_ae.film.shots import ShotFinder
from bladerunner_ae.film.timing import constant_rate, mean_rate
from bladerunner_ae.geometry import Geometry, decide_geometry
from bladerunner_ae.progress import Progress
from tfrecords.card import CARD_NAME, SCHEMA_VERSION, FilmCard, Shard, check_shards, load_card
from tfrecords.schema import Frame
from tfrecords.writer import FilmWriter

FORMATS = ("jpeg", "png")
_WAITING_FRAMES = 64
_HASH_BYTES = 1 << 20


@dataclass(frozen=True)
class ConversionOptions:
    """What decides the bytes of the records, beside the film.

    Attributes:
        height, width: of a record in pixels; None for a side that follows from the film's shape.
        pixels: about how many pixels a record has where its size follows from the film.
        multiple: sides that follow from the film are multiples of this.
        fit: "contain", "cover" or "stretch", see `geometry.decide_geometry`.
        bars: (top, bottom, left, right) to cut off in stored pixels, or None to find them.
        image_format: "jpeg" (4:4:4) or "png".
        quality: of JPEG, 1..100.
        num_shards: files to write.
        start, duration: seconds of the film to take, or None.
        frame_rate: of a folder of images.
    """

    height: int | None = None
    width: int | None = None
    pixels: int = 36864
    multiple: int = 16
    fit: str = "contain"
    bars: Bars | None = None
    image_format: str = "jpeg"
    quality: int = 95
    num_shards: int = 16
    start: Fraction | None = None
    duration: Fraction | None = None
    frame_rate: Fraction = Fraction(24)

    def __post_init__(self) -> None:
        if self.image_format not in FORMATS:
            raise UsageError(f"--format={self.image_format}: choose {' or '.join(FORMATS)}")
        if not 1 <= self.quality <= 100:
            raise UsageError(f"--quality={self.quality}: give 1 to 100")
        if self.num_shards < 1:
            raise UsageError(f"--num_shards={self.num_shards}: give at least 1")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; fractions become text."""
        return {
            key: str(value) if isinstance(value, Fraction) else _plain(value)
            for key, value in dataclasses.asdict(self).items()
        }


@dataclass(frozen=True)
class Plan:
    """What a conversion is going to do.

    Attributes:
        info: the film.
        options: as asked for.
        geometry: how the film becomes records.
        directory: DATA/<film>.
    """

    info: FilmInfo
    options: ConversionOptions
    geometry: Geometry
    directory: Path

    def describe(self) -> str:
        """Says it in a line."""
        height, width = self.geometry.raster
        frames = self.info.frames_estimate
        count = "an unknown number of" if frames is None else f"about {frames}"
        return (
            f"{self.info.path}: {count} frames of {self.info.stored[0]}x{self.info.stored[1]} -> "
            f"{self.directory}, {height}x{width}, {self.options.image_format}, "
            f"{self.options.num_shards} shards"
        )


def film_name(film: Path) -> str:
    """The name of a film's folder: its file name without suffix, without awkward characters."""
    path = film.resolve()
    stem = path.name if path.is_dir() else path.stem
    return re.sub(r"[^\w.-]+", "_", stem).strip("._") or "film"


def plan_conversion(film: Path, output_dir: Path, options: ConversionOptions) -> Plan:
    """Looks at a film and decides how it is to be converted; writes nothing.

    Raises:
        InputError: the film cannot be read, or is none.
        UsageError: impossible sizes.
    """
    info = probe_film(film, options.frame_rate)
    bars = find_bars(info) if options.bars is None else options.bars
    raster = (options.height, options.width)
    geometry = decide_geometry(
        info.stored, info.sample_aspect, bars, raster if any(raster) else None, options.fit,
        options.pixels, options.multiple,
    )  # fmt: skip
    return Plan(info, options, geometry, output_dir / film_name(film))


def finished_card(film: Path, directory: Path, options: ConversionOptions) -> FilmCard | None:
    """The card of an earlier, finished conversion of the same film with the same options.

    Returns:
        None if nothing is there yet.

    Raises:
        InputError: something else is there: another film, other options, or no records at all.
        RecordsError: the records are damaged.
    """
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        return None
    if not directory.is_dir() or not (directory / CARD_NAME).exists():
        raise InputError(
            f"{directory}: exists and holds no records; choose another --output_dir or remove it"
        )
    card = load_card(directory)
    different = _differences(card, film, options)
    if different:
        raise InputError(
            f"{directory}: holds other records ({'; '.join(different)}); use --overwrite or "
            "another --output_dir"
        )
    check_shards(directory, card)
    return card


def convert_film(plan: Plan, *, strict: bool = False, overwrite: bool = False) -> FilmCard:
    """Converts a film. The folder appears when it is whole.

    Args:
        plan: from `plan_conversion`.
        strict: refuse a film that cannot be read to its end, instead of keeping what can.
        overwrite: replace records that are there.

    Raises:
        InputError: no frame can be read, or `strict` and the film is damaged.
        RecordsError: the folder exists and may not be replaced.
    """
    source = _source(plan.info)
    film_id = source["sha256"][:16]
    shots, times = ShotFinder(), []
    options, raster = plan.options, plan.geometry.raster
    reader = FrameReader(
        plan.info, geometry=plan.geometry, start=options.start, duration=options.duration
    )
    expected = plan.info.frames_estimate if options.duration is None else None
    with (
        reader,
        FilmWriter(plan.directory, expected or 0, options.num_shards) as writer,
        Progress("convert", expected) as progress,
    ):
        for frame, encoded in _encoded(reader, options, shots):
            times.append(frame.pts)
            writer.write(
                Frame(encoded, options.image_format, *raster, frame.index, frame.pts, film_id)
            )
            progress.update()
        if not times:
            raise InputError(f"{plan.info.path}: no frame of it can be read in the range asked for")
        notes = list(plan.info.notes) + _problems(reader)
        if reader.problem and strict:
            raise InputError(f"{plan.info.path}: {reader.problem}; nothing was written (--strict)")
        return writer.commit(
            lambda shards: _card(plan, source, times, shots.starts, shards, notes), overwrite
        )


def _problems(reader: FrameReader) -> list[str]:
    found = [reader.problem] if reader.problem else []
    if reader.repaired_timestamps:
        found.append(f"{reader.repaired_timestamps} frames had no usable time of their own")
    return found


def _encoded(
    reader: FrameReader, options: ConversionOptions, shots: ShotFinder
) -> Iterator[tuple[DecodedFrame, bytes]]:
    """Frames with their compressed pictures, in order; compression runs in other threads."""
    waiting: deque[tuple[DecodedFrame, Future[bytes]]] = deque()
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        try:
            for frame in reader:
                waiting.append((frame, pool.submit(_compress, frame.image, options)))
                shots.feed(frame.image)
                if len(waiting) >= _WAITING_FRAMES:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _compress(image: NDArray[np.uint8], options: ConversionOptions) -> bytes:
    file = io.BytesIO()
    if options.image_format == "png":
        Image.fromarray(image).save(file, "PNG", compress_level=1)
    else:
        Image.fromarray(image).save(file, "JPEG", quality=options.quality, subsampling=0)
    return file.getvalue()


def _card(
    plan: Plan,
    source: dict[str, Any],
    times: list[int],
    shot_starts: list[int],
    shards: list[Shard],
    notes: list[str],
) -> FilmCard:
    info, options = plan.info, plan.options
    rate = constant_rate(times, info.time_base, info.rate_candidates)
    jpeg = {"quality": options.quality, "subsampling": "4:4:4"}
    return FilmCard(
        schema_version=SCHEMA_VERSION,
        tool_version=bladerunner_ae.__version__,
        source=source,
        film_id=source["sha256"][:16],
        frames=len(times),
        frame_rate=rate or mean_rate(times, info.time_base) or info.frame_rate,
        time_base=info.time_base,
        first_pts=times[0],
        last_pts=times[-1],
        variable_rate=rate is None,
        streams=info.streams,
        colour=info.colour(),
        geometry=plan.geometry.to_json(),
        height=plan.geometry.raster[0],
        width=plan.geometry.raster[1],
        encoding={
            "format": options.image_format,
            **(jpeg if options.image_format == "jpeg" else {}),
        },
        options=options.to_json(),
        shot_starts=shot_starts,
        shards=shards,
        notes=notes,
    )


def _source(info: FilmInfo) -> dict[str, Any]:
    """Name, size, time and digest of a film; of a folder of images, those of all its files."""
    files = list_images(info.path).paths if info.kind == "images" else [info.path]
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            while block := file.read(_HASH_BYTES):
                digest.update(block)
    return {
        "name": info.path.resolve().name,
        "sha256": digest.hexdigest(),
        "kind": info.kind,
        **_stamp(files),
    }


def _stamp(files: Sequence[Path]) -> dict[str, int]:
    found = [path.stat() for path in files]
    return {
        "bytes": sum(status.st_size for status in found),
        "mtime_ns": max(status.st_mtime_ns for status in found),
    }


def _differences(card: FilmCard, film: Path, options: ConversionOptions) -> list[str]:
    """In which points earlier records differ from what is asked for now."""
    now, before = options.to_json(), card.options
    found = [
        f"{name}: {before.get(name)} -> {value}"
        for name, value in now.items()
        if before.get(name) != value
    ]
    files = list_images(film).paths if film.is_dir() else [film]
    stamp = _stamp(files)
    # Reading a whole film again only to compare it would take minutes; do so when in doubt.
    if any(card.source[name] != stamp[name] for name in stamp):
        source = _source(probe_film(film, options.frame_rate))
        if source["sha256"] != card.source["sha256"]:
            found.append(f"film: {card.source['name']} has another content than {film}")
    return found


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def warn(card: FilmCard) -> None:
    """Says on stderr what a person should know about the records."""
    for note in card.notes:
        print(f"note: {card.source['name']}: {note}", file=sys.stderr)
