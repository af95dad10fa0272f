"""Reading of a film in several decoders at once, with the frames of a single pass.

One demuxer reads the file from its beginning and hands each run's packets to a decoder; nothing is
ever sought, so no index has to be trusted. That a decoder can begin at a key frame is checked: it
continues a few packets into the next run, and its results must be, to the byte, those of the next
run's decoder. Any difference, any error and any frame whose time is not the packet's raises
`NotDivisibleError`; the caller then continues in a single pass.
"""

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Generic, TypeVar

import av
from av.codec.context import ThreadType
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from bladerunner_ae.film.info import FilmInfo
from bladerunner_ae.film.reading.container import open_film, prepare_decoder
from bladerunner_ae.film.reading.packet_table import PacketTable, Run, film_stream
from bladerunner_ae.film.reading.reading_mode import NotDivisibleError, Obstacle
from bladerunner_ae.film.reading.timestamps import RepairedPackets
from tfrecords.system_failures import is_no_fault_of_the_file

Made = TypeVar("Made")

# Packets of the next run that a decoder gets as a check; every `_LONG_EVERY` runs it is longer.
_OVERLAP = 2
_LONG_OVERLAP = 24
_LONG_EVERY = 24
# Decoders keep about this many pictures each; together they may take this much memory.
_PICTURES_HELD = 8
_DECODER_BYTES = 160 * 2**20

# Asked to be strict, this decoder fails where it otherwise conceals damage silently.
_STRICT = {"hevc": {"err_detect": "explode"}}


@dataclass(frozen=True)
class _Done(Generic[Made]):
    """Results of a run, and of the frames after it by timestamp."""

    frames: list[tuple[int, Made]]
    beyond: dict[int, Made]


def default_threads(info: FilmInfo) -> int:
    """Number of decoders: one for each core, fewer for pictures that fill the memory.

    More than cores only push each other's pictures out of the processor's cache.
    """
    fitting = _DECODER_BYTES // (
        _PICTURES_HELD * 3 * info.picture.stored[0] * info.picture.stored[1]
    )
    return max(min(os.cpu_count() or 1, fitting), 2)


