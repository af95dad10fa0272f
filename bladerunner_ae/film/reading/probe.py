"""What a film is, before any of it is converted: streams, rate, shape, colour.

`probe_film` opens the file, decodes one frame and returns plain facts.
"""

import dataclasses
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from bladerunner_ae.film.headers.headers import Headers, read_headers
from bladerunner_ae.film.headers.lengths import (
    claimed_length,
    claimed_rates,
    describe_stream,
    estimate_frames,
    film_start,
    is_own,
    reordered_frames,
)
from bladerunner_ae.film.images import folder as images
from bladerunner_ae.film.notes import Note, NoteKind
from bladerunner_ae.film.picture.colour import Tags, conversion_note, read_colours
from bladerunner_ae.film.picture.cropping import NO_MARGINS, Cropper, Margins
from bladerunner_ae.film.picture.deinterlace import are_interlaced, may_have_fields
from bladerunner_ae.film.picture.direction import Direction, is_slanted, read_direction
from bladerunner_ae.film.picture.frame_format import FrameFormat, first_look
from bladerunner_ae.film.picture_limits import refuse_tiny
from bladerunner_ae.film.reading.container import (
    first_frame,
    open_film,
    other_pictures,
    picture_stream,
)
from bladerunner_ae.film.reading.streams import (
    LeftOut,
    leave_out,
    left_out,
    other_programmes,
    sound_streams,
)
from bladerunner_ae.geometry import Size

# Among so many packets each stream has its first.
_FIRST_PACKETS = 500


