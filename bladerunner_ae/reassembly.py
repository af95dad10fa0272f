"""Film to film: every frame through the network and back to its place, in one pass.

A decoding thread, the network and an encoding thread for each film written run in parallel, with a
few batches between them at most, so that memory does not grow with the film.
"""

from array import array
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bladerunner_ae.command_line.progress import Progress
from bladerunner_ae.errors import InputError
from bladerunner_ae.exports.loading import Autoencoder
from bladerunner_ae.film.info import FilmInfo
from bladerunner_ae.film.notes import Note, NoteKind
from bladerunner_ae.film.reading.bars import find_bars
from bladerunner_ae.film.reading.frame_reader import DecodedFrame, FrameReader
from bladerunner_ae.film.reading.probe import probe_film
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
from bladerunner_ae.film.writing.raw_packets import RawFilm, read_original
from bladerunner_ae.film.writing.sound import (
    SoundPlan,
    plan_sound,
    reencoded,
    refuse_unknown_suffix,
)
from bladerunner_ae.film.writing.verify import Expected, TrackError, Verification, verify_film
from bladerunner_ae.geometry import Geometry, Size, decide_geometry, size_text
from bladerunner_ae.output_files import UnfinishedFilm, refuse_existing, refuse_unwritable

Pictures = NDArray[np.uint8]

# Most memory of one batch, of about five at a time: large originals, which the side by side film
# shows, make the batches smaller.
_BATCH_BYTES = 48 * 2**20

# A film whose shape differs less from the raster's fills it, as conversion would have it; the
# distortion is undone on the way back.
_FILL_DISTORTION = Fraction(8, 100)


@dataclass(frozen=True)
class ReassemblyOptions:
    """Kind and size of the films written.

    Attributes:
        side_by_side: path of the film that shows original and dream; None: no such film.
        keep_raster: write the network's own pixels instead of the film's.
        max_height: of the films written; 0: the original's.
        batch_size: most frames in the network at a time.
        keep_damaged: write a film of which most frames are damaged, too.
    """

    side_by_side: Path | None = None
    keep_raster: bool = False
    max_height: int = 0
    batch_size: int = 32
    encoding: Encoding = field(default_factory=Encoding)
    overwrite: bool = False
    keep_damaged: bool = False

    def outputs(self, output: Path) -> list[Path]:
        return [output] if self.side_by_side is None else [output, self.side_by_side]


@dataclass(frozen=True)
class WrittenFilm:
    """Film that was written and verified.

    Attributes:
        frames_read, frames: number of the original's frames, and of this film's.
        rate: frames a second; the mean if `variable`.
        largest_error: seconds by which a picture's time differs from its frame's.
        sound: result for each track.
        left_out: parts of the original that are missing, each with the reason.
    """

    path: Path
    frames_read: int
    frames: int
    rate: Fraction
    variable: bool
    largest_error: Fraction
    sound: list[str]
    left_out: list[str]

    def report(self) -> str:
        """Describe the film, after its path."""
        return f"{self.path}: {self.describe()}"

    def describe(self) -> str:
        """Describe the verification's findings, in a line."""
        rate = float(self.rate)
        exact = f"{self.rate} fps"
        speed = exact if self.rate.denominator == 1 else f"{exact} ({rate:.3f})"
        if self.variable:
            speed = f"variable rate (about {rate:.3f} fps)"
        none = "none" if self.left_out else "none, as in the original"
        left_out = f"; left out: {'; '.join(self.left_out)}" if self.left_out else ""
        return (
            f"{self.frames_read} frames in, {self.frames} out, {speed}, "
            f"largest timestamp error {float(self.largest_error):.3g} s; "
            f"sound {'; '.join(self.sound) or none}{left_out}; sync verified"
        )

    def to_json(self) -> dict[str, Any]:
        texts = {name: str(getattr(self, name)) for name in ("path", "rate", "largest_error")}
        return {**vars(self), **texts}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "WrittenFilm":
        """Read what `to_json` returned; KeyError, TypeError or ValueError if it did not."""
        rate, error = Fraction(data["rate"]), Fraction(data["largest_error"])
        return cls(**{**data, "path": Path(data["path"]), "rate": rate, "largest_error": error})


