"""The sound of a film: the treatment of each track, and its packets for another file.

A track is copied packet by packet if the new file can hold it, and encoded again otherwise. A trial
before any long work decides: the first packets of the track are written into such a file in memory
and read back.
"""

import contextlib
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any, cast

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet

from bladerunner_ae.errors import InputError
from bladerunner_ae.film.info import FilmInfo
from bladerunner_ae.film.notes import Note, NoteKind
from bladerunner_ae.film.reading.container import open_film
from bladerunner_ae.film.reading.packet_table import film_stream
from bladerunner_ae.film.reading.streams import LeftOut
from bladerunner_ae.film.reading.timestamps import JUMPING_FORMATS, RepairedPackets
from bladerunner_ae.film.writing.raw_packets import RawStream, readable_packets, same_sound
from bladerunner_ae.film.writing.sound_encoding import SoundEncoder, SoundEncoding, choose_encoding

# The kinds of file that films are written into, and libav's name of each.
CONTAINERS = {".mp4": "mp4", ".m4v": "ipod", ".mov": "mov", ".mkv": "matroska"}

# What players expect to find in such files. libav would also put DTS, Vorbis or plain PCM into
# mp4, but hardly anything plays that. QuickTime has always held plain PCM. Matroska holds all.
_MOV_CODECS = ("aac", "mp3", "mp2", "ac3", "eac3", "alac")
_MP4_CODECS = (*_MOV_CODECS, "opus", "flac")
_PLAIN_PCM = ("pcm_s16", "pcm_s24", "pcm_s32", "pcm_f32", "pcm_f64")

# The clock of these containers begins at 0, and what begins some seconds later is meant to. The
# clock of all others (broadcasts, streams) begins anywhere, and so does that of a part of a live
# stream in these.
_CLOCK_FROM_ZERO = ("mov", "matroska", "avi", "images")
_LONGEST_LEAD_SECONDS = 10

# Packets of a track that are written into a file in memory to see whether it can hold them.
_TRIED_PACKETS = 48

# Sound that is not shown, before a film's start, that a decoder needs to begin: at most this much.
_PREROLL_SECONDS = {"opus": Fraction(80, 1000), "mp3": Fraction(50, 1000)}
_ONE_PACKET = ("aac", "vorbis", "ac3", "eac3", "mp2", "wmav1", "wmav2", "wmapro")


@dataclass(frozen=True)
class SoundTrack:
    """A sound track of the film: encoded again for a `reason`, or copied if `encoding` is None.

    `hides` says whether players of the new file leave out what is before time 0.
    """

    index: int
    codec: str
    channels: int
    encoding: SoundEncoding | None = None
    reason: Note | None = None
    hides: bool = True

    @property
    def copied(self) -> bool:
        return self.encoding is None


@dataclass(frozen=True)
class SoundPlan:
    """The treatment of a film's sound in one kind of file; streams `left_out` have reasons."""

    suffix: str
    tracks: list[SoundTrack] = field(default_factory=list)
    left_out: list[Note] = field(default_factory=list)

    def replaced(self, track: SoundTrack, by: SoundTrack) -> "SoundPlan":
        """The plan with another treatment of a track."""
        return replace(self, tracks=[by if one is track else one for one in self.tracks])

    def without_empty(self, filled: Mapping[int, RawStream]) -> "SoundPlan":
        """The plan without tracks that hold no packet, as cut-off films have."""
        empty = [track for track in self.tracks if not filled[track.index].times]
        notes = [NoteKind.SOUND_EMPTY.note(index=one.index, codec=one.codec) for one in empty]
        tracks = [track for track in self.tracks if track not in empty]
        return replace(self, tracks=tracks, left_out=self.left_out + notes)


def film_origin(info: FilmInfo) -> Fraction:
    """Seconds on the film's clock that are the time 0 of the written film."""
    if (
        info.container.startswith(_CLOCK_FROM_ZERO)
        and info.timing.film_start <= _LONGEST_LEAD_SECONDS
    ):
        return Fraction(0)
    return info.timing.film_start


def plan_sound(info: FilmInfo, suffix: str) -> SoundPlan:
    """Decide the treatment of each sound track in a file of this suffix, or raise InputError."""
    plan = SoundPlan(suffix, left_out=[_describe(one) for one in info.streams.left_out])
    if info.kind == "images":
        return plan
    with open_film(info.path) as container:
        streams = [cast(AudioStream, container.streams[index]) for index in info.streams.sound]
        tracks = [
            SoundTrack(one.index, one.codec_context.codec.canonical_name, one.channels)
            for one in streams
        ]
    for track in tracks:
        copied = _tried(info, track, suffix) if _is_usual(track.codec, suffix) else None
        if copied is not None:
            plan.tracks.append(copied)
        elif _can_be_decoded(info, track):
            usual = _is_usual(track.codec, suffix) and _holds(suffix, track.codec)
            reason = NoteKind.COPY_DIFFERS.note(suffix=suffix) if usual else None
            plan.tracks.append(reencoded(info, track, suffix, reason))
        else:
            plan.left_out.append(
                NoteKind.SOUND_UNDECODABLE.note(index=track.index, codec=track.codec)
            )
    return plan


