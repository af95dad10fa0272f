from typing import Protocol

import bladerunner_ae
from bladerunner_ae.conversion.changes import changes
from bladerunner_ae.conversion.facts import Facts
from bladerunner_ae.conversion.plan import ConversionPlan
from bladerunner_ae.film.notes import Note, NoteKind
from bladerunner_ae.film.reading.clock import constant_rate, mean_rate
from bladerunner_ae.film.reading.gaps import find_gaps, late_start, promised_end
from bladerunner_ae.film.reading.reading_mode import ReadingMode
from tfrecords.card import SCHEMA_VERSION, FilmCard, Shard


class Reading(Protocol):
    """The way a film was read: `FrameEncoder` after its last frame has these attributes, too."""

    @property
    def problem(self) -> Note | None:
        """The unreadable part, or None."""

    @property
    def repaired_timestamps(self) -> int:
        """Number of frames without a valid time of their own."""

    @property
    def end_pts(self) -> int | None:
        """End of the last frame in units of the film's time base, or None if unknown."""

    @property
    def jumps(self) -> Note | None:
        """Places at which the file's times jump, or None."""

    @property
    def mode(self) -> ReadingMode:
        """Whether it was read in a single pass, and why."""


def make_card(
    plan: ConversionPlan, facts: Facts, reading: Reading, shards: list[Shard]
) -> FilmCard:
    """Return the card of a film of which all frames were read; `shards` are in film order."""
    info, options, source, times = plan.info, plan.options, plan.source, facts.times
    timing = info.timing
    rate = constant_rate(times, timing.time_base, timing.rate_candidates)
    encoding: dict[str, str | int] = {"format": options.image_format}
    if options.image_format == "jpeg":
        encoding |= {"quality": options.quality, "subsampling": "4:4:4"}
    return FilmCard(
        schema_version=SCHEMA_VERSION,
        tool_version=bladerunner_ae.__version__,
        source=source.facts(),
        film_id=plan.film_id,
        frames=len(times),
        frame_rate=rate or mean_rate(times, timing.time_base) or timing.frame_rate,
        time_base=timing.time_base,
        first_pts=times[0],
        last_pts=times[-1],
        variable_rate=rate is None,
        streams=list(info.streams.described),
        colour=info.picture.colour(),
        geometry=plan.geometry.to_json(),
        height=plan.geometry.raster[0],
        width=plan.geometry.raster[1],
        encoding=encoding,
        options=options.to_json(source.kind),
        shot_starts=facts.shot_starts(),
        shards=shards,
        notes=_notes(plan, facts, reading),
        end_pts=reading.end_pts,
    )


def _notes(plan: ConversionPlan, facts: Facts, reading: Reading) -> list[str]:
    """Return notes for people about the records."""
    info, late, end = plan.info, None, None
    if not plan.options.start and info.kind == "film":
        late = late_start(facts.times[0] * info.timing.time_base, info.timing.film_start)
    if plan.options.duration is None:
        end = promised_end(info.streams.described, info.streams.picture)
    gaps = find_gaps(facts.times, info.timing.time_base, end)
    notes = [*info.notes, *changes(facts, info), late, reading.jumps, gaps, reading.problem]
    if reading.repaired_timestamps:
        notes.append(NoteKind.UNTIMED.note(frames=reading.repaired_timestamps))
    if reading.mode.single_pass and info.kind == "film":
        notes.append(NoteKind.SINGLE_PASS.note(reason=reading.mode))
    return [str(note) for note in notes if note is not None]
