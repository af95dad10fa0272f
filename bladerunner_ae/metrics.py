"""How like its original a picture is. uint8 in, one float a picture out.

`docs/evaluation.md` says what each number is good for, and how films are summed up.
"""

import tensorflow as tf

MSE_FLOOR = 1.0 / 12.0
"""Mean squared error of rounding to whole grey levels. Frames equal to within that count as
58.9 dB, so that a handful of black frames does not make a film's mean infinite."""

BLACK = 4
"""Highest level of all three channels at which a pixel counts as black: JPEG leaves 0 to 2."""

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of MS-SSIM's scales, finest first (Wang, Simoncelli & Bovik 2003, section 3.2)."""

_WINDOW = 11


def psnr(original: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
    """Peak signal-to-noise ratio, 10 log10(255^2 / max(MSE, 1/12)).

    Args:
        original, output: uint8 [B, H, W, 3].

    Returns:
        float32 [B], dB, at most 58.9.
    """
    error = tf.math.squared_difference(tf.cast(original, tf.float32), tf.cast(output, tf.float32))
    mse = tf.maximum(tf.reduce_mean(error, axis=[1, 2, 3]), MSE_FLOOR)
    return 10.0 * tf.math.log(255.0**2 / mse) / tf.math.log(10.0)


def ssim(original: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
    """Structural similarity (Wang et al. 2004), 11x11 Gaussian window, mean over channels.

    Pictures of less than 11 pixels get the largest window that fits them.

    Args:
        original, output: uint8 [B, H, W, 3].

    Returns:
        float32 [B], -1..1, 1 for equal pictures.
    """
    return tf.image.ssim(
        original, output, max_val=255, filter_size=ssim_window(*original.shape[1:3])
    )


def ssim_window(height: int, width: int) -> int:
    """Returns the size of SSIM's window for pictures of this size: 11, or what fits."""
    return min(_WINDOW, height, width)


def ms_ssim_scales(height: int, width: int) -> int:
    """Returns how many scales MS-SSIM has for pictures of this size, at most 5.

    Each scale has half the rows and columns of the one before, and must hold SSIM's window.
    Pictures that do not hold it at all have one scale.
    """
    scales = 1
    while scales < len(SCALE_WEIGHTS) and min(height, width) >> scales >= _WINDOW:
        scales += 1
    return scales


def ms_ssim(original: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
    """SSIM over several scales (Wang, Simoncelli & Bovik 2003, equation 7), mean over channels.

    The product of the contrast and structure terms of every scale, and of the luminance term of
    the coarsest, each to the power of `SCALE_WEIGHTS`. Where the pictures have room for fewer
    than five scales, the weights of the first ones are divided by their sum, so that an equal
    fault on all scales counts the same. Negative terms count as 0.

    Args:
        original, output: uint8 [B, H, W, 3].

    Returns:
        float32 [B], 0..1, 1 for equal pictures.
    """
    height, width = original.shape[1:3]
    weights = SCALE_WEIGHTS[: ms_ssim_scales(height, width)]
    return tf.image.ssim_multiscale(
        original,
        output,
        max_val=255,
        power_factors=[weight / sum(weights) for weight in weights],
        filter_size=ssim_window(height, width),
    )


def gradient(images: tf.Tensor) -> tf.Tensor:
    """Mean length of the picture's gradient, from differences to the right and lower neighbour.

    Mean over pixels (but the last row and column) and channels of
    sqrt((x[i, j+1] - x[i, j])^2 + (x[i+1, j] - x[i, j])^2). The dream's over the film's is the
    sharpness ratio.

    Args:
        images: uint8 [B, H, W, 3], H and W at least 2.

    Returns:
        float32 [B], grey levels a pixel.
    """
    values = tf.cast(images, tf.float32)
    corner = values[:, :-1, :-1]
    right, below = values[:, :-1, 1:] - corner, values[:, 1:, :-1] - corner
    return tf.reduce_mean(tf.sqrt(right * right + below * below), axis=[1, 2, 3])


def change(earlier: tf.Tensor, later: tf.Tensor) -> tf.Tensor:
    """Mean absolute difference of two pictures over pixels and channels.

    Between neighbouring frames of a shot, the dream's over the film's is the flicker ratio.

    Args:
        earlier, later: uint8 [B, H, W, 3].

    Returns:
        float32 [B], grey levels.
    """
    difference = tf.cast(later, tf.float32) - tf.cast(earlier, tf.float32)
    return tf.reduce_mean(tf.abs(difference), axis=[1, 2, 3])


def black_level(original: tf.Tensor, output: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """How much brighter the output is where the original is black (`BLACK`).

    Args:
        original, output: uint8 [B, H, W, 3].

    Returns:
        (sum of the output's grey levels less the original's, means of their channels, over the
        original's black pixels; how many these are), float32 [B] each. Sum over number is the
        error of the black level, -4..255.
    """
    black = tf.cast(tf.reduce_max(original, axis=-1) <= BLACK, tf.float32)
    difference = tf.cast(output, tf.float32) - tf.cast(original, tf.float32)
    sums = tf.reduce_sum(black * tf.reduce_mean(difference, axis=-1), axis=[1, 2])
    return sums, tf.reduce_sum(black, axis=[1, 2])
