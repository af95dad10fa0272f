"""How exact the pictures of records are: the scaling, and what JPEG costs."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from bladerunner_ae.conversion.encode import compress
from bladerunner_ae.conversion.options import ConversionOptions
from bladerunner_ae.film.images.stills import read_still
from bladerunner_ae.film.picture.scaling import RecordScaler
from bladerunner_ae.film.reading.container import open_film, picture_stream
from bladerunner_ae.film.reading.probe import probe_film
from bladerunner_ae.geometry import Size, decide_geometry

# Red and blue weights of luma (ITU-R BT.709).
RED, BLUE = 0.2126, 0.0722


def some_frames(film: Path, every: int) -> Iterator[VideoFrame]:
    """Every so many-th frame as decoded."""
    with open_film(film) as container:
        for number, frame in enumerate(container.decode(picture_stream(container, film))):
            if number % every == 0:
                assert isinstance(frame, VideoFrame)
                yield frame


def area_weights(pixels: int, samples: int) -> NDArray[np.float64]:
    """Row n: how much of each pixel lies in the n-th of `samples` equal parts."""
    edges = np.arange(samples + 1) * pixels / samples
    starts = np.arange(pixels)
    overlap = np.minimum(edges[1:, None], starts + 1) - np.maximum(edges[:-1, None], starts)
    return np.maximum(overlap, 0) * samples / pixels


def exact_mean(frame: VideoFrame, size: Size) -> NDArray[np.float64]:
    """The area mean of a BT.709 frame of limited range and 4:2:0, in RGB 0..255, not rounded."""
    planes = [
        np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
        for plane in frame.planes
    ]
    luma, cb, cr = (
        area_weights(plane.shape[0], size[0])
        @ plane.astype(float)
        @ area_weights(plane.shape[1], size[1]).T
        for plane in planes
    )
    luma, cb, cr = (luma - 16) * 255 / 219, (cb - 128) * 255 / 224, (cr - 128) * 255 / 224
    red, blue = luma + cr * (2 - 2 * RED), luma + cb * (2 - 2 * BLUE)
    green = (luma - RED * red - BLUE * blue) / (1 - RED - BLUE)
    return np.clip(np.stack([red, green, blue], -1), 0, 255)


def decibels(one: NDArray[np.uint8], other: NDArray[np.float64]) -> float:
    """Peak signal-to-noise ratio of two pictures, 0..255."""
    return float(10 * np.log10(255**2 / max(np.mean((one - other) ** 2), 1e-9)))


def quality(film: Path, size: Size, scratch: Path) -> tuple[list[float], list[float]]:
    """Decibels of frames against the exact area mean, and of their JPEGs against the frames.

    Args:
        film: BT.709, limited range, 4:2:0; every 24th frame is measured.
        size: (height, width) of the records.
        scratch: folder for a picture.
    """
    info = probe_film(film)
    scaler = RecordScaler(info.picture, decide_geometry(info.picture.stored, raster=size))
    scaling, compression = [], []
    for frame in some_frames(film, 24):
        image = scaler.scale(frame)
        scaling.append(decibels(image, exact_mean(frame, size)))
        picture = scratch / "frame.jpeg"
        picture.write_bytes(compress(image, ConversionOptions()))
        if image.any():  # black is exact and says nothing
            compression.append(decibels(read_still(picture), image.astype(float)))
    return scaling, compression
