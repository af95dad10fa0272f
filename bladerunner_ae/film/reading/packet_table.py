"""Packets of a film's picture, listed without decoding: its frames, and where it can be divided.

A run begins at a key frame before which, in decoding order, there is no later frame. Frames that
come after the key frame in the file but are shown before it (open groups of pictures) belong to the
run before, whose decoder still has the frames that they depend on.
"""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from bladerunner_ae.film.info import FilmInfo
from bladerunner_ae.film.reading.completeness import Completeness
from bladerunner_ae.film.reading.container import open_film, picture_stream, prepare_decoder
from bladerunner_ae.film.reading.reading_mode import NotDivisibleError, Obstacle
from bladerunner_ae.film.reading.streams import Reason, leave_out
from bladerunner_ae.film.reading.timestamps import RepairedPackets

# These carry no times, or only numbers of packets: read from the start, times made up.
UNTIMED = ("h264", "hevc", "m4v", "mpegvideo", "obu", "avi")
# In these the times of packets are those of decoding: frames have them in rising order.
IN_DECODING_ORDER = ("avi", "asf")

# Frames and compressed bytes of a run; the results of some runs wait in memory.
_RUN_FRAMES = 240
_RUN_BYTES = 12 * 2**20
# A film whose key frames are farther apart cannot be cut: a run would not fit in memory.
_MOST_FRAMES = 1500
_MOST_BYTES = 48 * 2**20
# Runs get shorter towards the end, and are short in a short film: a part of what is left, so that
# all decoders are busy until shortly before the end.
_PART_OF_REST = 6
_FEWEST_FRAMES = 24


@dataclass(frozen=True)
class Run:
    """Packets that one decoder gets, and the frames that it gives.

    Attributes:
        first_packet: the key frame, counted in the order of decoding.
        end_packet: one after the last packet that the run's own frames need.
        first_frame: the first of its frames, counted in display order.
        end: lowest timestamp of the runs after it; None in the last run.
    """

    number: int
    first_packet: int
    end_packet: int
    first_frame: int
    end_frame: int
    begin: int
    end: int | None


@dataclass(frozen=True)
class PacketTable:
    """The packets of a film's picture in the order of decoding, and the frames they make.

    Attributes:
        pts: int64 [packets], timestamps in units of the film's time base.
        size: int64 [packets], bytes.
        times: int64 [frames], the timestamps of all frames to be read, rising.
        end_pts: end of the last of these frames, or None if unknown.
    """

    pts: NDArray[np.int64]
    key: NDArray[np.bool_]
    size: NDArray[np.int64]
    times: NDArray[np.int64]
    end_pts: int | None = None

    def runs(self) -> list[Run]:
        """Cut the film into runs that hold each frame once."""
        cuts = self._cuts()
        ends = [*cuts[1:], len(self.pts)]
        # Leading pictures: the last packet of a run may come after the next run's key frame.
        borders = [int(self.pts[cut]) for cut in cuts[1:]]
        frames = [0, *np.searchsorted(self.times, borders).tolist(), len(self.times)]
        runs = []
        for number, (first, end) in enumerate(zip(cuts, ends, strict=True)):
            border = borders[number] if number < len(borders) else None
            if border is not None:
                leading = np.flatnonzero(self.pts[end:] < border)
                end += int(leading[-1]) + 1 if len(leading) else 0
            run = Run(number, first, end, frames[number], frames[number + 1],
                      int(self.pts[first]), border)  # fmt: skip
            count, size = end - first, int(self.size[first:end].sum())
            if count > _MOST_FRAMES or size > _MOST_BYTES:
                raise NotDivisibleError(Obstacle.FAR_KEY_FRAMES, count)
            runs.append(run)
        return [run for run in runs if run.end_frame > run.first_frame]

    def _cuts(self) -> list[int]:
        """Key frames, by their packet, at which runs begin, at suitable distances."""
        before = np.maximum.accumulate(self.pts)
        possible = [0] + [
            int(place)
            for place in np.flatnonzero(self.key)
            if place > 0 and before[place - 1] < self.pts[place]
        ]
        total = np.concatenate([[0], np.cumsum(self.size)])
        cuts = [0]
        for place in possible[1:]:
            rest = (len(self.pts) - cuts[-1]) // _PART_OF_REST
            target = max(min(_RUN_FRAMES, rest), _FEWEST_FRAMES)
            if place - cuts[-1] >= target or total[place] - total[cuts[-1]] >= _RUN_BYTES:
                cuts.append(place)
        return cuts


def read_packet_table(info: FilmInfo, begin: int | None, end: int | None) -> PacketTable:
    """List the packets of a film's picture between two timestamps (None: the film's own ends).

    Raises NotDivisibleError if the file does not say exactly what is in it.
    """
    if info.kind == "images":
        raise NotDivisibleError(Obstacle.IMAGES)
    if info.interlaced and info.deinterlace:
        raise NotDivisibleError(Obstacle.INTERLACED)
    if info.container in (*UNTIMED, *IN_DECODING_ORDER):
        raise NotDivisibleError(Obstacle.UNTIMED_CONTAINER)
    pts, key, size, shown = array("q"), array("b"), array("q"), array("b")
    with open_film(info.path) as container:
        stream = film_stream(container, info)
        completeness = Completeness(container, stream, whole=True)
        repaired = RepairedPackets(container, stream, info.timing.frame_rate)
        for packet in _packets(repaired, completeness):
            if packet.stream is not stream or not packet.size:
                continue
            if packet.pts is None:
                raise NotDivisibleError(Obstacle.UNTIMED_FRAMES)
            pts.append(packet.pts)
            key.append(packet.is_keyframe)
            size.append(packet.size)
            shown.append(not packet.is_discard)
        if repaired.jumps:
            raise NotDivisibleError(Obstacle.JUMPS)
        if completeness.notes():
            raise NotDivisibleError(Obstacle.DAMAGED)
    if not len(pts) or not key[0]:
        raise NotDivisibleError(Obstacle.NO_KEY_FRAME)
    times = np.sort(np.array(pts)[np.array(shown, bool)])
    if len(np.unique(times)) != len(times):
        raise NotDivisibleError(Obstacle.EQUAL_TIMES)
    end_pts = int(times[-1]) + completeness.last_duration if completeness.last_duration else None
    if begin is not None:
        times = times[times >= begin]
    if end is not None and len(later := times[times >= end]):
        times, end_pts = times[times < end], int(later[0])
    return PacketTable(np.array(pts), np.array(key, bool), np.array(size), times, end_pts)


def film_stream(container: InputContainer, info: FilmInfo) -> VideoStream:
    """The stream of the film's picture in a container that was just opened.

    Of other programmes in the same file no packet is read from then on.
    """
    leave_out(
        container,
        (one.index for one in info.streams.left_out if one.reason is Reason.OTHER_PROGRAMME),
    )
    if info.streams.picture < len(container.streams):
        stream = container.streams[info.streams.picture]
        if isinstance(stream, VideoStream) and stream.codec_context is not None:
            prepare_decoder(stream)
            return stream
    return picture_stream(container, info.path)  # the file was replaced since it was probed


def _packets(repaired: RepairedPackets, completeness: Completeness) -> Iterator[Packet]:
    """All packets; of every stream, because each tells whether the film is complete."""
    try:
        for packet in repaired:
            if not completeness.see(packet):
                raise NotDivisibleError(Obstacle.DAMAGED)
            yield packet
    except av.FFmpegError as error:
        raise NotDivisibleError(Obstacle.DAMAGED) from error
