"""Every frame of a film in display order, scaled for the records in the same pass.

Decoding runs in threads of its own, scaling in the thread that iterates.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from math import ceil

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from bladerunner_ae.film.headers.lengths import counts_from_zero, reordered_frames
from bladerunner_ae.film.images import image_sequence as images
from bladerunner_ae.film.info import FilmInfo
from bladerunner_ae.film.notes import Note, joined
from bladerunner_ae.film.picture.deinterlace import deinterlaced
from bladerunner_ae.film.picture.frame_format import FrameFormat, FrameFormatReader
from bladerunner_ae.film.picture.scaling import FrameScaler, RecordScaler
from bladerunner_ae.film.reading.clock import Clock
from bladerunner_ae.film.reading.completeness import Completeness
from bladerunner_ae.film.reading.container import open_film
from bladerunner_ae.film.reading.gaps import jumps_note, promised_end
from bladerunner_ae.film.reading.packet_table import IN_DECODING_ORDER, UNTIMED, film_stream
from bladerunner_ae.film.reading.tail import Tail
from bladerunner_ae.film.reading.threads import Prefetch
from bladerunner_ae.film.reading.timestamps import JUMPING_FORMATS, RepairedPackets, from_key_frame
from bladerunner_ae.geometry import Geometry, Size
from tfrecords.system_failures import is_no_fault_of_the_file

TimedFrame = tuple[int, VideoFrame]

# Decoded frames wait for scaling in about this much memory.
_WAITING_BYTES = 64 * 2**20
_MOST_WAITING = 12

# A seek aims this much earlier than wanted: the first frames after a keyframe can lean on frames
# before it, and indexes are not exact.
_SEEK_MARGIN_SECONDS = 2

# Time that jumps back by more than this has started over; by less, it is a slip.
_RESET_SECONDS = 1


@dataclass(frozen=True)
class DecodedFrame:
    """One frame.

    Attributes:
        index: place among the frames that are read, from 0.
        pts: time at which it is shown, in units of the film's time base; rises from frame to frame.
        image: uint8 [height, width, 3], RGB: the record's picture.
        interlaced: whether it consisted of two fields.
        display: uint8 [height, width, 3], RGB: the upright film frame, or None if not asked for.
    """

    index: int
    pts: int
    image: NDArray[np.uint8]
    frame_format: FrameFormat
    interlaced: bool
    display: NDArray[np.uint8] | None = None


class FrameReader:
    """One-time iterator over the frames of a film; a context manager.

    A film that is damaged gives the frames that can be read; `problem` then says what is missing.

    Args:
        geometry: makes `image` the record's picture: cropped, scaled by area, placed in the raster
            with black margins. None: `image` is the whole upright picture.
        size: (height, width) of `image` without a geometry; None: as stored.
        display_size: (height, width) of `display`, or None for no such picture.
        start: seconds after the film's start at which to begin, or None for the beginning.
        duration: seconds to read, or None for the rest.
        first: number of frames to decode and skip.
        threads: decode in several threads. libavcodec then gives damaged frames before it knows
            that a part of them is concealed, and with threads for slices conceals it differently
            every time; without threads the result is reproducible.

    Attributes (all but the second are set after the last frame):
        problem: what could not be read, or None.
        repaired_timestamps: number of frames without a valid time of their own.
        jumps: places at which the file's times jump, or None.
        end_pts: end of the last frame in units of the film's time base, or None if unknown.
        mostly_damaged: how few frames are whole; None if at least half are.

    Raises:
        InputError: while iterating: the film is gone, or an image of a folder cannot be read.
    """

    def __init__(
        self,
        info: FilmInfo,
        *,
        geometry: Geometry | None = None,
        size: Size | None = None,
        display_size: Size | None = None,
        start: Fraction | None = None,
        duration: Fraction | None = None,
        first: int = 0,
        threads: bool = True,
    ) -> None:
        self.problem: Note | None = None
        self.jumps: Note | None = None
        self.mostly_damaged: Note | None = None
        self.repaired_timestamps = 0
        self.end_pts: int | None = None
        self._info = info
        self._begin, self._end = time_range(info, start, duration)
        self._first = first
        self._threads = threads
        self._sought = False
        self._scaler: FrameScaler | RecordScaler
        if geometry is not None:
            self._scaler = RecordScaler(info.picture, geometry)
        else:
            self._scaler = FrameScaler(info.picture, size or info.picture.stored)
        self._display = None if display_size is None else FrameScaler(info.picture, display_size)
        frame_bytes = 3 * info.picture.stored[0] * info.picture.stored[1]
        ahead = min(max(_WAITING_BYTES // frame_bytes, 2), _MOST_WAITING)
        source = self._image_frames() if info.kind == "images" else self._film_frames()
        self._frames = Prefetch(source, ahead)

    def __iter__(self) -> Iterator[DecodedFrame]:
        frames = self._with_formats()
        if self._info.deinterlace:
            frames = deinterlaced(frames)
        for index, ((pts, frame_format, interlaced), frame) in enumerate(frames):
            if index < self._first:
                continue
            display = None if self._display is None else self._display.scale(frame, frame_format)
            image = self._scaler.scale(frame, frame_format)
            yield DecodedFrame(index, pts, image, frame_format, interlaced, display)

    def _with_formats(self) -> Iterator[tuple[tuple[int, FrameFormat, bool], VideoFrame]]:
        """Every frame, with the facts that deinterlacing would lose."""
        formats = FrameFormatReader(self._info.picture.first)
        for pts, frame in self._frames:
            yield (pts, formats.read(frame), frame.interlaced_frame), frame

    def close(self) -> None:
        """Stop the decoding threads, dropping frames not yet taken. Idempotent."""
        self._frames.close()

    def __enter__(self) -> "FrameReader":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _image_frames(self) -> Iterator[TimedFrame]:
        sequence = images.list_images(self._info.path)
        times, end = sequence.times, self._end
        numbers = [
            number
            for number, time in enumerate(times[:-1])
            if time >= (self._begin or 0) and (end is None or time < end)
        ]
        pictures = sequence.pictures(numbers, self._info.picture.stored)
        for number, picture in zip(numbers, pictures, strict=True):
            frame = VideoFrame.from_ndarray(picture, "rgb24")
            frame.time_base = self._info.timing.time_base
            frame.duration = times[number + 1] - times[number]
            self.end_pts = times[number + 1]
            yield times[number], frame

    def _film_frames(self) -> Iterator[TimedFrame]:
        frames = self._read_film(seek=True)
        first = next(frames, None)
        if self._sought and (first is None or first[0] > (self._begin or 0)):
            # The file's index led past the place: read on from the beginning instead.
            frames.close()
            frames = self._read_film(seek=False)
            first = next(frames, None)
        for pts, frame in chain([first] if first else [], frames):
            if self._begin is None or pts >= self._begin:
                yield pts, frame

    def _read_film(self, seek: bool) -> Generator[TimedFrame, None, None]:
        """All frames from the film's beginning, or from shortly before `begin`, up to `end`."""
        with open_film(self._info.path) as container:
            stream = film_stream(container, self._info)
            stream.thread_type = "AUTO" if self._threads else "NONE"
            self._sought = seek and self._seek(container, stream)
            repaired = RepairedPackets(container, stream, self._info.timing.frame_rate)
            packets = iter(repaired)
            if self._sought and container.format.name in JUMPING_FORMATS:
                packets = from_key_frame(packets, stream, self._seek_target)
            completeness = Completeness(container, stream, whole=not self._sought)
            clock = self._clock(container, stream)
            tail = Tail(self._info)
            last = None
            for pts, frame in _frames(packets, stream, clock, completeness, tail):
                if self._end is not None and pts >= self._end:
                    # Of an excerpt only damage counts: what comes after it is unknown.
                    self.problem = joined(completeness.damage())
                    self.end_pts = pts
                    break
                # After a seek frames come that lean on others from before; they are not shown.
                if self._begin is None or pts >= self._begin:
                    completeness.given += 1
                    completeness.patched += frame.is_corrupt
                yield pts, frame
                last = pts
            else:
                self.problem = joined(completeness.notes())
                if last is not None:
                    duration = completeness.last_duration
                    self.end_pts = self._picture_end(container, stream, last, duration)
            # It is unknown which frames the packets before an excerpt would have made.
            self.mostly_damaged = completeness.mostly_damaged() if self._begin is None else None
            self.repaired_timestamps = clock.repaired
            self.jumps = jumps_note(
                repaired.jumps, self._info.timing.time_base, self._info.timing.start_pts
            )

    def _picture_end(
        self, container: InputContainer, stream: VideoStream, last: int, duration: int
    ) -> int | None:
        """End of the last picture, or None if unknown; `duration` is its packet's, 0 if unset."""
        base = self._info.timing.time_base
        end = last + duration if duration else None
        declared = None
        frame = 1 / self._info.timing.frame_rate / base
        known = last + frame if end is None else end
        if self._info.container.startswith("mov") and stream.duration:
            # Of some files, and with some versions of libav, it counts from 0, not from the start.
            from_zero = counts_from_zero(container) or stream.duration >= known - frame / 2
            start = 0 if from_zero else stream.start_time or 0
            declared = Fraction(start + stream.duration)
        elif self._info.container.startswith("matroska"):
            seconds = promised_end(self._info.streams.described, stream.index)
            declared = None if seconds is None else seconds / base
        # Of a last picture that is held its packet may say nothing: mp4 adds up the times of
        # decoding, Matroska has one for all. A film that was cut off ends before it was to.
        if declared is not None and declared - known > frame / 2 and not self.problem:
            return round(declared)
        return end

    def _clock(self, container: InputContainer, stream: VideoStream) -> Clock:
        step = 1 / (self._info.timing.frame_rate * self._info.timing.time_base)
        reset = ceil(_RESET_SECONDS / self._info.timing.time_base)
        name = container.format.name
        delay = round(reordered_frames(container, stream) * step)
        return Clock(step, self._info.timing.start_pts, reset, name in IN_DECODING_ORDER, delay)

    @property
    def _seek_target(self) -> int:
        margin = ceil(_SEEK_MARGIN_SECONDS / self._info.timing.time_base)
        return 0 if self._begin is None else self._begin - margin

    def _seek(self, container: InputContainer, stream: VideoStream) -> bool:
        """Seek to near the place to begin at; False if reading starts at the film's start."""
        if self._seek_target <= self._info.timing.start_pts or container.format.name in UNTIMED:
            return False
        if container.format.name in JUMPING_FORMATS:
            return True  # a place is known only after all jumps before it
        try:
            container.seek(self._seek_target, stream=stream)
        except av.FFmpegError:
            return False
        return True


