"""Conversion of a film to records, all or nothing. TensorFlow is neither needed nor imported."""

import sys
from pathlib import Path
from typing import Any

from bladerunner_ae.command_line.progress import Progress
from bladerunner_ae.conversion.encode import FrameEncoder
from bladerunner_ae.conversion.existing import refuse_other_identity
from bladerunner_ae.conversion.facts import Facts
from bladerunner_ae.conversion.make_card import make_card
from bladerunner_ae.conversion.options import ConversionOptions, nothing_read
from bladerunner_ae.conversion.plan import ConversionPlan, plan_conversion
from bladerunner_ae.errors import BladerunnerError, InputError
from bladerunner_ae.film.picture.shots import WARM_UP_FRAMES, ShotMeter
from bladerunner_ae.film.reading.reading_mode import ReadingMode
from tfrecords.card import FilmCard
from tfrecords.publication import refuse_to_replace
from tfrecords.record_errors import RecordsError
from tfrecords.unfinished_parts import unfinished_identity
from tfrecords.wording import visible
from tfrecords.writer import FilmWriter

__all__ = ["convert_film", "plan_conversion", "warn"]


def convert_film(
    film: ConversionPlan | Path | str,
    output_dir: Path | str = "data",
    options: ConversionOptions | None = None,
    *,
    strict: bool = False,
    overwrite: bool = False,
    threads: int = 0,
    keep_damaged: bool = False,
) -> FilmCard:
    """Convert a film. Its folder appears when it is complete.

    Killed at any moment, the next call for the same film and options resumes after the last shard
    that was finished. The records are the same bytes, however often that happens.

        convert_film("my_film.mp4", "data")    # makes data/my_film

    Args:
        film: its path, or a plan from `plan_conversion`, which has the next two arguments.
        strict: refuse a film that cannot be read to its end, instead of keeping the readable part.
        overwrite: replace existing records, finished or not.
        threads: decoders that run at once, 0 for as many as suit the machine.
        keep_damaged: convert a film of which hardly anything can be decoded.

    Raises:
        InputError: no frame can be read, or hardly any, or `strict` and the film is damaged, or it
            changed meanwhile.
        RecordsError: the folder cannot be written, or exists and may not be replaced, or an
            unfinished conversion of another film or with other options is there.
    """
    plan = film
    if not isinstance(plan, ConversionPlan):
        plan = plan_conversion(Path(plan), Path(output_dir), options or ConversionOptions())
    info, options = plan.info, plan.options
    identity, facts, mode = plan.identity(), Facts(), ReadingMode()
    encoder = FrameEncoder(info, plan.geometry, options, threads)
    expected = encoder.expected() or plan.frames_estimate()
    before = unfinished_identity(plan.directory.resolve())
    if before is not None and not overwrite:
        refuse_other_identity(plan.directory, before, identity)

    def state(frames: range) -> dict[str, Any]:
        return {"facts": facts.to_json(frames), "mode": encoder.mode.to_json()}

    with FilmWriter(
        plan.directory, expected or 0, options.num_shards, identity=identity, make_state=state,
        start_over=overwrite,
    ) as writer:  # fmt: skip
        _refuse_published(plan, writer, overwrite)
        for earlier in writer.states:
            facts.extend(Facts.from_json(earlier["facts"]))
            mode = ReadingMode.from_json(earlier["mode"])
        if mode.single_pass:
            encoder = FrameEncoder(info, plan.geometry, options, threads, mode)
        if writer.frames:
            print(f"{plan.directory}: resuming from frame {writer.frames}", file=sys.stderr)
        elif writer.dropped:
            print(
                f"{plan.directory}: its unfinished conversion is damaged, or of an earlier version "
                "of this program; starting over",
                file=sys.stderr,
            )
        _write_frames(plan, writer, encoder, facts, expected)
        if problem := _problem(plan, encoder, facts, strict, keep_damaged):
            writer.discard()
            raise problem
        return writer.commit(lambda shards: make_card(plan, facts, encoder, shards), overwrite)


def _write_frames(
    plan: ConversionPlan,
    writer: FilmWriter,
    encoder: FrameEncoder,
    facts: Facts,
    expected: int | None,
) -> None:
    first, meter = writer.frames, ShotMeter()
    with Progress("convert", expected, done=first) as progress:
        for index, pts, picture in encoder.frames(max(first - WARM_UP_FRAMES, 0)):
            mark = meter.mark(picture.thumbnail)
            if index < first:
                continue
            facts.add(pts, picture, mark)
            writer.write(plan.frame(picture.encoded, index, pts))
            progress.update()


def _refuse_published(plan: ConversionPlan, writer: FilmWriter, overwrite: bool) -> None:
    """Refuse records that another process has published between our plan and our lock."""
    try:
        refuse_to_replace(plan.directory, overwrite)
    except RecordsError:
        if not writer.frames:  # else an interrupted --overwrite resumes with them
            writer.discard()
        raise


def _problem(
    plan: ConversionPlan, encoder: FrameEncoder, facts: Facts, strict: bool, keep_damaged: bool
) -> BladerunnerError | None:
    """Return the reason not to keep the records, after the last frame; or None."""
    film, problem = plan.info.path, encoder.problem
    try:
        plan.source.check_unchanged()
    except InputError as error:
        return error
    if not facts.times:
        return nothing_read(film, plan.options, problem)
    if problem and strict:
        return InputError(f"{film}: {problem}; nothing was written (--strict)")
    if encoder.mostly_damaged and not keep_damaged:
        return InputError(
            f"{film}: {encoder.mostly_damaged}; it may be encrypted, or damaged on its way; copy "
            "or download it again (--keep_damaged converts what there is)"
        )
    return None


def warn(card: FilmCard) -> None:
    for note in card.notes:
        print(visible(f"note: {card.source['name']}: {note}"), file=sys.stderr)
