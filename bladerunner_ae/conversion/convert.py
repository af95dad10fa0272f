"""From a film to its records: decoded, scaled and compressed in parallel, whole or not at all.

What a killed run has finished, the next one of the same film and options goes on from.
TensorFlow is not needed here, and not imported.
"""

import sys
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import bladerunner_ae
from bladerunner_ae.command_line.progress import Progress
from bladerunner_ae.conversion.encode import FrameEncoder
from bladerunner_ae.conversion.facts import Facts
from bladerunner_ae.conversion.options import ConversionOptions, nothing_read, refuse_too_large
from bladerunner_ae.errors import InputError
from bladerunner_ae.film.info import FilmInfo
from bladerunner_ae.film.notes import Note, NoteKind
from bladerunner_ae.film.reading.bars import find_bars
from bladerunner_ae.film.reading.clock import constant_rate, mean_rate
from bladerunner_ae.film.reading.gaps import find_gaps, late_start, promised_end
from bladerunner_ae.film.reading.probe import probe_film, without_deinterlacing
from bladerunner_ae.film.reading.reading_mode import ReadingMode
from bladerunner_ae.film.reading.source import Source
from bladerunner_ae.geometry import Geometry, decide_geometry
from bladerunner_ae.output_files import refuse_unwritable
from tfrecords.card import SCHEMA_VERSION, FilmCard, Shard
from tfrecords.errors import RecordsError
from tfrecords.messages import counted, visible
from tfrecords.publication import refuse_to_replace, work_folders
from tfrecords.schema import Frame
from tfrecords.writer import FilmWriter


class Reading(Protocol):
    """How a film was read, as `FrameEncoder` says it."""

    @property
    def problem(self) -> Note | None:
        """What could not be read, or None."""

    @property
    def repaired_timestamps(self) -> int:
        """How many frames had no sound time of their own."""

    @property
    def end_pts(self) -> int | None:
        """When the last frame ends, in units of the film's time base, or None if nobody knows."""

    @property
    def jumps(self) -> Note | None:
        """Where the film's times jump, or None."""

    @property
    def mode(self) -> ReadingMode:
        """Whether it was read in a single pass, and why."""


@dataclass(frozen=True)
class Plan:
    """What a conversion is going to do.

    Attributes:
        info: the film.
        options: as asked for.
        geometry: how the film becomes records.
        directory: DATA/<film>.
        source: the film's file, with its stamp from before it was inspected.
    """

    info: FilmInfo
    options: ConversionOptions
    geometry: Geometry
    directory: Path
    source: Source

    def frames_estimate(self) -> int | None:
        """How many frames will be converted, about, or None if nobody knows."""
        frames, rate = self.info.timing.frames_estimate, self.info.timing.frame_rate
        if frames is None:
            return None
        left = max(frames / rate - (self.options.start or 0), Fraction(0))
        if self.options.duration is not None:
            left = min(left, self.options.duration)
        return round(left * rate)

    def describe(self) -> str:
        """Says it in a line."""
        (height, width), stored = self.geometry.raster, self.info.picture.stored
        frames = self.frames_estimate()
        count = "an unknown number of frames" if frames is None else counted(frames, "frame")
        about = "" if frames is None else "about "
        return (
            f"{self.info.path}: {about}{count} of {stored[0]}x{stored[1]} -> "
            f"{self.directory}, {height}x{width}, {self.options.image_format}, "
            f"{counted(self.options.num_shards, 'shard')}"
        )


def plan_conversion(film: Path, output_dir: Path, options: ConversionOptions) -> Plan:
    """Looks at a film and decides how it is to be converted; writes nothing.

    Raises:
        InputError: the film cannot be read, or is none, or its records cannot be written there.
        UsageError: impossible sizes.
    """
    source = Source(film).stamped()
    directory = output_dir / source.name
    refuse_unwritable(directory)
    for folder in work_folders(directory.resolve()):
        if folder in film.resolve().parents:
            raise InputError(
                f"{film}: lies in {folder.name}, where records are made and which is then removed; "
                "move the film elsewhere"
            )
    info = probe_film(film, options.frame_rate)
    if options.deinterlace == "off":
        info = without_deinterlacing(info)
    bars = find_bars(info) if options.bars is None else options.bars
    raster = (options.height, options.width)
    geometry = decide_geometry(
        info.picture.stored, info.picture.sample_aspect, bars, raster if any(raster) else None,
        options.fit, options.pixels, options.multiple,
    )  # fmt: skip
    refuse_too_large(geometry.raster)
    return Plan(info, options, geometry, directory, source)


