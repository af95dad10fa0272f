"""Losses as pure functions of tensors, float32 [B]: one number for each example.

They have no weights, batch sizes or replicas: objectives weigh them, the trainer averages them.
Logits and feature maps may be of any rank, float [B, ...], so a discriminator that judges patches
needs no other code; pictures are float [B, H, W, C], -1..1.
"""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf


def _mean_per_example(values: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.reshape(tf.cast(values, tf.float32), [tf.shape(values)[0], -1]), 1)


def kl_divergence(mean: tf.Tensor, log_var: tf.Tensor, free: float = 0.0) -> tf.Tensor:
    """KL(N(mean, exp(log_var)) || N(0, 1)) of float [B, latent], in nats.

    sum_j 0.5 * (mean_j^2 + exp(log_var_j) - 1 - log_var_j)
    (Kingma & Welling 2014, arXiv:1312.6114, appendix B)

    So many nats of each number are `free`: fewer count as that many (Kingma et al. 2016,
    arXiv:1606.04934, appendix C.8, for each example instead of a minibatch's mean, so that
    examples stay independent). The result is at least latent * free.
    """
    nats = 0.5 * (tf.square(mean) + tf.exp(log_var) - 1.0 - log_var)
    return tf.reduce_sum(tf.maximum(nats, free) if free else nats, axis=1)


def squared_error(target: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
    """Mean over all pixels and channels of (target - output)^2, 0..4."""
    return _mean_per_example(tf.math.squared_difference(target, output))


def absolute_error(target: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
    """Mean over all pixels and channels of |target - output|, 0..2."""
    return _mean_per_example(tf.abs(tf.cast(target, tf.float32) - tf.cast(output, tf.float32)))


def band_distance(target: tf.Tensor, output: tf.Tensor, bands: int = 3) -> tf.Tensor:
    """Mean over the bands of a Laplacian pyramid of the mean absolute difference in each.

    Fine detail is a small part of the squared error, so a network leaves it out; here each octave,
    finest first, counts alike. The pyramid is Burt & Adelson's (1983) with a box for the filter, so
    a band is a picture minus the means of its 2x2 blocks; its L1 distance is the loss of Bojanowski
    et al. 2018, arXiv:1707.05776, section 3.2, with bands weighed equally. H and W must be
    multiples of 2 ** bands.
    """
    rest = tf.cast(target, tf.float32) - tf.cast(output, tf.float32)
    distances = []
    for _ in range(bands):
        coarse = tf.nn.avg_pool2d(rest, 2, 2, "VALID")
        distances.append(_mean_per_example(tf.abs(rest - _doubled(coarse))))
        rest = coarse
    return tf.add_n(distances) / bands


def _doubled(picture: tf.Tensor) -> tf.Tensor:
    return tf.repeat(tf.repeat(picture, 2, axis=1), 2, axis=2)


def feature_distance(
    target: Sequence[tf.Tensor], output: Sequence[tf.Tensor], layers: Sequence[int] | None = None
) -> tf.Tensor:
    """Learned similarity metric: mean over layers of the mean squared feature difference.

    Up to a constant, -log p(Dis_l(x) | z) of Larsen et al. 2016, arXiv:1512.09300, eq. 7-8: a unit
    Gaussian around the reconstruction's features.
    """
    chosen = range(len(target)) if layers is None else layers
    distances = [
        squared_error(tf.cast(target[i], tf.float32), tf.cast(output[i], tf.float32))
        for i in chosen
    ]
    return tf.add_n(distances) / len(distances)


def mean_logit(logits: tf.Tensor) -> tf.Tensor:
    """Mean verdict on each example."""
    return _mean_per_example(logits)


def mean_probability(logits: tf.Tensor) -> tf.Tensor:
    """Mean probability "from the film" of each example."""
    return _mean_per_example(tf.sigmoid(tf.cast(logits, tf.float32)))


def real_cross_entropy(logits: tf.Tensor) -> tf.Tensor:
    """-log sigmoid(logits), the cost of calling these examples false, averaged over an example."""
    return _mean_per_example(tf.nn.softplus(-tf.cast(logits, tf.float32)))


def fake_cross_entropy(logits: tf.Tensor) -> tf.Tensor:
    """-log(1 - sigmoid(logits)), the cost of calling these examples real, likewise averaged."""
    return _mean_per_example(tf.nn.softplus(tf.cast(logits, tf.float32)))


def discriminator_cross_entropy(
    real: tf.Tensor, reconstruction: tf.Tensor, prior: tf.Tensor
) -> tf.Tensor:
    """-L_GAN of Larsen et al. 2016, eq. 5 with reconstructions as second fakes (Algorithm 1).

    -log D(x) - log(1 - D(Dec(Enc(x)))) - log(1 - D(Dec(z_p))), z_p ~ N(0, 1), of logits.
    """
    return real_cross_entropy(real) + fake_cross_entropy(reconstruction) + fake_cross_entropy(prior)


def hinge_loss(real: tf.Tensor, fake: tf.Tensor) -> tf.Tensor:
    """max(0, 1 - real) + max(0, 1 + fake), each averaged (Lim & Ye 2017, arXiv:1705.02894, eq. 4).

    A discriminator that is certain enough of an example learns nothing more from it.
    """
    real, fake = tf.cast(real, tf.float32), tf.cast(fake, tf.float32)
    return _mean_per_example(tf.nn.relu(1.0 - real)) + _mean_per_example(tf.nn.relu(1.0 + fake))


def gradient_penalty(discriminator: Callable[..., Any], images: tf.Tensor) -> tf.Tensor:
    """R1: the squared slope of the discriminator at the film's own pictures.

    sum over pixels and channels of (d logits / d images)^2 (Mescheder et al. 2018,
    arXiv:1801.04406, eq. 9, without its gamma / 2). Maps of logits are averaged first. The
    discriminator, pictures -> (logits, features), must judge each example independently.
    """
    with tf.GradientTape() as tape:
        tape.watch(images)
        logits, _ = discriminator(images, training=True)
        verdict = tf.reduce_sum(_mean_per_example(logits))
    slope = tape.gradient(verdict, images)
    return tf.reduce_sum(tf.square(slope), axis=[1, 2, 3])