@dataclass(frozen=True)
class Reassembly:
    """Films written, the dream first; `problem` of reading the original, `jumps` of its times."""

    films: list[WrittenFilm]
    problem: Note | None
    jumps: Note | None


def choose_geometry(
    info: FilmInfo, raster: Size, bars: tuple[int, int, int, int], fit: str = "auto"
) -> Geometry:
    """Decide how a film's pictures go into a network of a given raster.

    `bars`, (top, bottom, left, right) in stored pixels, are cut off. `fit` is one of
    `geometry.FITS`, or "auto": a film of about the raster's shape fills it, any other is shown
    whole with margins.
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
    """Return the layouts of the dreamt film and of one panel of the side by side film."""
    if options.keep_raster:
        return raster_layout(geometry), film_layout(geometry, geometry.raster[0])
    layout = film_layout(geometry, options.max_height)
    return layout, layout


def check_outputs(film: Path, output: Path, options: ReassemblyOptions) -> None:
    """Raise InputError if the films could not be written, before any long work."""
    for path in options.outputs(output):
        refuse_unknown_suffix(path)
        refuse_existing(path, film, options.overwrite)
        refuse_unwritable(path)
    if options.side_by_side is not None and output.resolve() == options.side_by_side.resolve():
        raise InputError(f"{output}: is to be both films; give --side_by_side_output another name")


def reassemble_film(
    film: FilmInfo | Path | str,
    autoencoder: Autoencoder,
    output: Path | str,
    options: ReassemblyOptions | None = None,
    geometry: Geometry | None = None,
) -> Reassembly:
    """Show a whole film to a network and write what it draws, with the original's times and sound.

    Args:
        film: its path, or what `probe_film` found.
        autoencoder: as `load_autoencoder` returns it.
        output: path of the dreamt film; its suffix decides the container.
        geometry: places the film's pictures in the network's raster; None: black bars are looked
            for, and a film of another shape is shown whole.

    Returns:
        The films written; each was verified before it got its name.

    Raises:
        InputError: the film cannot be read, or an output not be written.
        OutputError: writing failed, or a film failed its verification; no output file is left or
            replaced.
    """
    info = film if isinstance(film, FilmInfo) else probe_film(Path(film))
    output, options = Path(output), options or ReassemblyOptions()
    check_outputs(info.path, output, options)
    if geometry is None:
        geometry = choose_geometry(info, autoencoder.raster, find_bars(info))
    if geometry.raster != autoencoder.raster:
        raise InputError(
            f"{autoencoder.path}: takes pictures of {size_text(autoencoder.raster)}, the records "
            f"are {size_text(geometry.raster)}; leave --data out, or use the model trained on them"
        )
    source = Source(info.path).stamped()
    sounds = plan_sounds(info, output, options)
    with ExitStack() as stack:
        layouts = film_layouts(geometry, options)
        outputs = [
            _Output(stack.enter_context(UnfinishedFilm(path)), layout, sounds[path], panels)
            for path, layout, panels in zip(sounds, layouts, (False, True), strict=False)
        ]
        pts, reader = _dream(info, autoencoder, geometry, outputs, options)
        end = pts[-1] + _usual_length(pts, info) if reader.end_pts is None else reader.end_pts
        films = _finish(info, outputs, pts, end, bool(reader.jumps))
        source.check_unchanged()
        for one in outputs:
            one.unfinished.publish()
    return Reassembly(films, reader.problem, reader.jumps)


def plan_sounds(info: FilmInfo, output: Path, options: ReassemblyOptions) -> dict[Path, SoundPlan]:
    """Return the plan for the sound of each film, by its path; InputError if one cannot hold it."""
    paths = options.outputs(output)
    by_suffix = {suffix: plan_sound(info, suffix) for suffix in {p.suffix.lower() for p in paths}}
    return {path: by_suffix[path.suffix.lower()] for path in paths}


def _usual_length(pts: Sequence[int], info: FilmInfo) -> int:
    """Return a last frame's length, in the time base, for a film that does not give it."""
    step = pts[-1] - pts[-2] if len(pts) > 1 else 1 / info.timing.frame_rate / info.timing.time_base
    return max(round(step), 1)


