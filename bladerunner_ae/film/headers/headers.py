"""Headers of a film that PyAV does not pass on.

The visible part of the picture, the profile of Dolby Vision, encryption, and the file's names of
codecs that libav does not know. Everything else comes from libav.
"""

from dataclasses import dataclass
from pathlib import Path

from av.container import InputContainer

from bladerunner_ae.errors import InputError
from bladerunner_ae.film.headers import matroska
from bladerunner_ae.film.headers import mp4 as mp4_headers
from bladerunner_ae.film.headers.stream_header import StreamHeader
from bladerunner_ae.film.headers.transport_tables import TransportTables, read_tables

# Parts of the header of a Windows Media file that only a protected one has, by their identifiers:
# "content encryption" and "extended content encryption".
_ASF_ENCRYPTION = (
    bytes.fromhex("fbb31122 23bdd211 b4b700a0 c955fc6e"),
    bytes.fromhex("14e68a29 2226174c b935dae0 7ee9289c"),
)
_ASF_HEADER_BYTES = 2**16


@dataclass(frozen=True)
class Headers:
    """Known headers by stream index, and the stream indices of a transport stream's programmes."""

    streams: dict[int, StreamHeader]
    programmes: tuple[frozenset[int], ...] = ()

    def of(self, index: int) -> StreamHeader:
        return self.streams.get(index, StreamHeader())


NO_HEADERS = Headers({})


def read_headers(container: InputContainer, path: Path) -> Headers:
    """Read a film's headers, leaving out the unreadable."""
    name = container.format.name
    try:
        if name.startswith("mov"):
            return _mp4(container, path)
        if name.startswith("matroska"):
            return Headers(dict(enumerate(matroska.read_tracks(path))))
        if name == "mpegts":
            return _transport(container, read_tables(path))
        if name == "asf":
            return _asf(container, path)
    except OSError:
        pass
    return NO_HEADERS


def refuse_unshowable(path: Path, picture: StreamHeader) -> None:
    """Raise InputError for pictures that cannot be shown as intended."""
    if picture.encrypted:
        raise InputError(
            f"{path}: its picture is encrypted (DRM), and no frame of it can be seen; give a copy "
            "that is not (with the key: ffmpeg -decryption_key KEY -i FILM -c copy COPY.mp4)"
        )
    profile = picture.dolby_vision_profile
    if profile is not None:
        raise InputError(
            f"{path}: its colours are those of Dolby Vision profile {profile}, which looks green "
            "and purple without Dolby's own processing; give a copy in HDR10 or SDR, such as "
            "ffmpeg's filter libplacebo makes"
        )


def _mp4(container: InputContainer, path: Path) -> Headers:
    tracks, _ = mp4_headers.read_tracks(path)
    found = {one.index: tracks[one.id] for one in container.streams if one.id in tracks}
    return Headers(found)


def _transport(container: InputContainer, tables: TransportTables) -> Headers:
    indices = {stream.id: stream.index for stream in container.streams}
    streams = {
        index: StreamHeader(
            dolby_vision=tables.dolby_vision.get(number, b""),
            encrypted=tables.is_scrambled(number),
        )
        for number, index in indices.items()
    }
    programmes = (
        frozenset(indices[number] for number in programme if number in indices)
        for programme in tables.programmes.values()
    )
    return Headers(streams, tuple(programmes))


def _asf(container: InputContainer, path: Path) -> Headers:
    with path.open("rb") as file:
        head = file.read(_ASF_HEADER_BYTES)
    encrypted = any(mark in head for mark in _ASF_ENCRYPTION)
    return Headers({one.index: StreamHeader(encrypted=encrypted) for one in container.streams})
