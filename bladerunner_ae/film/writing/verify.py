"""Verification of a finished film against its original, by the packets of both.

It shares nothing with the code that writes: it reads the times in the files, and compares sound
with picture in each of the two. Requirements: as many pictures as frames were read, each at its
frame's distance from the first, the last one shown as long; every copied packet of sound the same
bytes at the same distance from the picture; re-encoded sound beginning and ending when the
original's does.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from math import lcm
from pathlib import Path

import av

from bladerunner_ae.errors import OutputError
from bladerunner_ae.film.writing.raw_packets import (
    UNITS,
    RawFilm,
    RawStream,
    read_streams,
    rising,
    step,
    unwrapped,
)
from bladerunner_ae.film.writing.sound import SoundTrack

# How far sound whose packets are cut differently may begin or end from where it did: a few
# packets of AAC.
_ENDS_TOLERANCE_SECONDS = Fraction(1, 5)

# Splices are rounded more than once; so little is inaudible.
_INAUDIBLE_SECONDS = Fraction(1, 1000)

# mp4 keeps the beginning of each track in units of the whole film, at least a million a second.
_WHOLE_FILM_UNIT = Fraction(1, 1_000_000)

# Longer steps of a clock of 33 bits, forwards and back, begin a new part.
_LONGEST_STEP, _LONGEST_SLIP = 10 * UNITS, UNITS // 10

# Sound is compared with the nearest picture in time, among this many around it in the file.
_PICTURES_AROUND = 64
_NEAR = UNITS // 2


class TrackError(OutputError):
    """Sound track number `track` (from 0) is not as it should be; `what` is a predicate."""

    def __init__(self, path: Path, track: int, what: str) -> None:
        super().__init__(f"{path}: sound track {track + 1} {what}")
        self.track, self.what = track, what


@dataclass(frozen=True)
class Verification:
    """The result of verifying a film.

    `largest_error` is in seconds; `sound` has a line for each track, e.g. "copied (mp3, 2110
    packets identical)".
    """

    frames: int
    largest_error: Fraction
    sound: list[str]


@dataclass(frozen=True)
class Expected:
    """Requirements on a finished film.

    Attributes:
        pts, end: times of the decoded frames, ascending, and the end of the last, in `time_base`.
        exact: whether the frames keep to a rate that is exact where the original's clock is not.
        jumps: whether the original's clock jumps.
        tracks: sound that was to be written, in order.
    """

    pts: Sequence[int]
    end: int
    time_base: Fraction
    exact: bool
    jumps: bool
    tracks: Sequence[SoundTrack]

    @property
    def begin(self) -> Fraction:
        return self.pts[0] * self.time_base


def verify_film(path: Path, original: RawFilm, expected: Expected, name: Path) -> Verification:
    """Verify the film at `path`, called `name` in messages.

    Raises:
        TrackError: a sound track is not as it should be.
        OutputError: the film is not as it should be; the message says in what.
    """
    try:
        with av.open(str(path.absolute())) as film:
            kinds = {one.index: one.type for one in film.streams if one.type in ("video", "audio")}
            found = read_streams(film, set(kinds))
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
    """Comparison of sound with picture in both films; `times` ascend, in `base` seconds."""

    def __init__(
        self, name: Path, original: RawFilm, expected: Expected, times: list[int], base: Fraction
    ) -> None:
        self._name, self._original, self._expected = name, original, expected
        self._times, self._base = times, base
        self._first = times[0] * base
        self._frames: _FramesByPacket | None = None

    def check_length(self, picture: RawStream, length: Fraction) -> None:
        """Raise OutputError unless the last picture lasts as long as the film's (seconds)."""
        expected, raw = self._expected, self._original.picture
        decoded = [expected.end * expected.time_base - expected.begin]
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
        """A line about one sound track; raises TrackError if it is not as it should be."""
        track = self._expected.tracks[number]
        original = self._original.sound[track.index]
        if not written.times:
            raise TrackError(self._name, number, "is empty")
        if not track.copied:
            self._check_ends(number, original, written)
            return f"re-encoded as {written.codec} because {track.reason}"
        if original.is_pcm:
            if written.content != original.content:
                raise self._differs(number, original)
            self._check_ends(number, original, written)
            return f"copied ({track.codec}, every sample identical)"
        words = f"{track.codec}, {len(written.times)} packets identical"
        if not self._original.wraps or not self._expected.jumps:
            self._check_packets(number, original, written)
        elif not self._check_beside_pictures(number, original, written):
            words += "; whether in sync cannot be told, the film's clock jumps and it is damaged"
        return f"copied ({words})"

    def _check_packets(self, number: int, original: RawStream, written: RawStream) -> None:
        """Check that every packet is the same, at the same distance from the first picture."""
        left_out = len(original.times) - len(written.times)
        # A file that cannot hide sound leaves out what would not be heard: it ends before time 0.
        unheard = 0
        while unheard < len(original.times) and original.end(unheard) <= 0:
            unheard += 1
        if not 0 <= left_out <= unheard:
            what = f"has {len(written.times)} packets, the original {len(original.times)}"
            raise TrackError(self._name, number, what)
        if written.digests != original.digests[left_out:]:
            raise self._differs(number, original)
        allowed = self._allowed(original, written)
        unit, first = original.time_base, original.times[left_out]
        start = first * unit - self._expected.begin
        if self._original.wraps:
            start = unwrapped(start)
        for place, time in enumerate(rising(original.times[left_out:], self._original.wraps)):
            theirs = start + (time - first) * unit
            apart = abs(written.seconds(place) - self._first - theirs)
            if apart > allowed:
                raise self._off(number, apart)

    def _check_beside_pictures(self, number: int, original: RawStream, written: RawStream) -> bool:
        """Check that every packet is the same, at the same distance from a picture near it.

        For clocks that jump. Sound that would be heard at once with other sound may be left out.
        Returns whether the pictures could be told apart; else only the bytes are known to be right.
        """
        frames = self._frames = self._frames or _FramesByPacket(self._original, self._expected)
        allowed = self._allowed(original, written)
        place, apart = 0, Fraction(0)
        for packet in range(len(written.times)):
            ours = written.seconds(packet)
            while True:
                if place >= len(original.times):
                    raise self._off(number, apart) if apart else self._differs(number, original)
                place += 1
                if written.digests[packet] != original.digests[place - 1]:
                    continue
                near = frames.near(original.times[place - 1], original.places[place - 1])
                distances = (
                    abs(ours - self._times[frame] * self._base - Fraction(distance, UNITS))
                    for frame, distance in near
                )
                apart = min(distances, default=Fraction(0))
                if apart <= allowed:
                    break
        return frames.known

    def _allowed(self, original: RawStream, written: RawStream) -> Fraction:
        return (
            max(original.time_base, written.time_base, _INAUDIBLE_SECONDS)
            + max(self._expected.time_base if self._expected.exact else Fraction(0), self._base)
            + _WHOLE_FILM_UNIT
        )

    def _differs(self, number: int, original: RawStream) -> TrackError:
        return TrackError(self._name, number, f"({original.codec}) differs from the original's")

    def _off(self, number: int, apart: Fraction) -> TrackError:
        return TrackError(self._name, number, f"is {float(apart):.6f} seconds off at one packet")

    def _check_ends(self, number: int, original: RawStream, written: RawStream) -> None:
        """Raise TrackError unless a track begins and ends when the original's does."""
        if self._original.wraps and self._expected.jumps:
            return  # its own end says nothing
        begin, unit = self._expected.begin, original.time_base
        start, last = original.seconds(0) - begin, len(original.times) - 1
        if self._original.wraps:
            start = unwrapped(start)
            steps = sum(step(*pair) for pair in pairwise(original.times))
            end = start + (steps + original.durations[last]) * unit
        else:
            end = original.end(last) - begin
            start = max(start, -begin)  # what is before time 0 is not heard
        ours = written.seconds(0) - self._first, written.end(len(written.times) - 1) - self._first
        apart = max(abs(start - ours[0]), abs(end - ours[1]))
        if apart > _ENDS_TOLERANCE_SECONDS:
            what = f"begins or ends {float(apart):.3f} seconds from where the original does"
            raise TrackError(self._name, number, what)