@dataclass(frozen=True)
class FilmInfo:
    """The facts about a film. Sizes are (height, width) of the upright picture.

    Attributes:
        path: the file, or the folder or pattern of images.
        kind: "film", or "images", which libav does not decode (`film.images.folder`).
        stored: size of the upright picture in the file's own pixels, before the sample aspect.
        rotation: degrees clockwise (0, 90, 180, 270) that make a decoded picture upright.
        sample_aspect: width of a pixel divided by its height, in the upright picture.
        frame_rate: nominal frames per second; whether the frames keep to it shows only when all
            timestamps have been read (`film.reading.clock`).
        rate_candidates: every rate the file claims, the most credible first.
        time_base: seconds per unit of a timestamp.
        frames_estimate: how many frames there are, about, or None.
        duration: seconds that the file claims for its longest stream, or None.
        video_stream: index of the picture's stream in the file (0 for images).
        start_pts: timestamp at which the picture begins, in units of `time_base`.
        film_start: seconds at which the film begins: the earliest of its streams. Players count
            from here, so the picture begins `start_pts * time_base - film_start` after the film.
        matrix: YCbCr matrix of the colours: "bt709", "bt601", "bt2020", "fcc", "smpte240m", or
            "rgb" where there is none.
        full_range: whether black is 0 and white 255, rather than 16 and 235.
        transfer: "bt709", "srgb", "pq", "hlg" ... or "unspecified".
        primaries: "bt709", "bt2020", "p3", "dci-p3" ... or "unspecified".
        peak_nits: brightest light of a film in "pq" or "hlg", decided once for the whole film; else
            None.
        interlaced: whether frames that were looked at, here and there, consist of two fields.
        deinterlace: whether frames that consist of two fields, wherever they are, are made whole.
        look: shape and colours of its first frame, as decoded; what all others are compared with.
        pixel_format: libav's name for the layout of the stored pixels.
        codec: name of the picture's codec.
        container: libav's name of the file format.
        streams: one JSON object for each stream of the file.
        sound_streams: indices of the film's own sound tracks, in the order of the file: those of
            the picture's programme whose codec is known.
        left_out: all other streams but the picture, in the order of the file.
        crop: rows and columns of a decoded picture that the container does not show; sizes here are
            without them.
        mirrored: whether a decoded picture must be turned upside down, as in a mirror, before it is
            turned by `rotation`.
        notes: what a person should know before converting it.
    """

    path: Path
    kind: str
    stored: Size
    rotation: int
    sample_aspect: Fraction
    frame_rate: Fraction
    rate_candidates: tuple[Fraction, ...]
    time_base: Fraction
    frames_estimate: int | None
    duration: Fraction | None
    video_stream: int
    start_pts: int
    film_start: Fraction
    matrix: str
    full_range: bool
    transfer: str
    primaries: str
    peak_nits: float | None
    interlaced: bool
    deinterlace: bool
    look: FrameFormat
    pixel_format: str
    codec: str
    container: str
    streams: list[dict[str, Any]]
    notes: list[Note]
    sound_streams: tuple[int, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    mirrored: bool = False
    crop: Margins = NO_MARGINS

    @property
    def direction(self) -> Direction:
        """How a decoded picture lies."""
        return Direction(self.rotation, self.mirrored)

    @property
    def coded(self) -> Size:
        """(height, width) of a picture as decoded and cropped, before it is turned upright."""
        turned = self.rotation in (90, 270)
        return (self.stored[1], self.stored[0]) if turned else self.stored

    def colour(self) -> dict[str, Any]:
        """Colour facts as a JSON object."""
        conversion = conversion_note(self.transfer, self.primaries, self.peak_nits)
        return {
            "matrix": self.matrix,
            "full_range": self.full_range,
            "transfer": self.transfer,
            "primaries": self.primaries,
            "pixel_format": self.pixel_format,
            "conversion": "" if conversion is None else str(conversion),
        }


def probe_film(path: Path | str, frame_rate: Fraction = Fraction(24)) -> FilmInfo:
    """Finds out what a film is.

    Args:
        path: a film, or a folder of numbered images, or a pattern such as "frames/%06d.png".
        frame_rate: frames per second of a folder of images; films know their own.

    Returns:
        The facts; nothing stays open.

    Raises:
        InputError: there is no such file, it is empty, no film, cut off before it says anything,
            has no picture (sound only; cover art is not a film), or a tiny one.
    """
    path = Path(path)
    info = _probe_images(path, frame_rate) if images.are_images(path) else _probe_film(path)
    refuse_tiny(path, *info.stored)
    return info


def _probe_film(path: Path) -> FilmInfo:
    with open_film(path) as container:
        headers = read_headers(container, path)
        stream = picture_stream(container, path, headers)
        leave_out(container, other_programmes(stream, headers))
        frame = first_frame(container, stream, path)
        return _film_info(path, container, stream, headers, frame)


def without_deinterlacing(info: FilmInfo) -> FilmInfo:
    """The same film with its fields left as they are; `FrameReader` goes by `deinterlace`."""
    notes = [
        NoteKind.FIELDS_KEPT.note() if note.kind is NoteKind.DEINTERLACED else note
        for note in info.notes
    ]
    return dataclasses.replace(info, deinterlace=False, notes=notes)


def _film_info(
    path: Path,
    container: InputContainer,
    stream: VideoStream,
    headers: Headers,
    frame: VideoFrame,
) -> FilmInfo:
    crop = headers.of(stream.index).crop
    shown = Cropper(crop).apply(frame)
    rotation, mirrored = read_direction(frame)
    turned = rotation in (90, 270)
    aspect = Fraction(stream.sample_aspect_ratio or 1)
    rates = claimed_rates(stream)
    colours = read_colours(frame)
    interlaced = are_interlaced(container, stream, frame)
    time_base = Fraction(stream.time_base or Fraction(1, 1000))
    start = stream.start_time if stream.start_time is not None else frame.pts or 0
    starts = _first_times(path) if container.format.name == "asf" else {}
    if starts:  # libav's are those of the packets that were sent with them
        start = round(starts.get(stream.index, Fraction(start) * time_base) / time_base)
    others = left_out(container, stream, headers)
    said: dict[int, dict[str, Any]] = {one.index: {"left_out": one.reason.value} for one in others}
    # Which one is the picture, and how it is turned, is told by this alone.
    said[stream.index] = {"rotation": rotation} | ({"mirrored": True} if mirrored else {})
    if shown is not frame:
        said[stream.index]["cropped"] = dataclasses.asdict(crop)
    return FilmInfo(
        path=path,
        kind="film",
        stored=(shown.width, shown.height) if turned else (shown.height, shown.width),
        rotation=rotation,
        sample_aspect=1 / aspect if turned else aspect,
        frame_rate=rates[0],
        rate_candidates=rates,
        time_base=time_base,
        frames_estimate=estimate_frames(container, stream, time_base, rates[0]),
        duration=claimed_length(container),
        video_stream=stream.index,
        start_pts=start,
        film_start=min(starts.values(), default=film_start(container, start * time_base)),
        **colours.tags._asdict(),
        peak_nits=colours.peak_nits,
        interlaced=interlaced,
        deinterlace=interlaced or may_have_fields(stream.codec_context.name),
        look=first_look(frame, colours.tags),
        pixel_format=frame.format.name,
        codec=stream.codec_context.name,
        container=container.format.name,
        streams=[describe_stream(one) | said.get(one.index, {}) for one in container.streams],
        notes=_notes(container, stream, frame, colours.notes, interlaced),
        sound_streams=sound_streams(container, headers),
        left_out=others,
        mirrored=mirrored,
        crop=crop,
    )


def _first_times(path: Path) -> dict[int, Fraction]:
    """Seconds at which each picture and sound begins, by its stream, as the first packets say."""
    times: dict[int, Fraction] = {}
    with open_film(path) as container:
        streams = (*container.streams.video, *container.streams.audio)
        for packet in islice(container.demux(*streams), _FIRST_PACKETS):
            time = packet.dts if packet.dts is not None else packet.pts
            if packet.size and time is not None and packet.time_base:
                times.setdefault(packet.stream_index, time * Fraction(packet.time_base))
        for stream in container.streams.video:
            if stream.index in times and stream.codec_context is not None:
                late = reordered_frames(container, stream) / claimed_rates(stream)[0]
                times[stream.index] += late
    return times


def _notes(
    container: InputContainer,
    stream: VideoStream,
    frame: VideoFrame,
    colours: list[Note],
    interlaced: bool,
) -> list[Note]:
    notes = [*colours]
    if interlaced:
        notes.append(NoteKind.DEINTERLACED.note())
    if is_slanted(frame):
        notes.append(NoteKind.SLANTED.note(degrees=read_direction(frame).rotation))
    if _has_alpha(frame):
        notes.append(NoteKind.ALPHA.note())
    others = other_pictures(container, stream)
    if others:
        taken = f"{stream.index} ({stream.height}x{stream.width})"
        notes.append(
            NoteKind.SEVERAL_PICTURES.note(count=len(others) + 1, taken=taken, others=tuple(others))
        )
    foreign = tuple(one.index for one in container.streams if not is_own(one))
    if foreign:
        notes.append(NoteKind.SEVERAL_PROGRAMMES.note(taken=stream.index, others=foreign))
    return notes


def _has_alpha(frame: VideoFrame) -> bool:
    return frame.format.has_palette is False and any(
        component.is_alpha for component in frame.format.components
    )


def _probe_images(folder: Path, frame_rate: Fraction) -> FilmInfo:
    sequence = images.list_images(folder)
    facts = images.read_sequence_facts(sequence)
    count, time_base = sequence.frames, sequence.time_base
    if time_base is not None:  # an animated picture knows when each is shown
        frame_rate = count / (sequence.times[-1] * time_base)
    time_base = time_base or 1 / frame_rate
    return FilmInfo(
        path=folder,
        kind="images",
        stored=facts.size,
        rotation=0,
        sample_aspect=Fraction(1),
        frame_rate=frame_rate,
        rate_candidates=(frame_rate,),
        time_base=time_base,
        frames_estimate=count,
        duration=sequence.times[-1] * time_base,
        video_stream=0,
        start_pts=0,
        film_start=Fraction(0),
        matrix="rgb",
        full_range=True,
        transfer="srgb",
        primaries="bt709",
        peak_nits=None,
        interlaced=False,
        deinterlace=False,
        look=FrameFormat(*facts.size, Fraction(1), 0, Tags("rgb", True, "srgb", "bt709")),
        pixel_format="rgb24",
        codec=facts.codec,
        container="images",
        streams=[],
        notes=list(facts.notes),
    )
