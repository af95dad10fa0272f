"""Checks a finished film against its original by reading the packets of both; nothing is decoded.

It shares nothing with the code that writes: it reads the times that lie in the files, and compares
sound with picture in each of the two. What must hold: as many pictures as frames were read, each at
its frame's distance from the first, the last one shown as long; every copied packet of sound the
same bytes at the same distance from the picture; sound that was encoded anew beginning and ending
where the original's does.
"""

import hashlib
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from math import lcm
from pathlib import Path
from typing import Any

import av
from av.packet import Packet

from bladerunner_ae.errors import OutputError
from bladerunner_ae.film.info import FilmInfo
from bladerunner_ae.film.notes import Note
from bladerunner_ae.film.reading.container import open_film

# How far sound whose packets are cut differently may begin or end from where it did: a few
# packets of AAC.
_ENDS_TOLERANCE_SECONDS = Fraction(1, 5)

# Splices are rounded more than once; nobody hears so little.
_INAUDIBLE_SECONDS = Fraction(1, 1000)

# mp4 keeps the beginning of each track in units of the whole film, at least a million a second.
_WHOLE_FILM_UNIT = Fraction(1, 1_000_000)

# The start of a packet that carries its own header, as AAC does in broadcasts and nowhere else.
_ADTS_MARK, _ADTS_MASK = 0xFFF0, 0xFFF6

# The clock of transport and program streams: 33 bits of 1/90000 s. It can start over anywhere.
_WRAPPING, _UNITS, _WRAP = ("mpegts", "mpeg"), 90_000, 2**33
_LONGEST_STEP, _LONGEST_SLIP = 10 * _UNITS, _UNITS // 10

# Sound is compared with the picture nearest to it, among so many around it in the file.
_PICTURES_AROUND = 64
_NEAR = _UNITS // 2


class TrackError(OutputError):
    """One sound track of a finished film is not what it should be.

    Attributes:
        track: its place among the tracks of the finished film, from 0.
    """

    def __init__(self, path: Path, track: int, what: str) -> None:
        super().__init__(f"{path}: sound track {track + 1} {what}")
        self.track, self.what = track, what


@dataclass
class RawStream:
    """The packets of one stream as they lie in a file, in its order.

    Attributes:
        codec: e.g. "mp3".
        time_base: seconds per unit of time.
        times: when each packet is shown, or decoded where only that is known, in those units.
        decoded: when each packet is decoded, or shown where only that is known.
        durations: of each packet, in those units; 0 where the file does not say.
        hidden: whether the file tells players not to show it.
        digests: of each packet's bytes; empty for pictures.
        places: of each packet among all packets of the file that were read.
        declared_ends: seconds at which it may end by the file's header: some versions of libav
            count from the start of the stream, others from 0.
        forms: what its packets say of themselves in headers of their own; more than one, if its
            channels or rate change midway.
        header: of the whole stream, where the file keeps one.
    """

    codec: str
    time_base: Fraction = Fraction(1)
    times: Any = field(default_factory=lambda: array("q"))
    decoded: Any = field(default_factory=lambda: array("q"))
    durations: Any = field(default_factory=lambda: array("q"))
    hidden: Any = field(default_factory=lambda: array("b"))
    digests: list[bytes] = field(default_factory=list)
    places: Any = field(default_factory=lambda: array("q"))
    declared_ends: tuple[Fraction, ...] = ()
    forms: set[bytes] = field(default_factory=set)
    header: bytes = b""
    _bytes: Any = field(default_factory=hashlib.blake2b)

    def add(self, packet: Packet, place: int = 0) -> None:
        """Record a packet; one that holds nothing, or has no time, does not count."""
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
            data: memoryview = memoryview(packet)
            if self.codec == "aac":
                length = _adts_header_length(data)
                if length:  # profile, rate and channels
                    self.forms.add(bytes((data[2] & 0xFD, data[3] & 0xC0)))
                data = data[length:]
            if packet.has_sidedata("new_extradata"):
                side: Any = packet.get_sidedata("new_extradata")
                header = bytes(side)
                if header != self.header:
                    self.forms |= {self.header, header}
            self._bytes.update(data)
            self.digests.append(hashlib.blake2b(data, digest_size=8).digest())

    @property
    def content(self) -> str:
        """Digest of all bytes in order, however they are cut into packets."""
        return str(self._bytes.hexdigest())

    @property
    def changes(self) -> bool:
        """Whether its channels or rate change midway; a new file would keep the first ones."""
        return len(self.forms) > 1

    def seconds(self, packet: int) -> Fraction:
        """When a packet is shown."""
        return self.times[packet] * self.time_base

    def end(self, packet: int) -> Fraction:
        """When a packet ends."""
        return (self.times[packet] + self.durations[packet]) * self.time_base


