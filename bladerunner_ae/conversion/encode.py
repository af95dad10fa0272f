"""A film's frames as the compressed pictures of its records, in order.

Films are read by several decoders at once if that gives exactly the frames of a single pass.
"""

import io
import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import simplejpeg
from av.video.frame import VideoFrame
from numpy.typing import NDArray
from PIL import Image

from bladerunner_ae.conversion.options import ConversionOptions
from bladerunner_ae.film.info import FilmInfo
from bladerunner_ae.film.notes import Note, NoteKind
from bladerunner_ae.film.picture.frame_format import FrameFormat, FrameFormatReader
from bladerunner_ae.film.picture.scaling import RecordScaler
from bladerunner_ae.film.picture.shots import thumbnail
from bladerunner_ae.film.reading.frame_reader import DecodedFrame, FrameReader, time_range
from bladerunner_ae.film.reading.packet_table import PacketTable, read_packet_table
from bladerunner_ae.film.reading.parallel import SegmentReader, default_threads
from bladerunner_ae.film.reading.reading_mode import NotDivisibleError, Obstacle, ReadingMode
from bladerunner_ae.geometry import Geometry

# Pictures of a single pass wait for compression in at most this much memory.
_WAITING_BYTES = 64 * 2**20
_MOST_WAITING = 64


@dataclass(frozen=True)
class RecordPicture:
    """The picture of a record as a JPEG or PNG file; `look` is the frame's format in the film.

    `thumbnail`, uint8 [height, width, 3], RGB, is the picture before compression, with fewer
    pixels.
    """

    encoded: bytes
    look: FrameFormat
    interlaced: bool
    thumbnail: NDArray[np.uint8] = field(compare=False)


def compress(image: NDArray[np.uint8], options: ConversionOptions) -> bytes:
    """Return a picture, uint8 [height, width, 3], RGB, as a JPEG 4:4:4 or PNG file."""
    if options.image_format == "png":
        file = io.BytesIO()
        Image.fromarray(image).save(file, "PNG", compress_level=1)
        return file.getvalue()
    # The accurate transform: 0.6 dB nearer to the picture for a twentieth more time.
    return bytes(
        simplejpeg.encode_jpeg(
            image, quality=options.quality, colorsubsampling="444", fastdct=False
        )
    )


class FrameEncoder:
    """Reader of a film that compresses its frames; `frames` may be called once.

    Args:
        threads: decoders that run at once, 0 for as many as suit the machine; the frames do not
            depend on it.
        mode: reading mode that an earlier run found necessary.
        table: the film's packets, if known already.

    Attributes:
        table: the film's packets, or None if it is read in a single pass.
        mode: how the film is read; replaced if several decoders turn out not to agree.
        mostly_damaged, problem, jumps, repaired_timestamps, end_pts: as of `FrameReader`.
    """

    def __init__(
        self,
        info: FilmInfo,
        geometry: Geometry,
        options: ConversionOptions,
        threads: int = 0,
        mode: ReadingMode = ReadingMode(),  # noqa: B008 - immutable
        table: PacketTable | None = None,
    ) -> None:
        self._info, self._geometry, self._options = info, geometry, options
        self._threads = threads or default_threads(info)
        self.mode = mode
        self.problem: Note | None = None
        self.jumps: Note | None = None
        self.mostly_damaged: Note | None = None
        self.repaired_timestamps = 0
        self.table = table
        if table is None and not mode.single_pass:
            self.table = self._read_table()
        self.end_pts = None if self.table is None else self.table.end_pts

    def _read_table(self) -> PacketTable | None:
        try:
            times = time_range(self._info, self._options.start, self._options.duration)
            table = read_packet_table(self._info, *times)
            table.runs()
        except NotDivisibleError as reason:
            self.mode = reason.mode
            return None
        return table

    def expected(self) -> int | None:
        """Return the number of frames, or None without a table."""
        return None if self.table is None else len(self.table.times)

    def frames(
        self, first: int = 0, end: int | None = None
    ) -> Iterator[tuple[int, int, RecordPicture]]:
        """Yield (index, pts, picture) of frames `first` to `end` (exclusive), in display order."""
        done = first
        if self.table is not None:
            try:
                for index, pts, picture in self.divided_frames(first, end):
                    yield index, pts, picture
                    done = index + 1
                return
            except NotDivisibleError as reason:
                self.mode = reason.mode
        yield from self._single_pass(done, end)

    def divided_frames(
        self, first: int = 0, end: int | None = None
    ) -> Iterator[tuple[int, int, RecordPicture]]:
        """Yield the same as `frames`; raise NotDivisibleError once a single pass is needed."""
        if self.table is None:
            assert self.mode.obstacle is not None
            raise NotDivisibleError(self.mode.obstacle, self.mode.number)
        yield from SegmentReader(self._info, self.table, self._maker, self._threads, first, end)

    def _maker(self) -> Callable[[VideoFrame], RecordPicture]:
        scaler = RecordScaler(self._info.picture, self._geometry)
        looks = FrameFormatReader(self._info.picture.first)

        def make(frame: VideoFrame) -> RecordPicture:
            look = looks.read(frame)
            return self._picture(scaler.scale(frame, look), look, frame.interlaced_frame)

        return make

    def _picture(
        self, image: NDArray[np.uint8], look: FrameFormat, interlaced: bool
    ) -> RecordPicture:
        return RecordPicture(compress(image, self._options), look, interlaced, thumbnail(image))

    def _single_pass(self, first: int, end: int | None) -> Iterator[tuple[int, int, RecordPicture]]:
        """Yield frames of one decoder with its own threads; compression runs in others."""
        waiting: deque[tuple[DecodedFrame, Future[RecordPicture]]] = deque()
        most = _MOST_WAITING
        options = self._options
        with (
            FrameReader(
                self._info, geometry=self._geometry, start=options.start,
                duration=options.duration, first=first,
                threads=self.mode.decoder_threads,
            ) as reader,
            ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool,
        ):  # fmt: skip
            try:
                for frame in reader:
                    if end is not None and frame.index >= end:
                        break
                    made = pool.submit(
                        self._picture, frame.image, frame.frame_format, frame.interlaced
                    )
                    waiting.append((frame, made))
                    most = min(most, max(_WAITING_BYTES // frame.image.nbytes, 2))
                    if len(waiting) >= most:
                        yield _result(*waiting.popleft())
                while waiting:
                    yield _result(*waiting.popleft())
            finally:
                pool.shutdown(cancel_futures=True)
            # Several decoders fail where this one conceals the damage.
            failed = self.mode.obstacle is Obstacle.UNDECODABLE
            hidden = NoteKind.HIDDEN_DAMAGE.note() if failed else None
            self.problem, self.jumps = reader.problem or hidden, reader.jumps
            self.repaired_timestamps = reader.repaired_timestamps
            self.end_pts, self.mostly_damaged = reader.end_pts, reader.mostly_damaged


def _result(frame: DecodedFrame, picture: Future[RecordPicture]) -> tuple[int, int, RecordPicture]:
    return frame.index, frame.pts, picture.result()
