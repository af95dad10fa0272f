"""Fit of the linear path of encoder and decoder to the film, in closed form.

The best linear autoencoder of a given width is principal component analysis (Baldi & Hornik 1989),
and it generalises to unseen shots better than a convolutional network of the same width does after
minutes of training. So it is computed in a second and kept, and the convolutional branches learn by
gradients what it cannot represent.
"""

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from bladerunner_ae.model import pixels
from bladerunner_ae.model.linear_path import linear_block
from bladerunner_ae.model.networks import Networks
from bladerunner_ae.runs.config import ModelConfig

_SMALLEST_STD = 1e-2
_ROWS = 4096


def initialise_linear_path(
    networks: Networks, config: ModelConfig, images: NDArray[np.uint8]
) -> None:
    """Set the linear path to the principal components of `images` and silence the rest.

    `images` are uint8 [n, H, W, 3], n >= 2, from all over the film. The latent numbers become the
    frame's coordinates in units of their standard deviation, so that they start as N(0, 1) as the
    prior wants them; components beyond the number of images start at zero. The convolutional
    branches' last kernels are zeroed, so that the first step starts from the principal components.

    Every place of a spatial latent gets the principal components of all blocks of that size: what
    is worth keeping of a block does not depend on its place.
    """
    pictures = _shrunk(images, config.linear_pool)
    if config.latent == "spatial":
        samples, count = _blocks(pictures, linear_block(config)), config.latent_channels
    else:
        samples, count = pictures.reshape(len(pictures), -1), config.latent_size
    mean, components, std = principal_components(samples, count)
    scale = np.maximum(std, _SMALLEST_STD * std[0] if std[0] > 0 else 1.0)
    encode = components / scale
    code = networks.encoder.get_layer("linear_code")
    code.set_weights([encode.reshape(code.kernel.shape), -mean @ encode])
    networks.decoder.get_layer("linear_picture").set_weights([(components * scale).T, mean])
    for layer in (networks.encoder.get_layer("mean"), networks.decoder.get_layer("deconv_0")):
        layer.set_weights([np.zeros_like(weights) for weights in layer.get_weights()])


def principal_components(
    samples: NDArray[np.float32], count: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return (mean, components, std) of samples, float32 [n, size]: [size], [size, count], [count].

    From the Gram matrix or the covariance, whichever is smaller. Components are orthonormal
    columns, or zero where the samples have no more dimensions; std along them is falling.
    """
    mean = samples.mean(0)
    centred = samples - mean
    few = len(samples) <= samples.shape[1]
    values, vectors = np.linalg.eigh(_products(centred.T if few else centred))
    values, vectors = values[::-1][:count], vectors[:, ::-1][:, :count]
    real = values > max(values[0], 0.0) * 1e-9
    singular = np.sqrt(np.where(real, values, 1.0))
    components = np.zeros((samples.shape[1], count), np.float32)
    directions = (centred.T @ vectors.astype(np.float32)) / singular if few else vectors
    components[:, : len(values)] = directions * real
    std = np.zeros(count, np.float32)
    std[: len(values)] = singular * real / np.sqrt(len(samples))
    return mean, components, std


def _products(rows: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return rows.T @ rows in float64, without all rows in float64 at once."""
    found = np.zeros((rows.shape[1],) * 2)
    for i in range(0, len(rows), _ROWS):
        part = rows[i : i + _ROWS].astype(np.float64)
        found += part.T @ part
    return found


def _shrunk(images: NDArray[np.uint8], pool: int) -> NDArray[np.float32]:
    parts = [
        tf.nn.avg_pool2d(pixels.to_float(images[i : i + 256]), pool, pool, "VALID").numpy()
        for i in range(0, len(images), 256)
    ]
    return np.concatenate(parts)


def _blocks(pictures: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Return [n, h * side, w * side, 3] as [n * h * w, side * side * 3]."""
    n, height, width, colours = pictures.shape
    parts = pictures.reshape(n, height // side, side, width // side, side, colours)
    return parts.transpose(0, 1, 3, 2, 4, 5).reshape(-1, side * side * colours)
