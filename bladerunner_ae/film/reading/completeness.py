"""Completeness of a film, judged by what the file itself promises.

A file that was cut off often just ends: libav reports no error. The number of packets in the index
of an mp4 or avi, the duration in the header and the size of the file reveal it.
"""

import os
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from bladerunner_ae.film.headers.ebml import read_number
from bladerunner_ae.film.headers.lengths import counts_from_zero, is_own
from bladerunner_ae.film.notes import Note, NoteKind

# Streams of a whole film may end this much before the promised duration; muxers round, and the
# length of the last frame is often unknown.
_TOLERANCE_SECONDS = Fraction(1, 2)

# In a stream without a header, sound and padding after the last frame take less of the file.
_MUCH_BEHIND = Fraction(1, 10)

# A film of fewer packets may give no frame of most of them: some decoders hold that many back.
_FEWEST_PACKETS = 24
_MOST_PACKETS_A_FRAME = 4

_TRANSPORT_PACKET_SIZES = (188, 192, 204)


class Completeness:
    """Observer of a film's packets that finds what is missing.

    Args:
        whole: whether the film is read from its very beginning (packets can be counted).

    Attributes (counted by the caller that decodes, but for the last):
        damaged: frames that could not be decoded.
        patched: frames of which the decoder had to make up a part.
        given: frames that the decoder gave, with the patched ones.
        broke_off: why the file could not be read on, or "".
    """

    def __init__(self, container: InputContainer, stream: VideoStream, whole: bool) -> None:
        self._container, self._format = container, container.format.name
        self._stream, self._whole = stream, whole
        self._bytes = container.size
        counted = self._format.startswith("mov") or self._format == "avi"
        self._promised_packets = stream.frames if counted else 0
        self._promised_end = _promised_end(container)
        self._missing_bytes = missing_bytes(Path(container.name))
        self._packets = self._before_first_key = self._place = 0
        self._sound_place = self._other_place = 0
        self._key_seen = False
        self._cut_packet = False
        # By stream, in units of its time base: fractions for every packet would take a while.
        self._ends: dict[int, tuple[int, Fraction]] = {}
        self._last_shown: tuple[int, int] | None = None
        self.damaged = self.patched = self.given = 0
        self._due = 0
        self.broke_off = ""

    def see(self, packet: Packet) -> bool:
        """Record a packet of any stream; False if it is only the first part of one.

        A part of a packet must be kept from a decoder that works in several threads: its error
        would take the whole frames before it along.
        """
        time = packet.pts if packet.pts is not None else packet.dts
        # In a transport stream the mark means a bad transmission, which decoders can cope with.
        cut = packet.is_corrupt and self._format != "mpegts"
        if packet.size and packet.stream is self._stream and not cut:
            self._packets += 1
            self._place = max(self._place, packet.pos or 0)
            self._key_seen = self._key_seen or packet.is_keyframe
            self._before_first_key += not self._key_seen
            self._due += self._key_seen and not packet.is_discard
            if time is not None and not packet.is_discard:
                # Compared by time, not by end: the frame that is shown last decides.
                shown = time, packet.duration or 0
                self._last_shown = max(self._last_shown or shown, shown)
        elif self._format == "mpegts" and packet.size:
            self._note_place(packet)
        if time is not None and not (cut and packet.stream is self._stream):
            self._note_end(packet, time + (packet.duration or 0))
        self._cut_packet = self._cut_packet or cut
        return not cut

    def _note_place(self, packet: Packet) -> None:
        kind, place = packet.stream.type, packet.pos or 0
        if kind == "audio":
            self._sound_place = max(self._sound_place, place)
        elif kind == "video":
            self._other_place = max(self._other_place, place)

    def _note_end(self, packet: Packet, end: int) -> None:
        known = self._ends.get(packet.stream_index)
        if known is not None and end > known[0]:
            self._ends[packet.stream_index] = end, known[1]
        elif known is None and packet.time_base:
            self._ends[packet.stream_index] = end, Fraction(packet.time_base)

    @property
    def _end(self) -> Fraction:
        return max((end * unit for end, unit in self._ends.values()), default=Fraction(0))

    @property
    def _picture_end(self) -> Fraction:
        """Seconds at which the picture's last whole packet ends."""
        end, unit = self._ends.get(self._stream.index, (0, Fraction(0)))
        return end * unit

    @property
    def last_duration(self) -> int:
        """Duration of the last picture in units of its time base; 0 if unknown."""
        return 0 if self._last_shown is None else self._last_shown[1]

    def notes(self) -> list[Note]:
        """Notes on missing parts, after the last packet."""
        found = (self._headless(), *self.damage(), self._missing(), self._other_recording())
        return [note for note in found if note is not None]

    def _headless(self) -> Note | None:
        """Note if the film begins in the middle, as recordings do and films without their start.

        Decoders drop such frames without an error.
        """
        if not self._whole or not self._key_seen or not self._before_first_key:
            return None
        return NoteKind.HEADLESS.note(frames=self._before_first_key)

    def _other_recording(self) -> Note | None:
        """Note if much follows after the picture, as in recordings with other stream numbers."""
        if self._format != "mpegts" or not self._whole or not self._place:
            return None
        if not all(map(is_own, self._container.streams)):
            return None  # what follows may be another programme, which is longer
        known = self._place
        if self._other_place <= self._place:  # sound that continues alone is no other recording
            known = max(known, self._sound_place)
        if self._bytes - known < self._bytes * _MUCH_BEHIND:
            return None
        return NoteKind.OTHER_RECORDING.note(percent=100 * self._place // self._bytes)

    def damage(self) -> list[Note]:
        counts = (NoteKind.DAMAGED, self.damaged), (NoteKind.PATCHED, self.patched)
        return [kind.note(frames=count) for kind, count in counts if count]

    def mostly_damaged(self) -> Note | None:
        """Note if hardly any frames are whole."""
        whole = max(self.given - self.patched, 0)
        broken = self.damaged + self.patched
        # Decoders can also give nothing without an error; two packets make at least one frame.
        silent = self._due > _FEWEST_PACKETS and self.given * _MOST_PACKETS_A_FRAME < self._due
        if broken <= whole and not silent:
            return None
        return NoteKind.MOSTLY_DAMAGED.note(whole=whole, frames=max(self._due, broken + whole))

    def _missing(self) -> Note | None:
        if self.broke_off:
            return NoteKind.BROKEN_OFF.note(reason=self.broke_off)
        if self._whole and self._packets < self._promised_packets and self._picture_ends_early():
            return NoteKind.FRAMES_MISSING.note(
                found=self._packets, promised=self._promised_packets
            )
        if self._promised_end is not None and self._promised_end - self._end > _TOLERANCE_SECONDS:
            return NoteKind.SECONDS_MISSING.note(
                end=float(self._end), promised=float(self._promised_end)
            )
        if self._missing_bytes:
            return NoteKind.BYTES_MISSING.note(
                found=self._bytes, promised=self._bytes + self._missing_bytes
            )
        transport = self._format == "mpegts"
        whole = any(self._bytes % size == 0 for size in _TRANSPORT_PACKET_SIZES)
        cut = self._cut_packet or (transport and not whole)
        return NoteKind.CUT_IN_FRAME.note() if cut else None

    def _picture_ends_early(self) -> bool:
        """Whether the last frames of an mp4 are missing, not just some that its edit list hides."""
        stream = self._stream
        if not stream.duration or not stream.time_base:
            return True
        # A trimmed film promises all frames, and the length of those that are shown.
        frame = self.last_duration or stream.duration / self._promised_packets
        one_frame = Fraction(frame) * stream.time_base
        # Some versions of libav count the duration from the start, others from 0.
        ends = (
            stream.duration * stream.time_base,
            (((stream.start_time or 0) + stream.duration) * stream.time_base),
        )
        return all(end - self._picture_end > one_frame / 2 for end in ends)


def _promised_end(container: InputContainer) -> Fraction | None:
    """Seconds at which the last stream ends by the header, or None if it does not say.

    Transport and program streams have no header: libav finds their duration in what is there.
    """
    if container.duration is None or container.format.name in ("mpegts", "mpeg"):
        return None
    start = 0 if counts_from_zero(container) else container.start_time or 0
    return Fraction(container.duration + start, av.time_base)


_EBML, _SEGMENT = 0x1A45DFA3, 0x18538067
# Boxes at the top level of an mp4; anything else is foreign data.
_MP4_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"moof", b"mfra", b"sidx",
              b"styp", b"uuid", b"meta", b"udta", b"pdin", b"emsg", b"ssix", b"prft")  # fmt: skip


