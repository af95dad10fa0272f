"""Metrics of pictures against numbers worked out by hand, and SSIM against TensorFlow's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from bladerunner_ae.evaluation import image_quality
from bladerunner_ae.evaluation.image_quality import SCALE_WEIGHTS, both_ssim, ms_ssim, psnr, ssim


def grey(value: int, frames: int = 1, height: int = 16, width: int = 20) -> NDArray[np.uint8]:
    return np.full((frames, height, width, 3), value, np.uint8)


@pytest.mark.parametrize(
    ("original", "output", "expected"),
    [
        (0, 1, 20 * math.log10(255)),
        (0, 10, 20 * math.log10(255 / 10)),
        (0, 255, 0.0),
        (3, 250, 20 * math.log10(255 / 247)),
        (250, 3, 20 * math.log10(255 / 247)),  # does not wrap around
        (7, 7, 10 * math.log10(255**2 * 12)),  # 58.92, not infinite
    ],
)
def test_psnr_of_plain_greys(original: int, output: int, expected: float) -> None:
    found = psnr(grey(original), grey(output)).numpy()
    assert found.shape == (1,) and found[0] == pytest.approx(expected, abs=1e-4)


def test_psnr_is_measured_frame_by_frame() -> None:
    original, output = grey(100, 3), grey(100, 3)
    output[1] += 5
    output[2, :8] += 5  # half of the picture: half of the squared error
    found = psnr(original, output).numpy()
    assert found[1] == pytest.approx(20 * math.log10(255 / 5), abs=1e-4)
    assert found[2] - found[1] == pytest.approx(10 * math.log10(2), abs=1e-4)


def luminance(a: float, b: float) -> float:
    """SSIM of plain greys: (2ab + C1) / (a^2 + b^2 + C1), C1 = (0.01 * 255)^2."""
    constant = (0.01 * 255) ** 2
    return (2 * a * b + constant) / (a * a + b * b + constant)


def test_similarity_of_plain_greys_is_their_luminance_term() -> None:
    assert ssim(grey(100), grey(150)).numpy() == pytest.approx([luminance(100, 150)], abs=1e-3)
    # Two scales hold 32 pixels; the luminance counts at the coarser one alone.
    weights = SCALE_WEIGHTS[:2]
    expected = luminance(100, 150) ** (weights[1] / sum(weights))
    found = ms_ssim(grey(100, 1, 32, 32), grey(150, 1, 32, 32)).numpy()
    assert found == pytest.approx([expected], abs=1e-3)


def test_ssim_falls_with_noise() -> None:
    random = np.random.default_rng(0)
    frame = random.integers(60, 200, (1, 16, 20, 3)).astype(np.uint8)
    noise = random.integers(-30, 31, frame.shape)
    faint, strong = ((frame + part).astype(np.uint8) for part in (noise // 3, noise))
    values = [float(ssim(frame, other)[0]) for other in (frame, faint, strong)]
    assert values[0] == pytest.approx(1.0, abs=1e-5)
    assert values[0] > values[1] > values[2] > 0


@pytest.mark.parametrize(("height", "width"), [(24, 32), (37, 51), (8, 16), (72, 128), (180, 192)])
def test_similarity_is_that_of_tensorflow(height: int, width: int) -> None:
    random = np.random.default_rng(0)
    first = random.integers(0, 256, (2, height, width, 3))
    second = np.clip(first + random.integers(-60, 61, first.shape), 0, 255).astype(np.uint8)
    first = first.astype(np.uint8)
    window = min(11, height, width)
    single, multi = both_ssim(first, second)
    np.testing.assert_array_equal(single, ssim(first, second))
    np.testing.assert_allclose(
        single, tf.image.ssim(first, second, 255, filter_size=window), atol=5e-6
    )
    weights = SCALE_WEIGHTS[: image_quality.ms_ssim_scales(height, width)]
    factors = [weight / sum(weights) for weight in weights]
    expected = tf.image.ssim_multiscale(
        first, second, 255, power_factors=factors, filter_size=window
    )
    assert 0.5 < float(expected[0]) < 0.99
    np.testing.assert_allclose(multi, expected, atol=1e-5)


@pytest.mark.parametrize(
    ("height", "width", "scales"),
    [(8, 8, 1), (11, 21, 1), (22, 22, 2), (43, 300, 2), (72, 128, 3), (144, 256, 4),
     (176, 176, 5), (1080, 1920, 5)],
)  # fmt: skip
def test_every_scale_holds_the_window(height: int, width: int, scales: int) -> None:
    assert image_quality.ms_ssim_scales(height, width) == scales


def test_negative_ms_ssim_terms_count_as_0() -> None:
    board = np.indices((16, 16)).sum(axis=0)[None, ..., None] % 2 * np.full(3, 255)
    frame = board.astype(np.uint8)
    assert float(ssim(frame, 255 - frame)[0]) < -0.9
    assert float(ms_ssim(frame, 255 - frame)[0]) == 0.0


def test_gradient_of_ramps() -> None:
    row, column = np.mgrid[:6, :8]
    pictures = np.stack([10 * column, 3 * row + 4 * column, np.full((6, 8), 90)])
    found = image_quality.gradient(np.repeat(pictures[..., None], 3, -1).astype(np.uint8)).numpy()
    np.testing.assert_allclose(found, [10.0, 5.0, 0.0], atol=1e-6)  # sqrt(3^2 + 4^2)


def test_change_counts_both_directions() -> None:
    earlier, later = grey(100, 2), grey(103, 2)
    later[1, :, :10] = 97
    np.testing.assert_allclose(image_quality.change(earlier, later).numpy(), [3.0, 3.0])


def test_black_level_is_that_of_black_pixels_only() -> None:
    original, output = grey(200, 2), grey(200, 2)
    original[0, :4] = (0, 4, 2)  # black, mean 2
    original[0, 4] = (0, 5, 0)  # not black
    output[0, :4] = (10, 20, 30)  # mean 20
    sums, pixels = (values.numpy() for values in image_quality.black_level(original, output))
    np.testing.assert_allclose(pixels, [80, 0])
    np.testing.assert_allclose(sums, [80 * 18.0, 0], rtol=1e-5)
