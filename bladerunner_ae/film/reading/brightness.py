"""Where a decoded frame is lit, judged from its planes as they are.

Making a whole RGB picture of a frame takes several times as long. Films of high dynamic range need
no other levels: near black their coding is close to that of others.
"""

from typing import Any

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from bladerunner_ae.film.reading.probe import FilmInfo

# Luma, 0..255. Compression and old tapes leave some noise in black.
BLACK_LEVEL = 16
# A frame without a row in which some channel gets this bright does not show the picture's edge.
BRIGHT_LEVEL = 48

_MOST_BITS = 16


class Brightness:
    """Which pixels of a frame are lit.

    Args:
        frame: as decoded.
        info: its film; (height, width) of all results is `info.coded`, not yet turned upright.
    """

    def __init__(self, frame: VideoFrame, info: FilmInfo) -> None:
        size = (frame.height, frame.width)
        self._planes = _yuv_planes(frame) if size == info.coded else None
        self._full_range = info.full_range
        self._bits = frame.format.components[0].bits
        if self._planes is None:
            height, width = info.coded
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
        """Whether no row has more than that part of its pixels bright in any channel."""
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