def missing_bytes(path: Path) -> int:
    """Bytes that a file lacks of what its outermost boxes promise.

    0 if it promises nothing: other containers, and files whose writer did not finish.
    """
    try:
        size = os.path.getsize(path)
        with path.open("rb") as file:
            head = file.read(12)
            file.seek(0)
            if head[:4] == b"RIFF":
                promised = _riff_end(file, size)
            elif head[4:8] == b"ftyp":
                promised = _mp4_end(file, size)
            else:
                promised = _matroska_end(file)
    except OSError:
        return 0
    return max(promised - size, 0)


def _matroska_end(file: BinaryIO) -> int:
    identity, size = read_number(file, marked=True), read_number(file, marked=False)
    if identity != _EBML or size is None:
        return 0
    file.seek(size, os.SEEK_CUR)
    identity, size = read_number(file, marked=True), read_number(file, marked=False)
    return 0 if identity != _SEGMENT or size is None else file.tell() + size


def _riff_end(file: BinaryIO, size: int) -> int:
    """End of the last of the chunks of up to a gigabyte that large AVI files consist of."""
    end = 0
    while end < size:
        file.seek(end)
        head = file.read(8)
        if len(head) < 8 or head[:4] != b"RIFF":
            break
        length = int.from_bytes(head[4:], "little")
        if length in (0, 0xFFFFFFFF):
            break
        end += 8 + length
    return end


def _mp4_end(file: BinaryIO, size: int) -> int:
    end = 0
    while end < size:
        file.seek(end)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1 and len(head) == 16:
            length = int.from_bytes(head[8:], "big")
        if head[4:8] not in _MP4_BOXES or length < 8:
            break
        end += length
    return end
