"""Opening of films; anything else is refused with one line that says why."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
from av.codec.context import Flags
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from bladerunner_ae.errors import InputError
from bladerunner_ae.film.headers import metadata
from bladerunner_ae.film.headers.headers import NO_HEADERS, Headers, refuse_unshowable
from bladerunner_ae.film.headers.lengths import declared_length, declared_start
from bladerunner_ae.film.picture_limits import MOST_PIXELS, refuse_huge
from bladerunner_ae.film.reading.streams import is_film_picture
from bladerunner_ae.film.reading.timestamps import JUMPING_FORMATS

# How many packets may pass before the first whole frame (a recording can begin in the middle).
_PACKETS_TO_FIRST_FRAME = 2000

# After a seek a whole frame comes within this many packets, or not at all.
_PACKETS_TO_KEY_FRAME = 200

# A stream that the file calls its default counts as if it had this many pixels more.
_DEFAULT_PIXELS = 5_000_000

# Formats that name other files: whether those have changed the list does not say, and opening one
# can block forever, so libav must not even begin.
_LISTS = ("hls", "concat", "dash", "sdp", "rtsp", "rtp", "sap", "imf", "vobsub", "image2")
# Its names for what it reads and writes, of which some go together: "matroska,webm".
_FORMATS = {name for names in av.formats_available for name in names.split(",")}

_OPTIONS = {
    # libav takes a jump back for a wrap of the clock and adds 26.5 hours;
    # `film.reading.timestamps` knows better.
    "correct_ts_overflow": "0",
    "format_whitelist": ",".join(sorted(_FORMATS.difference(_LISTS))),
    "protocol_whitelist": "file",
    # For what libav decodes to find out what a film is; `prepare_decoder` does it for all else.
    "max_pixels": str(MOST_PIXELS),
}

# Demuxers of single pictures and of text art: libav would "play" such files.
_NOT_FILMS = ("tty", "_pipe")

# Single pictures in the container of films.
_STILL_BRANDS = ("avif", "heic", "heix", "heim", "heis", "mif1", "miaf")


@contextmanager
def open_film(path: Path) -> Iterator[InputContainer]:
    """Open a film for reading, with readable metadata; InputError if missing, empty or no film."""
    if not path.exists():
        raise InputError(f"{path}: no such file; check the name")
    if path.is_dir():
        raise InputError(f"{path}: is a folder, not a film file")
    if not path.is_file():
        raise InputError(f"{path}: is not a file; save the film to one first")
    if path.stat().st_size == 0:
        raise InputError(f"{path}: is empty; copy or download the film again")
    try:
        # Absolute: libav takes what is before the colon of "Film: A Story.mp4" for a protocol.
        where = os.path.abspath(path)
        container = av.open(where, options=_OPTIONS, **metadata.OPENING)
    except av.FFmpegError as error:
        raise InputError(_why_not_opened(path, error)) from error
    with container:
        name = container.format.name
        if name in _NOT_FILMS or name.endswith("_pipe"):
            raise InputError(
                f"{path}: is not a film ({container.format.long_name}); give a film, or a folder "
                "of numbered images"
            )
        if container.metadata.get("major_brand") in _STILL_BRANDS:
            raise InputError(
                f"{path}: is a single picture (HEIF or AVIF), not a film; give a film, or a folder "
                "of numbered images"
            )
        metadata.make_readable(container)
        yield container


def picture_stream(
    container: InputContainer, path: Path, headers: Headers = NO_HEADERS
) -> VideoStream:
    """The stream with the film's picture: the largest, or the one that the file calls its default.

    Cover art, thumbnails and attached images do not count. Raises InputError if there is none, its
    codec is unknown, or it is too large or cannot be shown as intended.
    """
    pictures = _pictures(container)
    if not pictures:
        what = "only sound" if container.streams.audio else "no picture"
        what += " and a cover picture" if container.streams.video else ""
        raise InputError(f"{path}: has {what}; a film with a video stream is needed")
    stream = max(pictures, key=_rank)  # the first of equal ones
    header = headers.of(stream.index)
    refuse_unshowable(path, header)
    if stream.codec_context is None:
        name = f" ({header.codec})" if header.codec.isprintable() and header.codec else ""
        raise InputError(
            f"{path}: its picture is in a format{name} that this decoder does not know; convert it "
            "with another program first"
        )
    refuse_huge(path, stream.height or 0, stream.width or 0)
    prepare_decoder(stream)
    return stream


def prepare_decoder(stream: VideoStream, **options: str) -> None:
    """Set up a decoder that is not yet open.

    It refuses pictures that would fill the memory, and cuts off exactly what its codec hides at the
    left and the top; by default it cuts where rows of memory can begin.
    """
    stream.codec_context.options = {"max_pixels": str(MOST_PIXELS), **options}
    stream.codec_context.flags |= Flags.unaligned


def other_pictures(container: InputContainer, stream: VideoStream) -> list[str]:
    """The pictures that were not chosen, each by its stream's number and size."""
    return [
        f"{one.index} ({one.height}x{one.width})"
        for one in _pictures(container)
        # One of an unknown codec has no size.
        if one.index != stream.index and one.codec_context is not None
    ]


