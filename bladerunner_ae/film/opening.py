"""Opens films: here everything that is not one is turned away with one line that says why."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from bladerunner_ae.errors import InputError

# How many packets may pass before the first whole frame (a recording can begin in the middle).
_PACKETS_TO_FIRST_FRAME = 2000

# Demuxers of single pictures and of text art: libav would "play" such files.
_NOT_FILMS = ("image2", "tty", "_pipe")


@contextmanager
def open_film(path: Path) -> Iterator[InputContainer]:
    """Opens a film for reading and closes it again.

    Raises:
        InputError: there is no such file, it is empty or no film.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file; check the name")
    if path.is_dir():
        raise InputError(f"{path}: is a folder, not a film file")
    if not path.is_file():
        raise InputError(f"{path}: is not a file; save the film to one first")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: is empty; copy or download the film again")
    try:
        container = av.open(str(path), metadata_errors="replace")
    except av.FFmpegError as error:
        raise InputError(_why_not_opened(path, error)) from error
    with container:
        name = container.format.name
        if name in _NOT_FILMS or name.endswith("_pipe"):
            raise InputError(
                f"{path}: is not a film ({container.format.long_name}); give a film, or a folder "
                "of numbered images"
            )
        yield container


def picture_stream(container: InputContainer, path: Path) -> VideoStream:
    """The stream with the film's picture; cover art does not count.

    Raises:
        InputError: there is none, or its codec is unknown.
    """
    pictures = [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic
    ]
    if not pictures:
        what = "only sound" if container.streams.audio else "no picture"
        what += " and a cover picture" if container.streams.video else ""
        raise InputError(f"{path}: has {what}; a film with a video stream is needed")
    best = container.streams.best("video")
    stream = next((one for one in pictures if best is not None and one.index == best.index), None)
    stream = stream or pictures[0]
    if stream.codec_context is None:
        raise InputError(f"{path}: its picture is in a format that this decoder does not know")
    return stream


def first_frame(container: InputContainer, stream: VideoStream, path: Path) -> VideoFrame:
    """The first frame of the picture that can be decoded.

    Raises:
        InputError: there is none.
    """
    packets = container.demux(stream)
    for _ in range(_PACKETS_TO_FIRST_FRAME):
        try:
            packet = next(packets)
        except (StopIteration, av.FFmpegError):
            break
        try:
            frames = packet.decode()
        except av.FFmpegError:
            continue  # damaged at its very beginning; what comes later may be whole
        if frames:
            assert isinstance(frames[0], VideoFrame)
            return frames[0]
    raise InputError(
        f"{path}: not one frame of its picture ({stream.codec_context.name}) can be decoded; "
        "copy or download it again"
    )


def _why_not_opened(path: Path, error: av.FFmpegError) -> str:
    if isinstance(error, PermissionError):
        return f"{path}: cannot be read (permission denied)"
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError as problem:
        return f"{path}: cannot be read ({problem.strerror})"
    if head[4:8] == b"ftyp":
        return (
            f"{path}: is cut off or was never finished (an mp4 without its index); copy or "
            "download it again"
        )
    return f"{path}: is not a film that can be read; give a film such as .mp4, .mkv, .mov or .ts"
