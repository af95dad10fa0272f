"""Film to film: every frame through the network and back to its place, in one pass.

A decoding thread, the network and one encoder for each film that is written work side by side;
between them wait a few batches at most, so memory stays the same however long the film is.
"""

from array import array
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bladerunner_ae.command_line.progress import Progress
from bladerunner_ae.errors import InputError
from bladerunner_ae.exports.loading import Autoencoder
from bladerunner_ae.film.info import FilmInfo
from bladerunner_ae.film.notes import Note, NoteKind, joined
from bladerunner_ae.film.reading.reader import DecodedFrame, FrameReader
from bladerunner_ae.film.reading.source import Source
from bladerunner_ae.film.reading.threads import Background, Prefetch
from bladerunner_ae.film.writing.encoder import (
    Encoding,
    PictureWriter,
    dream_filters,
    nominal_rate,
    side_by_side_filters,
    side_by_side_picture,
    side_by_side_size,
)
from bladerunner_ae.film.writing.layout import Layout, film_layout, raster_layout
from bladerunner_ae.film.writing.mux import Timeline, join_with_sound, make_timeline
from bladerunner_ae.film.writing.sound import (
    SoundPlan,
    plan_sound,
    reencoded,
    refuse_unknown_suffix,
)
from bladerunner_ae.film.writing.verify import (
    Expected,
    RawFilm,
    TrackError,
    Verification,
    read_original,
    verify_film,
)
from bladerunner_ae.geometry import Geometry, Size, decide_geometry
from bladerunner_ae.output_files import UnfinishedFilm, refuse_existing, refuse_unwritable

Pictures = NDArray[np.uint8]

# The pictures of one batch take at most this much; large originals for the side by side film
# make the batches smaller. About five batches are on their way at a time.
_BATCH_BYTES = 48 * 2**20

# A film whose shape differs from the raster's by less than this fills it, as it would have filled
# the records of a conversion; a few per cent of distortion disappear again on the way back.
_FILL_DISTORTION = Fraction(8, 100)


@dataclass(frozen=True)
class ReassemblyOptions:
    """What is written, and how.

    Attributes:
        side_by_side: where to write the film of original and dream, or None for no such film.
        keep_raster: write the network's own pixels instead of the film's.
        max_height: no film is made higher than this; 0: as high as the original.
        batch_size: at most so many frames go through the network at a time.
        encoding: quality and effort of the encoder.
        overwrite: whether existing films are replaced.
        keep_damaged: write a film of which most frames are damaged, too.
    """

    side_by_side: Path | None = None
    keep_raster: bool = False
    max_height: int = 0
    batch_size: int = 32
    encoding: Encoding = field(default_factory=Encoding)
    overwrite: bool = False
    keep_damaged: bool = False


@dataclass(frozen=True)
class Reassembly:
    """What came of it.

    Attributes:
        films: each film that was written, and what verification found it to be.
        frames: how many frames were read.
        timeline: when they are shown.
        problem: what could not be read of the original, or None.
        jumps: where its times jump, or None.
        left_out: what the films do not have of the original, each with the reason.
    """

    films: list[tuple[Path, Verification]]
    frames: int
    timeline: Timeline
    problem: Note | None
    jumps: Note | None
    left_out: list[Note]

    def report(self) -> list[str]:
        """One line for each film."""
        rate = self.timeline.rate
        speed = f"{rate} fps" if rate.denominator == 1 else f"{rate} fps ({float(rate):.3f})"
        if self.timeline.variable:
            speed = f"variable rate (about {float(rate):.3f} fps)"
        none = "none" if self.left_out else "none, as in the original"
        left_out = f"; left out: {joined(self.left_out)}" if self.left_out else ""
        return [
            f"{path}: {self.frames} frames in, {found.frames} out, {speed}, "
            f"largest timestamp error {float(found.largest_error):.3g} s; "
            f"sound {'; '.join(found.sound) or none}{left_out}; sync verified"
            for path, found in self.films
        ]


def choose_geometry(
    info: FilmInfo, raster: Size, bars: tuple[int, int, int, int], fit: str = "auto"
) -> Geometry:
    """Decides how a film's pictures go into a network of a given raster.

    Args:
        info: the film.
        raster: (height, width) of the network's pictures.
        bars: black rows and columns to cut off: (top, bottom, left, right), in stored pixels.
        fit: one of `geometry.FITS`, or "auto": a film of about the raster's shape fills it, any
            other is shown whole with margins.
    """
    if fit == "auto":
        whole = decide_geometry(
            info.picture.stored, info.picture.sample_aspect, bars, raster, "stretch"
        )
        shape = Fraction(whole.crop.width, whole.crop.height) * info.picture.sample_aspect
        ratio = shape / Fraction(raster[1], raster[0])
        fit = "stretch" if abs(ratio - 1) < _FILL_DISTORTION else "contain"
    return decide_geometry(info.picture.stored, info.picture.sample_aspect, bars, raster, fit)