@dataclass(frozen=True)
class _Batch:
    frames: list[DecodedFrame]
    dreams: Pictures


@dataclass(frozen=True)
class _Output:
    """One film to be written: the dream alone, or in panels with the original."""

    unfinished: UnfinishedFilm
    layout: Layout
    sound: SoundPlan
    panels: bool

    def encoder(self, stack: ExitStack, rate: Fraction, encoding: Encoding) -> Background[_Batch]:
        """Start a thread that encodes this film's pictures; the stack closes it."""
        size = side_by_side_size(self.layout) if self.panels else self.layout.raster
        filters = (side_by_side_filters if self.panels else dream_filters)(self.layout)
        writer = stack.enter_context(
            PictureWriter(
                self.unfinished.pictures, size, filters, rate, encoding, name=self.unfinished.path
            )
        )

        def write(batch: _Batch) -> None:
            for frame, dream in zip(batch.frames, batch.dreams, strict=True):
                if frame.display is not None and self.panels:
                    dream = side_by_side_picture(self.layout, frame.display, dream)
                writer.write(dream)

        return stack.enter_context(Background(write, waiting=1, interrupt=writer.abort))


def _dream(
    info: FilmInfo,
    autoencoder: Autoencoder,
    geometry: Geometry,
    outputs: Sequence[_Output],
    options: ReassemblyOptions,
) -> tuple[Sequence[int], FrameReader]:
    """Encode the pictures of all films; return the frames' timestamps and their reader."""
    display = next((output.layout.output for output in outputs if output.panels), None)
    size = _batch_size(options.batch_size, display)
    rate, pts = nominal_rate(info.timing.frame_rate), array("q")
    with ExitStack() as stack:
        encoders = [output.encoder(stack, rate, options.encoding) for output in outputs]
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
    info: FilmInfo, outputs: Sequence[_Output], pts: Sequence[int], end: int, jumps: bool
) -> list[WrittenFilm]:
    original, timeline = read_original(info), make_timeline(pts, end, info)
    films, left_out = [], dict[Note, None]()
    for output in outputs:
        # A film that was cut off can announce sound of which nothing is there.
        sound = output.sound.without_empty(original.sound)
        for track in sound.tracks:
            if track.copied and original.sound[track.index].changes:
                reason = NoteKind.SOUND_CHANGES.note()
                sound = sound.replaced(track, reencoded(info, track, sound.suffix, reason))
        found = _join(info, output, sound, original, pts, end, timeline, jumps)
        output.unfinished.pictures.unlink()  # or two copies of both films would fill the disk
        films.append((output.unfinished.path, found))
        left_out.update(dict.fromkeys(sound.left_out))
    missing, clock = list(map(str, left_out)), (timeline.rate, timeline.variable)
    return [
        WrittenFilm(path, len(pts), found.frames, *clock, found.largest_error, found.sound, missing)
        for path, found in films
    ]


def _join(
    info: FilmInfo,
    output: _Output,
    sound: SoundPlan,
    original: RawFilm,
    pts: Sequence[int],
    end: int,
    timeline: Timeline,
    jumps: bool,
) -> Verification:
    """Join pictures and sound of one film; encode sound that turns out not to fit as it is."""
    unfinished, rate = output.unfinished, nominal_rate(info.timing.frame_rate)
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
    """Return what verification must find.

    `pts` are the times of the original's decoded frames, in its time base, up to `end`, that of the
    last one's end. Whether their times in `timeline` keep to a rate decides the rounding that is
    allowed; `jumps`: the original's clock jumps.
    """
    return Expected(
        pts=pts,
        end=end,
        time_base=info.timing.time_base,
        exact=not timeline.variable,
        jumps=jumps,
        tracks=sound.tracks,
    )
