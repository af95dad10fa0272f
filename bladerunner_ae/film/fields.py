"""Whether a film's frames consist of two fields, judged in more places than its first frame.

Titles are often whole frames in an interlaced film, and films for television mix both. Only frames
that say so themselves are deinterlaced later (`film.scaling.deinterlaced`).
"""

from fractions import Fraction

import av
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from bladerunner_ae.film.opening import key_frames

# These know whole frames only, or give every field as a frame of its own.
_WHOLE_FRAME_CODECS = ("vp8", "vp9", "av1", "libdav1d", "hevc", "theora", "vvc", "gif", "apng")

_PLACES = 6
# Enough frames to see both kinds where two frames in five are interlaced, as in telecined films.
_FRAMES = 5


def are_interlaced(container: InputContainer, stream: VideoStream, first: VideoFrame) -> bool:
    """Whether any of some frames from all over a film consists of two fields.

    Args:
        container: the open film; it is left at another place.
        stream: its picture.
        first: its first frame.
    """
    if first.interlaced_frame:
        return True
    if stream.codec_context.name in _WHOLE_FRAME_CODECS or not container.duration:
        return False
    start = Fraction(container.start_time or 0, av.time_base)
    length = Fraction(container.duration, av.time_base)
    return any(
        frame.interlaced_frame
        for number in range(_PLACES)
        for frame in key_frames(
            container, stream, start + length * number / _PLACES, packets=_FRAMES
        )
    )
