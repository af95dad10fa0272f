"""Interlaced films: detection and deinterlacing.

Titles are often progressive in an interlaced film, and films for television mix both. So a film is
sampled in several places, frames that are marked as interlaced are deinterlaced wherever they are,
and all others stay as they are.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

from av.container import InputContainer
from av.filter import Graph
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from bladerunner_ae.film.headers.lengths import declared_length, declared_start
from bladerunner_ae.film.picture.filters import build_graph
from bladerunner_ae.film.reading.container import key_frames

# These know whole frames only, or give every field as a frame of its own.
_WHOLE_FRAME_CODECS = ("vp8", "vp9", "av1", "libdav1d", "hevc", "theora", "vvc", "gif", "apng")

_PLACES = 6
# Enough frames to see both kinds where two frames in five are interlaced, as in telecined films.
_FRAMES = 5

Key = TypeVar("Key")


def may_have_fields(codec: str) -> bool:
    return codec not in _WHOLE_FRAME_CODECS


def are_interlaced(container: InputContainer, stream: VideoStream, first: VideoFrame) -> bool:
    """Whether any frame sampled from all over a film is interlaced; seeks in `container`."""
    if first.interlaced_frame:
        return True
    length = declared_length(container)
    if not may_have_fields(stream.codec_context.name) or not length:
        return False
    start = declared_start(container)
    return any(
        frame.interlaced_frame
        for number in range(_PLACES)
        for frame in key_frames(
            container, stream, start + length * number / _PLACES, packets=_FRAMES
        )
    )


def deinterlaced(frames: Iterable[tuple[Key, VideoFrame]]) -> Iterator[tuple[Key, VideoFrame]]:
    """Deinterlace (key, frame) pairs in display order by bwdif; as many come out as go in.

    Frames that are not marked as interlaced stay as they are, to the byte. Nothing is filtered
    before the first that is.
    """
    filtering: _Filtering[Key] | None = None
    before: tuple[Key, VideoFrame] | None = None
    for key, frame in frames:
        if filtering is not None and not filtering.fits(frame):
            yield from filtering.rest()
            filtering = None
        if filtering is None and frame.interlaced_frame:
            filtering = _Filtering(frame)
            if before is not None and filtering.fits(before[1]):
                filtering.push(*before, known=True)
        if filtering is None:
            yield key, frame
        else:
            yield from filtering.push(key, frame)
        before = key, frame
    if filtering is not None:
        yield from filtering.rest()


class _Filtering(Generic[Key]):
    """The filter, which needs one frame ahead, and the frames inside it."""

    def __init__(self, frame: VideoFrame) -> None:
        self._kind = _kind(frame)
        self._graph: Graph = build_graph(frame, [("bwdif", "mode=send_frame:deint=interlaced")])
        self._inside: deque[tuple[Key, VideoFrame, bool]] = deque()

    def fits(self, frame: VideoFrame) -> bool:
        """Whether the frame is of the size and format that the filter was made for."""
        return _kind(frame) == self._kind

    def push(
        self, key: Key, frame: VideoFrame, known: bool = False
    ) -> list[tuple[Key, VideoFrame]]:
        """Push the next frame and return finished ones, except frames that are `known`."""
        self._inside.append((key, frame, known))
        self._graph.vpush(frame)
        return self._pull()

    def rest(self) -> list[tuple[Key, VideoFrame]]:
        """The frames that the filter still holds after the last one."""
        self._graph.vpush(None)
        return self._pull()

    def _pull(self) -> list[tuple[Key, VideoFrame]]:
        # The filter changes timestamps, but it never drops or adds a frame.
        ready = []
        while self._inside:
            try:
                made = self._graph.vpull()
            except (BlockingIOError, EOFError):
                break
            key, frame, known = self._inside.popleft()
            if not known:
                # Even whole frames may come out changed: in a format that the filter knows.
                ready.append((key, made if frame.interlaced_frame else frame))
        return ready


def _kind(frame: VideoFrame) -> tuple[int, int, str]:
    return frame.height, frame.width, frame.format.name