@dataclass(frozen=True)
class RawFilm:
    """What lies in a file.

    Attributes:
        picture: its picture, or None for a folder of images.
        sound: its sound tracks, by the index of their stream.
        wraps: whether its clock has 33 bits.
    """

    picture: RawStream | None
    sound: dict[int, RawStream]
    wraps: bool = False


@dataclass(frozen=True)
class Verification:
    """What a finished film was found to be.

    Attributes:
        largest_error: the most, in seconds, that a picture's time differs from its frame's.
        sound: one line for each sound track, e.g. "copied (mp3, 2110 packets identical)".
    """

    frames: int
    largest_error: Fraction
    sound: list[str]


@dataclass(frozen=True)
class Expected:
    """What a finished film must hold.

    Attributes:
        pts: the times of the frames that were decoded, ascending, in units of `time_base`.
        end: the time at which the last of them ends, in those units.
        time_base: seconds per unit.
        exact: whether the frames keep to a rate that is exact where the original's clock is not.
        tracks: index, codec, and the codec of what is written if it is encoded anew, of each sound
            track, in order.
        reasons: why tracks are encoded anew, by index.
    """

    pts: Sequence[int]
    end: int
    time_base: Fraction
    exact: bool
    jumps: bool
    tracks: Sequence[tuple[int, str, str | None]]
    reasons: dict[int, Note | None]


def read_original(info: FilmInfo) -> RawFilm:
    """Read every packet of a film's picture and sound."""
    if info.kind == "images":
        return RawFilm(None, {})
    with open_film(info.path) as container:
        found = _read(container, {info.streams.picture, *info.streams.sound})
        wraps = container.format.name in _WRAPPING
    picture = found.pop(info.streams.picture, None)
    return RawFilm(picture, found, wraps)


def _read(container: Any, indexes: set[int]) -> dict[int, RawStream]:
    streams = [container.streams[index] for index in sorted(indexes)]
    found = {one.index: RawStream(one.codec_context.codec.canonical_name) for one in streams}
    for one in streams:
        found[one.index].header = bytes(one.codec_context.extradata or b"")
        if one.duration is not None and one.time_base:
            found[one.index].declared_ends = (
                ((one.start_time or 0) + one.duration) * one.time_base,
                one.duration * one.time_base,
            )
    for place, packet in enumerate(_packets(container, streams)):
        found[packet.stream_index].add(packet, place)
    return found


def _packets(container: Any, streams: Sequence[Any]) -> Iterator[Packet]:
    """All packets up to where the file cannot be read any further."""
    packets = container.demux(*streams)
    while True:
        try:
            yield next(packets)
        except (StopIteration, IndexError, av.FFmpegError):
            return


def verify_film(path: Path, original: RawFilm, expected: Expected, name: Path) -> Verification:
    """Check a finished film.

    Raises:
        TrackError: a sound track is not what it should be.
        OutputError: the film is not what it should be; the message says in what.
    """
    try:
        with av.open(str(path.absolute())) as film:
            found = _read(film, {one.index for one in film.streams if one.type in _KINDS})
            kinds = {one.index: one.type for one in film.streams}
            length = Fraction(film.duration or 0, av.time_base)
    except (av.FFmpegError, IndexError) as error:
        raise OutputError(f"{name}: cannot be read back ({error})") from error
    pictures = [one for index, one in found.items() if kinds[index] == "video"]
    tracks = [one for index, one in found.items() if kinds[index] == "audio"]
    if len(pictures) != 1:
        raise OutputError(f"{name}: has {len(pictures)} pictures' streams, not one")
    if len(tracks) != len(expected.tracks):
        raise OutputError(
            f"{name}: has {len(tracks)} sound tracks, {len(expected.tracks)} were to be written"
        )
    times, largest = _check_pictures(name, pictures[0], expected)
    judge = _Judge(name, original, expected, times, pictures[0].time_base)
    judge.check_length(pictures[0], length)
    lines = [judge.check_sound(number, one) for number, one in enumerate(tracks)]
    return Verification(len(times), largest, lines)


