"""Gives encoded pictures the film's own times and joins them with the film's own sound.

Nothing is encoded or decoded here: packets are copied. Frame n of the pictures is shown exactly
when frame n of the film was, whether the film keeps to a constant rate or not.
"""

import contextlib
import errno
import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from pathlib import Path
from typing import Any, cast

import av
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from bladerunner_ae.errors import OutputError
from bladerunner_ae.film.metadata import readable_chapters
from bladerunner_ae.film.opening import open_film
from bladerunner_ae.film.probe import FilmInfo
from bladerunner_ae.film.sound import (
    SoundTrack,
    describe_stream,
    film_origin,
    film_packets,
    open_sound,
    sound_packets,
)
from bladerunner_ae.film.timing import constant_rate, mean_rate

# mp4 keeps units per second in 31 bits, and a long film's length in them should stay below 2**53.
_FINEST_TIMESCALE = 10_000_000


@dataclass(frozen=True)
class Timeline:
    """When each frame is shown.

    Attributes:
        time_base: seconds per unit.
        times: of each frame, ascending, in units of `time_base`, counted from the film's origin.
        rate: frames per second; on average if `variable`.
        variable: whether frames last differently long.
    """

    time_base: Fraction
    times: Sequence[int]
    rate: Fraction
    variable: bool

    def seconds(self, frame: int) -> Fraction:
        """The exact time of a frame."""
        return self.times[frame] * self.time_base


def make_timeline(pts: Sequence[int], info: FilmInfo) -> Timeline:
    """The times at which the frames of a film are to be shown.

    A film that keeps a constant rate to within the rounding of its time base (Matroska counts
    milliseconds) gets that rate exactly; any other keeps the time of every single frame.

    Args:
        pts: timestamps of the frames as decoded, ascending, in the film's time base.
        info: the film.
    """
    base, origin = info.time_base, film_origin(info)
    rate = constant_rate(pts, base, info.rate_candidates)
    if rate is not None:
        start = pts[0] * base - origin
        exact = Fraction(1, lcm(rate.numerator, start.denominator))
        if exact.denominator <= _FINEST_TIMESCALE:
            times = range(len(pts))
            step, first = int(1 / rate / exact), int(start / exact)
            return Timeline(exact, [first + n * step for n in times], rate, variable=False)
    shift = round(origin / base)
    average = rate or mean_rate(pts, base) or info.frame_rate
    return Timeline(base, [time - shift for time in pts], average, variable=rate is None)


def join_with_sound(
    pictures: Path,
    output: Path,
    timeline: Timeline,
    info: FilmInfo,
    tracks: Sequence[SoundTrack],
    pictures_rate: Fraction,
) -> None:
    """Writes the finished film: pictures at the film's times, its sound, title and chapters.

    Args:
        pictures: file of `film.write.PictureWriter`.
        output: the file to write; replaced if it exists. Its suffix decides the container.
        timeline: when each frame is shown.
        info: the film that the sound is taken from.
        tracks: what becomes of its audio streams (`film.sound.plan_sound`).
        pictures_rate: the nominal rate at which `pictures` was written.

    Raises:
        OutputError: the file cannot be written, or cannot hold such sound.
    """
    try:
        with (
            av.open(str(pictures)) as source,
            open_sound(info, tracks) as sound,
            av.open(str(output), "w", options=_muxer_options(output, timeline)) as film,
        ):
            stream = _add_pictures(film, source.streams.video[0], timeline)
            flows = [_retimed(source, stream, timeline, pictures_rate)]
            flows += _sound_flows(film, sound, info)
            _copy_descriptions(film, info)
            for packet in heapq.merge(*flows, key=_moment):
                film.mux_one(packet)
    except (av.FFmpegError, ValueError) as error:
        raise OutputError(f"{output.parent}: {_explain(error)}") from error


def _muxer_options(output: Path, timeline: Timeline) -> dict[str, str]:
    if output.suffix.lower() == ".mkv":
        return {}
    # A late start is kept in units of the whole film, by default milliseconds.
    scale = timeline.time_base.denominator
    scale *= -(-1000 // scale)
    return {"movflags": "+faststart", "movie_timescale": str(scale)}


def _add_pictures(film: OutputContainer, template: VideoStream, timeline: Timeline) -> VideoStream:
    stream = film.add_stream_from_template(template, opaque=True)
    stream.time_base = timeline.time_base
    stream.codec_context.framerate = timeline.rate
    return stream


def _retimed(
    source: InputContainer, stream: VideoStream, timeline: Timeline, rate: Fraction
) -> Iterator[Packet]:
    """The picture packets in decoding order, each with the time of its frame.

    A frame must be decoded before it is shown, and the k-th packet is decoded `delay` frames
    before the k-th time; so the times themselves, put off by the delay, serve as decoding times.
    """
    times, delay = timeline.times, 0
    # Not the mean: after a long gap it would put the first decoding far before the film's start.
    step = times[1] - times[0] if len(times) > 1 else round(1 / timeline.rate / timeline.time_base)
    step = max(step, 1)
    count = 0
    for packet in source.demux(source.streams.video[0]):
        if not packet.size or packet.pts is None or packet.dts is None:
            continue
        per_frame = packet.time_base * rate
        if count == 0:
            delay = -round(packet.dts * per_frame)
        frame, decoded = round(packet.pts * per_frame), count - delay
        count += 1
        if not 0 <= frame < len(times):
            raise ValueError(f"picture {frame} was written but the film has {len(times)}")
        packet.pts = times[frame]
        packet.dts = times[decoded] if decoded >= 0 else times[0] + decoded * step
        following = times[frame + 1] if frame + 1 < len(times) else times[frame] + step
        packet.duration = following - times[frame]
        packet.time_base = timeline.time_base
        packet.stream = stream
        yield packet


def _sound_flows(
    film: OutputContainer, sound: Sequence[tuple[InputContainer, Any]], info: FilmInfo
) -> list[Iterator[Packet]]:
    """One flow of packets for each file that sound is read from."""
    targets: dict[InputContainer, dict[int, Any]] = {}
    for container, stream in sound:
        target = film.add_stream_from_template(stream)
        described = describe_stream(stream)
        target.metadata.update(described["metadata"])
        target.disposition = described["disposition"]
        targets.setdefault(container, {})[stream.index] = target
    return [_redirected(container, found, info) for container, found in targets.items()]


def _redirected(
    container: InputContainer, targets: dict[int, Any], info: FilmInfo
) -> Iterator[Packet]:
    streams = cast(Any, [container.streams[index] for index in targets])
    packets = film_packets(container, info, streams)
    for packet in sound_packets(packets, film_origin(info)):
        packet.stream = targets[packet.stream_index]
        yield packet


def _moment(packet: Packet) -> Fraction:
    return cast(int, packet.dts) * packet.time_base


def _copy_descriptions(film: OutputContainer, info: FilmInfo) -> None:
    if info.kind == "images":
        return
    with open_film(info.path) as source:
        keep = {"title", "artist", "comment", "date", "copyright", "description"}
        film.metadata.update({k: v for k, v in source.metadata.items() if k.lower() in keep})
        # A file with broken chapters is still a film.
        with contextlib.suppress(av.FFmpegError, ValueError):
            film.set_chapters(readable_chapters(source))


def _explain(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return "the disk is full; free some space and run the same command again"
    words = " ".join(str(error).split())
    return f"pictures and sound could not be joined ({words}); an .mkv output takes more kinds"
