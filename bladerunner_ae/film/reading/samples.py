"""Frames from all over a film, without reading all of it."""

from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import islice

import av
from av.video.frame import VideoFrame

from bladerunner_ae.film.images import image_sequence as images
from bladerunner_ae.film.info import FilmInfo
from bladerunner_ae.film.reading.container import key_frames, open_film
from bladerunner_ae.film.reading.packet_table import film_stream
from bladerunner_ae.pictures.spread import spread

# Distance between frames of a film that does not know how long it is.
_BLIND_STEP = 24


def sample_key_frames(info: FilmInfo, count: int) -> Iterator[VideoFrame]:
    """Key frames from `count` places spread evenly over a film, each for one seek and one frame.

    Frames are as decoded (images as rgb24), each at most once; fewer than `count`, perhaps none, if
    key frames are rare.
    """
    if info.kind == "images":
        yield from _images(info, count)
        return
    length = (
        info.timing.duration or Fraction(info.timing.frames_estimate or 0) / info.timing.frame_rate
    )
    seen: set[int | None] = {None}
    with open_film(info.path) as container:
        stream = film_stream(container, info)
        for number in range(count):
            place = info.timing.film_start + length * (2 * number + 1) / (2 * count)
            for frame in key_frames(container, stream, place)[:1]:
                if frame.pts not in seen:
                    seen.add(frame.pts)
                    yield frame


def sample_frames(info: FilmInfo, count: int) -> Iterator[VideoFrame]:
    """About `count` frames at even distances (each second if the length is unknown).

    The whole film is decoded for them.
    """
    if info.kind == "images":
        yield from _images(info, count)
        return
    step = _BLIND_STEP
    if info.timing.frames_estimate is not None:
        step = max(info.timing.frames_estimate // count, 1)
    with open_film(info.path) as container, suppress(av.FFmpegError):  # a cut film has less
        stream = film_stream(container, info)
        stream.thread_type = "AUTO"
        yield from islice(container.decode(stream), step // 2, None, step)


def _images(info: FilmInfo, count: int) -> Iterator[VideoFrame]:
    sequence = images.list_images(info.path)
    frames = sequence.frames
    count = min(count, frames)
    for picture in sequence.pictures(spread(frames, count), info.picture.stored):
        yield VideoFrame.from_ndarray(picture, "rgb24")
