"""Checks a finished film against its original by reading the packets of both; nothing is decoded.

What must hold: as many pictures as frames were read, each at the time of its frame; every copied
sound packet the same bytes at the same time.
"""

import hashlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm
from pathlib import Path
from typing import cast

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet

from bladerunner_ae.errors import OutputError
from bladerunner_ae.film.opening import open_film
from bladerunner_ae.film.probe import FilmInfo
from bladerunner_ae.film.retime import Timeline
from bladerunner_ae.film.sound import SoundTrack, film_origin, film_packets, sound_packets

# How far sound whose packets are cut differently may begin or end from where it did: a few
# packets of AAC.
_ENDS_TOLERANCE_SECONDS = Fraction(1, 5)

# The start of a packet that carries its own header, as AAC does in broadcasts and nowhere else.
_ADTS_MARK, _ADTS_MASK = 0xFFF0, 0xFFF6


@dataclass(frozen=True)
class SoundPrint:
    """What identifies one audio stream.

    Attributes:
        codec: e.g. "mp3".
        packets: how many.
        digest: of all its bytes in order.
        time_base: seconds per unit of time.
        times: of each packet, in units of the time base, counted from the film's origin.
        end: end of the last packet in seconds.
    """

    codec: str
    packets: int
    digest: str
    time_base: Fraction
    times: Sequence[int]
    end: Fraction

    @property
    def begin(self) -> Fraction:
        """Begin of the first packet in seconds."""
        return self.times[0] * self.time_base


@dataclass(frozen=True)
class Verification:
    """What a finished film was found to be.

    Attributes:
        frames: how many pictures it has.
        largest_error: the most, in seconds, that a picture's time differs from its frame's.
        sound: one line for each audio stream, e.g. "copied (mp3, 2110 packets identical)".
    """

    frames: int
    largest_error: Fraction
    sound: list[str]


def read_sound(info: FilmInfo) -> dict[int, SoundPrint]:
    """Reads every audio stream of the original that holds anything, by its index."""
    if info.kind == "images":
        return {}
    with open_film(info.path) as container:
        streams = [one for one in container.streams.audio if one.codec_context is not None]
        packets = film_packets(container, info, streams)
        prints = _read_prints(streams, packets, film_origin(info))
        # Here, not later: libav frees its streams with the file.
        indexes = [stream.index for stream in streams]
    return {index: one for index, one in zip(indexes, prints, strict=True) if one.packets}


def verify_film(
    path: Path,
    info: FilmInfo,
    pts: Sequence[int],
    timeline: Timeline,
    tracks: Sequence[SoundTrack],
    sound: Mapping[int, SoundPrint],
) -> Verification:
    """Checks a finished film.

    Args:
        path: the film that was written.
        info: the original.
        pts: the original's timestamps, as decoded.
        timeline: the times that the pictures were given; it decides which rounding is allowed.
        tracks: the audio streams that the film was to get, and how.
        sound: those of the original (`read_sound`).

    Raises:
        OutputError: the film is not what it should be; the message says in what.
    """
    try:
        with av.open(str(path)) as film:
            times, time_base = _picture_times(film)
        with av.open(str(path)) as film:
            streams = list(film.streams.audio)
            found = _read_prints(streams, film.demux(*streams), Fraction(0))
    except (av.FFmpegError, IndexError) as error:
        raise OutputError(f"{path}: cannot be read back ({error})") from error
    if len(times) != len(pts):
        raise OutputError(f"{path}: has {len(times)} pictures, the original {len(pts)} frames")
    if len(found) != len(tracks):
        raise OutputError(f"{path}: has {len(found)} sound tracks, the original {len(tracks)}")
    originals = [sound[track.index] for track in tracks]
    shift = _common_shift(path, originals, found)
    origin = film_origin(info) - shift
    error_seconds = _largest_error(times, time_base, pts, info.time_base, origin)
    # Rounding of the original's clock, of the file's, and nothing else.
    allowed = max(info.time_base if not timeline.variable else Fraction(0), time_base)
    if error_seconds > allowed:
        raise OutputError(
            f"{path}: a picture is shown {float(error_seconds):.6f} seconds from its frame's time"
        )
    lines = [
        _check_sound(path, number, track, original, written, shift)
        for number, (track, original, written) in enumerate(
            zip(tracks, originals, found, strict=True), start=1
        )
    ]
    return Verification(len(times), error_seconds, lines)


def _common_shift(
    path: Path, originals: Sequence[SoundPrint], found: Sequence[SoundPrint]
) -> Fraction:
    """Seconds by which the whole film was moved so that its sound does not begin before 0.

    There mp4 puts the silence that starts up a sound decoder; Matroska cannot, and moves pictures
    and sound together.
    """
    if path.suffix.lower() != ".mkv" or not found or not found[0].packets:
        return Fraction(0)
    before_zero = -min(one.begin for one in originals)
    shift = found[0].begin - originals[0].begin
    return shift if 0 < shift <= before_zero + found[0].time_base else Fraction(0)


