"""What a film is, before any of it is converted: streams, rate, shape, colour.

`probe_film` opens the file, decodes one frame and returns plain facts.
"""

import dataclasses
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.stream import Disposition
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from bladerunner_ae.film import images
from bladerunner_ae.film.fields import are_interlaced
from bladerunner_ae.film.opening import first_frame, open_film, other_pictures, picture_stream
from bladerunner_ae.geometry import Size

# ISO/IEC 23091-2 code points, the numbers that films carry.
_MATRICES = {0: "rgb", 1: "bt709", 4: "fcc", 5: "bt601", 6: "bt601", 7: "smpte240m", 9: "bt2020",
             10: "bt2020"}  # fmt: skip
_UNSPECIFIED_MATRIX = 2
_CONSTANT_LUMINANCE = 10
_FULL_RANGE = 2
_TRANSFERS = {1: "bt709", 6: "bt601", 13: "srgb", 14: "bt2020", 15: "bt2020", 16: "pq", 18: "hlg"}
_HIGH_DYNAMIC_TAGS = (16, 18)
_HIGH_DYNAMIC_RANGE = {"pq": "HDR10 (PQ)", "hlg": "HDR (HLG)"}
_PRIMARIES = {1: "bt709", 5: "bt601-625", 6: "bt601-525", 7: "bt601-525", 9: "bt2020",
              11: "dci-p3", 12: "p3"}  # fmt: skip
_WIDE_PRIMARIES = {"bt2020": "BT.2020", "p3": "Display P3", "dci-p3": "DCI-P3"}

# The brightest light of a film that does not say; ffmpeg's filter takes the same.
_USUAL_PEAK_NITS = 1000.0

# An untagged film above these sizes is BT.709 by convention, up to them BT.601. Both sides count: a
# film of 2.39:1 in 1280 columns has only 536 rows, and it is high definition all the same. Upright
# films of telephones are judged as if they lay on their side.
_STANDARD_DEFINITION_SHORT_SIDE = 576
_HIGH_DEFINITION_LONG_SIDE = 1280

_DEINTERLACING = "the film is interlaced; one whole frame is made of each pair of fields"
_NOT_DEINTERLACING = "the film is interlaced; its fields are left as they are"


@dataclass(frozen=True)
class FilmInfo:
    """The facts about a film. Sizes are (height, width) of the upright picture.

    Attributes:
        path: the file, or the folder of images.
        kind: "film" or "images".
        stored: size of the upright picture in the file's own pixels, before the sample aspect.
        rotation: degrees clockwise (0, 90, 180, 270) that make a decoded picture upright.
        sample_aspect: width of a pixel divided by its height, in the upright picture.
        frame_rate: nominal frames per second; whether the frames keep to it shows only when all
            timestamps have been read (`film.timing`).
        rate_candidates: every rate the file claims, the most credible first.
        time_base: seconds per unit of a timestamp.
        frames_estimate: how many frames there are, about, or None.
        duration: seconds that the file claims for its longest stream, or None.
        video_stream: index of the picture's stream in the file (0 for images).
        start_pts: timestamp at which the picture begins, in units of `time_base`.
        film_start: seconds at which the film begins: the earliest of its streams. Players count
            from here, so the picture begins `start_pts * time_base - film_start` after the film.
        matrix: YCbCr matrix of the colours: "bt709", "bt601", "bt2020", "fcc", "smpte240m", or
            "rgb" where there is none.
        full_range: whether black is 0 and white 255, rather than 16 and 235.
        transfer: "bt709", "srgb", "pq", "hlg" ... or "unspecified".
        primaries: "bt709", "bt2020", "p3", "dci-p3" ... or "unspecified".
        peak_nits: brightest light of a film in "pq" or "hlg", decided once for the whole film; else
            None.
        interlaced: whether frames, here and there, consist of two fields.
        pixel_format: libav's name for the layout of the stored pixels.
        codec: name of the picture's codec.
        container: libav's name of the file format.
        streams: one JSON object for each stream of the file.
        notes: what a person should know before converting it.
    """

    path: Path
    kind: str
    stored: Size
    rotation: int
    sample_aspect: Fraction
    frame_rate: Fraction
    rate_candidates: tuple[Fraction, ...]
    time_base: Fraction
    frames_estimate: int | None
    duration: Fraction | None
    video_stream: int
    start_pts: int
    film_start: Fraction
    matrix: str
    full_range: bool
    transfer: str
    primaries: str
    peak_nits: float | None
    interlaced: bool
    pixel_format: str
    codec: str
    container: str
    streams: list[dict[str, Any]]
    notes: list[str]

    @property
    def coded(self) -> Size:
        """(height, width) of a picture as decoded, before it is turned upright."""
        turned = self.rotation in (90, 270)
        return (self.stored[1], self.stored[0]) if turned else self.stored

    def colour(self) -> dict[str, Any]:
        """Colour facts as a JSON object."""
        return {
            "matrix": self.matrix,
            "full_range": self.full_range,
            "transfer": self.transfer,
            "primaries": self.primaries,
            "pixel_format": self.pixel_format,
            "conversion": _conversion(self.transfer, self.primaries, self.peak_nits),
        }


