"""PSNR and SSIM against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from bladerunner_ae import metrics


def grey(value: int, frames: int = 1) -> NDArray[np.uint8]:
    return np.full((frames, 16, 20, 3), value, np.uint8)


@pytest.mark.parametrize("error", [1, 10, 255])
def test_psnr_of_an_even_error(error: int) -> None:
    found = metrics.psnr(grey(0), grey(error)).numpy()
    assert found.shape == (1,)
    assert found[0] == pytest.approx(20 * math.log10(255 / error), abs=1e-4)


def test_psnr_does_not_wrap_around() -> None:
    np.testing.assert_array_equal(
        metrics.psnr(grey(3), grey(250)).numpy(), metrics.psnr(grey(250), grey(3)).numpy()
    )


def test_psnr_of_equal_frames_is_finite() -> None:
    expected = 10 * math.log10(255**2 * 12)
    assert expected == pytest.approx(58.92, abs=0.01)
    assert metrics.psnr(grey(7), grey(7)).numpy()[0] == pytest.approx(expected, abs=1e-4)


def test_psnr_is_taken_frame_by_frame() -> None:
    original, output = grey(100, 3), grey(100, 3)
    output[1] += 5
    output[2, :8] += 5  # half of the picture: half of the squared error
    found = metrics.psnr(original, output).numpy()
    assert found[1] == pytest.approx(20 * math.log10(255 / 5), abs=1e-4)
    assert found[2] - found[1] == pytest.approx(10 * math.log10(2), abs=1e-4)


def test_ssim_of_equal_frames_is_one() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (2, 16, 20, 3), np.uint8)
    np.testing.assert_allclose(metrics.ssim(frame, frame).numpy(), 1.0, atol=1e-5)


def test_ssim_of_even_greys_follows_its_luminance_term() -> None:
    # Without structure only (2ab + C1) / (a^2 + b^2 + C1) is left, C1 = (0.01 * 255)^2.
    a, b, constant = 100.0, 150.0, (0.01 * 255) ** 2
    expected = (2 * a * b + constant) / (a * a + b * b + constant)
    found = metrics.ssim(grey(100), grey(150)).numpy()
    assert found.shape == (1,)
    assert found[0] == pytest.approx(expected, abs=1e-3)


def test_ssim_falls_with_noise() -> None:
    random = np.random.default_rng(0)
    frame = random.integers(60, 200, (1, 16, 20, 3)).astype(np.uint8)
    noise = random.integers(-30, 31, frame.shape)
    faint = (frame + noise // 3).astype(np.uint8)
    strong = (frame + noise).astype(np.uint8)
    values = [float(metrics.ssim(frame, other)[0]) for other in (frame, faint, strong)]
    assert values[0] == pytest.approx(1.0, abs=1e-5)
    assert values[0] > values[1] > values[2] > 0
