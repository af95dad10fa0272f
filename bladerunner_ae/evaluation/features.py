"""Distances between sets of pictures that need no discriminator and no downloaded network."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from bladerunner_ae.pictures.thumbnails import Pictures, resized

SIDE = 64
"""Side of the square to which pictures are scaled for the random network."""

WIDTHS = (32, 64, 96)
"""Channels of the random network's three layers; their sum is the number of features."""

_SEED = 20_160_525
_BATCH = 256


def random_features(images: Pictures) -> NDArray[np.float64]:
    """Return features of pictures, float64 [n, sum(WIDTHS)], from a network of random weights.

    Such features separate sets of pictures well enough, and carry no knowledge of other pictures
    (Naeem et al. 2020, arXiv:2002.09797, section 4). Three layers of 3x3 convolution with stride 2,
    bias and ReLU; weights are normal with variance 2 / inputs (He et al. 2015), biases with
    deviation 0.5, all from one seed. A feature is a channel's mean over its map.
    """
    kernels = _kernels()
    found = []
    for x in resized(images, SIDE):
        x = x * (2.0 / 255.0) - 1.0
        means = []
        for kernel, bias in kernels:
            x = tf.nn.relu(tf.nn.conv2d(x, kernel, 2, "SAME") + bias)
            means.append(tf.reduce_mean(x, axis=[1, 2]))
        found.append(tf.concat(means, axis=1).numpy())
    return np.concatenate(found).astype(np.float64)


def frechet_distance(first: NDArray[np.float64], second: NDArray[np.float64]) -> float | None:
    """Return the Frechet distance of the Gaussians fitted to two sets (Dowson & Landau 1982).

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), as in the FID of Heusel et al. 2017
    (arXiv:1706.08500, equation 6), whose features are of another network: the numbers are not
    comparable. It falls with the sets' size, so compare sets of one size. None if a set, float64
    [n, features], has less than two members.
    """
    if min(len(first), len(second)) < 2:
        return None
    means = first.mean(axis=0), second.mean(axis=0)
    covariances = np.cov(first.T), np.cov(second.T)
    values, vectors = np.linalg.eigh(covariances[0])
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    # C1 C2 has the eigenvalues of the symmetric root(C1) C2 root(C1).
    shared = np.linalg.eigvalsh(root @ covariances[1] @ root)
    trace = np.trace(covariances[0] + covariances[1]) - 2 * np.sqrt(np.maximum(shared, 0)).sum()
    return max(float(((means[0] - means[1]) ** 2).sum() + trace), 0.0)


def nearest_distances(
    images: NDArray[np.float32], others: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return each thumbnail's distance to the most similar one of others, float64 [n].

    RMS over pixels and channels, grey levels: some tens between shots, 1 or 2 between neighbours.
    """
    ours, theirs = (values.astype(np.float64) for values in (images, others))
    squares = (theirs**2).sum(axis=1)
    found = []
    for start in range(0, len(ours), _BATCH):
        part = ours[start : start + _BATCH]
        distances = (part**2).sum(axis=1)[:, None] - 2.0 * part @ theirs.T + squares
        found.append(np.sqrt(np.maximum(distances.min(axis=1), 0.0) / ours.shape[1]))
    return np.concatenate(found)


def _kernels() -> Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    random = np.random.RandomState(_SEED)  # whose numbers numpy has promised never to change
    found, inputs = [], 3
    for width in WIDTHS:
        scale = (2.0 / (9 * inputs)) ** 0.5
        kernel = random.standard_normal((3, 3, inputs, width)) * scale
        bias = random.standard_normal(width) * 0.5
        found.append((kernel.astype(np.float32), bias.astype(np.float32)))
        inputs = width
    return found
