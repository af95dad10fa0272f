"""Facts about a film before any of it is converted: streams, rate, shape, colour."""

import dataclasses
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from bladerunner_ae.film.headers.headers import Headers, read_headers
from bladerunner_ae.film.headers.lengths import (
    declared_length,
    declared_rates,
    describe_stream,
    estimate_frames,
    film_start,
    is_own,
    reordered_frames,
)
from bladerunner_ae.film.images import image_sequence as images
from bladerunner_ae.film.info import FilmInfo, PictureFormat, StreamChoice, Timing
from bladerunner_ae.film.notes import Note, NoteKind
from bladerunner_ae.film.picture.colour import Tags, read_colours
from bladerunner_ae.film.picture.cropping import Cropper
from bladerunner_ae.film.picture.deinterlace import are_interlaced, may_have_fields
from bladerunner_ae.film.picture.direction import is_slanted, read_direction
from bladerunner_ae.film.picture.frame_format import FrameFormat, read_first_format
from bladerunner_ae.film.picture_limits import refuse_tiny
from bladerunner_ae.film.reading.container import (
    first_frame,
    open_film,
    other_pictures,
    picture_stream,
)
from bladerunner_ae.film.reading.streams import (
    leave_out,
    left_out,
    other_programmes,
    sound_streams,
)

# Each stream has its first packet among this many.
_FIRST_PACKETS = 500


def probe_film(path: Path | str, frame_rate: Fraction = Fraction(24)) -> FilmInfo:
    """Find out what a film is; nothing stays open.

    Args:
        path: a film, or a folder of numbered images, or a pattern such as "frames/%06d.png".
        frame_rate: frames per second of a folder of images; films know their own.

    Raises:
        InputError: there is no such file, it is empty, no film, cut off too early, has no picture
            (sound only; cover art is not a film), or a tiny one.
    """
    path = Path(path)
    info = _probe_images(path, frame_rate) if images.are_images(path) else _probe_film(path)
    refuse_tiny(path, *info.picture.stored)
    return info


def _probe_film(path: Path) -> FilmInfo:
    with open_film(path) as container:
        headers = read_headers(container, path)
        stream = picture_stream(container, path, headers)
        leave_out(container, other_programmes(stream, headers))
        frame = first_frame(container, stream, path)
        return _film_info(path, container, stream, headers, frame)


def without_deinterlacing(info: FilmInfo) -> FilmInfo:
    notes = tuple(
        NoteKind.FIELDS_KEPT.note() if note.kind is NoteKind.DEINTERLACED else note
        for note in info.notes
    )
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
    colours = read_colours(frame)
    first = read_first_format(frame, colours.tags)
    turned = first.rotation in (90, 270)
    aspect = Fraction(stream.sample_aspect_ratio or 1)
    picture = PictureFormat(
        stored=(shown.width, shown.height) if turned else (shown.height, shown.width),
        sample_aspect=1 / aspect if turned else aspect,
        first=first,
        codec=stream.codec_context.name,
        pixel_format=frame.format.name,
        peak_nits=colours.peak_nits,
        crop=crop,
    )
    rates = declared_rates(stream)  # before the search for fields reads on
    interlaced = are_interlaced(container, stream, frame)
    return FilmInfo(
        path=path,
        container=container.format.name,
        picture=picture,
        timing=_timing(path, container, stream, frame, rates),
        streams=_streams(container, stream, headers, picture, cropped=shown is not frame),
        interlaced=interlaced,
        deinterlace=interlaced or may_have_fields(picture.codec),
        notes=tuple(_notes(container, stream, frame, colours.notes, interlaced)),
    )


def _timing(
    path: Path,
    container: InputContainer,
    stream: VideoStream,
    frame: VideoFrame,
    rates: tuple[Fraction, ...],
) -> Timing:
    time_base = Fraction(stream.time_base or Fraction(1, 1000))
    start = stream.start_time if stream.start_time is not None else frame.pts or 0
    starts = _first_times(path) if container.format.name == "asf" else {}
    if starts:  # libav's are those of the packets that were sent with them
        start = round(starts.get(stream.index, Fraction(start) * time_base) / time_base)
    return Timing(
        rate_candidates=rates,
        time_base=time_base,
        frames_estimate=estimate_frames(container, stream, time_base, rates[0]),
        duration=declared_length(container),
        start_pts=start,
        film_start=min(starts.values(), default=film_start(container, start * time_base)),
    )


def _streams(
    container: InputContainer,
    stream: VideoStream,
    headers: Headers,
    picture: PictureFormat,
    cropped: bool,
) -> StreamChoice:
    others = left_out(container, stream, headers)
    extra: dict[int, dict[str, Any]] = {one.index: {"left_out": one.reason.value} for one in others}
    # Only the stream of the picture has a rotation.
    rotation, mirrored = picture.direction
    extra[stream.index] = {"rotation": rotation} | ({"mirrored": True} if mirrored else {})
    if cropped:
        extra[stream.index]["cropped"] = dataclasses.asdict(picture.crop)
    return StreamChoice(
        picture=stream.index,
        sound=sound_streams(container, headers),
        left_out=others,
        described=tuple(
            describe_stream(one) | extra.get(one.index, {}) for one in container.streams
        ),
    )


def _first_times(path: Path) -> dict[int, Fraction]:
    """Seconds at which each picture and sound begins, by stream, from the first packets."""
    times: dict[int, Fraction] = {}
    with open_film(path) as container:
        streams = (*container.streams.video, *container.streams.audio)
        for packet in islice(container.demux(*streams), _FIRST_PACKETS):
            time = packet.dts if packet.dts is not None else packet.pts
            if packet.size and time is not None and packet.time_base:
                times.setdefault(packet.stream_index, time * Fraction(packet.time_base))
        for stream in container.streams.video:
            if stream.index in times and stream.codec_context is not None:
                late = reordered_frames(container, stream) / declared_rates(stream)[0]
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
    time_base = sequence.time_base
    if time_base is not None:  # an animated picture knows when each frame is shown
        frame_rate = sequence.frames / (sequence.times[-1] * time_base)
    time_base = time_base or 1 / frame_rate
    tags = Tags("rgb", full_range=True, transfer="srgb", primaries="bt709")
    return FilmInfo(
        path=folder,
        container="images",
        picture=PictureFormat(
            stored=facts.size,
            sample_aspect=Fraction(1),
            first=FrameFormat(*facts.size, Fraction(1), 0, tags),
            codec=facts.codec,
            pixel_format="rgb24",
        ),
        timing=Timing(
            rate_candidates=(frame_rate,),
            time_base=time_base,
            frames_estimate=sequence.frames,
            duration=sequence.times[-1] * time_base,
            start_pts=0,
            film_start=Fraction(0),
        ),
        streams=StreamChoice(),
        interlaced=False,
        deinterlace=False,
        notes=facts.notes,
    )
