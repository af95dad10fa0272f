"""Fits the linear path of encoder and decoder to the film, in closed form.

The best linear autoencoder of a given width is principal component analysis (Baldi & Hornik
1989), and it generalises to unseen shots better than a convolutional network of the same width
does after minutes of training. So that part is computed in a second and kept, and the
convolutional branches learn by gradients what it cannot do.
"""

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from bladerunner_ae import pixels
from bladerunner_ae.config import ModelConfig
from bladerunner_ae.networks import Networks

_SMALLEST_STD = 1e-2


def initialise_linear_path(
    networks: Networks, config: ModelConfig, images: NDArray[np.uint8]
) -> None:
    """Sets the linear path to the principal components of `images` and silences the rest.

    The latent numbers become the frame's coordinates in units of their standard deviation over
    `images`, so that they start as N(0, 1) as the prior wants them. Components beyond the number of
    images start at zero. The convolutional branches start at an output of zero (their last
    layer's kernels are zeroed), so that the first step starts from the principal components.

    Args:
        networks: built with `config.linear_path`.
        config: of the networks.
        images: uint8 [n, H, W, 3], n >= 2, frames from all over the film.
    """
    flat = _half_size(images)
    mean, components, std = principal_components(flat, config.latent_size)
    scale = np.maximum(std, _SMALLEST_STD * std[0] if std[0] > 0 else 1.0)
    encode = components / scale
    networks.encoder.get_layer("linear_code").set_weights([encode, -mean @ encode])
    networks.decoder.get_layer("linear_picture").set_weights([(components * scale).T, mean])
    for layer in (networks.encoder.get_layer("mean"), networks.decoder.get_layer("deconv_0")):
        layer.set_weights([np.zeros_like(weights) for weights in layer.get_weights()])


def principal_components(
    samples: NDArray[np.float32], count: int
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Principal components through the Gram matrix, which is small where samples are few.

    Args:
        samples: float32 [n, size].
        count: components wanted.

    Returns:
        (mean [size], components [size, count] with orthonormal columns, or zero columns where the
        samples have no more dimensions, std [count] of the samples along them, falling).
    """
    mean = samples.mean(0)
    centred = (samples - mean).astype(np.float64)
    values, vectors = np.linalg.eigh(centred @ centred.T)
    values, vectors = values[::-1][:count], vectors[:, ::-1][:, :count]
    real = values > max(values[0], 0.0) * 1e-9
    singular = np.sqrt(np.where(real, values, 1.0))
    components = np.zeros((samples.shape[1], count), np.float32)
    components[:, : len(values)] = (centred.T @ vectors) / singular * real
    std = np.zeros(count, np.float32)
    std[: len(values)] = singular * real / np.sqrt(len(samples))
    return mean, components, std


def _half_size(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    parts = [
        tf.nn.avg_pool2d(pixels.to_float(images[i : i + 256]), 2, 2, "VALID").numpy()
        for i in range(0, len(images), 256)
    ]
    return np.concatenate(parts).reshape(len(images), -1)