def time_range(
    info: FilmInfo, start: Fraction | None, duration: Fraction | None
) -> tuple[int | None, int | None]:
    """First timestamp to read and the first not to, in the time base; None for the film's own ends.

    `start` counts from the film's start; it and `duration` are in seconds.
    """
    # To the nearest unit: Matroska rounds times to milliseconds, up as well as down.
    first = info.timing.film_start + (start or 0)
    begin = None if start is None else round(first / info.timing.time_base)
    return begin, None if duration is None else round((first + duration) / info.timing.time_base)


def _frames(
    packets: Iterator[Packet],
    stream: VideoStream,
    clock: Clock,
    completeness: Completeness,
    tail: Tail,
) -> Iterator[TimedFrame]:
    # All streams are read: they show whether the file reaches its promised end.
    while True:
        try:
            # After the file's last packet comes an empty one: the decoder then gives all it holds.
            packet = next(packets)
        except StopIteration:
            break
        except av.FFmpegError as error:
            if is_no_fault_of_the_file(error):
                raise
            completeness.broke_off = error.strerror or str(error)
            break
        if completeness.see(packet) and packet.stream is stream:
            for frame in _decode(stream, packet, clock, completeness, tail):
                yield clock.frame(frame.pts), frame
    if completeness.broke_off:
        for frame in _decode(stream, None, clock, completeness, tail):
            yield clock.frame(frame.pts), frame
    for frame in tail.rest(completeness):
        yield clock.frame(frame.pts), frame


def _decode(
    stream: VideoStream, packet: Packet | None, clock: Clock, completeness: Completeness, tail: Tail
) -> list[VideoFrame]:
    """The frames that the decoder gives for a packet; None flushes it."""
    # The clock counts packets: their place in the file, not what libav guesses from it.
    time = None if packet is None else packet.pts if packet.dts is None else packet.dts
    clock.packet(time)
    damaged = False
    try:
        frames = stream.codec_context.decode(packet)
    except av.FFmpegError as error:
        if is_no_fault_of_the_file(error):
            raise
        # One frame that cannot be decoded does not end the film. At its end `tail` counts them.
        frames = []
        clock.drop(time)
        damaged = packet is not None and packet.size > 0
        completeness.damaged += damaged
    tail.sent(packet, frames, damaged)
    return frames
