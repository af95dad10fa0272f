"""Layers of the linear path: a linear autoencoder next to the convolutions.

Not trained by gradients: `training/fit_linear_path.py` fits them in closed form. Adam's updates,
as large for a weight of 0.0003 as for one of 0.1, would undo the fit in a few steps.
"""

from typing import Any

import keras
import tensorflow as tf
from keras import layers

from bladerunner_ae.runs.config import ModelConfig


def linear_code(config: ModelConfig, image: Any) -> Any:
    """Return a linear map of the picture to the latent: half of a linear autoencoder.

    Each place of a spatial latent sees its own block of the picture and no other.
    """
    frozen = {"dtype": "float32", "trainable": False, "name": "linear_code"}
    x = image
    if config.linear_pool > 1:
        x = layers.AveragePooling2D(config.linear_pool, dtype="float32", name="linear_pool")(x)
    if config.latent == "spatial":
        block = linear_block(config)
        x = layers.Conv2D(config.latent_channels, block, strides=block, **frozen)(x)
        return layers.Flatten(dtype="float32", name="linear_flat")(x)
    x = layers.Flatten(dtype="float32", name="linear_flat")(x)
    return layers.Dense(config.latent_size, **frozen)(x)


def linear_picture(config: ModelConfig, latent: Any) -> Any:
    """Return the other half: a linear map of the latent to a picture, enlarged smoothly."""
    height, width = linear_size(config)
    frozen = {"dtype": "float32", "trainable": False, "name": "linear_picture"}
    if config.latent == "spatial":
        grid, block = (*config.smallest, config.latent_channels), linear_block(config)
        x = layers.Reshape(grid, dtype="float32", name="linear_grid")(latent)
        x = layers.Dense(block * block * 3, **frozen)(x)
        x = _Tile(block, dtype="float32", name="linear_map")(x)
    else:
        x = _Frozen(height * width * 3, **frozen)(latent)
        x = layers.Reshape((height, width, 3), dtype="float32", name="linear_map")(x)
    if config.linear_pool == 1:
        return x
    return layers.UpSampling2D(
        config.linear_pool, interpolation="bilinear", dtype="float32", name="linear_up"
    )(x)


def linear_block(config: ModelConfig) -> int:
    """Return the side of the block of the picture that a place of a spatial latent sees."""
    return 2 ** len(config.filters) // config.linear_pool


def linear_size(config: ModelConfig) -> tuple[int, int]:
    """Return the (height, width) at which the linear path works."""
    return config.height // config.linear_pool, config.width // config.linear_pool


@keras.saving.register_keras_serializable("bladerunner_ae")
class _Frozen(layers.Dense):
    """Dense layer whose weights are not trained.

    In training the gradient of its input is computed as `(W @ g^T)^T`, not as `g @ W^T`, which is
    TensorFlow's: for that oneDNN reorders all of W in every step (docs/speed.md).
    """

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        if not training:  # exported models hold no gradients
            return super().call(inputs)
        return product(inputs, tf.convert_to_tensor(self.kernel)) + self.bias


@tf.custom_gradient
def product(x: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Any]:
    """Return x @ kernel; the gradient of x reads the kernel as it lies in memory."""

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, None]:
        return tf.transpose(tf.matmul(kernel, upstream, transpose_b=True)), None

    return tf.matmul(x, kernel), gradient


@keras.saving.register_keras_serializable("bladerunner_ae")
class _Tile(layers.Layer):
    """Arrangement of vectors `[B, h, w, side * side * 3]` as blocks of a picture."""

    def __init__(self, side: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.side = side

    def call(self, inputs: Any) -> Any:
        _, height, width, _ = inputs.shape
        x = keras.ops.reshape(inputs, (-1, height, width, self.side, self.side, 3))
        x = keras.ops.transpose(x, (0, 1, 3, 2, 4, 5))
        return keras.ops.reshape(x, (-1, height * self.side, width * self.side, 3))
