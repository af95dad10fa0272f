"""The streams of a file that are the film, and the reason for leaving out each other one.

One picture is taken (`container.picture_stream`) and, of its own programme, all sound. A transport
stream can hold several programmes: each is a film of its own, with its own clock.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any

from av.container import InputContainer
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

from bladerunner_ae.film.headers.headers import Headers
from bladerunner_ae.film.headers.lengths import is_own
from bladerunner_ae.film.headers.stream_header import StreamHeader


class Reason(Enum):
    """Reasons for leaving out a stream, as words for people."""

    OTHER_PROGRAMME = "of another programme"
    OTHER_PICTURE = "another picture"
    COVER = "a cover picture"
    UNKNOWN_CODEC = "of an unknown codec"
    ENCRYPTED = "encrypted"
    SUBTITLES = "subtitles"
    DATA = "data"
    ATTACHMENT = "an attached file"


_KINDS = {
    "subtitle": Reason.SUBTITLES,
    "data": Reason.DATA,
    "attachment": Reason.ATTACHMENT,
}
_NO_FILM = Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image


@dataclass(frozen=True)
class LeftOut:
    """A stream that is left out.

    Attributes:
        codec: its name, else the file's own word for it, else "".
        language: as the file gives it, e.g. "deu", or "".
        title: as the file gives it (of an attachment its name), or "".
    """

    index: int
    kind: str
    codec: str
    language: str
    title: str
    reason: Reason

    def describe(self) -> str:
        """The stream in a few words, such as "stream 3 (subtitle, subrip, deu)"."""
        words = [word for word in (self.kind, self.codec, self.language, self.title) if word]
        return f"stream {self.index} ({', '.join(words)})"


def other_programmes(picture: VideoStream, headers: Headers) -> frozenset[int]:
    """Indices of the streams that belong to other programmes than the picture only."""
    own = [streams for streams in headers.programmes if picture.index in streams]
    if not own:
        return frozenset()  # its programme is unknown
    return frozenset().union(*headers.programmes) - frozenset().union(*own)


def is_film_picture(stream: VideoStream) -> bool:
    """Whether a picture is a film's, no cover, thumbnail or photograph."""
    return not stream.disposition & _NO_FILM


def leave_out(container: InputContainer, indices: Iterable[int]) -> None:
    """Make libav skip some streams of a container that was just opened."""
    for index in indices:
        if index < len(container.streams):
            container.streams[index].discard = Discard.all


def sound_streams(container: InputContainer, headers: Headers) -> tuple[int, ...]:
    """Indices of the film's readable sound tracks, in file order."""
    return tuple(
        stream.index
        for stream in container.streams.audio
        if is_own(stream)
        and stream.codec_context is not None
        and not headers.of(stream.index).encrypted
    )


def left_out(
    container: InputContainer, picture: VideoStream, headers: Headers
) -> tuple[LeftOut, ...]:
    """All streams but the picture and its sound, in file order."""
    taken = {picture.index, *sound_streams(container, headers)}
    return tuple(
        _left_out(stream, headers.of(stream.index))
        for stream in container.streams
        if stream.index not in taken
    )


def _left_out(stream: Any, header: StreamHeader) -> LeftOut:
    context = stream.codec_context
    codec = context.codec.canonical_name if context is not None else header.codec
    title = stream.metadata.get("title", "")
    if stream.type == "data":
        codec = stream.name or codec
    elif stream.type == "attachment":
        title = stream.name or title
    language = stream.metadata.get("language", "")
    return LeftOut(stream.index, stream.type, codec, language, title, _reason(stream, header))


def _reason(stream: Any, header: StreamHeader) -> Reason:
    if not is_own(stream):
        return Reason.OTHER_PROGRAMME
    if stream.type == "video":
        return Reason.OTHER_PICTURE if is_film_picture(stream) else Reason.COVER
    if stream.type == "audio":
        return Reason.ENCRYPTED if header.encrypted else Reason.UNKNOWN_CODEC
    return _KINDS.get(stream.type, Reason.DATA)
