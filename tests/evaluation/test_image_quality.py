"""Metrics of pictures against numbers worked out by hand, and SSIM against TensorFlow's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from bladerunner_ae.evaluation import image_quality


def grey(value: int, frames: int = 1) -> NDArray[np.uint8]:
    return np.full((frames, 16, 20, 3), value, np.uint8)


@pytest.mark.parametrize("error", [1, 10, 255])
def test_psnr_of_an_even_error(error: int) -> None:
    found = image_quality.psnr(grey(0), grey(error)).numpy()
    assert found.shape == (1,)
    assert found[0] == pytest.approx(20 * math.log10(255 / error), abs=1e-4)


def test_psnr_does_not_wrap_around() -> None:
    np.testing.assert_array_equal(
        image_quality.psnr(grey(3), grey(250)).numpy(),
        image_quality.psnr(grey(250), grey(3)).numpy(),
    )


def test_psnr_of_equal_frames_is_finite() -> None:
    expected = 10 * math.log10(255**2 * 12)
    assert expected == pytest.approx(58.92, abs=0.01)
    assert image_quality.psnr(grey(7), grey(7)).numpy()[0] == pytest.approx(expected, abs=1e-4)


def test_psnr_is_taken_frame_by_frame() -> None:
    original, output = grey(100, 3), grey(100, 3)
    output[1] += 5
    output[2, :8] += 5  # half of the picture: half of the squared error
    found = image_quality.psnr(original, output).numpy()
    assert found[1] == pytest.approx(20 * math.log10(255 / 5), abs=1e-4)
    assert found[2] - found[1] == pytest.approx(10 * math.log10(2), abs=1e-4)


def test_ssim_of_equal_frames_is_one() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (2, 16, 20, 3), np.uint8)
    np.testing.assert_allclose(image_quality.ssim(frame, frame).numpy(), 1.0, atol=1e-5)


def test_ssim_of_even_greys_follows_its_luminance_term() -> None:
    # Without structure only (2ab + C1) / (a^2 + b^2 + C1) is left, C1 = (0.01 * 255)^2.
    a, b, constant = 100.0, 150.0, (0.01 * 255) ** 2
    expected = (2 * a * b + constant) / (a * a + b * b + constant)
    found = image_quality.ssim(grey(100), grey(150)).numpy()
    assert found.shape == (1,)
    assert found[0] == pytest.approx(expected, abs=1e-3)


def test_ssim_falls_with_noise() -> None:
    random = np.random.default_rng(0)
    frame = random.integers(60, 200, (1, 16, 20, 3)).astype(np.uint8)
    noise = random.integers(-30, 31, frame.shape)
    faint = (frame + noise // 3).astype(np.uint8)
    strong = (frame + noise).astype(np.uint8)
    values = [float(image_quality.ssim(frame, other)[0]) for other in (frame, faint, strong)]
    assert values[0] == pytest.approx(1.0, abs=1e-5)
    assert values[0] > values[1] > values[2] > 0


NOISY_SIZES = [(24, 32), (37, 51), (8, 16), (72, 128), (180, 192)]


def noisy_pair(height: int, width: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    random = np.random.default_rng(0)
    frame = random.integers(0, 256, (2, height, width, 3))
    noise = random.integers(-60, 61, frame.shape)
    return frame.astype(np.uint8), np.clip(frame + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(("height", "width"), NOISY_SIZES)
def test_ssim_is_tensorflows(height: int, width: int) -> None:
    first, second = noisy_pair(height, width)
    expected = tf.image.ssim(first, second, 255, filter_size=min(11, height, width))
    found = image_quality.ssim(first, second)
    np.testing.assert_allclose(found, expected, atol=5e-6)
    np.testing.assert_array_equal(image_quality.both_ssim(first, second)[0], found)


@pytest.mark.parametrize(("height", "width"), NOISY_SIZES)
def test_ms_ssim_is_tensorflows(height: int, width: int) -> None:
    first, second = noisy_pair(height, width)
    weights = image_quality.SCALE_WEIGHTS[: image_quality.ms_ssim_scales(height, width)]
    expected = tf.image.ssim_multiscale(
        first, second, 255, power_factors=[weight / sum(weights) for weight in weights],
        filter_size=min(11, height, width),
    )  # fmt: skip
    assert 0.5 < float(expected[0]) < 0.99
    np.testing.assert_allclose(image_quality.ms_ssim(first, second), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("height", "width", "scales"),
    [(8, 8, 1), (11, 21, 1), (22, 22, 2), (43, 300, 2), (72, 128, 3), (144, 256, 4),
     (176, 176, 5), (1080, 1920, 5)],
)  # fmt: skip
def test_every_scale_holds_the_window(height: int, width: int, scales: int) -> None:
    assert image_quality.ms_ssim_scales(height, width) == scales


def test_ms_ssim_of_even_greys_is_the_luminance_of_the_coarsest_scale() -> None:
    # Contrast and structure of even greys agree, so only l^weight is left; 32 pixels: two scales.
    a, b, constant = 100.0, 150.0, (0.01 * 255) ** 2
    weights = image_quality.SCALE_WEIGHTS[:2]
    luminance = (2 * a * b + constant) / (a * a + b * b + constant)
    first, second = (np.full((1, 32, 32, 3), value, np.uint8) for value in (100, 150))
    expected = luminance ** (weights[1] / sum(weights))
    assert image_quality.ms_ssim(first, second).numpy()[0] == pytest.approx(expected, abs=1e-3)


def test_negative_ms_ssim_terms_count_as_nothing() -> None:
    board = np.indices((16, 16)).sum(axis=0)[None, ..., None] % 2 * np.full(3, 255)
    frame = board.astype(np.uint8)
    assert float(image_quality.ssim(frame, 255 - frame)[0]) < -0.9
    assert float(image_quality.ms_ssim(frame, 255 - frame)[0]) == 0.0


def test_gradient_of_ramps() -> None:
    row, column = np.mgrid[:6, :8]
    pictures = np.stack([10 * column, 3 * row + 4 * column, np.full((6, 8), 90)])
    found = image_quality.gradient(np.repeat(pictures[..., None], 3, -1).astype(np.uint8)).numpy()
    np.testing.assert_allclose(found, [10.0, 5.0, 0.0], atol=1e-6)  # sqrt(3^2 + 4^2)


def test_change_counts_both_directions() -> None:
    earlier, later = grey(100, 2), grey(103, 2)
    later[1, :, :10] = 97
    np.testing.assert_allclose(image_quality.change(earlier, later).numpy(), [3.0, 3.0])


def test_black_level_looks_at_black_pixels_only() -> None:
    original, output = grey(200, 2), grey(200, 2)
    original[0, :4] = (0, 4, 2)  # black, mean 2
    original[0, 4] = (0, 5, 0)  # not black
    output[0, :4] = (10, 20, 30)  # mean 20
    sums, pixels = (values.numpy() for values in image_quality.black_level(original, output))
    np.testing.assert_allclose(pixels, [80, 0])
    np.testing.assert_allclose(sums, [80 * 18.0, 0], rtol=1e-5)
