"""Image files within a TensorFlow graph, so that a SavedModel can read and write them."""

import tensorflow as tf

MOST_PIXELS = 1 << 25
"""Pictures of more pixels are refused unread: a PNG of kilobytes can need gigabytes. 8K
(4320x7680) has fewer."""

_JPEG_QUALITY = 95
_PNG_START = b"\x89PNG\r\n\x1a\n"
_JPEG_START = b"\xff\xd8\xff"


def decode_files(files: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Read JPEG or PNG files, string [n >= 0], as uint8 [n, height, width, 3], RGB.

    Grey becomes RGB; transparent parts become black; 16 bits become 8. A picture of the wanted size
    stays as it is; others are scaled, each pixel the mean of the area that it covers, and stretched
    if their proportions differ. While running, tf.errors.InvalidArgumentError if a file is neither,
    is damaged, or has more than `MOST_PIXELS`.
    """

    def decode(file: tf.Tensor) -> tf.Tensor:
        with tf.control_dependencies([_check(file)]):
            file = tf.identity(file)
        # As records are read. Despite its name it reads PNG too; 0 leaves the file's channels.
        picture = tf.io.decode_jpeg(file, channels=0, dct_method="INTEGER_ACCURATE")
        scaled = tf.image.resize(_without_alpha(picture)[None], (height, width), "area")[0]
        scaled = tf.cast(tf.round(scaled), tf.uint8)
        return tf.ensure_shape(scaled, (height, width, 3))

    spec = tf.TensorSpec((height, width, 3), tf.uint8)
    pictures = tf.map_fn(decode, files, fn_output_signature=spec)
    return tf.ensure_shape(pictures, (None, height, width, 3))


def encode_jpeg(pictures: tf.Tensor) -> tf.Tensor:
    """Encode uint8 [n, H, W, 3] as JPEG of quality 95 without chroma subsampling, string [n]."""

    def compress(picture: tf.Tensor) -> tf.Tensor:
        return tf.io.encode_jpeg(picture, quality=_JPEG_QUALITY, chroma_downsampling=False)

    return tf.map_fn(compress, pictures, fn_output_signature=tf.TensorSpec((), tf.string))


def encode_png(pictures: tf.Tensor) -> tf.Tensor:
    """Encode uint8 [n, H, W, 3] as PNG files, string [n]; lossless."""
    spec = tf.TensorSpec((), tf.string)
    return tf.map_fn(tf.io.encode_png, pictures, fn_output_signature=spec)


def _check(file: tf.Tensor) -> tf.Operation:
    """Refuse a file by its first bytes, before memory is allocated for it."""
    head = tf.io.decode_raw(file, tf.uint8, fixed_length=24)
    is_png = _starts_with(head, _PNG_START)
    known = is_png | _starts_with(head, _JPEG_START)
    message = "image_bytes must be whole JPEG or PNG files"
    with tf.control_dependencies([tf.debugging.Assert(known, [message])]):
        pixels = tf.cond(is_png, lambda: _png_pixels(head), lambda: _jpeg_pixels(file))
    return tf.debugging.Assert(
        pixels <= MOST_PIXELS, [f"a picture may have {MOST_PIXELS} pixels, this has", pixels]
    )


def _starts_with(head: tf.Tensor, start: bytes) -> tf.Tensor:
    return tf.reduce_all(head[: len(start)] == tf.constant(list(start), tf.uint8))


def _png_pixels(head: tf.Tensor) -> tf.Tensor:
    """Multiply width and height, big-endian numbers after the start and name of the first chunk."""
    sides = tf.reshape(tf.cast(head[16:24], tf.int64), (2, 4))
    sides = tf.reduce_sum(sides * tf.constant([1 << 24, 1 << 16, 1 << 8, 1], tf.int64), axis=1)
    # The product of two 32-bit numbers may not fit.
    return tf.where(tf.reduce_max(sides) > MOST_PIXELS, tf.reduce_max(sides), sides[0] * sides[1])


def _jpeg_pixels(file: tf.Tensor) -> tf.Tensor:
    return tf.reduce_prod(tf.cast(tf.image.extract_jpeg_shape(file)[:2], tf.int64))


def _without_alpha(picture: tf.Tensor) -> tf.Tensor:
    """Convert uint8 [h, w, 1 to 4] to [h, w, 3], transparent parts on black."""
    shape = tf.shape(picture)
    has_alpha = tf.equal(shape[2] % 2, 0)

    def on_black() -> tf.Tensor:
        colour, alpha = picture[..., :-1], picture[..., -1:]
        product = tf.cast(colour, tf.uint16) * tf.cast(alpha, tf.uint16)
        return tf.cast((product + 127) // 255, tf.uint8)

    colour = tf.cond(has_alpha, on_black, lambda: picture)
    return tf.broadcast_to(colour, tf.concat([shape[:2], [3]], axis=0))
