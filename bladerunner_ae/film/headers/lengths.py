"""Rates, lengths and start times that a file declares for its streams."""

from fractions import Fraction
from numbers import Rational
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.stream import Discard, Disposition, Stream
from av.video.stream import VideoStream

from bladerunner_ae.film.headers.mp4 import read_tracks
from bladerunner_ae.film.reading.timestamps import JUMPING_FORMATS, without_wraps

# Guesses above this need an average that is nearly as high: then the film is as fast.
_MOST_GUESSED = Fraction(1000)
_NEARLY_EVEN = Fraction(101, 100)


def declared_rates(stream: VideoStream) -> tuple[Fraction, ...]:
    """Return every plausible declared rate, without repeats, the most credible first.

    libav's guess comes first: an average is taken from the index or from the first second, and AVI
    and raw streams are off by a factor of two or more.
    """
    declared = (stream.guessed_rate, stream.average_rate, stream.base_rate)
    # Without a better guess libav takes the units of the clock for frames, 1000 or 90000 a second.
    fastest = max(_MOST_GUESSED, Fraction(stream.average_rate or 0) * _NEARLY_EVEN)
    rates = [Fraction(rate) for rate in declared if rate and 0 < rate < fastest]
    return tuple(dict.fromkeys(rates)) or (Fraction(24),)


def is_own(stream: Stream) -> bool:
    """Whether a stream belongs to the film's programme, see `streams.leave_out`."""
    return stream.discard != Discard.all


def declared_start(container: InputContainer) -> Fraction:
    """Seconds on the container's clock at which a film begins, roughly."""
    times = _own_times(container)
    if times:
        return min(start for start, _ in times)
    return Fraction(container.start_time or 0, av.time_base)


def declared_length(container: InputContainer) -> Fraction | None:
    """Declared length of a file in seconds, or None."""
    times = _own_times(container)
    if times:
        return max(end for _, end in times) - min(start for start, _ in times)
    if container.duration is None:
        return None
    start = (container.start_time or 0) if counts_from_zero(container) else 0
    # Some programs count from the film's beginning all the same.
    length = container.duration - start if container.duration > start else container.duration
    return Fraction(length, av.time_base)


def counts_from_zero(container: InputContainer) -> bool:
    """Whether libav's duration is the time at which the film ends on its own clock.

    It comes from these files' headers, or from the end of the last packet or fragment. Parts of
    live streams begin anywhere.
    """
    name = container.format.name
    if name.startswith("mov"):
        return _is_fragmented(container.name)
    return name.split(",")[0] in ("matroska", "nut", "asf")


def _is_fragmented(path: str) -> bool:
    try:
        return read_tracks(Path(path))[1]
    except OSError:
        return False


def _own_times(container: InputContainer) -> list[tuple[Fraction, Fraction]]:
    """Begin and end of each stream of the film, if its file holds other programmes as well."""
    if all(is_own(stream) for stream in container.streams):
        return []
    times = []
    for stream in container.streams:
        if is_own(stream) and stream.start_time is not None and stream.time_base:
            start, unit = stream.start_time, Fraction(stream.time_base)
            times.append((start * unit, (start + (stream.duration or 0)) * unit))
    return times


def estimate_frames(
    container: InputContainer, stream: VideoStream, time_base: Fraction, rate: Fraction
) -> int | None:
    """Estimated number of frames, or None if the file does not tell."""
    if stream.duration:
        # An edit list can hide frames that the index counts, so time goes before the count.
        units = stream.duration
        if container.format.name.startswith("mov") and counts_from_zero(container):
            units -= min(stream.start_time or 0, units)
        by_time = round(units * time_base * rate)
        return min(by_time, stream.frames) if stream.frames else by_time
    if stream.frames:
        return stream.frames
    length = declared_length(container)
    return round(length * rate) if length else None


def reordered_frames(container: InputContainer, stream: VideoStream) -> int:
    """Number of frames decoded before the first is shown, if times are those of decoding.

    ASF keeps sound that much later. AVI numbers its packets, and players begin with the first.
    """
    return stream.codec_context.reorder_depth if container.format.name == "asf" else 0


def film_start(container: InputContainer, picture_start: Fraction) -> Fraction:
    """Start of the earliest picture or sound, exact (libav's own is in microseconds)."""
    starts = [
        stream.start_time * Fraction(stream.time_base)
        for stream in (*container.streams.video, *container.streams.audio)
        if is_own(stream) and stream.start_time is not None and stream.time_base
    ]
    if container.format.name in JUMPING_FORMATS:
        starts = [without_wraps(start, picture_start) for start in starts]
    return min([*starts, picture_start])


def describe_stream(stream: Any) -> dict[str, Any]:
    """A stream of any kind as a JSON object."""
    context = stream.codec_context
    facts: dict[str, Any] = {
        "index": stream.index,
        "type": stream.type,
        "codec": context.name if context is not None else None,
        "time_base": _text(stream.time_base),
        "start_time": stream.start_time,
        "duration": stream.duration,
        "metadata": dict(stream.metadata),
    }
    if stream.type == "video" and context is not None:
        facts |= {
            "height": stream.height,
            "width": stream.width,
            "rate": _text(stream.average_rate),
            "cover_art": bool(stream.disposition & Disposition.attached_pic),
        }
    elif stream.type == "audio" and context is not None:  # else its codec is not known
        facts |= {"sample_rate": stream.sample_rate, "channels": stream.channels}
    return facts


def _text(rational: Rational | None) -> str:
    """A rational as records write it; unset is None before PyAV 19, and 0 since."""
    return str(Fraction(rational) if rational else None)
