"""Black bars of a film: rows and columns that are black in every one of its frames."""

from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from bladerunner_ae.film.info import FilmInfo, PictureFormat
from bladerunner_ae.film.picture.cropping import Cropper
from bladerunner_ae.film.reading.samples import sample_frames, sample_key_frames

Bars = tuple[int, int, int, int]

_SAMPLES = 48
# Bars seen in fewer bright key frames than this are looked for in the whole film.
_ENOUGH = 8

# This part of a row may be bright by accident: hot pixels, the edge of a channel's logo.
_STRAY_PIXELS = 0.01

# Bars narrower than this part of the film are a ragged edge, not a format.
_NARROWEST = 0.01
# A wide film in an upright one, or the other way round, leaves 32 % of the picture. Less is no
# format either: there, a film shows small bright things on black.
_SMALLEST_PICTURE = 0.25


def find_bars(info: FilmInfo) -> Bars:
    """Find black bars in frames from all over a film.

    What is picture in any frame is picture: if the bars change, the largest picture counts. The
    search ends as soon as picture was seen at all four edges.

    Returns:
        (top, bottom, left, right), stored pixels of the upright picture to cut off, even numbers;
        zeros if there are none, or every inspected frame is dark.
    """
    extent = _Extent(info.picture)
    for search in (sample_key_frames, sample_frames):
        for frame in search(info, _SAMPLES):
            extent.add(frame)
            if extent.whole():
                return 0, 0, 0, 0
        if extent.frames >= _ENOUGH:
            break
    return extent.bars()


class _Extent:
    """Rows and columns, as decoded, that hold picture in any of the frames added."""

    def __init__(self, picture: PictureFormat) -> None:
        self._format = picture
        height, width = picture.coded
        self._rows, self._columns = np.zeros(height, bool), np.zeros(width, bool)
        self._cropper = Cropper(picture.crop)
        self.frames = 0

    def add(self, frame: VideoFrame) -> None:
        """Take a frame into account, unless it is dark."""
        brightness = Brightness(self._cropper.apply(frame), self._format)
        if brightness.is_dark(_STRAY_PIXELS):
            return
        self.frames += 1
        lit = brightness.lit()
        self._rows |= np.count_nonzero(lit, axis=1) > _STRAY_PIXELS * lit.shape[1]
        self._columns |= np.count_nonzero(lit, axis=0) > _STRAY_PIXELS * lit.shape[0]

    def whole(self) -> bool:
        """Whether picture was seen at all four edges; it can only stay so."""
        return self.frames > 0 and not any((*_edges(self._rows), *_edges(self._columns)))

    def bars(self) -> Bars:
        top, bottom = _edges(self._rows)
        left, right = _edges(self._columns)
        height, width = len(self._rows), len(self._columns)
        kept = (height - top - bottom) * (width - left - right)
        if kept < _SMALLEST_PICTURE * height * width:
            return 0, 0, 0, 0
        if self._format.direction.mirrored:
            top, bottom = bottom, top
        return _upright((top, bottom, left, right), self._format.direction.rotation)


def _upright(bars: Bars, rotation: int) -> Bars:
    """Bars after a picture is turned by some degrees clockwise."""
    top, bottom, left, right = bars
    return {
        90: (left, right, bottom, top),
        180: (bottom, top, right, left),
        270: (right, left, top, bottom),
    }.get(rotation, bars)


def _edges(lit: NDArray[np.bool_]) -> tuple[int, int]:
    places = np.flatnonzero(lit)
    if not len(places):
        return 0, 0
    narrowest = max(_NARROWEST * len(lit), 2)
    # Rounded to even numbers that leave a black row rather than cut one of the picture: chroma
    # has one sample for two rows.
    before, after = (
        edge // 2 * 2 if edge >= narrowest else 0
        for edge in (int(places[0]), len(lit) - 1 - int(places[-1]))
    )
    return before, after


