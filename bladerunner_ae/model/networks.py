"""Encoder, decoder and discriminator as functional Keras models.

In outline those of Broad & Grierson (Leonardo 50(4), 2017, doi:10.1162/LEON_a_01455): strided
convolutions down to a small map, two dense heads (mean and log-variance), and their mirror. No
layer uses the statistics of a batch, so the output for a frame depends on that frame alone.

Pictures inside are float32 `[batch, height, width, 3]`, -1 (black) to 1 (white).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from bladerunner_ae.model import pixels
from bladerunner_ae.model.autoencoder import Autoencoder, Halves
from bladerunner_ae.model.linear_path import linear_code, linear_picture
from bladerunner_ae.model.memory import Memory, memory_code, memory_picture
from bladerunner_ae.runs.config import CODE_NUMBERS, REFINED_AT, ModelConfig

LOG_VAR_RANGE = (-16.0, 6.0)
_CODE_LOG_VAR = -6.0
_GROUPS = 8


@dataclass(frozen=True)
class Networks:
    """Players; `discriminator` is None for objectives without one, `memory` without moments."""

    encoder: keras.Model
    decoder: keras.Model
    discriminator: keras.Model | None = None
    memory: Memory | None = None

    def players(self) -> Mapping[str, keras.Model]:
        """Return the existing networks by name, always in the same order."""
        named = {"encoder": self.encoder, "decoder": self.decoder}
        if self.discriminator is not None:
            named["discriminator"] = self.discriminator
        return named

    @property
    def code_numbers(self) -> int:
        """Latent numbers that name a key moment: the last ones; 0 without a memory."""
        return 0 if self.memory is None else CODE_NUMBERS

    @cached_property
    def autoencoder(self) -> Autoencoder:
        """Return encoder and decoder as graphs, made once: layer by layer, calls would be slow."""
        encoder, decoder = self.encoder, self.decoder
        height, width = encoder.input_shape[1:3]
        shape = tuple(decoder.input_shape[1:])

        @tf.function(input_signature=[tf.TensorSpec((None, height, width, 3), tf.uint8)])
        def encode(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return encoder(pixels.to_float(images), training=False)

        @tf.function(input_signature=[tf.TensorSpec((None, *shape), tf.float32)])
        def decode(latents: tf.Tensor) -> tf.Tensor:
            return pixels.to_pixels(decoder(latents, training=False))

        return Autoencoder(
            (height, width),
            lambda: Halves(shape, encode, decode),
            code_numbers=self.code_numbers,
        )


def build_networks(
    config: ModelConfig, *, precision: str, seed: int, discriminator: bool, head: str = "image"
) -> Networks:
    """Build the networks of `config`, resolved; the same `seed` gives the same weights anywhere.

    `precision` is "float32" or "mixed_bfloat16" (float32 weights, bfloat16 convolutions; heads,
    linear path and outputs stay float32); for `head` see `build_discriminator`.
    """
    keras.utils.set_random_seed(seed)
    policy = keras.DTypePolicy(precision)
    memory = Memory(config) if config.moments else None
    return Networks(
        encoder=build_encoder(config, policy, memory),
        decoder=build_decoder(config, policy, memory),
        discriminator=build_discriminator(config, policy, head) if discriminator else None,
        memory=memory,
    )


def build_encoder(
    config: ModelConfig, policy: keras.DTypePolicy, memory: Memory | None = None
) -> keras.Model:
    """Return picture `[B, H, W, 3]` -> (mean `[B, latent]`, log_var `[B, latent]`), float32."""
    image = keras.Input((config.height, config.width, 3), name="image")
    x = image
    for i, filters in enumerate(config.filters):
        x = _convolution(config, policy, f"conv_{i}", filters)(x)
        # The first layer sees raw colours, whose scale means something: no normalisation there.
        x = _normalized_activation(config, policy, f"conv_{i}", normalize=i > 0)(x)
    x = _residual_blocks(config, policy, x, config.residual_blocks)
    if config.latent == "vector":
        if config.bottleneck_channels:
            x = layers.Conv2D(config.bottleneck_channels, 1, dtype=policy, name="narrow")(x)
        x = layers.Flatten(dtype=policy, name="flat")(x)
    mean = _head(config, policy, "mean", x)
    mean = layers.Activation("linear", dtype="float32", name="mean_float")(mean)
    if config.linear_path:
        if memory:
            mean = _Code(0.0, dtype="float32", name="mean_code")(mean)
        known = memory_code(config, memory, image) if memory else linear_code(config, image)
        mean = layers.Add(dtype="float32", name="mean_sum")([mean, known])
    log_var = _head(
        config,
        policy,
        "log_var",
        x,
        kernel_initializer=keras.initializers.RandomNormal(stddev=1e-3),
        bias_initializer=keras.initializers.Constant(config.initial_log_var),
    )
    log_var = _Clip(*LOG_VAR_RANGE, dtype="float32", name="log_var_range")(log_var)
    if memory:
        log_var = _Code(_CODE_LOG_VAR, dtype="float32", name="log_var_code")(log_var)
    return keras.Model(image, (mean, log_var), name="encoder")


def build_decoder(
    config: ModelConfig, policy: keras.DTypePolicy, memory: Memory | None = None
) -> keras.Model:
    """Return latent `[B, latent]` -> picture `[B, H, W, 3]`, float32.

    With a linear path the output is unbounded and clipped where it becomes a picture; a tanh
    would bend the linear part. Without one it ends in the original's tanh.

    With `refinement_blocks` the map of a quarter of the picture's height and width also sees what
    the linear path draws, so that the convolutions learn what to correct in it and not only what
    to add for a latent: that holds for frames that were never seen, too.
    """
    latent = keras.Input((config.latent_size,), name="latent")
    linear = None
    if config.linear_path:
        linear = (
            memory_picture(config, memory, latent) if memory else linear_picture(config, latent)
        )
    x = _map(config, policy, latent)
    x = _normalized_activation(config, policy, "map", normalize=True)(x)
    x = _residual_blocks(config, policy, x, config.residual_blocks)
    x = _refined(config, policy, x, linear)
    # Each doubling leads to the width of the encoder's map of that size.
    for i, filters in reversed(list(enumerate(config.filters[:-1]))):
        x = _doubled(config, policy, f"deconv_{i + 1}", filters, x)
        x = _normalized_activation(config, policy, f"deconv_{i + 1}", normalize=True)(x)
        x = _refined(config, policy, x, linear)
    x = _doubled(config, policy, "deconv_0", 3, x)
    x = layers.Activation("linear", dtype="float32", name="colours")(x)
    if config.linear_path:
        x = layers.Add(dtype="float32", name="sum")([x, linear])
    else:
        x = layers.Activation("tanh", dtype="float32", name="tanh")(x)
    return keras.Model(latent, x, name="decoder")


def build_discriminator(
    config: ModelConfig, policy: keras.DTypePolicy, head: str = "image"
) -> keras.Model:
    """Return picture `[B, H, W, 3]` -> (logits, features: a list, one map a convolution).

    Logits, not probabilities; positive means "from the film". The features are what the learned
    similarity metric compares (Larsen et al. 2016, arXiv:1512.09300, eq. 7). `head` is "image" for
    one verdict on the whole picture, `[B, 1]`; "patch" for one on each patch,
    `[B, H / 2^n, W / 2^n, 1]` (Isola et al. 2017, arXiv:1611.07004, section 3.2.2).
    """
    image = keras.Input((config.height, config.width, 3), name="image")
    x = image
    features = []
    for i, filters in enumerate(config.discriminator_filters):
        x = _convolution(config, policy, f"conv_{i}", filters)(x)
        if i > 0 and config.normalization == "group":
            x = layers.GroupNormalization(_groups(filters), dtype=policy, name=f"norm_{i}")(x)
        x = layers.LeakyReLU(negative_slope=0.2, dtype=policy, name=f"feature_{i}")(x)
        features.append(x)
    if head == "patch":
        logits = layers.Conv2D(1, 3, padding="same", dtype="float32", name="logits")(x)
    else:
        x = layers.Flatten(dtype=policy, name="flat")(x)
        logits = layers.Dense(1, dtype="float32", name="logits")(x)
    return keras.Model(image, (logits, features), name="discriminator")


def _head(
    config: ModelConfig, policy: keras.DTypePolicy, name: str, x: Any, **initializers: Any
) -> Any:
    """Return a vector, by a dense layer or by one that is the same in each place of the map."""
    if config.latent == "vector":
        return layers.Dense(config.latent_size, dtype=policy, name=name, **initializers)(x)
    x = layers.Conv2D(config.latent_channels, 1, dtype=policy, name=name, **initializers)(x)
    return layers.Flatten(dtype=policy, name=f"{name}_flat")(x)


def _map(config: ModelConfig, policy: keras.DTypePolicy, latent: Any) -> Any:
    """Return the latent as the decoder's smallest map, of `filters[-1]` channels."""
    last, x = config.filters[-1], latent
    if config.latent == "vector":
        channels = config.bottleneck_channels or last
        x = layers.Dense(math.prod(config.smallest) * channels, dtype=policy, name="unflat")(x)
    else:
        channels = config.latent_channels
    x = layers.Reshape((*config.smallest, channels), dtype=policy, name="map")(x)
    if config.latent == "spatial" or config.bottleneck_channels:
        x = layers.Conv2D(last, 1, dtype=policy, name="widen")(x)
    return x