_KINDS = ("video", "audio")


def _check_pictures(
    name: Path, picture: RawStream, expected: Expected
) -> tuple[list[int], Fraction]:
    """The times of all pictures, and the largest error among them."""
    times = sorted(
        time for time, hidden in zip(picture.times, picture.hidden, strict=True) if not hidden
    )
    if len(times) != len(expected.pts):
        raise OutputError(
            f"{name}: has {len(times)} pictures, the original {len(expected.pts)} frames"
        )
    error = _largest_error(times, picture.time_base, expected.pts, expected.time_base)
    # Rounding of the original's clock, of the file's, and nothing else.
    loose = expected.time_base if expected.exact else Fraction(0)
    if error > max(loose, picture.time_base):
        raise OutputError(
            f"{name}: a picture is shown {float(error):.6f} seconds from its frame's time"
        )
    return times, error


def _largest_error(
    ours: Sequence[int], our_base: Fraction, theirs: Sequence[int], their_base: Fraction
) -> Fraction:
    """The most, in seconds, by which times, counted from the first, differ."""
    # In whole numbers of a unit that all share: fractions take long for a long film.
    shared = lcm(our_base.denominator, their_base.denominator)
    our_units, their_units = int(our_base * shared), int(their_base * shared)
    errors = (
        abs((a - ours[0]) * our_units - (b - theirs[0]) * their_units)
        for a, b in zip(ours, theirs, strict=True)
    )
    return Fraction(max(errors, default=0), shared)