def probe_film(path: Path | str, frame_rate: Fraction = Fraction(24)) -> FilmInfo:
    """Finds out what a film is.

    Args:
        path: a film, or a folder of numbered images.
        frame_rate: frames per second of a folder of images; films know their own.

    Returns:
        The facts; nothing stays open.

    Raises:
        InputError: there is no such file, it is empty, no film, cut off before it says anything,
            or has no picture (sound only; cover art is not a film).
    """
    path = Path(path)
    if path.is_dir():
        return _probe_images(path, frame_rate)
    with open_film(path) as container:
        stream = picture_stream(container, path)
        frame = first_frame(container, stream, path)
        return _film_info(path, container, stream, frame)


def without_deinterlacing(info: FilmInfo) -> FilmInfo:
    """The same film with its fields left as they are; `FrameReader` goes by `interlaced`."""
    notes = [_NOT_DEINTERLACING if note == _DEINTERLACING else note for note in info.notes]
    return dataclasses.replace(info, interlaced=False, notes=notes)


def is_converted(transfer: str, primaries: str) -> bool:
    """Whether an ordinary display needs other light than the film's own.

    BT.601's primaries are so near BT.709's that they are left, as ffmpeg's scaling leaves them.
    """
    return transfer in _HIGH_DYNAMIC_RANGE or primaries in _WIDE_PRIMARIES


def frame_rotation(frame: VideoFrame) -> int:
    """Degrees clockwise (0, 90, 180, 270) that make a decoded frame upright."""
    # PyAV reports the display matrix counterclockwise; phones write multiples of 90 only.
    return -round(frame.rotation / 90) * 90 % 360


