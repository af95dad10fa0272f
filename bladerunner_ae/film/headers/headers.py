"""Headers of a film that PyAV does not pass on.

The part of the picture to be shown, the profile of Dolby Vision, encryption, and the file's names
of codecs that libav does not know. Everything else comes from libav.
"""

from dataclasses import dataclass
from pathlib import Path

from av.container import InputContainer

from bladerunner_ae.errors import InputError
from bladerunner_ae.film.headers import matroska
from bladerunner_ae.film.headers import mp4 as mp4_headers
from bladerunner_ae.film.headers.transport_tables import TransportTables, read_tables
from bladerunner_ae.film.picture.cropping import NO_MARGINS, Margins

# Parts of the header of a Windows Media file that only a protected one has, by their identifiers:
# "content encryption" and "extended content encryption".
_ASF_ENCRYPTION = (
    bytes.fromhex("fbb31122 23bdd211 b4b700a0 c955fc6e"),
    bytes.fromhex("14e68a29 2226174c b935dae0 7ee9289c"),
)
_ASF_HEADER_BYTES = 2**16

# Profiles of Dolby Vision whose colours are not YCbCr, always or where nothing else is promised.
_ALONE = (5,)
_MAYBE_ALONE = (10, 20)


@dataclass(frozen=True)
class StreamHeader:
    """Header of one stream.

    Attributes:
        codec: the file's own name of its codec, or "".
        crop: what is not to be shown.
        dolby_vision: its Dolby Vision configuration record (ETSI TS 103 572), or b"".
    """

    codec: str = ""
    crop: Margins = NO_MARGINS
    dolby_vision: bytes = b""
    encrypted: bool = False

    @property
    def dolby_vision_profile(self) -> int | None:
        """The profile, if only Dolby Vision's own processing gives the colours; else None.

        All but these have a picture in SDR, HDR10 or HLG that is right by itself.
        """
        if len(self.dolby_vision) < 5:
            return None
        profile, compatible = self.dolby_vision[2] >> 1, self.dolby_vision[4] >> 4
        alone = profile in _ALONE or (profile in _MAYBE_ALONE and not compatible)
        return profile if alone else None


@dataclass(frozen=True)
class Headers:
    """Headers of a film's streams.

    Attributes:
        streams: by the index of the stream, as far as known.
        programmes: of a transport stream, the indices of each programme's streams.
        fragmented: whether it is an mp4 in fragments.
    """

    streams: dict[int, StreamHeader]
    programmes: tuple[frozenset[int], ...] = ()
    fragmented: bool = False

    def of(self, index: int) -> StreamHeader:
        """Header of a stream; a blank one if the file has none."""
        return self.streams.get(index, StreamHeader())


NO_HEADERS = Headers({})


def read_headers(container: InputContainer, path: Path) -> Headers:
    """Read a film's headers; what cannot be read is left out."""
    name = container.format.name
    try:
        if name.startswith("mov"):
            return _mp4(container, path)
        if name.startswith("matroska"):
            return _matroska(path)
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
    tracks, fragmented = mp4_headers.read_tracks(path)
    found = {
        stream.index: StreamHeader(
            track.codec, Margins(*track.crop), track.dolby_vision, track.encrypted
        )
        for stream in container.streams
        if (track := tracks.get(stream.id)) is not None
    }
    return Headers(found, fragmented=fragmented)


def _matroska(path: Path) -> Headers:
    tracks = matroska.read_tracks(path)
    return Headers({
        index: StreamHeader(track.codec, Margins(*track.crop), track.dolby_vision, track.encrypted)
        for index, track in enumerate(tracks)
    })  # fmt: skip


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