def reencoded(
    info: FilmInfo, track: SoundTrack, suffix: str, reason: Note | None = None
) -> SoundTrack:
    with open_film(info.path) as container:
        context = cast(AudioStream, container.streams[track.index]).codec_context
        encoding = choose_encoding(context, CONTAINERS[suffix])
    if encoding is None:
        raise InputError(
            f"{info.path}: sound track {track.index} ({track.codec}, {track.channels} channels) "
            f"cannot be put into {suffix}; give the output a name with .mov or .mkv"
        )
    reason = reason or NoteKind.NOT_HELD.note(suffix=suffix, codec=track.codec)
    return replace(track, encoding=encoding, reason=reason)


def _describe(stream: LeftOut) -> Note:
    return NoteKind.STREAM_LEFT_OUT.note(stream=stream.describe(), reason=stream.reason.value)


def _is_usual(codec: str, suffix: str) -> bool:
    if suffix == ".mkv":
        return True
    if suffix == ".mov":
        return codec in _MOV_CODECS or codec.startswith(_PLAIN_PCM)
    return codec in _MP4_CODECS


def _holds(suffix: str, codec: str) -> bool:
    """Whether libav writes such sound into such a file at all."""
    with av.open(io.BytesIO(), "w", format=CONTAINERS[suffix]) as film:
        return codec in film.supported_codecs


def _tried(info: FilmInfo, track: SoundTrack, suffix: str) -> SoundTrack | None:
    """The track, to be copied, if its first packets come back out of such a file as they went in.

    Matroska can hide what is before time 0 only of some tracks (those of which libav knows how much
    their decoders are to skip): then it comes back with a time before 0.
    """
    memory = io.BytesIO()
    source = RawStream(track.codec)
    try:
        with open_film(info.path) as container:
            stream = cast(AudioStream, container.streams[track.index])
            with av.open(memory, "w", format=CONTAINERS[suffix]) as film:
                target = film.add_stream_from_template(stream)
                film.start_encoding()
                clock = _TargetClock(target, film_origin(info), _is_strict(suffix))
                for packet in _first_packets(container, info, stream):
                    source.add(packet)
                    film.mux_one(clock.moved(packet, target))
        memory.seek(0)
        with cast(InputContainer, av.open(memory)) as film:
            found = film.streams.audio[0]
            written = RawStream(found.codec_context.codec.canonical_name)
            for packet in film.demux(found):
                written.add(packet)
    except (av.FFmpegError, ValueError, IndexError, AttributeError):
        return None  # this, too, is an answer
    if not same_sound(source, written):
        return None
    hides = suffix != ".mkv" or min(written.times, default=0) < 0
    begins_before = bool(source.times) and source.seconds(0) < film_origin(info)
    if begins_before and not hides and track.codec.startswith("pcm_"):
        return None
    return replace(track, hides=hides)


def _first_packets(
    container: InputContainer, info: FilmInfo, stream: AudioStream
) -> Iterator[Packet]:
    packets = film_packets(container, info, [stream])
    with contextlib.suppress(av.FFmpegError, IndexError):
        yield from islice((one for one in packets if _is_heard(one)), _TRIED_PACKETS)


def _can_be_decoded(info: FilmInfo, track: SoundTrack) -> bool:
    """Whether one of the first packets can be decoded; true if there are none to be tried."""
    tried = 0
    with open_film(info.path) as container:
        stream = cast(AudioStream, container.streams[track.index])
        for packet in _first_packets(container, info, stream):
            tried += 1
            with contextlib.suppress(av.FFmpegError):
                if stream.codec_context.decode(packet):
                    return True
        with contextlib.suppress(av.FFmpegError):
            return not tried or bool(stream.codec_context.decode(None))
    return False


def film_packets(
    container: InputContainer, info: FilmInfo, streams: Sequence[AudioStream]
) -> Iterator[Packet]:
    """Packets of some sound tracks of a film, at the times of its pictures.

    If the film's times jump, sound jumps along with the pictures; what would then be heard at the
    same time as the sound before is left out.
    """
    if container.format.name not in JUMPING_FORMATS:
        yield from container.demux(*streams)
        return
    earliest = dict.fromkeys((stream.index for stream in streams), -math.inf)
    repaired = RepairedPackets(container, film_stream(container, info), info.timing.frame_rate)
    for packet in repaired:
        index, time = packet.stream_index, packet.pts
        if index not in earliest or (
            repaired.jumps and time is not None and time < earliest[index]
        ):
            continue
        if time is not None:
            earliest[index] = time + (packet.duration or 0) / 2
        yield packet


def add_tracks(film: Any, info: FilmInfo, source: InputContainer, plan: SoundPlan) -> list[Any]:
    """Add a stream for every track to a film that is written, and return them in order."""
    targets = []
    for track in plan.tracks:
        stream = cast(AudioStream, source.streams[track.index])
        if track.encoding is None:
            target = film.add_stream_from_template(stream)
        else:
            target = track.encoding.add_to(film)
        described = _labels(stream)
        target.metadata.update(described["metadata"])
        target.disposition = described["disposition"]
        targets.append(target)
    return targets


