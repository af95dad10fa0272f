"""Encoder and decoder by themselves: pictures to posteriors, latent numbers to pictures."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from bladerunner_ae.geometry import Size
from bladerunner_ae.model import pixels
from bladerunner_ae.model.networks import Networks
from tfrecords import spool, storage
from tfrecords.storage import Location

_BATCH = 64

Pictures = NDArray[np.uint8]
Latents = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class LatentModel:
    """A trained network's two halves.

    Attributes:
        shape: of the latent numbers of one frame.
        raster: (height, width) of the pictures.
        _encode: uint8 [n, H, W, 3] -> (mean, log_var), float32 [n, *shape] each.
        _decode: float32 [n, *shape] -> uint8 [n, H, W, 3].
    """

    shape: tuple[int, ...]
    raster: Size
    _encode: Callable[[Any], tuple[Any, Any]]
    _decode: Callable[[Any], Any]

    @property
    def size(self) -> int:
        """How many numbers a frame is remembered by."""
        return int(np.prod(self.shape))

    def encode(self, images: Pictures) -> tuple[Latents, Latents]:
        """Returns the posterior of each picture: mean and log-variance, float32 [n, *shape]."""
        parts = [self._encode(images[i : i + _BATCH]) for i in range(0, len(images), _BATCH)]
        return (
            np.concatenate([np.asarray(mean, np.float32) for mean, _ in parts]),
            np.concatenate([np.asarray(log_var, np.float32) for _, log_var in parts]),
        )

    def decode(self, latents: Latents) -> Pictures:
        """Returns the picture of each latent vector, uint8 [n, H, W, 3]."""
        latents = np.asarray(latents, np.float32).reshape(-1, *self.shape)
        parts = [self._decode(latents[i : i + _BATCH]) for i in range(0, len(latents), _BATCH)]
        return np.concatenate([np.asarray(part) for part in parts])

    def reconstruct(self, images: Pictures) -> Pictures:
        """Dreams pictures from the means of their posteriors, uint8 [n, H, W, 3] in and out."""
        return self.decode(self.encode(images)[0])

    def samples(self, count: int, seed: int) -> Latents:
        """Draws from the prior N(0, 1), float32 [count, *shape]; the same for the same seed."""
        return tf.random.stateless_normal([count, *self.shape], seed=[seed, 0]).numpy()


@functools.lru_cache(maxsize=2)
def latent_model(networks: Networks) -> LatentModel:
    """Returns the halves of networks that are being trained.

    As graphs, which are made once: layer by layer, a look at a run took most of its time between
    the layers.
    """
    encoder, decoder = networks.encoder, networks.decoder
    height, width = encoder.input_shape[1:3]
    shape = tuple(decoder.input_shape[1:])

    @tf.function(input_signature=[tf.TensorSpec((None, height, width, 3), tf.uint8)])
    def encode(images: Any) -> tuple[Any, Any]:
        return encoder(pixels.to_float(images), training=False)

    @tf.function(input_signature=[tf.TensorSpec((None, *shape), tf.float32)])
    def decode(latents: Any) -> Any:
        return pixels.to_pixels(decoder(latents, training=False))

    return LatentModel(shape, (height, width), encode, decode)


def load_latent_model(autoencoder: Location) -> tuple[LatentModel | None, str]:
    """Loads the encoder and decoder that were exported with an autoencoder.

    Args:
        autoencoder: folder of its SavedModel's version, RUN/export/autoencoder/1.

    Returns:
        (the halves, an empty text), or (None, why there are none).
    """
    halves = []
    for name, signature in (("encoder", "encode"), ("decoder", "decode")):
        folder = _sibling(autoencoder, name)
        if not storage.is_file(folder / "saved_model.pb"):
            return None, f"{folder} is missing"
        try:
            model = tf.saved_model.load(str(spool.local_folder(folder)))
        except Exception as error:  # TensorFlow raises almost anything for a damaged file
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
            return None, f"{folder} cannot be loaded ({reason})"
        if signature not in model.signatures:
            return None, f"{folder} has no signature {signature!r}"
        halves.append((model, model.signatures[signature]))
    return _from_signatures(*halves), ""


def _sibling(autoencoder: Location, name: str) -> Location:
    """RUN/export/autoencoder/1 -> RUN/export/NAME/1."""
    if isinstance(autoencoder, Path):
        autoencoder = autoencoder.resolve()
        return autoencoder.parent.parent / name / autoencoder.name
    base = autoencoder.url.rsplit("/", 2)[0]
    return storage.location(base) / name / autoencoder.name


def _from_signatures(encoder: tuple[Any, Any], decoder: tuple[Any, Any]) -> LatentModel:
    # Each keeps its model, without which its variables would be gone.
    def encode(images: Any) -> tuple[Any, Any]:
        output = encoder[1](image=tf.constant(images))
        return output["latent"], output["log_var"]

    def decode(latents: Any) -> Any:
        return decoder[1](latent=tf.constant(latents))["image"]

    raster = tuple(encoder[1].structured_input_signature[1]["image"].shape[1:3])
    shape = tuple(encoder[1].structured_outputs["latent"].shape[1:])
    return LatentModel(shape, raster, encode, decode)