def _film_info(
    path: Path, container: InputContainer, stream: VideoStream, frame: VideoFrame
) -> FilmInfo:
    rotation = frame_rotation(frame)
    turned = rotation in (90, 270)
    aspect = Fraction(stream.sample_aspect_ratio or 1)
    rates = _rates(stream)
    matrix, matrix_note = _matrix(frame)
    transfer = _TRANSFERS.get(frame.color_trc, "unspecified")
    high = transfer in _HIGH_DYNAMIC_RANGE
    primaries = _PRIMARIES.get(int(frame.color_primaries), "unspecified")
    peak = _peak_nits(frame) if high else None
    interlaced = are_interlaced(container, stream, frame)
    notes = [matrix_note] if matrix_note else []
    notes += [_conversion(transfer, primaries, peak)] if is_converted(transfer, primaries) else []
    if interlaced:
        notes.append(_DEINTERLACING)
    if _is_mirrored(frame):
        notes.append("the film asks to be shown mirrored; its picture is kept as stored")
    if _has_alpha(frame):
        notes.append("the film is transparent in parts; its colours are kept, as if it were not")
    others = other_pictures(container, stream)
    if others:
        notes.append(
            f"the file has {len(others) + 1} pictures; stream {stream.index} "
            f"({stream.height}x{stream.width}) is taken, not {' and '.join(others)}"
        )
    time_base = Fraction(stream.time_base or Fraction(1, 1000))
    start = stream.start_time if stream.start_time is not None else frame.pts or 0
    return FilmInfo(
        path=path,
        kind="film",
        stored=(frame.width, frame.height) if turned else (frame.height, frame.width),
        rotation=rotation,
        sample_aspect=1 / aspect if turned else aspect,
        frame_rate=rates[0],
        rate_candidates=rates,
        time_base=time_base,
        frames_estimate=_frames_estimate(container, stream, time_base, rates[0]),
        duration=None if container.duration is None else Fraction(container.duration, av.time_base),
        video_stream=stream.index,
        start_pts=start,
        film_start=_film_start(container, start * time_base),
        matrix=matrix,
        full_range=frame.color_range == _FULL_RANGE or frame.format.name.startswith("yuvj"),
        transfer=transfer,
        primaries=primaries,
        peak_nits=peak,
        interlaced=interlaced,
        pixel_format=frame.format.name,
        codec=stream.codec_context.name,
        container=container.format.name,
        streams=[
            # Which one is the picture, and how it is turned, is told by this alone.
            _describe(one) | ({"rotation": rotation} if one.index == stream.index else {})
            for one in container.streams
        ],
        notes=notes,
    )


def _rates(stream: VideoStream) -> tuple[Fraction, ...]:
    """Every plausible rate the file claims, without repeats, the most credible first.

    libav's guess comes first: an average is taken from the index or from the first second, and
    AVI and raw streams are off by a factor of two or more.
    """
    claims = (stream.guessed_rate, stream.average_rate, stream.base_rate)
    rates = [Fraction(rate) for rate in claims if rate and 0 < rate < 1000]
    return tuple(dict.fromkeys(rates)) or (Fraction(24),)


def _frames_estimate(
    container: InputContainer, stream: VideoStream, time_base: Fraction, rate: Fraction
) -> int | None:
    if stream.duration:
        # An edit list can hide frames that the index counts, so time goes before the count.
        by_time = round(stream.duration * time_base * rate)
        return min(by_time, stream.frames) if stream.frames else by_time
    if stream.frames:
        return stream.frames
    if container.duration:
        return round(Fraction(container.duration, av.time_base) * rate)
    return None


def _film_start(container: InputContainer, picture_start: Fraction) -> Fraction:
    """Start of the earliest picture or sound, exact where libav's own is in microseconds."""
    starts = [
        stream.start_time * Fraction(stream.time_base)
        for stream in (*container.streams.video, *container.streams.audio)
        if stream.start_time is not None and stream.time_base is not None
    ]
    return min([*starts, picture_start])


def _matrix(frame: VideoFrame) -> tuple[str, str]:
    """(matrix, note): the note is empty unless the film's own matrix is beyond us."""
    if frame.format.is_rgb:
        return "rgb", ""
    tag = int(frame.colorspace)
    short, long = sorted((frame.height, frame.width))
    high = short > _STANDARD_DEFINITION_SHORT_SIDE or long >= _HIGH_DEFINITION_LONG_SIDE
    usual = "bt709" if high else "bt601"
    if frame.color_trc in _HIGH_DYNAMIC_TAGS:
        usual = "bt2020"
    if tag in (_UNSPECIFIED_MATRIX, 0):
        return usual, ""
    if tag == _CONSTANT_LUMINANCE:
        return "bt2020", "BT.2020 of constant luminance is taken for the usual, which is near it"
    if tag in _MATRICES:
        return _MATRICES[tag], ""
    return usual, f"colour matrix number {tag} is not known; {usual} is used"