class _Judge:
    """Compares sound with picture, in the original and in what was written.

    Args:
        base: seconds per unit of those.
    """

    def __init__(
        self, name: Path, original: RawFilm, expected: Expected, times: list[int], base: Fraction
    ) -> None:
        self._name, self._original, self._expected = name, original, expected
        self._times, self._base = times, base
        self._first = times[0] * base
        self._frames: _FramesByPacket | None = None

    def check_length(self, picture: RawStream, length: Fraction) -> None:
        """Raise OutputError unless the last picture is shown as long as the film's last frame.

        Args:
            length: seconds that the written file says it lasts.
        """
        expected = self._expected
        decoded = [(expected.end - expected.pts[0]) * expected.time_base]
        raw = self._original.picture
        packets = [] if raw is None or expected.jumps else _shown_ends(raw, expected)
        # Both a time and a length are rounded in each file.
        allowed = picture.time_base + 2 * expected.time_base + _WHOLE_FILM_UNIT
        # Matroska says only how long the whole film lasts, which its sound may outlast.
        whole = not picture.declared_ends
        ours = [end - self._first for end in picture.declared_ends or (length,)]
        for ends in (decoded, packets):
            apart = (end - lasts if whole else abs(end - lasts) for end in ends for lasts in ours)
            if ends and min(apart) > allowed:
                raise OutputError(
                    f"{self._name}: its picture lasts {float(ours[0]):.3f} seconds, the original's "
                    f"{float(ends[0]):.3f}"
                )

    def check_sound(self, number: int, written: RawStream) -> str:
        """A line about one sound track; raises TrackError if it is not what it should be."""
        index, codec, encoded = self._expected.tracks[number]
        original = self._original.sound[index]
        if not written.times:
            raise TrackError(self._name, number, "is empty")
        if encoded is not None:
            self._check_ends(number, original, written)
            return f"re-encoded as {written.codec} because {self._expected.reasons[index]}"
        # Containers cut PCM into packets as they like: its bytes count.
        if codec.startswith("pcm_"):
            if written.content != original.content:
                raise self._other(number, original)
            self._check_ends(number, original, written)
            return f"copied ({codec}, every sample identical)"
        words = f"{codec}, {len(written.times)} packets identical"
        if not self._original.wraps or not self._expected.jumps:
            self._check_packets(number, original, written)
        elif not self._check_beside_pictures(number, original, written):
            words += "; whether in sync cannot be told, the film's clock jumps and it is damaged"
        return f"copied ({words})"

    def _check_packets(self, number: int, original: RawStream, written: RawStream) -> None:
        """Every packet the same, at the same distance from the first picture."""
        left_out = len(original.times) - len(written.times)
        # A file that cannot hide sound leaves out what would not be heard: it ends before time 0.
        unheard = 0
        while unheard < len(original.times) and original.end(unheard) <= 0:
            unheard += 1
        if not 0 <= left_out <= unheard:
            raise TrackError(
                self._name,
                number,
                f"has {len(written.times)} packets, the original {len(original.times)}",
            )
        if written.digests != original.digests[left_out:]:
            raise self._other(number, original)
        begin = self._expected.pts[0] * self._expected.time_base
        allowed = self._allowed(original, written)
        unit, first = original.time_base, original.times[left_out]
        start = first * unit - begin
        if self._original.wraps:
            start = _unwrapped(start)
        for place, time in enumerate(_rising(original.times[left_out:], self._original.wraps)):
            theirs = start + (time - first) * unit
            apart = abs(written.seconds(place) - self._first - theirs)
            if apart > allowed:
                raise self._off(number, apart)

    def _check_beside_pictures(self, number: int, original: RawStream, written: RawStream) -> bool:
        """Every packet the same, at the same distance from a picture that lies near it.

        This is for clocks that jump. Sound that would be heard at once with other sound may be left
        out there.

        Returns:
            Whether the pictures could be told apart; else only the bytes are known to be right.
        """
        frames = self._frames = self._frames or _FramesByPacket(self._original, self._expected)
        allowed = self._allowed(original, written)
        place, apart = 0, Fraction(0)
        for packet in range(len(written.times)):
            ours = written.seconds(packet)
            while True:
                if place >= len(original.times):
                    raise self._off(number, apart) if apart else self._other(number, original)
                place += 1
                if written.digests[packet] != original.digests[place - 1]:
                    continue
                near = frames.near(original.times[place - 1], original.places[place - 1])
                apart = min(
                    (
                        abs(ours - self._times[frame] * self._base - Fraction(distance, _UNITS))
                        for frame, distance in near
                    ),
                    default=Fraction(0),
                )
                if apart <= allowed:
                    break
        return frames.known

    def _allowed(self, original: RawStream, written: RawStream) -> Fraction:
        """Rounding of all clocks that take part."""
        return (
            max(original.time_base, written.time_base, _INAUDIBLE_SECONDS)
            + max(self._expected.time_base if self._expected.exact else Fraction(0), self._base)
            + _WHOLE_FILM_UNIT
        )

    def _other(self, number: int, original: RawStream) -> TrackError:
        return TrackError(self._name, number, f"({original.codec}) differs from the original's")

    def _off(self, number: int, apart: Fraction) -> TrackError:
        return TrackError(self._name, number, f"is {float(apart):.6f} seconds off at one packet")

    def _check_ends(self, number: int, original: RawStream, written: RawStream) -> None:
        """Raise TrackError unless a track begins and ends when the original's does."""
        if self._original.wraps and self._expected.jumps:
            return  # its own end says nothing
        begin = self._expected.pts[0] * self._expected.time_base
        start, last = original.seconds(0) - begin, len(original.times) - 1
        end = original.end(last) - begin
        if self._original.wraps:
            start = _unwrapped(start)
            end = (
                start
                + sum(_step(*pair) for pair in pairwise(original.times)) * original.time_base
                + original.durations[last] * original.time_base
            )
        else:
            start = max(start, -begin)  # what lies before time 0 is not heard
        ours = written.seconds(0) - self._first, written.end(len(written.times) - 1) - self._first
        apart = max(abs(start - ours[0]), abs(end - ours[1]))
        if apart > _ENDS_TOLERANCE_SECONDS:
            raise TrackError(
                self._name,
                number,
                f"begins or ends {float(apart):.3f} seconds from where the original does",
            )


def _unwrapped(seconds: Fraction) -> Fraction:
    """A distance on a clock of 33 bits, without wraps."""
    half = Fraction(_WRAP, 2 * _UNITS)
    return (seconds + half) % (2 * half) - half