def _convolution(
    config: ModelConfig, policy: keras.DTypePolicy, name: str, filters: int
) -> keras.Layer:
    return layers.Conv2D(
        filters, config.kernel_size, strides=2, padding="same", dtype=policy, name=name
    )


def _doubled(
    config: ModelConfig, policy: keras.DTypePolicy, name: str, filters: int, x: Any
) -> Any:
    """Return a map of twice the height and width; the layer with weights is called `name`.

    Where a transposed convolution's kernel is no multiple of its stride, its outputs are sums of
    unequally many terms, and even where it is, neighbouring outputs have different weights: both
    show as a checkerboard. After enlargement all have the same weights (Odena et al. 2016,
    doi:10.23915/distill.00003, who found the nearest pixel better than bilinear).
    """
    if config.resize == "upsample":
        x = layers.UpSampling2D(2, dtype=policy, name=f"{name}_up")(x)
        return layers.Conv2D(filters, 3, padding="same", dtype=policy, name=name)(x)
    return layers.Conv2DTranspose(
        filters, config.kernel_size, strides=2, padding="same", dtype=policy, name=name
    )(x)


def _groups(filters: int) -> int:
    return next(groups for groups in range(_GROUPS, 0, -1) if filters % groups == 0)


def _normalized_activation(
    config: ModelConfig, policy: keras.DTypePolicy, name: str, *, normalize: bool
) -> keras.Layer | keras.Sequential:
    activation = layers.Activation(config.activation, dtype=policy, name=f"{name}_activation")
    if config.normalization == "none" or not normalize:
        return activation

    def apply(x: Any) -> Any:
        norm = layers.GroupNormalization(_groups(x.shape[-1]), dtype=policy, name=f"{name}_norm")
        return activation(norm(x))

    return apply