def film_layouts(geometry: Geometry, options: ReassemblyOptions) -> tuple[Layout, Layout]:
    """Layouts of the dreamt film and of one panel of the side by side film."""
    if options.keep_raster:
        return raster_layout(geometry), film_layout(geometry, geometry.raster[0])
    layout = film_layout(geometry, options.max_height)
    return layout, layout


def check_outputs(film: Path, output: Path, options: ReassemblyOptions) -> None:
    """Raises InputError where the films could not be written, before any long work.

    Args:
        film: the original.
        output: where the dreamt film is to be written.
        options: what else is written.
    """
    paths = [output] if options.side_by_side is None else [output, options.side_by_side]
    for path in paths:
        refuse_unknown_suffix(path)
        refuse_existing(path, film, options.overwrite)
        refuse_unwritable(path)
    if options.side_by_side is not None and output.resolve() == options.side_by_side.resolve():
        raise InputError(f"{output}: is to be both films; give --side_by_side_output another name")


def reassemble_film(
    info: FilmInfo,
    autoencoder: Autoencoder,
    geometry: Geometry,
    output: Path,
    options: ReassemblyOptions,
) -> Reassembly:
    """Dreams a whole film.

    Args:
        info: the film.
        autoencoder: the network.
        geometry: how the film's pictures go into the network's raster.
        output: the film to write; its suffix decides the container.
        options: what else is written, and how.

    Returns:
        What was written; every film has passed `film.writing.verify.verify_film` before it got its
        name.

    Raises:
        InputError: the film cannot be read, or an output not be written.
        OutputError: writing failed, or a finished film failed its verification; no output file
            is left behind or touched.
    """
    check_outputs(info.path, output, options)
    if geometry.raster != autoencoder.raster:
        raise InputError(
            f"{autoencoder.path}: takes pictures of {_words(autoencoder.raster)}, the records are "
            f"{_words(geometry.raster)}; leave --data out, or use the model trained on them"
        )
    source = Source(info.path).stamped()
    sounds = plan_sounds(info, output, options)
    with ExitStack() as stack:
        layouts = film_layouts(geometry, options)
        plans = [
            _Plan(stack.enter_context(UnfinishedFilm(path)), layout, sounds[path], panels)
            for path, layout, panels in zip(sounds, layouts, (False, True), strict=False)
        ]
        pts, reader = _dream(info, autoencoder, geometry, plans, options)
        end = pts[-1] + _usual_length(pts, info) if reader.end_pts is None else reader.end_pts
        timeline = make_timeline(pts, end, info)
        films, left_out = _finish(info, plans, pts, end, timeline, bool(reader.jumps))
        source.check_unchanged()
        for plan in plans:
            plan.unfinished.publish()
    return Reassembly(films, len(pts), timeline, reader.problem, reader.jumps, left_out)


def plan_sounds(info: FilmInfo, output: Path, options: ReassemblyOptions) -> dict[Path, SoundPlan]:
    """What becomes of the sound in each film that is written, by its path.

    Raises:
        InputError: a film cannot hold the sound.
    """
    paths = [output] if options.side_by_side is None else [output, options.side_by_side]
    by_suffix = {suffix: plan_sound(info, suffix) for suffix in {p.suffix.lower() for p in paths}}
    return {path: by_suffix[path.suffix.lower()] for path in paths}


def _usual_length(pts: Sequence[int], info: FilmInfo) -> int:
    """How long a frame is shown, in units of the time base, where a film does not say."""
    step = pts[-1] - pts[-2] if len(pts) > 1 else 1 / info.timing.frame_rate / info.timing.time_base
    return max(round(step), 1)


@dataclass(frozen=True)
class _Plan:
    """One film to be written: the dream alone, or with the original in a panel beside it."""

    unfinished: UnfinishedFilm
    layout: Layout
    sound: SoundPlan
    panels: bool

    def writer(self, rate: Fraction, encoding: Encoding) -> PictureWriter:
        """An encoder for this film's pictures."""
        size = side_by_side_size(self.layout) if self.panels else self.layout.raster
        filters = (side_by_side_filters if self.panels else dream_filters)(self.layout)
        return PictureWriter(
            self.unfinished.pictures, size, filters, rate, encoding, name=self.unfinished.path
        )


@dataclass(frozen=True)
class _Batch:
    """Some consecutive frames and, once dreamt, what became of them."""

    frames: list[DecodedFrame]
    dreams: Pictures


class _Encoder:
    """Encodes batches in a thread of its own."""

    def __init__(self, plan: _Plan, writer: PictureWriter) -> None:
        self._plan, self._writer = plan, writer

    def write(self, batch: _Batch) -> None:
        """Encodes the frames of a batch, in order."""
        for frame, dream in zip(batch.frames, batch.dreams, strict=True):
            if frame.display is not None and self._plan.panels:
                dream = side_by_side_picture(self._plan.layout, frame.display, dream)
            self._writer.write(dream)


