"""Tables of a transport stream: the streams of each programme.

libav reads them too, but PyAV does not pass programmes on. ISO/IEC 13818-1: one table of all
programmes on stream number 0, and one of each programme's streams on a number given there.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

# libav looks at so much, or a little more, when it opens a film.
_BYTES = 8 * 2**20
_PACKET_SIZES = (188, 192, 204)
_SYNC = 0x47
# Something foreign before the first packet is at most so long.
_LATEST_START = 2**16
# So many packets in a row begin with the right byte: then that is their size.
_SURE = 5
_PROGRAMMES, _STREAMS = 0x00, 0x02
_DOLBY_VISION = 0xB0
# A stream is scrambled if more than half of at least this many packets are.
_FEWEST_PACKETS = 8


@dataclass
class TransportTables:
    """Tables at the beginning of a transport stream.

    Attributes:
        programmes: by number, the numbers (PIDs) of the programme's streams.
        dolby_vision: Dolby Vision descriptor by stream number.
        packets: number of packets with a payload seen, by stream number.
    """

    programmes: dict[int, set[int]] = field(default_factory=dict)
    dolby_vision: dict[int, bytes] = field(default_factory=dict)
    packets: Counter[int] = field(default_factory=Counter)
    scrambled: Counter[int] = field(default_factory=Counter)

    def is_scrambled(self, stream: int) -> bool:
        """Whether a stream's packets are encrypted, as far as they were inspected."""
        seen = self.packets[stream]
        return seen >= _FEWEST_PACKETS and 2 * self.scrambled[stream] > seen


def read_tables(path: Path) -> TransportTables:
    """Read the tables at the beginning of a transport stream; empty ones if it is none."""
    with path.open("rb") as file:
        data = file.read(_BYTES)
    tables = TransportTables()
    sections = _Sections()
    tables_of: dict[int, int] = {}  # by the number of the stream that carries it, the programme
    for packet in _packets(data):
        stream = (packet[1] & 0x1F) << 8 | packet[2]
        payload = _payload(packet)
        if not payload:
            continue
        tables.packets[stream] += 1
        tables.scrambled[stream] += bool(packet[3] & 0xC0)
        if stream != 0 and stream not in tables_of:
            continue
        for section in sections.add(stream, payload, starts=bool(packet[1] & 0x40)):
            if stream == 0 and section[0] == _PROGRAMMES:
                tables_of |= _table_places(section)
            elif stream in tables_of and section[0] == _STREAMS:
                _read_streams(section, tables)
    return tables


def _packets(data: bytes) -> Iterator[bytes]:
    """Packets of 188 bytes in some data, wherever they begin and whatever is between."""
    for size in _PACKET_SIZES:
        for start in range(min(_LATEST_START, len(data))):
            places = [start + size * number for number in range(_SURE)]
            if all(place < len(data) and data[place] == _SYNC for place in places):
                break
        else:
            continue
        place = start
        while place + 188 <= len(data):
            if data[place] == _SYNC:
                yield data[place : place + 188]
                place += size
            else:
                place = data.find(_SYNC, place + 1)  # some bytes were lost
                if place < 0:
                    return
        return


def _payload(packet: bytes) -> bytes:
    """Payload of a packet; empty if it is damaged or has none."""
    if packet[1] & 0x80 or not packet[3] & 0x10:
        return b""
    begin = 5 + packet[4] if packet[3] & 0x20 else 4
    return packet[begin:]


class _Sections:
    """Assembly of sections that span several packets."""

    def __init__(self) -> None:
        self._parts: dict[int, bytes] = {}

    def add(self, stream: int, payload: bytes, starts: bool) -> Iterator[bytes]:
        """Take a packet's payload and yield the sections that end in it."""
        if starts:
            begin = 1 + payload[0]
            yield from self._whole(stream, self._parts.pop(stream, b"") + payload[1:begin])
            self._parts[stream] = b""
            payload = payload[begin:]
        elif stream not in self._parts:
            return  # the middle of one whose beginning was not seen
        yield from self._whole(stream, self._parts[stream] + payload)

    def _whole(self, stream: int, data: bytes) -> Iterator[bytes]:
        while len(data) >= 3 and data[0] != 0xFF:
            end = 3 + ((data[1] & 0x0F) << 8 | data[2])
            if len(data) < end:
                break
            yield data[:end]
            data = data[end:]
        self._parts[stream] = data if data[:1] != b"\xff" else b""


def _table_places(section: bytes) -> dict[int, int]:
    """Number of each programme by the number of the stream that describes it."""
    entries = [section[place : place + 4] for place in range(8, len(section) - 7, 4)]
    numbers = [(int.from_bytes(one[:2], "big"), int.from_bytes(one[2:], "big")) for one in entries]
    return {place & 0x1FFF: programme for programme, place in numbers if programme}


def _read_streams(section: bytes, tables: TransportTables) -> None:
    if len(section) < 16:
        return
    # A programme can change on the way; what was its own once, libav counts as its own.
    programme = tables.programmes.setdefault(int.from_bytes(section[3:5], "big"), set())
    place = 12 + ((section[10] & 0x0F) << 8 | section[11])
    while place + 5 <= len(section) - 4:
        stream = (section[place + 1] & 0x1F) << 8 | section[place + 2]
        length = (section[place + 3] & 0x0F) << 8 | section[place + 4]
        programme.add(stream)
        descriptors = section[place + 5 : place + 5 + length]
        while len(descriptors) >= 2:
            if descriptors[0] == _DOLBY_VISION:
                tables.dolby_vision[stream] = descriptors[2 : 2 + descriptors[1]]
            descriptors = descriptors[2 + descriptors[1] :]
        place += 5 + length