# Luma, 0..255. Compression and old tapes leave some noise in black.
BLACK_LEVEL = 16
# A frame without a row in which some channel gets this bright does not show the picture's edge.
BRIGHT_LEVEL = 48


class Brightness:
    """Lit pixels of a frame; all results are of `info.picture.coded`, not yet turned upright."""

    def __init__(self, frame: VideoFrame, picture: PictureFormat) -> None:
        size = (frame.height, frame.width)
        self._planes = _yuv_planes(frame) if size == picture.coded else None
        self._full_range = picture.tags.full_range
        self._bits = frame.format.components[0].bits
        if self._planes is None:
            height, width = picture.coded
            rgb = frame.reformat(width, height, "rgb24").to_ndarray()
            red, green, blue = (rgb[..., channel].astype(np.uint16) for channel in range(3))
            # Ten times as fast as rgb.max(axis=2).
            self._brightest = np.maximum(np.maximum(red, green), blue)
            self._luma = (2 * red + 5 * green + blue) // 8

    def lit(self) -> NDArray[np.bool_]:
        """Pixels that are not black.

        By luma: colours of the picture's edge bleed into the last rows of a bar, light does not.
        """
        if self._planes is None:
            return np.asarray(self._luma > BLACK_LEVEL)
        return np.asarray(self._planes[0] > self._coded(BLACK_LEVEL))

    def is_dark(self, stray: float) -> bool:
        """Whether no row has more than the fraction `stray` of its pixels bright in any channel."""
        if self._planes is None:
            return not _has_full_row(self._brightest >= BRIGHT_LEVEL, stray)
        luma, *colours = self._planes
        if _has_full_row(luma >= self._coded(BRIGHT_LEVEL), stray):
            return False
        return not colours or not _has_full_row(self._colourful(luma, *colours), stray)

    def _colourful(
        self, luma: NDArray[np.integer], cb: NDArray[np.integer], cr: NDArray[np.integer]
    ) -> NDArray[np.bool_]:
        """Pixels, as many as chroma has, with a channel that is bright; by BT.709's matrix."""
        down, across = (-(-a // b) for a, b in zip(luma.shape, cb.shape, strict=True))
        scale = 2.0 ** (8 - self._bits)
        y = (luma[::down, ::across] * scale - (0 if self._full_range else 16)).astype(np.float32)
        u, v = ((plane * scale - 128).astype(np.float32) for plane in (cb, cr))
        if not self._full_range:
            y, u, v = y * (255 / 219), u * (255 / 224), v * (255 / 224)
        green = y - 0.187 * u - 0.468 * v
        brightest = np.maximum(np.maximum(y + 1.575 * v, y + 1.856 * u), green)
        return np.asarray(brightest >= BRIGHT_LEVEL)

    def _coded(self, level: int) -> int:
        """A level of 0..255 as the film codes it in luma."""
        coded = level if self._full_range else 16 + level * 219 / 255
        return round(coded * 2 ** (self._bits - 8))


def _has_full_row(bright: NDArray[np.bool_], stray: float) -> bool:
    return bool(np.count_nonzero(bright, axis=1).max() > stray * bright.shape[1])


def _yuv_planes(frame: VideoFrame) -> list[NDArray[np.integer]] | None:
    """Luma, and chroma if there is any, each [height, width]; None for other kinds of frames."""
    layout = frame.format
    components = [one for one in layout.components if not one.is_alpha]
    bits = components[0].bits
    if layout.is_rgb or layout.has_palette or layout.is_big_endian or bits not in range(8, 17):
        return None
    if len(components) not in (1, 3) or [one.plane for one in components] != list(
        range(len(components))
    ):
        return None
    if not layout.is_planar and len(components) > 1:
        return None
    planes: list[NDArray[np.integer[Any]]] = []
    for component in components:
        plane: Any = frame.planes[component.plane]
        kind: Any = np.uint8 if bits == 8 else np.dtype("<u2")
        values = np.frombuffer(plane, kind).reshape(plane.height, -1)
        planes.append(values[:, : plane.width])
    return planes
