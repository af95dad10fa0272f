"""Colours and scaling against exact arithmetic: the area mean of the film's own pixels."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from bladerunner_ae.film.reading.frame_reader import FrameReader
from bladerunner_ae.film.reading.probe import probe_film
from bladerunner_ae.geometry import decide_geometry
from tests.helpers.awkward_films import ffmpeg, film_of

# Weights of red and blue in luma (ITU-R BT.709, BT.601, BT.2020).
LUMA = {"bt709": (0.2126, 0.0722), "bt601": (0.299, 0.114), "bt2020": (0.2627, 0.0593)}
TAGS = {"bt709": "bt709", "bt601": "smpte170m", "bt2020": "bt2020nc"}

Planes = NDArray[np.float64]


def record(film: Path, height: int, width: int) -> NDArray[np.uint8]:
    info = probe_film(film)
    with FrameReader(
        info, geometry=decide_geometry(info.picture.stored, raster=(height, width))
    ) as reader:
        return next(iter(reader)).image


def psnr(one: NDArray[np.uint8], exact: Planes) -> float:
    return float(10 * np.log10(255**2 / np.mean((one - exact) ** 2)))


def to_yuv(rgb: Planes, matrix: str, full: bool) -> Planes:
    """Exact YCbCr of RGB 0..255, as numbers of 8 bits, not rounded."""
    red, blue = LUMA[matrix]
    luma = rgb @ np.array([red, 1 - red - blue, blue])
    cb, cr = (rgb[..., 2] - luma) / (2 - 2 * blue), (rgb[..., 0] - luma) / (2 - 2 * red)
    if full:
        return np.stack([luma, cb + 128, cr + 128], -1)
    return np.stack([luma * 219 / 255 + 16, cb * 224 / 255 + 128, cr * 224 / 255 + 128], -1)


def to_rgb(yuv: Planes, matrix: str, full: bool) -> Planes:
    red, blue = LUMA[matrix]
    luma, cb, cr = yuv[..., 0], yuv[..., 1] - 128, yuv[..., 2] - 128
    if not full:
        luma, cb, cr = (luma - 16) * 255 / 219, cb * 255 / 224, cr * 255 / 224
    r, b = luma + cr * (2 - 2 * red), luma + cb * (2 - 2 * blue)
    g = (luma - red * r - blue * b) / (1 - red - blue)
    return np.clip(np.stack([r, g, b], -1), 0, 255)


def scene(height: int, width: int) -> Planes:
    """Soft colours, sharp edges and fine texture."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:height, :width]
    waves = [np.sin(rows / a + columns / b) for a, b in ((37, 51), (23, -90), (-61, 33))]
    picture = 128 + 90 * np.stack(waves, -1)
    picture[height // 4 : height // 2, width // 3 : width // 2] = (200, 40, 40)
    picture += random.normal(0, 4, picture.shape)
    picture[: height // 5, : width // 4] = 0
    return np.clip(picture, 0, 255)


def film_of_yuv(path: Path, yuv: Planes, matrix: str | None, full: bool) -> Path:
    """A lossless film of one YCbCr picture; chroma in full resolution."""
    raw = path.with_suffix(".yuv")
    raw.write_bytes(np.moveaxis(yuv, -1, 0).astype(np.uint8).tobytes())
    tags = f"setparams=range={'pc' if full else 'tv'}"
    tags += f":colorspace={TAGS[matrix]}" if matrix else ""
    height, width = yuv.shape[:2]
    ffmpeg("-f", "rawvideo", "-pixel_format", "yuv444p", "-video_size", f"{width}x{height}",
           "-i", raw, "-vf", tags, "-c:v", "libx264", "-qp", "0", "-preset", "ultrafast",
           path)  # fmt: skip
    return path


@pytest.mark.parametrize(
    ("matrix", "tagged", "full", "size"),
    [
        ("bt709", True, False, (288, 512)),
        ("bt709", False, False, (720, 1280)),  # high definition by convention
        ("bt601", False, False, (288, 512)),  # standard definition by convention
        ("bt601", True, False, (720, 1280)),
        ("bt601", True, True, (288, 512)),
        ("bt709", True, True, (288, 512)),
        ("bt2020", True, False, (288, 512)),
    ],
)
def test_the_exact_area_mean_in_the_right_colours(
    tmp_path: Path, matrix: str, tagged: bool, full: bool, size: tuple[int, int]
) -> None:
    yuv = np.round(to_yuv(scene(*size), matrix, full))
    film = film_of_yuv(tmp_path / "film.mkv", yuv, matrix if tagged else None, full)
    info = probe_film(film)
    assert (info.picture.tags.matrix, info.picture.tags.full_range) == (matrix, full)
    assert info.picture.pixel_format in ("yuv444p", "yuvj444p")  # j: full range
    height, width = size[0] // 4, size[1] // 4
    means = yuv.reshape(height, 4, width, 4, 3).mean((1, 3))
    image = record(film, height, width)
    assert psnr(image, to_rgb(means, matrix, full)) > 50
    assert not image[: height // 5 - 1, : width // 4 - 1].any()  # black is black
    red = image[height // 4 + 2 : height // 2 - 2, width // 3 + 2 : width // 2 - 2]
    assert np.abs(red.mean((0, 1)) - (200, 40, 40)).max() < 1


def test_a_factor_that_is_no_whole_number(tmp_path: Path) -> None:
    yuv = np.round(to_yuv(scene(360, 640), "bt709", False))
    film = film_of_yuv(tmp_path / "film.mkv", yuv, "bt709", False)
    weights = [area_weights(360, 144), area_weights(640, 256)]
    means = np.stack([weights[0] @ yuv[..., i] @ weights[1].T for i in range(3)], -1)
    assert psnr(record(film, 144, 256), to_rgb(means, "bt709", False)) > 45


def area_weights(pixels: int, samples: int) -> Planes:
    """Row n: the part of each pixel in the n-th of `samples` equal parts."""
    edges = np.arange(samples + 1) * pixels / samples
    starts = np.arange(pixels)
    overlap = np.minimum(edges[1:, None], starts + 1) - np.maximum(edges[:-1, None], starts)
    return np.maximum(overlap, 0) * samples / pixels


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv420p10le", "yuv422p", "yuvj420p", "gbrp"])
@pytest.mark.parametrize("colour", [(200, 40, 40), (30, 60, 210), (0, 0, 0), (255, 255, 255)])
def test_flat_colours(tmp_path: Path, pixel_format: str, colour: tuple[int, int, int]) -> None:
    picture = np.empty((72, 128, 3), np.uint8)
    picture[:] = colour
    full = "pc" if pixel_format == "yuvj420p" else "tv"
    encode = ["-c:v", "ffv1" if pixel_format == "gbrp" else "libx264", "-pix_fmt", pixel_format]
    if pixel_format != "gbrp":
        encode += ["-qp", "0", "-colorspace", "bt709", "-vf",
                   f"scale=out_color_matrix=bt709:out_range={full}"]  # fmt: skip
    image = record(film_of(tmp_path / "film.mkv", [picture], *encode), 36, 64)
    error = np.abs(image.astype(int) - colour).max()
    # Black and white are whole numbers in every coding and come out as such; but ffmpeg, which
    # made the film, has no exact way to full range.
    exact = colour in ((0, 0, 0), (255, 255, 255)) and full == "tv"
    assert error <= (0 if exact else 2)


def test_enlarging_is_smooth(tmp_path: Path) -> None:
    ramp = np.repeat(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], 36, 0).repeat(3, 2)
    image = record(film_of(tmp_path / "film.mkv", [ramp]), 72, 128).astype(int)
    steps = np.diff(image[36, 8:-8, 0])
    assert steps.min() >= 0 and steps.max() <= 5  # blocks would step by 4 and 0 in turn
    assert np.count_nonzero(steps == 0) < 20
