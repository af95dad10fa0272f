"""Losses as pure functions of tensors, one number for each example.

Nothing here knows a weight, a batch size or a replica: objectives weigh these, the trainer
averages them. Every function takes logits or maps of any rank behind the batch dimension, so a
discriminator that judges patches needs no other code.
"""

from collections.abc import Sequence

import tensorflow as tf


def _mean_per_example(values: tf.Tensor) -> tf.Tensor:
    return tf.reduce_mean(tf.reshape(tf.cast(values, tf.float32), [tf.shape(values)[0], -1]), 1)


def kl_divergence(mean: tf.Tensor, log_var: tf.Tensor) -> tf.Tensor:
    """KL(N(mean, exp(log_var)) || N(0, 1)) in nats.

    sum_j 0.5 * (mean_j^2 + exp(log_var_j) - 1 - log_var_j)
    (Kingma & Welling 2014, arXiv:1312.6114, appendix B)

    Args:
        mean: float [B, latent].
        log_var: float [B, latent].

    Returns:
        float32 [B], >= 0.
    """
    return 0.5 * tf.reduce_sum(tf.square(mean) + tf.exp(log_var) - 1.0 - log_var, axis=1)


def squared_error(target: tf.Tensor, output: tf.Tensor) -> tf.Tensor:
    """Mean over all pixels and channels of (target - output)^2.

    Args:
        target, output: float [B, H, W, 3], -1..1, so the result lies in 0..4.

    Returns:
        float32 [B].
    """
    return _mean_per_example(tf.math.squared_difference(target, output))


def feature_distance(
    target: Sequence[tf.Tensor], output: Sequence[tf.Tensor], layers: Sequence[int] | None = None
) -> tf.Tensor:
    """The learned similarity metric: mean over layers of the mean squared feature difference.

    Up to a constant, -log p(Dis_l(x) | z) of Larsen et al. 2016, arXiv:1512.09300, eq. 7-8: a unit
    Gaussian around the reconstruction's features.

    Args:
        target, output: feature maps of a discriminator, float [B, ...] each, in the same order.
        layers: which of them to compare; None for all.

    Returns:
        float32 [B].
    """
    chosen = range(len(target)) if layers is None else layers
    distances = [
        squared_error(tf.cast(target[i], tf.float32), tf.cast(output[i], tf.float32))
        for i in chosen
    ]
    return tf.add_n(distances) / len(distances)


def real_cross_entropy(logits: tf.Tensor) -> tf.Tensor:
    """-log sigmoid(logits): what calling these examples false costs.

    Args:
        logits: float [B, ...], positive for "real".

    Returns:
        float32 [B], the mean over everything behind the batch.
    """
    return _mean_per_example(tf.nn.softplus(-tf.cast(logits, tf.float32)))


def fake_cross_entropy(logits: tf.Tensor) -> tf.Tensor:
    """-log(1 - sigmoid(logits)): what calling these examples real costs.

    Args:
        logits: float [B, ...], positive for "real".

    Returns:
        float32 [B], the mean over everything behind the batch.
    """
    return _mean_per_example(tf.nn.softplus(tf.cast(logits, tf.float32)))


def discriminator_cross_entropy(
    real: tf.Tensor, reconstruction: tf.Tensor, prior: tf.Tensor
) -> tf.Tensor:
    """-L_GAN of Larsen et al. 2016, eq. 5 with reconstructions as second fakes (Algorithm 1).

    -log D(x) - log(1 - D(Dec(Enc(x)))) - log(1 - D(Dec(z_p))), z_p ~ N(0, 1)

    Args:
        real, reconstruction, prior: logits, float [B, ...].

    Returns:
        float32 [B].
    """
    return real_cross_entropy(real) + fake_cross_entropy(reconstruction) + fake_cross_entropy(prior)