class SegmentReader(Generic[Made]):
    """Iterator over the results of several threads for a film's frames.

    Args:
        make_maker: called once for each decoder; returns the function from frame to result. Results
            of the same frame must be equal whichever maker made them.
        first: the first frame wanted, of those in `table.times`.
        end: one after the last frame wanted, or None for all.
    """

    def __init__(
        self,
        info: FilmInfo,
        table: PacketTable,
        make_maker: Callable[[], Callable[[VideoFrame], Made]],
        threads: int,
        first: int = 0,
        end: int | None = None,
    ) -> None:
        self._info, self._table = info, table
        self._first, self._end = first, len(table.times) if end is None else end
        self._make_maker, self._threads = make_maker, threads
        self._runs = [
            run for run in table.runs() if run.end_frame > first and run.first_frame < self._end
        ]

    def __iter__(self) -> Iterator[tuple[int, int, Made]]:
        """Yield (index, pts, result) in display order.

        Raises NotDivisibleError if the film cannot be read this way after all; the frames that came
        before are those of a single pass.
        """
        beyond: dict[int, Made] = {}
        with ExitStack() as stack:
            decoders = _Decoders(self._info, self._make_maker, self._threads, stack)
            pool = ThreadPoolExecutor(self._threads, thread_name_prefix="decoder")
            stack.callback(pool.shutdown, cancel_futures=True)
            waiting: deque[tuple[Run, Future[_Done[Made]]]] = deque()
            for run, packets in self._packets():
                waiting.append((run, pool.submit(self._decode, decoders, run, packets)))
                if len(waiting) > self._threads + 1:
                    beyond = yield from self._frames(*waiting.popleft(), beyond)
            while waiting:
                beyond = yield from self._frames(*waiting.popleft(), beyond)

    def _frames(
        self, run: Run, future: "Future[_Done[Made]]", beyond: dict[int, Made]
    ) -> Generator[tuple[int, int, Made], None, dict[int, Made]]:
        """Yield a run's frames, checked against the results of the decoder before."""
        done = future.result()
        begin = max(run.first_frame, self._first)
        for place, (pts, made) in enumerate(done.frames):
            if beyond.get(pts, made) != made:
                second = float(run.begin * self._info.timing.time_base)
                raise NotDivisibleError(Obstacle.OTHER_PICTURES, second)
            yield begin + place, pts, made
        return done.beyond

    def _packets(self) -> Iterator[tuple[Run, list[Packet]]]:
        """Each run with its packets and those after it that serve as a check."""
        table, kept = self._table, deque[Packet]()
        kept_from = 0
        with open_film(self._info.path) as container:
            stream = film_stream(container, self._info)
            repaired = RepairedPackets(container, stream, self._info.timing.frame_rate)
            packets = enumerate(one for one in repaired if one.stream is stream and one.size)
            for run in self._runs:
                end = min(run.end_packet + _overlap(run), len(table.pts))
                if run is self._runs[-1]:
                    end = run.end_packet
                while kept and kept_from < run.first_packet:
                    kept.popleft()
                    kept_from += 1
                while kept_from + len(kept) < end:
                    number, packet = _next(packets)
                    if packet.pts != table.pts[number] or packet.size != table.size[number]:
                        raise NotDivisibleError(Obstacle.OTHER_PACKETS)
                    if number >= run.first_packet:
                        kept.append(packet)
                    else:
                        kept_from = number + 1
                yield run, list(kept)[: end - run.first_packet]

    def _decode(
        self, decoders: "_Decoders[Made]", run: Run, packets: Sequence[Packet]
    ) -> _Done[Made]:
        decoder, make = decoders.take()
        try:
            done = _Done[Made]([], {})
            first = max(run.first_frame, self._first)
            wanted = self._table.times[first : min(run.end_frame, self._end)].tolist()
            due = iter(wanted)
            for frame in _decoded(decoder, packets):
                pts = frame.pts
                if pts is not None and pts < run.begin:
                    continue  # leans on frames of the run before, which has made it
                if pts is None or frame.is_corrupt:
                    raise NotDivisibleError(Obstacle.DAMAGED)
                if frame.interlaced_frame and self._info.deinterlace:
                    raise NotDivisibleError(Obstacle.INTERLACED)
                if run.end is not None and pts >= run.end:
                    done.beyond[pts] = make(frame)
                elif wanted and wanted[0] <= pts <= wanted[-1]:
                    if pts != next(due, None):
                        raise NotDivisibleError(Obstacle.OTHER_FRAMES)
                    done.frames.append((pts, make(frame)))
            if len(done.frames) != len(wanted):
                raise NotDivisibleError(Obstacle.OTHER_FRAMES)
            return done
        finally:
            decoders.give_back((decoder, make))


class _Decoders(Generic[Made]):
    """Decoders with a maker each, to be taken by one thread at a time."""

    def __init__(
        self,
        info: FilmInfo,
        make_maker: Callable[[], Callable[[VideoFrame], Made]],
        count: int,
        stack: ExitStack,
    ) -> None:
        self._free: SimpleQueue[tuple[VideoCodecContext, Callable[[VideoFrame], Made]]] = (
            SimpleQueue()
        )
        for _ in range(count):
            # A container each, because that is where a decoder gets its headers from.
            stream = film_stream(stack.enter_context(open_film(info.path)), info)
            context = stream.codec_context
            context.thread_type = ThreadType.NONE
            prepare_decoder(stream, **_STRICT.get(context.name, {}))
            self._free.put((context, make_maker()))
        self.take = self._free.get
        self.give_back = self._free.put


def _decoded(decoder: VideoCodecContext, packets: Sequence[Packet]) -> Iterator[VideoFrame]:
    """The frames of some packets; the decoder is reset afterwards."""
    decoder.flush_buffers()
    try:
        for packet in (*packets, None):
            yield from decoder.decode(packet)
    except av.FFmpegError as error:
        if is_no_fault_of_the_file(error):
            raise
        raise NotDivisibleError(Obstacle.UNDECODABLE) from error


def _overlap(run: Run) -> int:
    return _LONG_OVERLAP if run.number % _LONG_EVERY == 0 else _OVERLAP


def _next(packets: Iterator[tuple[int, Packet]]) -> tuple[int, Packet]:
    try:
        return next(packets)
    except (StopIteration, IndexError, av.FFmpegError) as error:
        raise NotDivisibleError(Obstacle.OTHER_PACKETS) from error