def _residual_blocks(
    config: ModelConfig,
    policy: keras.DTypePolicy,
    x: Any,
    count: int,
    name: str = "residual",
    **initializers: Any,
) -> Any:
    for i in range(count):
        y = layers.Conv2D(
            x.shape[-1], 3, padding="same", activation=config.activation, dtype=policy,
            name=f"{name}_{i}_in",
        )(x)  # fmt: skip
        y = layers.Conv2D(
            x.shape[-1], 3, padding="same", dtype=policy, name=f"{name}_{i}_out", **initializers
        )(y)
        x = layers.Add(dtype=policy, name=f"{name}_{i}_sum")([x, y])
    return x


def _refined(config: ModelConfig, policy: keras.DTypePolicy, x: Any, picture: Any) -> Any:
    """Return residual blocks over a map that sees the linear path's picture, if `x` is that map."""
    if picture is None or not config.refinement_blocks:
        return x
    if x.shape[1] * REFINED_AT != config.height:
        return x
    seen = layers.Conv2D(
        x.shape[-1],
        2 * REFINED_AT,
        strides=REFINED_AT,
        padding="same",
        dtype=policy,
        name="see",
    )(picture)
    x = layers.Add(dtype=policy, name="seen")([x, seen])
    # Blocks that begin as the identity (Goyal et al. 2017, arXiv:1706.02677, section 5.1) have no
    # noise to unlearn.
    x = _residual_blocks(
        config, policy, x, config.refinement_blocks, "refine", kernel_initializer="zeros"
    )
    return layers.Activation(config.activation, dtype=policy, name="refined")(x)


@keras.saving.register_keras_serializable("bladerunner_ae")
class _Clip(layers.Layer):
    """Clip to [low, high], so that no exponential of a log-variance overflows."""

    def __init__(self, low: float, high: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.low, self.high = low, high

    def call(self, inputs: Any) -> Any:
        return keras.ops.clip(keras.ops.cast(inputs, "float32"), self.low, self.high)


@keras.saving.register_keras_serializable("bladerunner_ae")
class _Code(layers.Layer):
    """The same value for the numbers of a latent that name its key moment; the others stay.

    Which moment a frame belongs to is the memory's to say: a gradient cannot move a name a little.
    """

    def __init__(self, value: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.value = value

    def call(self, inputs: Any) -> Any:
        others = inputs[:, :-CODE_NUMBERS]
        code = keras.ops.full_like(inputs[:, -CODE_NUMBERS:], self.value)
        return keras.ops.concatenate([others, code], axis=1)
