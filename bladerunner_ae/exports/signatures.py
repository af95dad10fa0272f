"""Signatures of the exported models.

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

B is any number, 0 too, and the outputs of one element do not depend on the others, so that a server
may batch requests. The latent is the posterior's mean: exports are deterministic. Every dtype is
one that JSON has. Names that end in _bytes are base64 over REST.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from bladerunner_ae.exports import image_files
from bladerunner_ae.model import latent_density, pixels
from bladerunner_ae.model.latent_density import LatentDensity
from bladerunner_ae.model.networks import Networks

Specs = dict[str, tf.TensorSpec]


@dataclass(frozen=True, eq=False)
class Signature:
    """Signature of a SavedModel; all `names` share one function, from tensors to tensors.

    The first dimension of each spec is the batch; `doc` is one sentence for people.
    """

    names: tuple[str, ...]
    inputs: Specs
    outputs: Specs
    function: Callable[..., dict[str, tf.Tensor]]
    doc: str

    def traced(self) -> Any:
        specs = [tf.TensorSpec(spec.shape, spec.dtype, name) for name, spec in self.inputs.items()]
        function = tf.function(self.function, input_signature=specs, autograph=False)
        function.get_concrete_function()
        return function


def make_signatures(
    networks: Networks, density: LatentDensity | None = None
) -> dict[str, list[Signature]]:
    """Return each model's signatures; `sample` draws from `density`, without it from N(0, 1)."""
    height, width = networks.encoder.input_shape[1:3]
    size = networks.decoder.input_shape[-1]
    image = tf.TensorSpec((None, height, width, 3), tf.uint8)
    floats = tf.TensorSpec(image.shape, tf.float32)
    files = tf.TensorSpec((None,), tf.string)
    latent = tf.TensorSpec((None, size), tf.float32)
    seed = tf.TensorSpec((None,), tf.int64)
    encode, decode = _graphs(networks, image, latent)

    def read(image_bytes: tf.Tensor) -> tf.Tensor:
        return image_files.decode_files(image_bytes, height, width)

    def posterior(image: tf.Tensor) -> dict[str, tf.Tensor]:
        return dict(zip(("latent", "log_var"), encode(image), strict=True))

    def reconstruction(image: tf.Tensor) -> tf.Tensor:
        return picture(encode(image)[0])

    def picture(latent: tf.Tensor) -> tf.Tensor:
        return pixels.to_pixels(decode(latent))

    if density is None:
        draw, law = latent_density.normal_sampler(size), "N(0, 1)"
    else:
        draw, law = latent_density.density_sampler(density), "the density of the film's latents"
    return {
        "autoencoder": [
            Signature(
                ("serving_default", "reconstruct"), {"image": image}, {"reconstruction": image},
                lambda image: {"reconstruction": reconstruction(image)},
                "Pictures as the network remembers them.",
            ),
            Signature(
                ("reconstruct_bytes",), {"image_bytes": files}, {"image_bytes": files},
                lambda image_bytes:
                    {"image_bytes": image_files.encode_jpeg(reconstruction(read(image_bytes)))},
                "The same from files of any size, as JPEG files.",
            ),
        ],
        "encoder": [
            Signature(
                ("serving_default", "encode"), {"image": image},
                {"latent": latent, "log_var": latent}, posterior,
                "Mean and log-variance of the posterior of each picture.",
            ),
            Signature(
                ("encode_bytes",), {"image_bytes": files}, {"latent": latent, "log_var": latent},
                lambda image_bytes: posterior(read(image_bytes)),
                "The same from files of any size.",
            ),
        ],
        "decoder": [
            Signature(
                ("serving_default",), {"latent": latent}, {"image_bytes": files},
                lambda latent: {"image_bytes": image_files.encode_jpeg(picture(latent))},
                "Pictures of latents as JPEG files, light over REST.",
            ),
            Signature(
                ("decode",), {"latent": latent}, {"image": image},
                lambda latent: {"image": picture(latent)}, "Pictures of latents, 0 to 255.",
            ),
            Signature(
                ("decode_float",), {"latent": latent}, {"image": floats},
                lambda latent: {"image": pixels.to_unit(decode(latent))},
                "Pictures of latents, 0 to 1, not rounded.",
            ),
            Signature(
                ("decode_png_bytes",), {"latent": latent}, {"image_bytes": files},
                lambda latent: {"image_bytes": image_files.encode_png(picture(latent))},
                "Pictures of latents as PNG files, without loss.",
            ),
            Signature(
                ("sample",), {"seed": seed}, {"image": image},
                lambda seed: {"image": picture(draw(seed))},
                f"Pictures of latents drawn from {law}, one for each seed.",
            ),
        ],
    }  # fmt: skip


def _graphs(networks: Networks, image: tf.TensorSpec, latent: tf.TensorSpec) -> tuple[Any, Any]:
    """Make one graph of each network, which all signatures call."""

    def encode(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        mean, log_var = networks.encoder(pixels.to_float(_not_empty(image)), training=False)
        count = tf.shape(image)[0]
        return tf.cast(mean, tf.float32)[:count], tf.cast(log_var, tf.float32)[:count]

    def decode(latent: tf.Tensor) -> tf.Tensor:
        return networks.decoder(_not_empty(latent), training=False)[: tf.shape(latent)[0]]

    return (
        tf.function(encode, input_signature=[image], autograph=False),
        tf.function(decode, input_signature=[latent], autograph=False),
    )


def _not_empty(batch: tf.Tensor) -> tf.Tensor:
    """Return the batch, or one element of zeros for an empty one.

    With oneDNN, the default on most processors, TensorFlow 2.21 refuses an empty batch at the
    second convolution in a row ("input depth must be evenly divisible").
    """
    missing = tf.cast(tf.equal(tf.shape(batch)[0], 0), tf.int32)
    return tf.pad(batch, [[0, missing]] + [[0, 0]] * (batch.shape.rank - 1))
