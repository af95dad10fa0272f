"""The doors of the exported models, one table: what each takes, gives and does.

| model | signature | in | out |
|---|---|---|---|
| decoder | serving_default | latent float32 [B,L] | image_bytes, JPEG [B] |
| decoder | decode | latent float32 [B,L] | image uint8 [B,H,W,3] |
| decoder | decode_float | latent float32 [B,L] | image float32 [B,H,W,3], 0 to 1 |
| decoder | decode_png_bytes | latent float32 [B,L] | image_bytes, PNG [B] |
| decoder | sample | seed int64 [B] | image uint8 [B,H,W,3] |
| encoder | encode, serving_default | image uint8 [B,H,W,3] | latent, log_var float32 [B,L] |
| encoder | encode_bytes | image_bytes, JPEG or PNG [B] | latent, log_var float32 [B,L] |
| autoencoder | reconstruct, serving_default | image uint8 [B,H,W,3] | reconstruction, the same |
| autoencoder | reconstruct_bytes | image_bytes, JPEG or PNG [B] | image_bytes, JPEG [B] |

B is any number, 0 too, and what comes out for one element does not depend on the others, so that a
server may put requests together. The latent is the posterior's mean: exports are deterministic.
Every dtype is one that JSON knows. Names that end in _bytes are base64 over REST.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from bladerunner_ae.exports import image_files
from bladerunner_ae.model import latent_density, pixels
from bladerunner_ae.model.latent_density import LatentDensity
from bladerunner_ae.model.networks import Networks

MODELS = ("autoencoder", "encoder", "decoder")
Specs = dict[str, tf.TensorSpec]


@dataclass(frozen=True, eq=False)
class Signature:
    """One door of a SavedModel.

    Attributes:
        names: under which it is served; they share one function.
        inputs: name -> spec; its first dimension is the batch.
        outputs: the same.
        function: tensors in, as many as there are inputs, and a tensor for each output.
        doc: one sentence for people.
    """

    names: tuple[str, ...]
    inputs: Specs
    outputs: Specs
    function: Callable[..., dict[str, tf.Tensor]]
    doc: str

    def traced(self) -> Any:
        """Returns it as a `tf.function` with a graph."""
        specs = [
            tf.TensorSpec(spec.shape, spec.dtype, name=name) for name, spec in self.inputs.items()
        ]
        function = tf.function(self.function, input_signature=specs, autograph=False)
        function.get_concrete_function()
        return function


def make_signatures(
    networks: Networks, density: LatentDensity | None = None
) -> dict[str, list[Signature]]:
    """Returns the signatures of each of `MODELS`.

    Args:
        networks: the trained encoder and decoder.
        density: of the film's latents, which `sample` draws from; None: from N(0, 1).
    """
    doors = _Signatures(networks, density)
    height, width = networks.encoder.input_shape[1:3]
    latent_size = networks.decoder.input_shape[-1]
    image = tf.TensorSpec((None, height, width, 3), tf.uint8)
    floats = tf.TensorSpec(image.shape, tf.float32)
    files = tf.TensorSpec((None,), tf.string)
    latent = tf.TensorSpec((None, latent_size), tf.float32)
    seed = tf.TensorSpec((None,), tf.int64)
    posterior = {"latent": latent, "log_var": latent}
    law = "the density of the film's latents" if density is not None else "N(0, 1)"
    return {
        "autoencoder": [
            Signature(
                ("serving_default", "reconstruct"), {"image": image}, {"reconstruction": image},
                doors.reconstruct, "Pictures as the network remembers them."
            ),
            Signature(
                ("reconstruct_bytes",), {"image_bytes": files}, {"image_bytes": files},
                doors.reconstruct_bytes, "The same from files of any size, as JPEG files."
            ),
        ],
        "encoder": [
            Signature(
                ("serving_default", "encode"), {"image": image}, posterior,
                doors.encode, "Mean and log-variance of the posterior of each picture."
            ),
            Signature(
                ("encode_bytes",), {"image_bytes": files}, posterior,
                doors.encode_bytes, "The same from files of any size."
            ),
        ],
        "decoder": [
            Signature(
                ("serving_default",), {"latent": latent}, {"image_bytes": files},
                doors.decode_jpeg, "Pictures of latents as JPEG files, light over REST."
            ),
            Signature(
                ("decode",), {"latent": latent}, {"image": image},
                doors.decode, "Pictures of latents, 0 to 255."
            ),
            Signature(
                ("decode_float",), {"latent": latent}, {"image": floats},
                doors.decode_float, "Pictures of latents, 0 to 1, not rounded."
            ),
            Signature(
                ("decode_png_bytes",), {"latent": latent}, {"image_bytes": files},
                doors.decode_png, "Pictures of latents as PNG files, without loss."
            ),
            Signature(
                ("sample",), {"seed": seed}, {"image": image},
                doors.sample, f"Pictures of latents drawn from {law}, one for each seed."
            ),
        ],
    }  # fmt: skip


def _not_empty(batch: tf.Tensor) -> tf.Tensor:
    """Returns the batch, or one element of zeros for an empty one.

    With oneDNN, which is on by default on most processors of today, TensorFlow 2.21 refuses an
    empty batch at the second convolution in a row ("input depth must be evenly divisible").
    """
    missing = tf.cast(tf.equal(tf.shape(batch)[0], 0), tf.int32)
    return tf.pad(batch, [[0, missing]] + [[0, 0]] * (batch.shape.rank - 1))


class _Signatures:
    """What the signatures do. Each network becomes one graph, which all of them call."""

    def __init__(self, networks: Networks, density: LatentDensity | None) -> None:
        encoder, decoder = networks.encoder, networks.decoder
        self._raster = encoder.input_shape[1:3]
        size = decoder.input_shape[-1]
        image = tf.TensorSpec((None, *encoder.input_shape[1:]), tf.uint8)
        latent = tf.TensorSpec((None, size), tf.float32)

        def encode(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            mean, log_var = encoder(pixels.to_float(_not_empty(image)), training=False)
            count = tf.shape(image)[0]
            return tf.cast(mean, tf.float32)[:count], tf.cast(log_var, tf.float32)[:count]

        def decode(latent: tf.Tensor) -> tf.Tensor:
            return decoder(_not_empty(latent), training=False)[: tf.shape(latent)[0]]

        self._encode = tf.function(encode, input_signature=[image], autograph=False)
        self._decode = tf.function(decode, input_signature=[latent], autograph=False)
        self._draw = (
            latent_density.normal_sampler(size)
            if density is None
            else latent_density.density_sampler(density)
        )

    def encode(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        mean, log_var = self._encode(image)
        return {"latent": mean, "log_var": log_var}

    def encode_bytes(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return self.encode(image_files.decode_files(image_bytes, *self._raster))

    def reconstruct(self, image: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"reconstruction": pixels.to_pixels(self._decode(self._encode(image)[0]))}

    def reconstruct_bytes(self, image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        image = image_files.decode_files(image_bytes, *self._raster)
        return {"image_bytes": image_files.encode_jpeg(self.reconstruct(image)["reconstruction"])}

    def decode(self, latent: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"image": pixels.to_pixels(self._decode(latent))}

    def decode_float(self, latent: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"image": pixels.to_unit(self._decode(latent))}

    def decode_jpeg(self, latent: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"image_bytes": image_files.encode_jpeg(self.decode(latent)["image"])}

    def decode_png(self, latent: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"image_bytes": image_files.encode_png(self.decode(latent)["image"])}

    def sample(self, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        return self.decode(self._draw(seed))
