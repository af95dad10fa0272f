"""Pictures from all over a film, without reading all of it."""

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import islice

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from bladerunner_ae.film import images
from bladerunner_ae.film.opening import open_film
from bladerunner_ae.film.probe import FilmInfo
from bladerunner_ae.film.scaling import FrameScaler

# After a seek a whole frame comes within so many packets, or not at all.
_PACKETS_TO_KEY_FRAME = 200

# Distance between frames of a film that does not know how long it is.
_BLIND_STEP = 24


def key_pictures(info: FilmInfo, count: int) -> Iterator[NDArray[np.uint8]]:
    """Key frames from places spread evenly over a film; each costs one seek and one frame.

    Args:
        info: the film.
        count: places to look at. Fewer pictures come where key frames are rarer, perhaps none.

    Yields:
        uint8 [height, width, 3], RGB: whole upright pictures as stored, each at most once.
    """
    if info.kind == "images":
        yield from _images(info, count)
        return
    scaler = FrameScaler(info, info.stored)
    length = info.duration or Fraction(info.frames_estimate or 0) / info.frame_rate
    seen: set[int | None] = {None}
    with open_film(info.path) as container:
        stream = container.streams[info.video_stream]
        assert isinstance(stream, VideoStream)
        for number in range(count):
            place = info.film_start + length * (2 * number + 1) / (2 * count)
            frame = _key_frame(container, stream, place)
            if frame is not None and frame.pts not in seen:
                seen.add(frame.pts)
                yield scaler.scale(frame)


def spread_pictures(info: FilmInfo, count: int) -> Iterator[NDArray[np.uint8]]:
    """About `count` pictures at even distances; the whole film is decoded for them.

    Args and yields as `key_pictures`; of a film of unknown length every second is looked at.
    """
    if info.kind == "images":
        yield from _images(info, count)
        return
    scaler = FrameScaler(info, info.stored)
    step = _BLIND_STEP
    if info.frames_estimate is not None:
        step = max(info.frames_estimate // count, 1)
    with open_film(info.path) as container, suppress(av.FFmpegError):  # a cut film has less
        stream = container.streams[info.video_stream]
        assert isinstance(stream, VideoStream)
        stream.thread_type = "AUTO"
        for frame in islice(container.decode(stream), step // 2, None, step):
            yield scaler.scale(frame)


def _images(info: FilmInfo, count: int) -> Iterator[NDArray[np.uint8]]:
    paths = images.list_images(info.path).paths
    for number in range(min(count, len(paths))):
        place = (2 * number + 1) * len(paths) // (2 * min(count, len(paths)))
        yield images.read_image(paths[place], info.stored)


def _key_frame(
    container: InputContainer, stream: VideoStream, place: Fraction
) -> VideoFrame | None:
    """The key frame before a place (in seconds), or None if it cannot be had."""
    try:
        container.seek(int(place * av.time_base))  # this forgets all that was being decoded
        for packet in islice(container.demux(stream), _PACKETS_TO_KEY_FRAME):
            if packet.is_keyframe and packet.size:
                # Emptied at once, the decoder need not see the frames that come before this one
                # in the order of showing.
                frames = [*packet.decode(), *stream.codec_context.decode(None)]
                return next((one for one in frames if isinstance(one, VideoFrame)), None)
    except av.FFmpegError:
        pass  # damaged here, or no seeking in this kind of file
    return None
