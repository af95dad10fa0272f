"""Similarity of pictures, uint8 [B, H, W, 3], to originals, float32 [B]; see docs/evaluation.md."""

import functools

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

MSE_FLOOR = 1.0 / 12.0
"""Mean squared error of rounding to whole grey levels. Frames with a smaller error count as
58.9 dB, so that a few black frames do not make a film's mean infinite."""

BLACK = 4
"""Highest level of all three channels at which a pixel counts as black: JPEG leaves 0 to 2."""

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of MS-SSIM's scales, finest first (Wang, Simoncelli & Bovik 2003, section 3.2)."""

_WINDOW, _DEVIATION = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2


def psnr(original: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
    """Return the peak signal-to-noise ratio, 10 log10(255^2 / max(MSE, 1/12)), at most 58.9 dB."""
    error = tf.math.squared_difference(tf.cast(original, tf.float32), tf.cast(output, tf.float32))
    mse = tf.maximum(tf.reduce_mean(error, axis=[1, 2, 3]), MSE_FLOOR)
    return 10.0 * tf.math.log(255.0**2 / mse) / tf.math.log(10.0)


def ssim(original: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
    """Return the structural similarity, -1..1 (Wang et al. 2004).

    The window is Gaussian, 11x11 or the largest that fits; the mean is over places and channels.
    """
    luminance, contrast = _similarity(*_planes(original, output))
    return _mean(luminance * contrast)


def ms_ssim_scales(height: int, width: int) -> int:
    """Return the number of scales of MS-SSIM for pictures of this size, 1 to 5.

    Each has half the rows and columns of the one before; all but the first must hold SSIM's window.
    """
    scales = 1
    while scales < len(SCALE_WEIGHTS) and min(height, width) >> scales >= _WINDOW:
        scales += 1
    return scales


def ms_ssim(original: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
    return both_ssim(original, output)[1]


def both_ssim(original: tf.Tensor, output: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return SSIM, and SSIM over several scales, 0..1 (Wang, Simoncelli & Bovik 2003, equation 7).

    The latter is the product of the contrast and structure terms of every scale, and of the
    luminance term of the coarsest, each to the power of `SCALE_WEIGHTS`. With fewer than five
    scales, the first weights are divided by their sum, so that an equal error on all scales counts
    the same. Negative terms count as 0.
    """
    weights = SCALE_WEIGHTS[: ms_ssim_scales(*original.shape[1:3])]
    pictures = _planes(original, output)
    single, product = None, 1.0
    for scale, weight in enumerate(weights, start=1):
        luminance, contrast = _similarity(*pictures)
        if single is None:
            single = _mean(luminance * contrast)
        term = contrast if scale < len(weights) else luminance * contrast
        term = tf.nn.relu(tf.reduce_mean(term, axis=[2, 3]))
        product *= term ** (weight / sum(weights))
        pictures = tuple(map(_halved, pictures))
    return single, tf.reduce_mean(product, axis=1)


def _planes(*pictures: tf.Tensor) -> tuple[tf.Tensor, ...]:
    """uint8 [B, H, W, 3] -> float32 [B, 3, H, W], 0..1, on the CPU.

    A GPU multiplies matrices with ten bits of mantissa, too few for differences of squares.
    """
    with tf.device("CPU:0"):
        return tuple(
            tf.transpose(tf.cast(picture, tf.float32), [0, 3, 1, 2]) / 255.0 for picture in pictures
        )


def _similarity(first: tf.Tensor, second: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return luminance, and contrast times structure, at every place of the window.

    Equations 6 and 10-13 of Wang et al. 2004, of float32 [B, 3, H, W], 0..1.
    """
    with tf.device("CPU:0"):
        product, squares = first * second, first * first + second * second
        planes = _blurred(tf.concat([first, second, product, squares], axis=1))
        mean_1, mean_2, product, squares = tf.split(planes, 4, axis=1)
        means, mean_squares = 2.0 * mean_1 * mean_2, mean_1 * mean_1 + mean_2 * mean_2
        luminance = (means + _C1) / (mean_squares + _C1)
        contrast = (2.0 * product - means + _C2) / (squares - mean_squares + _C2)
        return luminance, contrast


def _blurred(planes: tf.Tensor) -> tf.Tensor:
    """Return means under the window by matrix products, on a CPU faster than convolutions."""
    height, width = planes.shape[2:]
    window = min(_WINDOW, height, width)
    rows, columns = (tf.constant(_band(size, window)) for size in (height, width))
    return tf.matmul(rows, tf.matmul(planes, columns), transpose_a=True)


@functools.cache
def _band(size: int, window: int) -> NDArray[np.float32]:
    """Return the window at each of its places: float32 [size, size - window + 1]."""
    distance = np.arange(window) - (window - 1) / 2.0
    weights = np.exp(-0.5 * (distance / _DEVIATION) ** 2)
    band = np.zeros((size, size - window + 1), np.float32)
    for place in range(size - window + 1):
        band[place : place + window, place] = weights / weights.sum()
    return band


def _halved(planes: tf.Tensor) -> tf.Tensor:
    """Return means of 2 x 2 pixels; the last row or column of an odd number is repeated."""
    batch, colours, height, width = planes.shape
    odd = [[0, 0], [0, 0], [0, height % 2], [0, width % 2]]
    even = tf.pad(planes, odd, "SYMMETRIC")
    shape = [batch, colours, (height + 1) // 2, 2, (width + 1) // 2, 2]
    return tf.reduce_mean(tf.reshape(even, shape), axis=[3, 5])


def _mean(values: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(values, axis=[1, 2, 3])


def gradient(images: tf.Tensor) -> tf.Tensor:
    """Return the mean length of the gradient, grey levels per pixel.

    Mean over pixels (but the last row and column) and channels of sqrt((x[i, j+1] - x[i, j])^2 +
    (x[i+1, j] - x[i, j])^2). Sharpness is the dream's over the film's.
    """
    values = tf.cast(images, tf.float32)
    corner = values[:, :-1, :-1]
    right, below = values[:, :-1, 1:] - corner, values[:, 1:, :-1] - corner
    return tf.reduce_mean(tf.sqrt(right * right + below * below), axis=[1, 2, 3])


def change(earlier: tf.Tensor, later: tf.Tensor) -> tf.Tensor:
    """Return the mean absolute difference over pixels and channels, grey levels.

    Between neighbouring frames of a shot, the dream's over the film's is the flicker ratio.
    """
    difference = tf.cast(later, tf.float32) - tf.cast(earlier, tf.float32)
    return tf.reduce_mean(tf.abs(difference), axis=[1, 2, 3])


def black_level(original: tf.Tensor, output: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Measure how much brighter the output is where the original is black (`BLACK`).

    Returns (sum over these pixels of the output's grey level less the original's, each the mean of
    its channels; number of pixels); their quotient is the error of the black level, -4..255.
    """
    black = tf.cast(tf.reduce_max(original, axis=-1) <= BLACK, tf.float32)
    difference = tf.cast(output, tf.float32) - tf.cast(original, tf.float32)
    sums = tf.reduce_sum(black * tf.reduce_mean(difference, axis=-1), axis=[1, 2])
    return sums, tf.reduce_sum(black, axis=[1, 2])
