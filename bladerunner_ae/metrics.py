"""How like its original a picture is. uint8 in, one float a picture out."""

import tensorflow as tf

MSE_FLOOR = 1.0 / 12.0
"""Mean squared error of rounding to whole grey levels. Frames equal to within that count as
58.9 dB, so that a handful of black frames does not make a film's mean infinite."""


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

    Args:
        original, output: uint8 [B, H, W, 3], at least 11 pixels high and wide.

    Returns:
        float32 [B], -1..1, 1 for equal pictures.
    """
    return tf.image.ssim(original, output, max_val=255)
