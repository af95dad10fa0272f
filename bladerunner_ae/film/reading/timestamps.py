"""Packets whose times continue where those of the file jump.

Transport and program streams count time in 33 bits and start over after 26.5 hours. Recordings that
were joined byte by byte, and broadcasts, jump to any other time, and every stream at its own place
in the file. Here wraps are undone, and each part between jumps is moved as a whole, picture and
sound alike, so that its first frame follows the last frame of the part before it.

Files of other kinds are passed through: a long step is legal there, a still picture.
"""

import math
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

JUMPING_FORMATS = ("mpegts", "mpeg")

# Both count 1/90000 s in 33 bits.
_UNITS = 90_000
_WRAP = 2**33

# The longest pause in a broadcast, and the longest step back by mistake.
_LONGEST_STEP = 10 * _UNITS
_LONGEST_SLIP = _UNITS // 10

# The picture's first frame may come this long after the file's first sound.
_LATEST_START = 60 * _UNITS

# Sound of two parts may overlap by this much: then the earlier plays to its end.
_SHORT_OVERLAP = 3 * _UNITS // 10

# How much is read on to find the first frame of a new part: it may come after the key frame.
_MOST_PICTURES = 32
_MOST_PACKETS = 4000
_MOST_BYTES = 48 * 2**20

# Wrong times in a row that are no jump there and back.
_MOST_WRONG = 2

# Of the parts before the newest, streams can still be in these.
_PARTS_KEPT = 4


@dataclass
class _Part:
    """Packets between two jumps.

    Attributes:
        latest: the latest time of decoding in it, as in the file.
        last: the time at which its last picture so far is shown, as in the file.
        shift: added to its times; None until its first frame is known.
        shown: times of its pictures while there is no shift.
    """

    number: int
    latest: int
    last: int | None = None
    shift: int | None = None
    shown: list[int] = field(default_factory=list)
    sure: bool = False


