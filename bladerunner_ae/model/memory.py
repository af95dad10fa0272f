"""Layers of the memory: what encoder and decoder know of the film in closed form.

The film is written in its first M principal components. A frame's latent has three parts:

* global numbers: its first components, in units of their standard deviation;
* local numbers: of what the other components say, the coordinates in the own directions of the
  frame's key moment, in units of their standard deviation in that moment;
* a codeword, which names the key moment (`memory_codes`).

Moment 0 is the film as a whole: its directions are the components that follow the global ones, so
that a frame that no moment knows is remembered by its principal components. The encoder takes,
of that and of the moments whose centres are nearest, the one that draws the frame best.

Not trained by gradients: `training/memory_fit` fits it to the film.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray

from bladerunner_ae.model import memory_codes
from bladerunner_ae.model.linear_path import linear_size, product
from bladerunner_ae.runs.config import ModelConfig

Floats = NDArray[np.float32]

_CANDIDATES = 4
"""Moments that the encoder tries, besides the film as a whole."""


@dataclass(frozen=True, eq=False)
class MemoryValues:
    """Weights of a memory, as arrays.

    With D numbers of a picture, M components, G global and L local numbers, K moments besides
    moment 0, and R = M - G:

    Attributes:
        mean: float32 [D], of the film's frames, -1..1.
        components: float32 [M, D], orthonormal rows, the strongest first.
        deviations: float32 [G], of the global numbers' components.
        centres: float32 [K, G], of each moment, in components.
        drawings: float32 [K + 1, R], mean of each moment in the other components.
        directions: float16 [K + 1, L, R], of each moment, orthonormal rows.
        local_deviations: float32 [K + 1, L], of the coordinates along the directions.
        codewords: float32 [K + 1, memory_codes.NUMBERS].
    """

    mean: Floats
    components: Floats
    deviations: Floats
    centres: Floats
    drawings: Floats
    directions: NDArray[np.float16]
    local_deviations: Floats
    codewords: Floats


@keras.saving.register_keras_serializable("bladerunner_ae")
class Memory(layers.Layer):
    """Weights of the memory, which encoder and decoder share; see `MemoryValues`."""

    def __init__(self, config: ModelConfig, **kwargs: Any) -> None:
        super().__init__(dtype="float32", trainable=False, name="memory", **kwargs)
        height, width = linear_size(config)
        pixels, components = height * width * 3, config.components
        whole, local = config.global_numbers, config.local_numbers
        rest, moments = components - whole, config.moments
        shapes = {
            "mean": (pixels,),
            "components": (components, pixels),
            "deviations": (whole,),
            "centres": (moments, whole),
            "drawings": (moments + 1, rest),
            "directions": (moments + 1, local, rest),
            "local_deviations": (moments + 1, local),
            "codewords": (moments + 1, memory_codes.NUMBERS),
        }
        for field in dataclasses.fields(MemoryValues):
            # Not int8: workers cannot give each other numbers of eight bits.
            kind = "float16" if field.name == "directions" else "float32"
            initial = "ones" if field.name.endswith("deviations") else "zeros"
            made = self.add_weight(
                shape=shapes[field.name],
                dtype=kind,
                initializer=initial,
                trainable=False,
                name=field.name,
            )
            setattr(self, f"{field.name}_weight", made)
        self._config = config
        self.built = True

    def get_config(self) -> dict[str, Any]:
        return {"config": dataclasses.asdict(self._config)}

    @property
    def global_numbers(self) -> int:
        """G: the first numbers of a latent."""
        return self._config.global_numbers

    def assign(self, values: MemoryValues) -> None:
        """Set the weights; ValueError if a shape is another."""
        for field in dataclasses.fields(values):
            getattr(self, f"{field.name}_weight").assign(getattr(values, field.name))

    def variables_of(self) -> list[Any]:
        """Return the weights in the order of the fields of `MemoryValues`."""
        return [getattr(self, f"{field.name}_weight") for field in dataclasses.fields(MemoryValues)]

    def encode(self, image: tf.Tensor, forgotten: tf.Tensor | None = None) -> tf.Tensor:
        """Return the latent of pictures, float32 [B, D] -> [B, G + L + NUMBERS].

        Those that `forgotten`, bool [B], says are encoded as if their key moment were not known: by
        the one that draws them second best, or by the film as a whole.
        """
        config = self._config
        # Written so that the components are read as they lie in memory (see `linear_path`).
        centred = image - self._value("mean")
        found = tf.transpose(tf.matmul(self._value("components"), centred, transpose_b=True))
        whole, rest = found[:, : config.global_numbers], found[:, config.global_numbers :]
        moments = self._candidates(whole)
        missing = rest[:, None] - tf.gather(self._value("drawings"), moments)
        local = tf.einsum("bnr,bnlr->bnl", missing, self._directions(moments))
        known = tf.reduce_sum(tf.square(local), -1)
        error = tf.reduce_sum(tf.square(missing), -1) - known
        best = tf.argmin(error, axis=1, output_type=tf.int32)
        if forgotten is not None:
            without = tf.one_hot(best, tf.shape(error)[1], on_value=np.inf, off_value=0.0)
            second = tf.argmin(error + without, axis=1, output_type=tf.int32)
            best = tf.where(forgotten, second, best)
        moment = tf.gather(moments, best, batch_dims=1)
        numbers = tf.gather(local, best, batch_dims=1)
        return tf.concat(
            [
                whole / self._value("deviations"),
                numbers / tf.gather(self._value("local_deviations"), moment),
                tf.gather(self._value("codewords"), moment),
            ],
            axis=1,
        )

    def decode(self, latent: tf.Tensor) -> tf.Tensor:
        """Return pictures of latents, float32 [B, G + L + NUMBERS] -> [B, D]."""
        config = self._config
        sizes = [config.global_numbers, config.local_numbers, memory_codes.NUMBERS]
        whole, local, code = tf.split(latent, sizes, axis=1)
        moments, weights = memory_codes.mixture(code, self._value("codewords"))
        numbers = local[:, None] * tf.gather(self._value("local_deviations"), moments)
        details = tf.einsum("bnl,bnlr->bnr", numbers, self._directions(moments))
        drawings = tf.gather(self._value("drawings"), moments) + details
        rest = tf.reduce_sum(weights[..., None] * drawings, axis=1)
        found = tf.concat([whole * self._value("deviations"), rest], axis=1)
        return product(found, self._value("components")) + self._value("mean")

    def _candidates(self, whole: tf.Tensor) -> tf.Tensor:
        """Return the moments to try, int32 [B, n]: the nearest ones, and the film as a whole."""
        centres = self._value("centres")
        distances = tf.reduce_sum(tf.square(centres), 1) - 2.0 * tf.matmul(
            whole, centres, transpose_b=True
        )
        nearest = tf.math.top_k(-distances, min(_CANDIDATES, centres.shape[0])).indices + 1
        return tf.concat([nearest, tf.zeros_like(nearest[:, :1])], axis=1)

    def _directions(self, moments: tf.Tensor) -> tf.Tensor:
        """Return the directions of moments, int32 [B, n] -> float32 [B, n, L, R]."""
        return tf.cast(tf.gather(self._value("directions"), moments), tf.float32)

    def _value(self, name: str) -> tf.Tensor:
        return tf.convert_to_tensor(getattr(self, f"{name}_weight").value)


@keras.saving.register_keras_serializable("bladerunner_ae")
class MemoryCode(layers.Layer):
    """Encoder's half: picture `[B, h, w, 3]` -> latent `[B, latent]`."""

    def __init__(self, memory: Memory, **kwargs: Any) -> None:
        super().__init__(dtype="float32", trainable=False, **kwargs)
        self.memory = memory

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Encode pictures; in training every second one as if its key moment were not known.

        A frame that was never seen has no key moment of its own. So the convolutions learn to mend
        what is drawn of such frames, and not only what is left of frames known by heart.
        """
        count = tf.shape(inputs)[0]
        forgotten = every_second(count) if training else None
        return self.memory.encode(tf.reshape(inputs, [count, -1]), forgotten)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape[0], self.memory._config.latent_size


@keras.saving.register_keras_serializable("bladerunner_ae")
class MemoryPicture(layers.Layer):
    """Decoder's half: latent `[B, latent]` -> picture `[B, h * w * 3]`."""

    def __init__(self, memory: Memory, **kwargs: Any) -> None:
        super().__init__(dtype="float32", trainable=False, **kwargs)
        self.memory = memory

    def call(self, inputs: Any) -> Any:
        return self.memory.decode(inputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape[0], self.memory.mean_weight.shape[0]


def every_second(count: tf.Tensor) -> tf.Tensor:
    """Return the second, fourth, ... of the global batch, bool [count], of this replica's share."""
    context = tf.distribute.get_replica_context()
    first = context.replica_id_in_sync_group * count if context else 0
    return tf.equal((first + tf.range(count)) % 2, 1)


def memory_code(config: ModelConfig, memory: Memory, image: Any) -> Any:
    """Return the memory's latent of a picture."""
    x = image
    if config.linear_pool > 1:
        x = layers.AveragePooling2D(config.linear_pool, dtype="float32", name="linear_pool")(x)
    return MemoryCode(memory, name="memory_code")(x)


def memory_picture(config: ModelConfig, memory: Memory, latent: Any) -> Any:
    """Return the memory's picture of a latent, enlarged smoothly to the raster."""
    height, width = linear_size(config)
    x = MemoryPicture(memory, name="memory_picture")(latent)
    x = layers.Reshape((height, width, 3), dtype="float32", name="memory_map")(x)
    if config.linear_pool == 1:
        return x
    return layers.UpSampling2D(
        config.linear_pool, interpolation="bilinear", dtype="float32", name="memory_up"
    )(x)


def copied(network: keras.Model) -> keras.Model:
    """Return a network of the same layers with new weights; the memory, never trained, is shared.

    The new weights are the initial ones.
    """
    return keras.models.clone_model(network, clone_function=_copied_layer)


def _copied_layer(layer: keras.Layer) -> keras.Layer:
    if isinstance(layer, MemoryCode | MemoryPicture):
        return layer
    return type(layer).from_config(layer.get_config())


def weights_beside_memory(network: keras.Model) -> list[Any]:
    """Return the variables of a network but for the memory's, always in the same order."""
    return [
        weight
        for layer in network.layers
        if not isinstance(layer, MemoryCode | MemoryPicture)
        for weight in layer.weights
    ]
