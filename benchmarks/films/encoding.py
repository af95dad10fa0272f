"""A film file from RGB frames, and checksums of frames, before and after the encoder."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

import av
import numpy as np

from benchmarks.films.camera_moves import FRAME_SIZE, RATE
from benchmarks.films.shot_frames import Pixels, yuv420

_BT709, _LIMITED = 1, 1
# One thread and no advertisement of versions in the container: the file depends on libx264 alone.
_OPTIONS = {"crf": "13", "preset": "fast", "threads": "1", "x264-params": "keyint=48"}


def write_film(frames: Iterable[Pixels], path: Path, told: Callable[[], None]) -> str:
    """Encode frames, RGB [144, 256, 3], as H.264; return the SHA-256 of what was encoded.

    `told` is called after each frame. The checksum is that of all frames in 4:2:0, plane by plane.
    """
    checksum = hashlib.sha256()
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        container.flags |= av.container.Flags.bitexact.value
        stream = container.add_stream("libx264", rate=RATE, options=_OPTIONS)
        stream.width, stream.height = FRAME_SIZE
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED
        for number, picture in enumerate(frames):
            planes = yuv420(picture)
            checksum.update(planes.data)
            frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
            frame.pts = number
            container.mux(stream.encode(frame))
            told()
        container.mux(stream.encode())
    return checksum.hexdigest()


def decoded_sha256(path: Path) -> tuple[str, int]:
    """Return the SHA-256 of a film's decoded frames, as `write_film` has it, and their number."""
    checksum, count = hashlib.sha256(), 0
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for frame in container.decode(stream):
            checksum.update(np.ascontiguousarray(frame.to_ndarray(format="yuv420p")).data)
            count += 1
    return checksum.hexdigest(), count
