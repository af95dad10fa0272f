"""Facts about a film, as `film.reading.probe` finds them."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from bladerunner_ae.film.notes import Note
from bladerunner_ae.film.picture.colour import Tags, conversion_note
from bladerunner_ae.film.picture.cropping import NO_MARGINS, Margins
from bladerunner_ae.film.picture.direction import Direction
from bladerunner_ae.film.picture.frame_format import FrameFormat
from bladerunner_ae.film.reading.streams import LeftOut
from bladerunner_ae.geometry import Size


@dataclass(frozen=True)
class PictureFormat:
    """Storage of pictures, and what makes them upright and right in colour.

    Attributes:
        stored: (height, width) of the upright picture in the file's own pixels, without `crop`.
        sample_aspect: width of a pixel divided by its height, in the upright picture.
        first: format of the first frame, as decoded; the formats of all others refer to it.
        codec, pixel_format: libav's names of the decoder and of the layout of the stored pixels.
        peak_nits: brightest light of a film in "pq" or "hlg", decided once for the whole film.
        crop: rows and columns of a decoded picture that the container does not show.
    """

    stored: Size
    sample_aspect: Fraction
    first: FrameFormat
    codec: str
    pixel_format: str
    peak_nits: float | None = None
    crop: Margins = NO_MARGINS

    @property
    def tags(self) -> Tags:
        return self.first.tags

    @property
    def direction(self) -> Direction:
        return Direction(self.first.rotation, self.first.mirrored)

    @property
    def coded(self) -> Size:
        """(height, width) of a picture as decoded and cropped, before it is turned upright."""
        return self.stored[::-1] if self.first.rotation in (90, 270) else self.stored

    def colour(self) -> dict[str, Any]:
        conversion = conversion_note(self.tags, self.peak_nits)
        return {
            **self.tags._asdict(),
            "pixel_format": self.pixel_format,
            "conversion": "" if conversion is None else str(conversion),
        }


@dataclass(frozen=True)
class Timing:
    """Times of frames, as far as the file says.

    Attributes:
        rate_candidates: declared rates in frames per second, the most credible first.
        time_base: seconds per unit of a timestamp.
        frames_estimate: rough number of frames, or None.
        duration: declared seconds of the longest stream, or None.
        start_pts: timestamp at which the picture begins, in units of `time_base`.
        film_start: seconds at which the earliest stream begins; players count from here.
    """

    rate_candidates: tuple[Fraction, ...]
    time_base: Fraction
    frames_estimate: int | None
    duration: Fraction | None
    start_pts: int
    film_start: Fraction

    @property
    def frame_rate(self) -> Fraction:
        """Nominal frames per second; `film.reading.clock` tells whether frames keep to it."""
        return self.rate_candidates[0]


@dataclass(frozen=True)
class StreamChoice:
    """The streams of a file that are the film; all indices and streams are in file order.

    Attributes:
        picture: index of the picture's stream (0 for images).
        sound: indices of the sound tracks of the picture's programme whose codec is known.
        described: one JSON object for each stream of the file.
    """

    picture: int = 0
    sound: tuple[int, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    described: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class FilmInfo:
    """Facts about a film before it is read; `path` may also be a folder or pattern of images.

    Attributes:
        container: libav's name of the file format, or "images".
        interlaced: whether any of the sampled frames consists of two fields.
        deinterlace: whether frames of two fields are to be deinterlaced.
    """

    path: Path
    container: str
    picture: PictureFormat
    timing: Timing
    streams: StreamChoice
    interlaced: bool
    deinterlace: bool
    notes: tuple[Note, ...]

    @property
    def kind(self) -> str:
        return "images" if self.container == "images" else "film"
