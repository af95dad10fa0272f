"""Muxing of encoded pictures, at the film's own times, with the film's own sound.

Nothing is encoded or decoded here: packets are copied. Frame n of the pictures is shown exactly
when frame n of the film was, whether the film keeps to a constant rate or not.
"""

import contextlib
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

from bladerunner_ae.errors import OutputError, system_error
from bladerunner_ae.film.headers.metadata import readable_chapters
from bladerunner_ae.film.info import FilmInfo
from bladerunner_ae.film.reading.clock import constant_rate, mean_rate
from bladerunner_ae.film.reading.container import open_film
from bladerunner_ae.film.writing.sound import (
    CONTAINERS,
    SoundPlan,
    add_tracks,
    film_origin,
    sound_packets,
)

# mp4 keeps units per second in 31 bits, and a long film's length in them should stay below 2**53.
_FINEST_TIMESCALE = 10_000_000
# Units of the whole film, in which mp4 keeps when each track begins: as fine as all tracks together
# need, if players can be expected to count so, and a millionth of a second at the least.
_FINEST_MOVIE_TIMESCALE, _COARSEST_MOVIE_TIMESCALE = 100_000_000, 1_000_000


@dataclass(frozen=True)
class Timeline:
    """Times at which frames are shown.

    Attributes:
        time_base: seconds per unit.
        times: of each frame, ascending, in units of `time_base`, counted from the film's origin.
        end: the time at which the last frame ends.
        rate: frames per second; on average if `variable`.
    """

    time_base: Fraction
    times: Sequence[int]
    end: int
    rate: Fraction
    variable: bool

    def seconds(self, frame: int) -> Fraction:
        return self.times[frame] * self.time_base


def make_timeline(pts: Sequence[int], end: int, info: FilmInfo) -> Timeline:
    """Times at which to show frames decoded with these ascending `pts`, the last until `end`.

    A film that keeps a constant rate to within the rounding of its time base (Matroska counts
    milliseconds) gets that rate exactly; any other keeps the time of every single frame.
    """
    base, origin = info.timing.time_base, film_origin(info)
    rate = constant_rate(pts, base, info.timing.rate_candidates)
    start, last = pts[0] * base - origin, (end - pts[-1]) * base
    if rate is not None:
        # A last frame that is held longer, or shorter, by more than the rounding keeps its length.
        length = 1 / rate if abs(last - 1 / rate) <= max(base, 1 / rate / 4) else last
        exact = Fraction(1, lcm(rate.numerator, start.denominator, length.denominator))
        if exact.denominator <= _FINEST_TIMESCALE:
            times = range(len(pts))
            step, first = int(1 / rate / exact), int(start / exact)
            every = [first + n * step for n in times]
            return Timeline(exact, every, every[-1] + int(length / exact), rate, variable=False)
    average = rate or mean_rate(pts, base) or info.timing.frame_rate
    finest = Fraction(1, _FINEST_TIMESCALE)
    if base < finest:  # finer than files can count
        every = [round((time * base - origin) / finest) for time in pts]
        held = every[-1] + max(round(last / finest), 1)
        return Timeline(finest, every, held, average, variable=rate is None)
    shift = round(origin / base)
    every = [time - shift for time in pts]
    return Timeline(base, every, end - shift, average, variable=rate is None)


def join_with_sound(
    pictures: Path,
    output: Path,
    timeline: Timeline,
    info: FilmInfo,
    plan: SoundPlan,
    pictures_rate: Fraction,
    name: Path | None = None,
) -> None:
    """Write the finished film: pictures at the film's times, its sound, title and chapters.

    Args:
        output: the file to write; replaced if it exists.
        info: the film that the sound is taken from.
        plan: from `film.writing.sound.plan_sound`; it decides the kind of file.
        pictures_rate: the nominal rate at which `pictures` was written.
        name: of the file in messages, if not its own.

    Raises:
        OutputError: the file cannot be written, or cannot hold such sound.
    """
    options = _muxer_options(plan, timeline, info)
    # Absolute: libav takes what is before the colon of "Film: A Story.mp4" for a protocol.
    where, kind = str(output.absolute()), CONTAINERS[plan.suffix]
    try:
        with contextlib.ExitStack() as stack:
            source = stack.enter_context(av.open(str(pictures.absolute())))
            original = stack.enter_context(open_film(info.path)) if info.kind != "images" else None
            film = stack.enter_context(av.open(where, "w", format=kind, options=options))
            stream = _add_pictures(film, source.streams.video[0], timeline)
            targets = [] if original is None else add_tracks(film, info, original, plan)
            if original is not None:
                _copy_descriptions(film, original, film_origin(info))
            film.start_encoding()
            order = _order_of_decoding(pictures, timeline, pictures_rate)
            flows = [_retimed(source, stream, timeline, pictures_rate, order)]
            if original is not None:
                flows.append(sound_packets(original, info, plan, targets))
            for packet in heapq.merge(*flows, key=_moment):
                film.mux_one(packet)
    except (av.FFmpegError, ValueError) as error:
        if failed := system_error(error, name or output):
            raise failed from error
        words = " ".join(str(error).split())
        raise OutputError(
            f"{name or output}: pictures and sound could not be joined ({words})"
        ) from error