def sound_packets(
    source: InputContainer, info: FilmInfo, plan: SoundPlan, targets: Sequence[Any]
) -> Iterator[Packet]:
    """Packets of all tracks for the file that is written, read in one pass.

    Reading ends where the file cannot be read any further: the pictures' decoder has said so.
    `targets` are the streams of `add_tracks`, of a file whose header is written.
    """
    if not plan.tracks:
        return
    streams = [cast(AudioStream, source.streams[track.index]) for track in plan.tracks]
    origin, strict = film_origin(info), _is_strict(plan.suffix)
    ways: dict[int, _Copier | SoundEncoder] = {}
    for track, stream, target in zip(plan.tracks, streams, targets, strict=True):
        if track.encoding is None:
            clock = _TargetClock(target, origin, strict)
            preroll = None if track.hides else _preroll(track.codec)
            ways[track.index] = _Copier(clock, target, preroll)
        else:
            exact = info.container in JUMPING_FORMATS
            ways[track.index] = SoundEncoder(stream, target, track.encoding, origin, exact)
    for packet in readable_packets(film_packets(source, info, streams)):
        if _is_heard(packet):
            yield from ways[packet.stream_index].packets(packet)
    for way in ways.values():
        yield from way.rest()


def _is_heard(packet: Packet) -> bool:
    return bool(packet.size) and not (packet.pts is None and packet.dts is None)


def _is_strict(suffix: str) -> bool:
    """Whether the times of a file must rise from packet to packet, rather than not fall."""
    return suffix != ".mkv"


class _TargetClock:
    """Conversion of packet times to those of a written file; `origin` (seconds) becomes 0.

    In the units of the file, not of the film: packets can be shorter than the film's unit (TrueHD
    in Matroska), and would be pushed apart there.
    """

    def __init__(self, target: Any, origin: Fraction, strict: bool) -> None:
        self._base, self._origin = cast(Fraction, target.time_base), origin
        self._least = 1 if strict else 0
        self._last: int | None = None

    def moved(self, packet: Packet, target: Any) -> Packet:
        time = cast(int, packet.pts if packet.pts is not None else packet.dts) * packet.time_base
        place = round((time - self._origin) / self._base)
        # Sound is never reordered; some files claim otherwise, or repeat a time after a splice.
        if self._last is not None:
            place = max(place, self._last + self._least)
        self._last = place
        duration = round((packet.duration or 0) * packet.time_base / self._base)
        packet.stream = target
        packet.pts = packet.dts = place
        packet.duration = duration
        packet.time_base = self._base
        return packet


class _Copier:
    """Copier of packets, except those that the film hides before its start and the new file cannot.

    mp4 has an edit list for what is before 0. Matroska would move the whole film so that it begins
    with what was hidden; so only what the decoder needs to begin is kept: `preroll` seconds, None
    for all.
    """

    def __init__(self, clock: _TargetClock, target: Any, preroll: "_Preroll | None") -> None:
        self._clock, self._target, self._preroll = clock, target, preroll
        self._hidden: list[Packet] = []

    def packets(self, packet: Packet) -> Iterator[Packet]:
        """The packets to write for one of the film."""
        moved = self._clock.moved(packet, self._target)
        if self._preroll is not None:
            end = (cast(int, moved.pts) + cast(int, moved.duration)) * moved.time_base
            if end <= 0:
                self._hidden = self._preroll.kept([*self._hidden, moved])
                return
        yield from self._hidden
        self._hidden = []
        self._preroll = None
        yield moved

    def rest(self) -> Iterator[Packet]:
        return iter(())


@dataclass(frozen=True)
class _Preroll:
    """Hidden sound that a decoder needs to begin: packets, or seconds before 0."""

    count: int
    seconds: Fraction

    def kept(self, packets: list[Packet]) -> list[Packet]:
        """Of packets that end before 0, the last ones that are needed."""
        late = [one for one in packets if cast(int, one.pts) * one.time_base >= -self.seconds]
        return late if len(late) > self.count else packets[len(packets) - self.count :]


def _preroll(codec: str) -> _Preroll:
    if codec in _PREROLL_SECONDS:
        return _Preroll(1, _PREROLL_SECONDS[codec])
    return _Preroll(1 if codec in _ONE_PACKET else 0, Fraction(0))


def _labels(stream: Any) -> dict[str, Any]:
    """Language, title and role of a stream, which it keeps."""
    keep = ("language", "title", "handler_name")
    kept = {key: value for key, value in stream.metadata.items() if key.lower() in keep}
    return {"metadata": kept, "disposition": stream.disposition}


def refuse_unknown_suffix(path: Path) -> None:
    """Raise InputError unless films can be written into files with this suffix."""
    if path.suffix.lower() not in CONTAINERS:
        raise InputError(
            f"{path}: films are written as {', '.join(CONTAINERS)}; give the output such a name"
        )