def _picture_times(film: InputContainer) -> tuple[list[int], Fraction]:
    stream = film.streams.video[0]
    times = array("q")
    for packet in film.demux(stream):
        if packet.size and packet.pts is not None and not packet.is_discard:
            times.append(packet.pts)
    return sorted(times), Fraction(stream.time_base or 1)


def _largest_error(
    ours: Sequence[int],
    our_base: Fraction,
    theirs: Sequence[int],
    their_base: Fraction,
    origin: Fraction = Fraction(0),
) -> Fraction:
    """The most, in seconds, by which times differ; `theirs` are counted from `origin`."""
    # In whole numbers of a unit that all share: fractions take long for a long film.
    shared = lcm(our_base.denominator, their_base.denominator, origin.denominator)
    our_units, their_units = int(our_base * shared), int(their_base * shared)
    zero = int(origin * shared)
    errors = (
        abs(a * our_units - b * their_units + zero) for a, b in zip(ours, theirs, strict=True)
    )
    return Fraction(max(errors, default=0), shared)


def _read_prints(
    streams: Sequence[AudioStream], packets: Iterator[Packet], origin: Fraction
) -> list[SoundPrint]:
    """Reads some audio streams of a file in one go."""
    gatherers = {stream.index: _Gatherer(stream) for stream in streams}
    if streams:
        for packet in sound_packets(packets, origin):
            gatherers[packet.stream_index].add(packet)
    return [gatherers[stream.index].result() for stream in streams]


class _Gatherer:
    """Collects the print of one audio stream."""

    def __init__(self, stream: AudioStream) -> None:
        self._codec = stream.codec_context.codec.canonical_name
        self._time_base = Fraction(stream.time_base or 1)
        self._digest = hashlib.blake2b()
        self._times = array("q")
        self._end = 0

    def add(self, packet: Packet) -> None:
        data: memoryview = memoryview(packet)
        if self._codec == "aac":
            data = data[_adts_header_length(data) :]
        self._digest.update(data)
        pts = cast(int, packet.pts)
        self._times.append(pts)
        self._end = pts + (packet.duration or 0)

    def result(self) -> SoundPrint:
        return SoundPrint(
            codec=self._codec,
            packets=len(self._times),
            digest=self._digest.hexdigest(),
            time_base=self._time_base,
            times=self._times,
            end=self._end * self._time_base,
        )


def _adts_header_length(data: memoryview) -> int:
    """Bytes before the sound itself: broadcasts repeat a header that mp4 and mkv keep once."""
    if len(data) < 7 or (data[0] << 8 | data[1]) & _ADTS_MASK != _ADTS_MARK:
        return 0
    has_checksum = not data[1] & 1
    return 9 if has_checksum else 7


def _check_sound(
    path: Path,
    number: int,
    track: SoundTrack,
    original: SoundPrint,
    written: SoundPrint,
    shift: Fraction,
) -> str:
    """A line about one audio stream; raises OutputError if it is not what it should be."""
    name, suffix = f"{path}: sound track {number}", path.suffix.lower()
    if not track.copied:
        _check_ends(name, original, written)
        return f"re-encoded as {written.codec} because {suffix} does not hold {track.codec}"
    # Containers cut PCM into packets as they like: its bytes count.
    pcm = track.codec.startswith("pcm_")
    if written.packets != original.packets and not pcm:
        raise OutputError(f"{name} has {written.packets} packets, the original {original.packets}")
    if written.digest != original.digest:
        raise OutputError(f"{name} ({track.codec}) differs from the original's")
    if pcm:
        _check_ends(name, original, written)
        return f"copied ({track.codec}, every sample identical)"
    error = _largest_error(
        written.times, written.time_base, original.times, original.time_base, -shift
    )
    if error > max(original.time_base, written.time_base):
        raise OutputError(f"{name} is {float(error):.6f} seconds off at one packet")
    return f"copied ({track.codec}, {written.packets} packets identical)"


def _check_ends(name: str, original: SoundPrint, written: SoundPrint) -> None:
    """Raises OutputError unless a stream begins and ends when the original's does."""
    if not written.packets or not original.packets:
        raise OutputError(f"{name} is empty on one side")
    apart = max(abs(original.begin - written.begin), abs(original.end - written.end))
    if apart > _ENDS_TOLERANCE_SECONDS:
        raise OutputError(
            f"{name} begins or ends {float(apart):.3f} seconds from where the original does"
        )