class RepairedPackets:
    """One-time iterator over all packets of a film, in file order.

    `jumps` holds the time of the first frame after each jump, in the picture's time base.
    """

    def __init__(
        self, container: InputContainer, picture: VideoStream, frame_rate: Fraction
    ) -> None:
        self._container, self._picture = container, picture
        self._step = _UNITS / frame_rate
        # By stream: its part, its packets there, and its latest time without wraps.
        self._place: dict[int, _Part] = {}
        self._length: Counter[int] = Counter()
        self._times: dict[int, int] = {}
        self._parts: deque[_Part] = deque(maxlen=_PARTS_KEPT)
        self._held: deque[tuple[Packet, _Part | None]] = deque()
        self._held_bytes = 0
        self._first_shown: int | None = None
        self._last_shown = self._sound_end = 0
        self.jumps: list[int] = []

    def __iter__(self) -> Iterator[Packet]:
        """Yield packets; ends and fails as `InputContainer.demux` does, but for its IndexError."""
        packets = self._container.demux()
        continuous = self._container.format.name not in JUMPING_FORMATS
        problem = None
        while True:
            try:
                packet = next(packets)
            except (StopIteration, IndexError):  # PyAV's end where streams turned up late
                break
            except av.FFmpegError as error:
                problem = error
                break
            if continuous:
                yield packet
            else:
                self._take(packet)
                yield from self._ready(len(self._held) > _MOST_PACKETS)
        yield from self._ready(at_once=True)
        if problem is not None:
            raise problem

    def _take(self, packet: Packet) -> None:
        """Find the part that a packet belongs to, and undo wraps of its times."""
        time = packet.dts if packet.dts is not None else packet.pts
        part = None
        if time is not None:
            index = packet.stream_index
            reference = self._reference(time)
            unwrapped = _nearest(time, self._times.get(index, reference))
            part = self._part(packet, unwrapped)
            same = part is self._place.get(index)
            self._length[index] = self._length[index] + 1 if same else 1
            self._place[index], self._times[index] = part, unwrapped
            if packet.stream.type in ("video", "audio"):  # others come when they come
                part.latest = max(part.latest, unwrapped)
            if packet.pts is not None:
                packet.pts = self._shown(packet, part, unwrapped)
            if packet.dts is not None:
                packet.dts = unwrapped
        self._held.append((packet, part))
        self._held_bytes += packet.size

    def _reference(self, time: int) -> int:
        """A time that the first time of a stream is near to."""
        if not self._parts:
            start = time if self._picture.start_time is None else self._picture.start_time
            near = _nearest(time, start)
            # Else it is of another programme, with a clock of its own.
            here = near if abs(near - start) <= _LATEST_START else start
            self._parts.append(_Part(0, here, shift=0))
        return self._parts[-1].latest

    def _part(self, packet: Packet, time: int) -> _Part:
        newest = self._parts[-1]
        here = self._place.get(packet.stream_index, newest)
        back = self._times.get(packet.stream_index, time) - time
        # Another stream has jumped before: then the least step back is a jump.
        slip = 0 if newest is not here and _near(time, newest) else _LONGEST_SLIP
        # Pictures may stand still while the sound continues.
        if back <= slip and time - here.latest <= _LONGEST_STEP:
            return here
        # A stream moves on to newer parts, and back only if a single time or two were wrong.
        known = next(
            (
                part
                for part in reversed(self._parts)
                if part is not here
                and _near(time, part)
                and (part.number > here.number or self._length[packet.stream_index] <= _MOST_WRONG)
            ),
            None,
        )
        if known is not None or packet.stream.type not in ("video", "audio"):
            return known or here
        self._parts.append(_Part(newest.number + 1, time))
        return self._parts[-1]

    def _shown(self, packet: Packet, part: _Part, decoded: int) -> int:
        """The time at which a packet is shown, without wraps."""
        shown = _nearest(packet.pts or 0, decoded)
        wrong = not -_LONGEST_STEP <= shown - decoded <= part.latest - decoded + _LONGEST_STEP
        if packet.stream is not self._picture:
            return decoded if wrong else shown
        if wrong:
            # libav takes the time of a part's last frame from the first of the next part.
            shown = decoded if part.last is None else part.last + round(self._step)
        part.last = shown if part.last is None else max(part.last, shown)
        self._note_picture(part, shown, decoded)
        return shown

    def _note_picture(self, part: _Part, shown: int, decoded: int) -> None:
        for older in self._parts:
            older.sure = older.sure or older.number < part.number
        if part.shift is None:
            part.shown.append(shown)
            # What is decoded later cannot be shown before its decoding.
            first = min(part.shown)
            part.sure = decoded >= first or len(part.shown) >= _MOST_PICTURES

    def _ready(self, at_once: bool) -> Iterator[Packet]:
        """The packets whose part has its shift."""
        at_once = at_once or self._held_bytes > _MOST_BYTES
        while self._held:
            packet, part = self._held[0]
            if part is not None and part.shift is None:
                if not part.sure and not at_once:
                    return
                self._join(part, packet)
            self._held.popleft()
            self._held_bytes -= packet.size
            if part is not None and part.shift is not None:
                self._move(packet, part.shift)
            yield packet

    def _join(self, part: _Part, packet: Packet) -> None:
        """Decide the shift of a part, so that its first frame follows the last of the others."""
        following = self._last_shown + self._step
        if self._first_shown is not None:
            # Parts of one rate stay in one even row: no rounding adds up.
            even = round((following - self._first_shown) / self._step) * self._step
            even += self._first_shown
            following = even if abs(even - following) <= 2 else following
        time = packet.dts if packet.dts is not None else packet.pts
        first = min(part.shown, default=time or 0)
        late = self._sound_end - (following - first + self._first_sound(part, first))
        if late > _SHORT_OVERLAP:
            # The last picture stands still until the sound before it has ended.
            following += math.ceil(late / self._step) * self._step
        part.shift = round(following - first)
        if part.shown:  # else a sound's time was off, or belongs to another programme
            self.jumps.append(first + part.shift)
        part.shown.clear()

    def _first_sound(self, part: _Part, default: int) -> int:
        """Start of a part's sound, as far as known."""
        times = [
            packet.pts
            for packet, its in self._held
            if its is part and packet.stream.type == "audio" and packet.pts is not None
        ]
        return min(times, default=default)

    def _move(self, packet: Packet, shift: int) -> None:
        if packet.dts is not None:
            packet.dts += shift
        if packet.pts is not None:
            packet.pts += shift
            if packet.stream.type == "audio":
                self._sound_end = max(self._sound_end, packet.pts + (packet.duration or 0))
            if packet.stream is self._picture:
                self._last_shown = max(self._last_shown, packet.pts)
                if self._first_shown is None or packet.pts < self._first_shown:
                    self._first_shown = packet.pts


def from_key_frame(
    packets: Iterable[Packet], picture: VideoStream, target: int
) -> Iterator[Packet]:
    """Leave out packets before the last key frame shown by `target`, in the picture's time base."""
    packets = iter(packets)
    kept: deque[Packet] = deque()
    size = 0
    for packet in packets:
        if packet.stream is picture and packet.pts is not None and packet.size:
            if packet.pts > target and packet.is_keyframe:
                kept.append(packet)
                break
            if packet.is_keyframe:
                kept.clear()
                size = 0
        kept.append(packet)
        size += packet.size
        if size > _MOST_BYTES:
            break
    yield from kept
    yield from packets


def without_wraps(seconds: Fraction, reference: Fraction) -> Fraction:
    """Of all times that a clock of 33 bits calls the same, the nearest to another; in seconds."""
    wraps = round((reference - seconds) * _UNITS / _WRAP)
    return seconds + Fraction(wraps * _WRAP, _UNITS)


def _near(time: int, part: _Part) -> bool:
    return abs(time - part.latest) <= _LONGEST_STEP


def _nearest(time: int, reference: int) -> int:
    """The time without wraps: of all that differ by whole wraps, the nearest to another."""
    return reference + (time - reference + _WRAP // 2) % _WRAP - _WRAP // 2
