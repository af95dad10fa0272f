"""Packets of films as they are in the files; nothing is decoded."""

import hashlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import av
from av.container import InputContainer
from av.packet import Packet

from bladerunner_ae.film.info import FilmInfo
from bladerunner_ae.film.reading.container import open_film

# The clock of transport and program streams: 33 bits of 1/90000 s. It can start over anywhere.
UNITS = 90_000
_WRAPPING, _WRAP = ("mpegts", "mpeg"), 2**33

# The start of a packet that carries its own header, as AAC does in broadcasts and nowhere else.
_ADTS_MARK, _ADTS_MASK = 0xFFF0, 0xFFF6


def _integers() -> "array[int]":
    return array("q")


@dataclass
class RawStream:
    """The packets of one stream, in file order.

    Attributes:
        times: when each packet is shown, or decoded if only that is known, in `time_base`.
        decoded: when each packet is decoded, or shown if only that is known.
        durations: of each packet, in `time_base`; 0 if the file does not say.
        hidden: whether the file tells players not to show it.
        digests: of each packet's bytes; empty for pictures.
        places: of each packet among all packets of the file that were read.
        declared_ends: seconds at which it may end by the file's header: some versions of libav
            count from the start of the stream, others from 0.
        forms: headers in the packets themselves; more than one if channels or rate change midway.
        header: of the whole stream, if the file keeps one.
    """

    codec: str
    time_base: Fraction = Fraction(1)
    times: "array[int]" = field(default_factory=_integers)
    decoded: "array[int]" = field(default_factory=_integers)
    durations: "array[int]" = field(default_factory=_integers)
    hidden: "array[int]" = field(default_factory=_integers)
    digests: list[bytes] = field(default_factory=list)
    places: "array[int]" = field(default_factory=_integers)
    declared_ends: tuple[Fraction, ...] = ()
    forms: set[bytes] = field(default_factory=set)
    header: bytes = b""
    _bytes: Any = field(default_factory=hashlib.blake2b)

    def add(self, packet: Packet, place: int = 0) -> None:
        """Add a packet, unless it is empty or has no time."""
        time = packet.pts if packet.pts is not None else packet.dts
        if not packet.size or time is None:
            return
        self.time_base = Fraction(packet.time_base or 1)
        self.times.append(time)
        self.decoded.append(packet.dts if packet.dts is not None else time)
        self.durations.append(packet.duration or 0)
        self.hidden.append(packet.is_discard)
        self.places.append(place)
        if packet.stream.type == "audio":
            self._add_sound(packet)

    def _add_sound(self, packet: Packet) -> None:
        data: memoryview = memoryview(packet)
        if self.codec == "aac":
            length = _adts_header_length(data)
            if length:  # profile, rate and channels
                self.forms.add(bytes((data[2] & 0xFD, data[3] & 0xC0)))
            data = data[length:]
        if packet.has_sidedata("new_extradata"):
            side: Any = packet.get_sidedata("new_extradata")
            if bytes(side) != self.header:
                self.forms |= {self.header, bytes(side)}
        self._bytes.update(data)
        self.digests.append(hashlib.blake2b(data, digest_size=8).digest())

    @property
    def is_pcm(self) -> bool:
        """Whether containers divide its samples into packets at will."""
        return self.codec.startswith("pcm_")

    @property
    def content(self) -> str:
        """Digest of all bytes in order, however they are divided into packets."""
        return str(self._bytes.hexdigest())

    @property
    def changes(self) -> bool:
        """Whether its channels or rate change midway; a new file would keep the first ones."""
        return len(self.forms) > 1

    def seconds(self, packet: int) -> Fraction:
        return self.times[packet] * self.time_base

    def end(self, packet: int) -> Fraction:
        return (self.times[packet] + self.durations[packet]) * self.time_base


@dataclass(frozen=True)
class RawFilm:
    """Packets of a film, sound by stream index; images have no picture. `wraps`: 33-bit clock."""

    picture: RawStream | None
    sound: dict[int, RawStream]
    wraps: bool = False


def read_original(info: FilmInfo) -> RawFilm:
    """Read every packet of a film's picture and sound."""
    if info.kind == "images":
        return RawFilm(None, {})
    picture = info.streams.picture
    with open_film(info.path) as container:
        found = read_streams(container, {picture, *info.streams.sound})
        return RawFilm(found.pop(picture, None), found, container.format.name in _WRAPPING)


def read_streams(container: InputContainer, indices: set[int]) -> dict[int, RawStream]:
    """Read some streams of an open film, by index, as far as the file can be read."""
    streams: list[Any] = [container.streams[index] for index in sorted(indices)]
    found = {one.index: RawStream(one.codec_context.codec.canonical_name) for one in streams}
    for one in streams:
        found[one.index].header = bytes(one.codec_context.extradata or b"")
        if one.duration is not None and one.time_base:
            found[one.index].declared_ends = (
                ((one.start_time or 0) + one.duration) * one.time_base,
                one.duration * one.time_base,
            )
    for place, packet in enumerate(readable_packets(container.demux(*streams))):
        found[packet.stream_index].add(packet, place)
    return found


def readable_packets(packets: Iterator[Packet]) -> Iterator[Packet]:
    """All packets up to where the file cannot be read any further."""
    while True:
        try:
            yield next(packets)
        except (StopIteration, IndexError, av.FFmpegError):
            return


def same_sound(original: RawStream, written: RawStream) -> bool:
    """Whether packets came out of a file as they went in, at the same distances in time."""
    if _family(written.codec) != _family(original.codec):
        return False
    if original.is_pcm:
        return written.content == original.content
    if written.digests != original.digests:
        return False
    if not original.times:
        return True
    unit, first = original.time_base, original.times[0]
    apart = (
        abs(written.seconds(place) - written.seconds(0) - (time - first) * unit)
        for place, time in enumerate(rising(original.times, wraps=False))
    )
    return max(apart) <= unit + written.time_base


def rising(times: Sequence[int], wraps: bool) -> Iterator[int]:
    """Times of sound, which is never reordered, whatever a file says; and without wraps."""
    latest = before = times[0] if len(times) else 0
    for time in times:
        before = before + step(before, time) if wraps else time
        latest = max(latest, before)
        yield latest


def step(before: int, after: int) -> int:
    """Difference of two times on a clock of 33 bits."""
    return (after - before + _WRAP // 2) % _WRAP - _WRAP // 2


def unwrapped(seconds: Fraction) -> Fraction:
    """A distance in seconds on a clock of 33 bits, without wraps."""
    half = Fraction(_WRAP, 2 * UNITS)
    return (seconds + half) % (2 * half) - half


def _family(codec: str) -> str:
    # mp4 has one name for all layers of MPEG audio, and decoders look at the packets.
    return "mpeg audio" if codec in ("mp1", "mp2", "mp3") else codec


def _adts_header_length(data: memoryview) -> int:
    """Bytes before the sound itself: broadcasts repeat a header that mp4 and mkv keep once."""
    if len(data) < 7 or (data[0] << 8 | data[1]) & _ADTS_MASK != _ADTS_MARK:
        return 0
    has_checksum = not data[1] & 1
    return 9 if has_checksum else 7