def _dream(
    info: FilmInfo,
    autoencoder: Autoencoder,
    geometry: Geometry,
    plans: Sequence[_Plan],
    options: ReassemblyOptions,
) -> tuple[Sequence[int], FrameReader]:
    """Encodes the pictures of all films; returns the frames' timestamps and their reader."""
    display = next((plan.layout.output for plan in plans if plan.panels), None)
    size = _batch_size(options.batch_size, display)
    rate, pts = nominal_rate(info.timing.frame_rate), array("q")
    with ExitStack() as stack:
        encoders = [
            stack.enter_context(_start(stack, plan, rate, options.encoding)) for plan in plans
        ]
        reader = stack.enter_context(FrameReader(info, geometry=geometry, display_size=display))
        batches = stack.enter_context(closing(Prefetch(_batches(reader, size), ahead=1)))
        progress = stack.enter_context(Progress("dream", info.timing.frames_estimate))
        for frames in batches:
            dreams = autoencoder.reconstruct(np.stack([frame.image for frame in frames]))
            for encoder in encoders:
                encoder.put(_Batch(frames, dreams))
            pts.extend(frame.pts for frame in frames)
            progress.update(len(frames))
        if not pts:
            raise InputError(f"{info.path}: has no frame that can be read")
        if reader.mostly_damaged and not options.keep_damaged:
            raise InputError(
                f"{info.path}: {reader.mostly_damaged}; nothing was written (--keep_damaged writes "
                "what there is)"
            )
    return pts, reader


def _start(stack: ExitStack, plan: _Plan, rate: Fraction, encoding: Encoding) -> Background[_Batch]:
    writer = stack.enter_context(plan.writer(rate, encoding))
    return Background(_Encoder(plan, writer).write, waiting=1, interrupt=writer.abort)


def _batches(reader: FrameReader, size: int) -> Iterator[list[DecodedFrame]]:
    frames: list[DecodedFrame] = []
    for frame in reader:
        frames.append(frame)
        if len(frames) == size:
            yield frames
            frames = []
    if frames:
        yield frames


def _batch_size(wanted: int, display: Size | None) -> int:
    if display is None:
        return wanted
    return max(min(wanted, _BATCH_BYTES // (3 * display[0] * display[1])), 1)


def _finish(
    info: FilmInfo,
    plans: Sequence[_Plan],
    pts: Sequence[int],
    end: int,
    timeline: Timeline,
    jumps: bool,
) -> tuple[list[tuple[Path, Verification]], list[Note]]:
    """Joins pictures and sound of every film and verifies the results.

    Returns:
        Each film and what it was found to be; what was left out of them.
    """
    original, films = read_original(info), []
    left_out = dict[Note, None]()
    for plan in plans:
        # A film that was cut off can announce sound of which nothing is there.
        sound = plan.sound.without_empty(original.sound)
        for track in sound.tracks:
            if track.copied and original.sound[track.index].changes:
                reason = NoteKind.SOUND_CHANGES.note()
                sound = sound.replaced(track, reencoded(info, track, sound.suffix, reason))
        verification = _join(info, plan, sound, original, pts, end, timeline, jumps)
        plan.unfinished.pictures.unlink()  # or two copies of both films would fill the disk
        films.append((plan.unfinished.path, verification))
        left_out.update(dict.fromkeys(sound.left_out))
    return films, list(left_out)


def _join(
    info: FilmInfo,
    plan: _Plan,
    sound: SoundPlan,
    original: RawFilm,
    pts: Sequence[int],
    end: int,
    timeline: Timeline,
    jumps: bool,
) -> Verification:
    """Joins pictures and sound of one film; sound that cannot be copied after all is encoded."""
    unfinished, rate = plan.unfinished, nominal_rate(info.timing.frame_rate)
    while True:
        join_with_sound(
            unfinished.pictures, unfinished.partial, timeline, info, sound, rate, unfinished.path
        )
        expected = expected_film(info, pts, end, timeline, sound, jumps)
        try:
            return verify_film(unfinished.partial, original, expected, unfinished.path)
        except TrackError as error:
            track = sound.tracks[error.track]
            if not track.copied:
                raise
            reason = NoteKind.COPY_FAILED.note(problem=error.what)
            sound = sound.replaced(track, reencoded(info, track, sound.suffix, reason))


def expected_film(
    info: FilmInfo,
    pts: Sequence[int],
    end: int,
    timeline: Timeline,
    sound: SoundPlan,
    jumps: bool,
) -> Expected:
    """What verification must find.

    Args:
        info: the original.
        pts: the times of its frames, as decoded, in its time base.
        end: the time at which the last of them ends.
        timeline: the times that they were given; whether they keep to a rate decides the rounding
            that is allowed.
        sound: what was to become of its sound.
        jumps: whether its clock jumps.
    """
    return Expected(
        pts=pts,
        end=end,
        time_base=info.timing.time_base,
        exact=not timeline.variable,
        jumps=jumps,
        tracks=[
            (one.index, one.codec, None if one.encoding is None else one.encoding.name)
            for one in sound.tracks
        ],
        reasons={one.index: one.reason for one in sound.tracks},
    )


def _words(size: Size) -> str:
    return f"{size[0]}x{size[1]} (height x width)"
