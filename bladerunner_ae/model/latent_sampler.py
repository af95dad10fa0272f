"""Latents drawn in TensorFlow's graph, each from its own seed alone.

Two drawings with one seed are the same, in whatever batch and company they are asked for: a
server may batch them with those of others.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from bladerunner_ae.model.latent_density import SHRINKAGE, LatentDensity

Sampler = Callable[[tf.Tensor], tf.Tensor]


def normal_sampler(size: int) -> Sampler:
    """Returns a function that draws from N(0, 1): seeds int64 [n] -> latents float32 [n, size]."""
    return lambda seeds: _normal(seeds, size)


def density_sampler(density: LatentDensity) -> Sampler:
    """Returns a function that draws from a density fitted to a film's latents.

    The law is that of `LatentDensity.sample`; its numbers are others, as TensorFlow's random
    numbers are not NumPy's.

    Args:
        density: whose latents become constants of the graph.

    Returns:
        As `normal_sampler`.
    """
    lengths = np.array([end - start for start, end in density.shots], np.float32)
    shot_of = np.repeat(np.arange(len(lengths)), lengths.astype(int))
    means = np.stack([density.latents[start:end].mean(axis=0) for start, end in density.shots])
    centred = density.latents - means[shot_of]
    borders = np.cumsum(lengths[:-1] / lengths.sum(), dtype=np.float32)
    frames, size = centred.shape
    share = SHRINKAGE / (SHRINKAGE + lengths)

    def sample(seeds: tf.Tensor) -> tf.Tensor:
        noise = _normal(seeds, frames + size)
        chosen = tf.searchsorted(tf.constant(borders), _uniform(seeds), side="right")
        own = tf.equal(tf.constant(shot_of, tf.int32)[None], chosen[:, None])
        # A random mix of a shot's centred frames has their covariance: no matrix is needed.
        mix = tf.where(own, noise[:, :frames], 0.0) / tf.sqrt(tf.gather(lengths, chosen))[:, None]
        inner = tf.linalg.matmul(mix, tf.constant(centred, tf.float32))
        outer = noise[:, frames:] * tf.constant(density.deviation, tf.float32)
        part = tf.gather(tf.constant(share, tf.float32), chosen)[:, None]
        mean = tf.gather(tf.constant(means, tf.float32), chosen)
        return mean + tf.sqrt(1.0 - part) * inner + tf.sqrt(part) * outer

    return sample


def _normal(seeds: tf.Tensor, size: int) -> tf.Tensor:
    def draw(seed: tf.Tensor) -> tf.Tensor:
        return tf.random.stateless_normal([size], seed=tf.stack([seed, 0]))

    return tf.map_fn(draw, seeds, fn_output_signature=tf.TensorSpec((size,), tf.float32))


def _uniform(seeds: tf.Tensor) -> tf.Tensor:
    """Seeds int64 [n] -> float32 [n], 0 to below 1."""

    def draw(seed: tf.Tensor) -> tf.Tensor:
        return tf.random.stateless_uniform([], seed=tf.stack([seed, 1]))

    return tf.map_fn(draw, seeds, fn_output_signature=tf.TensorSpec((), tf.float32))
