"""Frames as a moving camera might have shown them: a little nearer, to one side, mirrored.

A network learns the frames of its only film by heart. What it makes of unseen frames it can only
learn from frames that the linear path draws badly, such as moved ones. Bilinear, as two matrix
products: those run on every device, under XLA too.
"""

import tensorflow as tf

RANDOM_NUMBERS = 5
SMALLEST_WINDOW = 0.8


def moved(images: tf.Tensor, uniform: tf.Tensor, part: float) -> tf.Tensor:
    """Enlarge a window of `part`, 0..1, of the pictures, float32 [B, H, W, 3]; the others stay.

    The window has 0.8 to 1 of the height and width; half are mirrored. `uniform`, float32 [B,
    RANDOM_NUMBERS] in 0..1, decides whether, how near, where in height and width, whether mirrored.
    """
    height, width = images.shape[1:3]
    chosen, nearness, top, left, mirrored = tf.unstack(uniform, axis=1)
    window = 1.0 - (1.0 - SMALLEST_WINDOW) * nearness
    rows = _interpolation(height, window, top)
    columns = _interpolation(width, window, left)
    columns = tf.where((mirrored < 0.5)[:, None, None], columns[:, ::-1], columns)
    flat = tf.matmul(rows, tf.reshape(images, [-1, height, width * 3]))
    turned = tf.transpose(tf.reshape(flat, [-1, height, width, 3]), [0, 2, 1, 3])
    seen = tf.matmul(columns, tf.reshape(turned, [-1, width, height * 3]))
    seen = tf.transpose(tf.reshape(seen, [-1, width, height, 3]), [0, 2, 1, 3])
    return tf.where((chosen < part)[:, None, None, None], seen, images)


def _interpolation(size: int, window: tf.Tensor, place: tf.Tensor) -> tf.Tensor:
    """Return the weights, float32 [B, size, size], of a line's pixels in those of its window.

    `window` [B] is the window's length as a part of the line's; at `place` 0 both begin together,
    at 1 they end together. Rows sum to 1.
    """
    pixels = tf.range(size, dtype=tf.float32)
    first = place * (1.0 - window) * size
    at = first[:, None] + window[:, None] * (pixels + 0.5) - 0.5
    at = tf.clip_by_value(at, 0.0, size - 1.0)
    return tf.nn.relu(1.0 - tf.abs(at[:, :, None] - pixels))