def _shown_ends(picture: RawStream, expected: Expected) -> list[Fraction]:
    """Seconds from the first frame to the end of the last, as its packet and the header say.

    Nothing where the last packets are hidden, or cannot be decoded, or come without a length.
    """
    last = max(range(len(picture.times)), key=picture.times.__getitem__, default=None)
    if (
        last is None
        or picture.hidden[last]
        or not picture.durations[last]
        or picture.time_base != expected.time_base
        or picture.times[last] != expected.pts[-1]
    ):
        return []
    # Of a last picture that is held its packet may say nothing: mp4 adds up times of decoding.
    ends = [picture.end(last), *picture.declared_ends]
    return [end - expected.pts[0] * expected.time_base for end in ends]


class _FramesByPacket:
    """Finds the pictures of a broadcast that lie near a packet of its sound, in time and in file.

    Attributes:
        known: whether it is known which packet is which frame.
    """

    def __init__(self, original: RawFilm, expected: Expected) -> None:
        picture = original.picture
        assert picture is not None
        self._places, self._times = picture.places, picture.times
        self._frames = _ranks(picture)
        # Else it is damaged as well, and there is nothing to hold on to.
        self.known = len(picture.times) == len(expected.pts)

    def near(self, time: int, place: int) -> list[tuple[int, int]]:
        """Frames near a packet, each with how much later the packet is, in units of the clock."""
        middle = bisect_left(self._places, place)
        first, end = max(middle - _PICTURES_AROUND, 0), middle + _PICTURES_AROUND
        found = list[tuple[int, int]]()
        if not self.known:
            return found
        for picture in range(first, min(end, len(self._times))):
            distance = _step(self._times[picture], time)
            if abs(distance) <= _NEAR:
                found.append((self._frames[picture], distance))
        return sorted(found, key=lambda one: abs(one[1]))[:4]


def _ranks(picture: RawStream) -> list[int]:
    """The frame of each packet of a picture whose clock jumps: shown part by part, in order."""
    parts, part = list[tuple[int, int, int]](), 0
    place = before = picture.decoded[0] if len(picture.decoded) else 0
    for packet, time in enumerate(picture.decoded):
        step = _step(before, time)
        part += not -_LONGEST_SLIP <= step <= _LONGEST_STEP
        place, before = place + step, time
        parts.append((part, place + _step(time, picture.times[packet]), packet))
    ranks = [0] * len(parts)
    for rank, (_, _, packet) in enumerate(sorted(parts)):
        ranks[packet] = rank
    return ranks


def _step(before: int, after: int) -> int:
    """From one time to another on a clock of 33 bits."""
    return (after - before + _WRAP // 2) % _WRAP - _WRAP // 2


def _rising(times: Sequence[int], wraps: bool) -> Iterator[int]:
    """Times of sound: never reordered, whatever a file claims; and without wraps."""
    latest = before = times[0] if len(times) else 0
    for time in times:
        before = before + _step(before, time) if wraps else time
        latest = max(latest, before)
        yield latest


def same_sound(original: RawStream, written: RawStream) -> bool:
    """Whether some packets came out of a file as they went in, at the same distances in time."""
    if _kind(written.codec) != _kind(original.codec) or not _same_bytes(original, written):
        return False
    if not original.times or original.codec.startswith("pcm_"):
        return True
    unit, first = original.time_base, original.times[0]
    apart = (
        abs(written.seconds(place) - written.seconds(0) - (time - first) * unit)
        for place, time in enumerate(_rising(original.times, wraps=False))
    )
    return max(apart) <= unit + written.time_base


def _kind(codec: str) -> str:
    # mp4 has one name for all layers of MPEG audio, and decoders look at the packets.
    return "mpeg audio" if codec in ("mp1", "mp2", "mp3") else codec


def _same_bytes(original: RawStream, written: RawStream) -> bool:
    if original.codec.startswith("pcm_"):
        return written.content == original.content
    return written.digests == original.digests


def _adts_header_length(data: memoryview) -> int:
    """Bytes before the sound itself: broadcasts repeat a header that mp4 and mkv keep once."""
    if len(data) < 7 or (data[0] << 8 | data[1]) & _ADTS_MASK != _ADTS_MARK:
        return 0
    has_checksum = not data[1] & 1
    return 9 if has_checksum else 7
