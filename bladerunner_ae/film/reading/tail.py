"""The last frames of a film whose end is damaged.

A decoder of several threads still holds frames when the last packet was read. Asked for them, it
stops at the first that cannot be decoded, and the whole ones after it are lost, in PyAV silently.
So the last packets are kept, and decoded once more, one by one, if frames are missing.
"""

from collections import deque
from collections.abc import Sequence
from itertools import islice

import av
from av.codec.context import ThreadType
from av.packet import Packet
from av.video.frame import VideoFrame

from bladerunner_ae.film.info import FilmInfo
from bladerunner_ae.film.reading.completeness import Completeness
from bladerunner_ae.film.reading.container import open_film
from bladerunner_ae.film.reading.packet_table import film_stream

# More packets than decoders hold; from the key frame before them on, if that is not too much.
_PACKETS = 64
_MOST_BYTES = 64 * 2**20


class Tail:
    """Observer of the decoder that finds the frames it holds back at the end."""

    def __init__(self, info: FilmInfo) -> None:
        self._info = info
        self._groups: deque[list[Packet]] = deque()
        self._bytes = self._missing = 0
        self._last: int | None = None

    def sent(self, packet: Packet | None, frames: Sequence[VideoFrame], damaged: int = 0) -> None:
        """Record the frames decoded from a packet (None: at the end).

        `damaged` is 1 if a frame could not be decoded, and this has been counted.
        """
        self._missing -= len(frames) + damaged
        self._last = next((one.pts for one in reversed(frames) if one.pts is not None), self._last)
        if packet is None or not packet.size:
            return
        self._missing += 1
        if packet.is_keyframe:
            self._groups.append([])
            while sum(map(len, islice(self._groups, 1, None))) >= _PACKETS:
                self._drop_group()
        if self._groups:
            self._groups[-1].append(packet)
            self._bytes += packet.size
        while self._bytes > _MOST_BYTES:
            self._drop_group()

    def _drop_group(self) -> None:
        self._bytes -= sum(packet.size for packet in self._groups.popleft())

    def rest(self, completeness: Completeness) -> list[VideoFrame]:
        """The frames after the last one given, when the decoder was emptied."""
        last = self._last
        # Packets need not make a frame each: then this costs a moment and finds nothing.
        if self._missing <= 0 or last is None or not self._groups:
            return []
        packets = [packet for group in self._groups for packet in group]
        found: list[VideoFrame] = []
        damaged = 0
        with open_film(self._info.path) as container:
            decoder = film_stream(container, self._info).codec_context
            decoder.thread_type = ThreadType.NONE
            for packet in (*packets, None):
                try:
                    # The others have been given before, and would fill the memory.
                    found += [
                        frame
                        for frame in decoder.decode(packet)
                        if frame.pts is not None and frame.pts > last
                    ]
                except av.FFmpegError:
                    if packet is not None and packet.pts is not None and packet.pts > last:
                        damaged += 1
        # Some may have been counted when they were sent.
        completeness.damaged += min(damaged, max(self._missing - len(found), 0))
        return found
