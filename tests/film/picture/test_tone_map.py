"""Tone mapping against ffmpeg's own zscale and tonemap, and what must hold of any tone map."""

import subprocess

import imageio_ffmpeg
import numpy as np
import pytest
from numpy.typing import NDArray

from bladerunner_ae.film.picture.tone_map import ToneMap, primaries_matrix

TAGS = {"pq": "smpte2084", "hlg": "arib-std-b67"}


def chart() -> NDArray[np.uint16]:
    """Coded RGB, 16 bits: a grey ramp, ramps of each colour, and patches of all colours."""
    ramp = np.linspace(0, 65535, 256).round()
    rows = [np.stack([ramp * bool(bits & 1 << n) for n in range(3)], -1) for bits in range(1, 8)]
    patches = np.random.default_rng(0).integers(0, 65536, (25, 256, 3))
    near_grey = np.clip(
        ramp[:, None] + np.random.default_rng(1).normal(0, 3000, (256, 3)), 0, 65535
    )
    return np.concatenate([rows, patches, near_grey[None]]).astype(np.uint16)


def mapped(coded: NDArray, transfer: str, primaries: str, peak: float | None) -> NDArray[np.uint8]:
    planes = (np.ascontiguousarray(coded[..., n], np.uint16) for n in range(3))
    return ToneMap(transfer, primaries, peak).apply(*planes)


def of_ffmpeg(coded: NDArray[np.uint16], transfer: str, peak: float) -> NDArray[np.uint8]:
    height, width = coded.shape[:2]
    filters = (
        f"setparams=color_trc={TAGS[transfer]}:color_primaries=bt2020:colorspace=gbr:range=pc,"
        "zscale=t=linear:npl=100,format=gbrpf32le,zscale=p=bt709,"
        f"tonemap=hable:desat=0:peak={peak / 100},"
        "zscale=t=bt709:p=bt709:m=gbr:r=pc,format=gbrp,format=rgb24"
    )
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-f", "rawvideo", "-pixel_format",
               "gbrp16le", "-video_size", f"{width}x{height}", "-i", "-", "-vf", filters,
               "-f", "rawvideo", "-"]  # fmt: skip
    # libav's order of planes is green, blue, red.
    planes = np.ascontiguousarray(coded[..., [1, 2, 0]].transpose(2, 0, 1))
    run = subprocess.run(command, input=planes.tobytes(), capture_output=True, check=True)
    return np.frombuffer(run.stdout, np.uint8).reshape(height, width, 3)


@pytest.mark.parametrize("peak", [400.0, 1000.0, 4000.0])
@pytest.mark.parametrize("transfer", ["pq", "hlg"])
def test_as_ffmpeg_maps_it(transfer: str, peak: float) -> None:
    coded = chart()
    error = np.abs(
        mapped(coded, transfer, "bt2020", peak).astype(int) - of_ffmpeg(coded, transfer, peak)
    )
    assert error.max() <= 2
    assert error.mean() < 0.3


@pytest.mark.parametrize("peak", [100.0, 600.0, 1000.0, 10000.0])
@pytest.mark.parametrize(("transfer", "primaries"), [("pq", "bt2020"), ("hlg", "bt2020"),
                                                     ("pq", "p3"), ("pq", "dci-p3")])  # fmt: skip
def test_greys_stay_grey_and_rise(transfer: str, primaries: str, peak: float) -> None:
    ramp = np.arange(0, 65536, 16)[None, :, None].repeat(3, 2)
    picture = mapped(ramp, transfer, primaries, peak).astype(int)[0]
    assert np.diff(picture, axis=0).min() >= 0
    assert np.ptp(picture, axis=1).max() <= 1
    assert not picture[0].any()
    assert len(np.unique(picture[:, 1])) > 100  # no posters


@pytest.mark.parametrize("peak", [203.0, 600.0, 1000.0, 4000.0])
def test_the_peak_is_white_and_what_is_below_is_not(peak: float) -> None:
    coded = round(65535 * coded_pq(peak))
    white = np.full((1, 1, 3), coded)
    assert (mapped(white, "pq", "bt2020", peak) >= 254).all()
    assert (mapped(np.full((1, 1, 3), 65535), "pq", "bt2020", peak) == 255).all()
    half = np.full((1, 1, 3), round(65535 * coded_pq(peak / 2)))
    assert (mapped(half, "pq", "bt2020", peak) < 252).all()  # the shoulder is flat


def coded_pq(nits: float) -> float:
    """SMPTE ST 2084's inverse: 0..10,000 nits to 0..1."""
    power = (nits / 10000) ** (2610 / 16384)
    return float(((3424 / 4096 + 2413 / 128 * power) / (1 + 2392 / 128 * power)) ** (2523 / 32))


def test_black_and_white_of_hlg() -> None:
    ends = np.array([[[0, 0, 0], [65535, 65535, 65535]]])
    assert mapped(ends, "hlg", "bt2020", 1000).tolist() == [[[0, 0, 0], [255, 255, 255]]]


def test_wide_colours_of_an_ordinary_curve_keep_their_greys() -> None:
    ramp = np.arange(0, 65536, 257)[None, :, None].repeat(3, 2)
    picture = mapped(ramp, "bt709", "p3", None).astype(int)
    assert np.abs(picture - ramp // 257).max() <= 1


def test_colours_of_bt709_are_left_alone() -> None:
    assert np.abs(primaries_matrix("bt709") - np.eye(3)).max() < 1e-12
    for primaries in ("bt2020", "p3", "dci-p3"):
        assert np.abs(primaries_matrix(primaries).sum(1) - 1).max() < 1e-12  # white stays white


def test_pictures_of_any_shape_are_mapped_alike() -> None:
    coded = np.random.default_rng(2).integers(0, 65536, (7, 20_000, 3)).astype(np.uint16)
    whole = mapped(coded, "pq", "bt2020", 1000)
    assert (mapped(coded[3:4, 5:6], "pq", "bt2020", 1000) == whole[3:4, 5:6]).all()
    assert (mapped(coded.reshape(-1, 1, 3), "pq", "bt2020", 1000) == whole.reshape(-1, 1, 3)).all()