def _shown_ends(picture: RawStream, expected: Expected) -> list[Fraction]:
    """Seconds from the first frame to the end of the last, by its packet and by the header.

    None if the last packets are hidden, or cannot be decoded, or come without a length.
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
    return [end - expected.begin for end in (picture.end(last), *picture.declared_ends)]


class _FramesByPacket:
    """Pictures of a broadcast near packets of its sound, in time and in the file, if `known`."""

    def __init__(self, original: RawFilm, expected: Expected) -> None:
        picture = original.picture
        assert picture is not None
        self._places, self._times = picture.places, picture.times
        self._frames = _ranks(picture)
        # Else it is damaged as well, and there is nothing to compare with.
        self.known = len(picture.times) == len(expected.pts)

    def near(self, time: int, place: int) -> list[tuple[int, int]]:
        """Frames near a packet, each with how much later the packet is, in units of the clock."""
        if not self.known:
            return []
        middle = bisect_left(self._places, place)
        first, end = max(middle - _PICTURES_AROUND, 0), middle + _PICTURES_AROUND
        distances = (
            (self._frames[picture], step(self._times[picture], time))
            for picture in range(first, min(end, len(self._times)))
        )
        found = [one for one in distances if abs(one[1]) <= _NEAR]
        return sorted(found, key=lambda one: abs(one[1]))[:4]


def _ranks(picture: RawStream) -> list[int]:
    """The frame of each packet of a picture whose clock jumps: shown part by part, in order."""
    parts, part = list[tuple[int, int, int]](), 0
    place = before = picture.decoded[0] if len(picture.decoded) else 0
    for packet, time in enumerate(picture.decoded):
        distance = step(before, time)
        part += not -_LONGEST_SLIP <= distance <= _LONGEST_STEP
        place, before = place + distance, time
        parts.append((part, place + step(time, picture.times[packet]), packet))
    ranks = [0] * len(parts)
    for rank, (_, _, packet) in enumerate(sorted(parts)):
        ranks[packet] = rank
    return ranks