def _pictures(container: InputContainer) -> list[VideoStream]:
    found = [stream for stream in container.streams.video if is_film_picture(stream)]
    # An animated AVIF also holds one of its pictures alone, for programs that show no more.
    moving = [stream for stream in found if stream.frames != 1]
    return moving if any(stream.frames > 1 for stream in moving) else found


def _rank(stream: VideoStream) -> tuple[bool, int]:
    """By ffmpeg's own rule: a default stream counts as much as millions of pixels more."""
    known = stream.codec_context is not None
    area = (stream.height or 0) * (stream.width or 0) if known else 0
    return known, area + _DEFAULT_PIXELS * bool(stream.disposition & Disposition.default)


def key_frames(
    container: InputContainer, stream: VideoStream, place: Fraction, packets: int = 1
) -> list[VideoFrame]:
    """Decode the key frame before a place (seconds on the container's clock) and what follows.

    About `packets` frames in display order; none if the file is damaged or cannot be searched.
    Leaves the container at another place.
    """
    frames, decoded = list[VideoFrame](), 0
    try:
        _seek(container, place)  # this forgets all that was being decoded
        for packet in islice(container.demux(stream), _PACKETS_TO_KEY_FRAME):
            if packet.size and (decoded or packet.is_keyframe):
                frames += stream.codec_context.decode(packet)
                decoded += 1
            if decoded == packets:
                break
        # Emptied at once, the decoder need not see the frames that come before the key frame in
        # the order of showing.
        frames += stream.codec_context.decode(None)
    except (IndexError, av.FFmpegError):
        pass
    return frames


def _seek(container: InputContainer, place: Fraction) -> None:
    if container.format.name not in JUMPING_FORMATS or not container.duration:
        container.seek(int(place * av.time_base))
        return
    # Where times jump only the place in the file is sure.
    part = (place - declared_start(container)) / (declared_length(container) or 1)
    offset = int(container.size * min(max(part, Fraction(0)), Fraction(1)))
    container.seek(offset, unsupported_byte_offset=True)


def first_frame(container: InputContainer, stream: VideoStream, path: Path) -> VideoFrame:
    packets = container.demux(stream)
    for _ in range(_PACKETS_TO_FIRST_FRAME):
        try:
            packet = next(packets)
        except (StopIteration, IndexError, av.FFmpegError):
            break
        try:
            frames = packet.decode()
        except av.FFmpegError:
            continue  # damaged at its very beginning; what comes later may be whole
        if frames:
            assert isinstance(frames[0], VideoFrame)
            return frames[0]
    if not stream.height or not stream.width:  # so libav has it where it refused the size
        raise InputError(
            f"{path}: says no size of its picture, or one of more than {MOST_PIXELS} pixels, which "
            "cannot be read; make it smaller first, or copy it again"
        )
    raise InputError(
        f"{path}: not one frame of its picture ({stream.codec_context.name}) can be decoded; "
        "copy or download it again"
    )


def _why_not_opened(path: Path, error: av.FFmpegError) -> str:
    if isinstance(error, PermissionError):
        return f"{path}: cannot be read (permission denied)"
    try:
        with path.open("rb") as file:
            head = file.read(4096)
    except OSError as problem:
        return f"{path}: cannot be read ({problem.strerror})"
    if head[4:8] == b"ftyp":
        return (
            f"{path}: is cut off or was never finished (an mp4 without its index); copy or "
            "download it again"
        )
    if isinstance(error, av.ArgumentError) and b"\0" not in head:
        return (
            f"{path}: is a list of films, not a film, or names other files; join what it names "
            "into one file first"
        )
    return f"{path}: is not a film that can be read; give a film such as .mp4, .mkv, .mov or .ts"