def convert_film(
    film: Plan | Path | str,
    output_dir: Path | str = "data",
    options: ConversionOptions | None = None,
    *,
    strict: bool = False,
    overwrite: bool = False,
    threads: int = 0,
    keep_damaged: bool = False,
) -> FilmCard:
    """Converts a film. The folder appears when it is whole.

    Killed at any moment, the next call for the same film and options goes on behind the last shard
    that was finished. The records are the same bytes, however often that happens.

        convert_film("my_film.mp4", "data")    # makes data/my_film

    Args:
        film: its path, or a plan from `plan_conversion`, which has the next two arguments.
        strict: refuse a film that cannot be read to its end, instead of keeping what can.
        overwrite: replace records that are there, finished or not.
        threads: decoders that run at once, 0 for as many as suit the machine.
        keep_damaged: convert a film of which hardly anything can be decoded.

    Raises:
        InputError: no frame can be read, or hardly any, or `strict` and the film is damaged, or it
            changed meanwhile.
        RecordsError: the folder cannot be written, or exists and may not be replaced, or an
            unfinished conversion of another film or with other options is there.
    """
    plan = film
    if not isinstance(plan, Plan):
        plan = plan_conversion(Path(plan), Path(output_dir), options or ConversionOptions())
    info, options, raster = plan.info, plan.options, plan.geometry.raster
    film_id = plan.source.sha256[:16]
    facts = Facts()
    encoder = FrameEncoder(info, plan.geometry, options, threads)
    expected = encoder.expected() or plan.frames_estimate()
    with FilmWriter(
        plan.directory,
        expected or 0,
        options.num_shards,
        identity=identity(plan),
        make_state=lambda: facts.to_state(encoder.mode),
        start_over=overwrite,
    ) as writer:
        _refuse_published(plan, writer, overwrite)
        if writer.state is not None:
            facts = Facts.from_state(writer.state)
            if facts.mode.single_pass:
                encoder = FrameEncoder(info, plan.geometry, options, threads, facts.mode)
            print(f"{plan.directory}: going on from frame {writer.frames}", file=sys.stderr)
        with Progress("convert", expected, done=writer.frames) as progress:
            for index, pts, picture in encoder.frames(writer.frames):
                facts.feed(pts, picture)
                writer.write(
                    Frame(picture.encoded, options.image_format, *raster, index, pts, film_id)
                )
                progress.update()
        _refuse_changed(plan, writer)
        if not facts.times or (encoder.problem and strict):
            writer.discard()
            if not facts.times:
                raise nothing_read(info.path, options, encoder.problem)
            raise InputError(f"{info.path}: {encoder.problem}; nothing was written (--strict)")
        if encoder.mostly_damaged and not keep_damaged:
            writer.discard()
            raise InputError(
                f"{info.path}: {encoder.mostly_damaged}; it may be encrypted, or damaged on its "
                "way; copy or download it again (--keep_damaged converts what there is)"
            )
        return writer.commit(lambda shards: make_card(plan, facts, encoder, shards), overwrite)


def _refuse_published(plan: Plan, writer: FilmWriter, overwrite: bool) -> None:
    """Another process may have published the records between our plan and our lock."""
    try:
        refuse_to_replace(plan.directory, overwrite)
    except RecordsError:
        if not writer.frames:  # else they are what an interrupted --overwrite will go on with
            writer.discard()
        raise


def _refuse_changed(plan: Plan, writer: FilmWriter) -> None:
    """Records of which nobody knows what film they are of must not stay."""
    try:
        plan.source.check_unchanged()
    except InputError:
        writer.discard()
        raise


def identity(plan: Plan) -> dict[str, Any]:
    """What decides the bytes of the records, for telling whether a run can be gone on with."""
    return {
        "film": plan.source.sha256,
        **plan.options.to_json(plan.source.kind),
        "geometry": plan.geometry.to_json(),
        "tool_version": bladerunner_ae.__version__,
    }


def _notes(plan: Plan, facts: Facts, reading: Reading) -> list[str]:
    """What a person should know about the records."""
    info = plan.info
    whole = plan.options.duration is None
    end = promised_end(info.streams.described, info.streams.picture) if whole else None
    gaps = find_gaps(facts.times, info.timing.time_base, end)
    late = None
    if not plan.options.start and info.kind == "film":
        late = late_start(facts.times[0] * info.timing.time_base, info.timing.film_start)
    notes = [*info.notes, *facts.notes(info)]
    notes += filter(None, (late, reading.jumps, gaps, reading.problem))
    if reading.repaired_timestamps:
        notes.append(NoteKind.UNTIMED.note(frames=reading.repaired_timestamps))
    if reading.mode.single_pass and info.kind == "film":
        notes.append(NoteKind.SINGLE_PASS.note(reason=reading.mode))
    return list(map(str, notes))


def make_card(
    plan: Plan,
    facts: Facts,
    reading: Reading,
    shards: list[Shard],
) -> FilmCard:
    """The card of a film of which everything is known.

    Args:
        plan: from `plan_conversion`.
        facts: of all its frames.
        reading: how they were read.
        shards: in film order.
    """
    info, options, times = plan.info, plan.options, facts.times
    rate = constant_rate(times, info.timing.time_base, info.timing.rate_candidates)
    jpeg = {"quality": options.quality, "subsampling": "4:4:4"}
    return FilmCard(
        schema_version=SCHEMA_VERSION,
        tool_version=bladerunner_ae.__version__,
        source=plan.source.facts(),
        film_id=plan.source.sha256[:16],
        frames=len(times),
        frame_rate=rate or mean_rate(times, info.timing.time_base) or info.timing.frame_rate,
        time_base=info.timing.time_base,
        first_pts=times[0],
        last_pts=times[-1],
        variable_rate=rate is None,
        streams=list(info.streams.described),
        colour=info.picture.colour(),
        geometry=plan.geometry.to_json(),
        height=plan.geometry.raster[0],
        width=plan.geometry.raster[1],
        encoding={
            "format": options.image_format,
            **(jpeg if options.image_format == "jpeg" else {}),
        },
        options=options.to_json(plan.source.kind),
        shot_starts=facts.shots.starts,
        shards=shards,
        notes=_notes(plan, facts, reading),
        end_pts=reading.end_pts,
    )


def warn(card: FilmCard) -> None:
    """Says on stderr what a person should know about the records."""
    for note in card.notes:
        print(visible(f"note: {card.source['name']}: {note}"), file=sys.stderr)