def _conversion(transfer: str, primaries: str, peak_nits: float | None) -> str:
    """Says what is done to the colours, beside matrix and range; "" for nothing."""
    if not is_converted(transfer, primaries):
        return ""
    wide = _WIDE_PRIMARIES.get(primaries, primaries)
    if transfer in _HIGH_DYNAMIC_RANGE:
        wide = "BT.2020" if primaries == "unspecified" else wide
        return (
            f"{_HIGH_DYNAMIC_RANGE[transfer]} tone-mapped to SDR (Hable's curve, peak "
            f"{peak_nits:g} nits), {wide} colours brought to BT.709"
        )
    return f"{wide} colours brought to BT.709"


def _peak_nits(frame: VideoFrame) -> float:
    """The brightest light: of the content, else of the display it was made on, else a usual one.

    ffmpeg's tone map asks in the same order. Both say it in structures of libavutil: two unsigned
    numbers; ten fractions, the last of which is the brightest light, and two flags.
    """
    content: Any = frame.side_data.get("CONTENT_LIGHT_LEVEL")
    if content is not None:
        brightest = int(np.frombuffer(content, np.uint32)[0])
        if brightest:
            return float(brightest)
    display: Any = frame.side_data.get("MASTERING_DISPLAY_METADATA")
    if display is not None:
        numbers = np.frombuffer(display, np.int32)
        numerator, denominator, has_light = int(numbers[18]), int(numbers[19]), numbers[21]
        if has_light and denominator and numerator > 0:
            return numerator / denominator
    return _USUAL_PEAK_NITS


def _has_alpha(frame: VideoFrame) -> bool:
    return frame.format.has_palette is False and any(
        component.is_alpha for component in frame.format.components
    )


def _is_mirrored(frame: VideoFrame) -> bool:
    """Whether the display matrix holds a reflection (its determinant is negative)."""
    side_data: Any = frame.side_data.get("DISPLAYMATRIX")
    if side_data is None:
        return False
    data = bytes(side_data)
    a, b, c, d = (
        int.from_bytes(data[4 * i : 4 * i + 4], "little", signed=True) for i in (0, 1, 3, 4)
    )
    return a * d - b * c < 0


def _describe(stream: Any) -> dict[str, Any]:
    context = stream.codec_context
    facts: dict[str, Any] = {
        "index": stream.index,
        "type": stream.type,
        "codec": context.name if context is not None else None,
        "time_base": str(stream.time_base),
        "start_time": stream.start_time,
        "duration": stream.duration,
        "metadata": dict(stream.metadata),
    }
    if stream.type == "video" and context is not None:
        facts |= {
            "height": stream.height,
            "width": stream.width,
            "rate": str(stream.average_rate),
            "cover_art": bool(stream.disposition & Disposition.attached_pic),
        }
    elif stream.type == "audio" and context is not None:  # else its codec is not known
        facts |= {"sample_rate": stream.sample_rate, "channels": stream.channels}
    return facts


def _probe_images(folder: Path, frame_rate: Fraction) -> FilmInfo:
    sequence = images.list_images(folder)
    count = len(sequence.paths)
    return FilmInfo(
        path=folder,
        kind="images",
        stored=sequence.size,
        rotation=0,
        sample_aspect=Fraction(1),
        frame_rate=frame_rate,
        rate_candidates=(frame_rate,),
        time_base=1 / frame_rate,
        frames_estimate=count,
        duration=count / frame_rate,
        video_stream=0,
        start_pts=0,
        film_start=Fraction(0),
        matrix="rgb",
        full_range=True,
        transfer="srgb",
        primaries="bt709",
        peak_nits=None,
        interlaced=False,
        pixel_format="rgb24",
        codec=sequence.codec,
        container="images",
        streams=[],
        notes=list(sequence.notes),
    )
