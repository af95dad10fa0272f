"""From a film to its records: decoded, scaled and compressed in parallel, whole or not at all.

TensorFlow is not needed here, and not imported.
"""

import io
import os
import sys
from array import array
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
from bladerunner_ae.conversion_options import ConversionOptions
from bladerunner_ae.errors import InputError
from bladerunner_ae.film.bars import find_bars
from bladerunner_ae.film.decode import DecodedFrame, FrameReader
from bladerunner_ae.film.probe import FilmInfo, probe_film
from bladerunner_ae.film.shots import ShotFinder
from bladerunner_ae.film.source import film_name, source_facts, source_stamp
from bladerunner_ae.film.timing import constant_rate, mean_rate
from bladerunner_ae.film.unfinished import refuse_unwritable
from bladerunner_ae.geometry import Geometry, decide_geometry
from bladerunner_ae.progress import Progress
from tfrecords.card import CARD_NAME, SCHEMA_VERSION, FilmCard, Shard, check_shards, load_card
from tfrecords.schema import Frame
from tfrecords.writer import FilmWriter

# Pictures wait for compression, one thread per core, in at most this much memory.
_WAITING_BYTES = 64 * 2**20
_MOST_WAITING = 64


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

    def frames_estimate(self) -> int | None:
        """How many frames will be converted, about, or None if nobody knows."""
        frames, rate = self.info.frames_estimate, self.info.frame_rate
        if frames is None:
            return None
        left = max(frames / rate - (self.options.start or 0), Fraction(0))
        if self.options.duration is not None:
            left = min(left, self.options.duration)
        return round(left * rate)

    def describe(self) -> str:
        """Says it in a line."""
        height, width = self.geometry.raster
        frames = self.frames_estimate()
        count = "an unknown number of" if frames is None else f"about {frames}"
        return (
            f"{self.info.path}: {count} frames of {self.info.stored[0]}x{self.info.stored[1]} -> "
            f"{self.directory}, {height}x{width}, {self.options.image_format}, "
            f"{self.options.num_shards} shards"
        )


def plan_conversion(film: Path, output_dir: Path, options: ConversionOptions) -> Plan:
    """Looks at a film and decides how it is to be converted; writes nothing.

    Raises:
        InputError: the film cannot be read, or is none, or its records cannot be written there.
        UsageError: impossible sizes.
    """
    directory = output_dir / film_name(film)
    refuse_unwritable(directory)
    info = probe_film(film, options.frame_rate)
    bars = find_bars(info) if options.bars is None else options.bars
    raster = (options.height, options.width)
    geometry = decide_geometry(
        info.stored, info.sample_aspect, bars, raster if any(raster) else None, options.fit,
        options.pixels, options.multiple,
    )  # fmt: skip
    return Plan(info, options, geometry, directory)


def finished_card(
    film: Path, directory: Path, options: ConversionOptions, overwrite: bool = False
) -> FilmCard | None:
    """The card of an earlier, finished conversion of the same film with the same options.

    Args:
        film: the film that is to be converted.
        directory: where its records belong.
        options: how it is to be converted.
        overwrite: whether records that are there are to be replaced anyhow.

    Returns:
        None if there is something to do: nothing is there yet, or it is to be replaced.

    Raises:
        InputError: something else is there: another film, other options, or no records at all
            (these are not even overwritten).
        RecordsError: the records are damaged.
    """
    if not directory.exists() or (directory.is_dir() and not any(directory.iterdir())):
        return None
    if not directory.is_dir() or not (directory / CARD_NAME).exists():
        raise InputError(
            f"{directory}: exists and holds no records; choose another --output_dir or remove it"
        )
    if overwrite:
        return None
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
        RecordsError: the folder cannot be written, or exists and may not be replaced.
    """
    shots, times = ShotFinder(), array("q")
    options, raster = plan.options, plan.geometry.raster
    expected = plan.frames_estimate()
    with (
        # First of all: a folder that cannot be written is said before any work.
        FilmWriter(plan.directory, expected or 0, options.num_shards) as writer,
        FrameReader(
            plan.info, geometry=plan.geometry, start=options.start, duration=options.duration
        ) as reader,
        Progress("convert", expected) as progress,
    ):
        source = source_facts(plan.info.path)
        film_id = source["sha256"][:16]
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
    most = _MOST_WAITING
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        try:
            for frame in reader:
                waiting.append((frame, pool.submit(_compress, frame.image, options)))
                shots.feed(frame.image)
                most = min(most, max(_WAITING_BYTES // frame.image.nbytes, 2))
                if len(waiting) >= most:
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
    times: Sequence[int],
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
        options=options.to_json(info.kind),
        shot_starts=shot_starts,
        shards=shards,
        notes=notes,
    )


def _differences(card: FilmCard, film: Path, options: ConversionOptions) -> list[str]:
    """In which points earlier records differ from what is asked for now."""
    now, before = options.to_json("images" if film.is_dir() else "film"), card.options
    found = [
        f"{name}: {before.get(name)} -> {value}"
        for name, value in now.items()
        if before.get(name) != value
    ]
    # Reading a whole film again only to compare it takes long; it is done when in doubt.
    stamp = source_stamp(film)
    same = all(card.source.get(name) == value for name, value in stamp.items())
    if not same and source_facts(film)["sha256"] != card.source.get("sha256"):
        found.append(f"film: {card.source.get('name')} had another content than {film} has now")
    return found


def warn(card: FilmCard) -> None:
    """Says on stderr what a person should know about the records."""
    for note in card.notes:
        print(f"note: {card.source['name']}: {note}", file=sys.stderr)