def _muxer_options(plan: SoundPlan, timeline: Timeline, info: FilmInfo) -> dict[str, str]:
    if plan.suffix == ".mkv":
        return {}
    return {
        "movflags": "+faststart",
        "movie_timescale": str(_movie_timescale(plan, timeline, info)),
    }


def _movie_timescale(plan: SoundPlan, timeline: Timeline, info: FilmInfo) -> int:
    """Units a second in which the beginning of every track is a whole number, or nearly."""
    rates = {one["index"]: one.get("sample_rate") for one in info.streams.described}
    clocks = [
        track.encoding.rate if track.encoding is not None else rates.get(track.index)
        for track in plan.tracks
    ]
    picture = timeline.time_base.denominator
    shared = lcm(picture, *(clock for clock in clocks if clock))
    scale = shared if shared <= _FINEST_MOVIE_TIMESCALE else picture
    return scale * -(-_COARSEST_MOVIE_TIMESCALE // scale)


def _add_pictures(film: OutputContainer, template: VideoStream, timeline: Timeline) -> VideoStream:
    stream = film.add_stream_from_template(template, opaque=True)
    stream.time_base = timeline.time_base
    stream.codec_context.framerate = timeline.rate
    return stream


def _order_of_decoding(pictures: Path, timeline: Timeline, rate: Fraction) -> list[int]:
    """The frames in the order of decoding; empty if all last equally long (not needed then)."""
    times = timeline.times
    held = len(times) > 1 and timeline.end - times[-1] != times[-1] - times[-2]
    if not held and not timeline.variable:
        return []
    with av.open(str(pictures.absolute())) as source:
        packets = (one for one in source.demux(source.streams.video[0]) if one.size)
        return [round(cast(int, one.pts) * one.time_base * rate) for one in packets]


def _decoding_times(timeline: Timeline, delay: int, order: Sequence[int]) -> list[int]:
    """Decoding times of the packets, in the order of decoding.

    A frame must be decoded before it is shown, and the k-th packet is decoded `delay` frames before
    the k-th time; so the times themselves, put off by the delay, serve as decoding times. `order`
    is needed only if frames differ in length: mp4 tells how long a packet lasts by when the next
    one is decoded, and how long all last by their sum.
    """
    times, count = timeline.times, len(timeline.times)
    # Not the mean: after a long gap it would put the first decoding far before the film's start.
    step = times[1] - times[0] if count > 1 else round(1 / timeline.rate / timeline.time_base)
    step = max(step, 1)
    decoded = [times[0] + (k - delay) * step for k in range(min(delay, count))]
    decoded += times[: count - len(decoded)]
    if not order:
        return decoded
    place = order.index(count - 1)
    # The last frame and those decoded after it are decoded as late as possible.
    latest = timeline.end
    for k in range(count - 1, min(place, count - 2), -1):
        latest = decoded[k] = min(times[order[k]], latest - 1)
    if place + 1 < count:
        more = timeline.end - times[-1] - (decoded[place + 1] - decoded[place])
        first = 0 if more > 0 else place
        decoded[first : place + 1] = [time - more for time in decoded[first : place + 1]]
    return decoded


def _retimed(
    source: InputContainer,
    stream: VideoStream,
    timeline: Timeline,
    rate: Fraction,
    order: Sequence[int],
) -> Iterator[Packet]:
    """The picture packets in decoding order, each with the time of its frame."""
    times, decoded, count = timeline.times, list[int](), 0
    for packet in source.demux(source.streams.video[0]):
        if not packet.size or packet.pts is None or packet.dts is None:
            continue
        per_frame = packet.time_base * rate
        if count == 0:
            decoded = _decoding_times(timeline, -round(packet.dts * per_frame), order)
        frame = round(packet.pts * per_frame)
        if not 0 <= frame < len(times):
            raise ValueError(f"picture {frame} was written but the film has {len(times)}")
        packet.pts = times[frame]
        packet.dts = decoded[count]
        count += 1
        following = times[frame + 1] if frame + 1 < len(times) else timeline.end
        packet.duration = following - times[frame]
        if order and count == len(times):
            packet.duration = timeline.end - packet.dts
        packet.time_base = timeline.time_base
        packet.stream = stream
        yield packet


def _moment(packet: Packet) -> Fraction:
    return cast(int, packet.dts) * packet.time_base


def _copy_descriptions(film: OutputContainer, source: InputContainer, origin: Fraction) -> None:
    keep = {"title", "artist", "comment", "date", "copyright", "description"}
    film.metadata.update({k: v for k, v in source.metadata.items() if k.lower() in keep})
    # A file with broken chapters is still a film.
    with contextlib.suppress(av.FFmpegError, ValueError):
        film.set_chapters(
            [_moved_chapter(chapter, origin) for chapter in readable_chapters(source)]
        )


def _moved_chapter(chapter: Any, origin: Fraction) -> Any:
    shift = round(origin / chapter["time_base"])
    return {**chapter, "start": chapter["start"] - shift, "end": chapter["end"] - shift}
