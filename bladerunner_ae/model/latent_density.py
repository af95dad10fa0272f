"""Density fitted to the film's latents after training, to draw samples that look like the film.

With a small KL weight the latents are far from N(0, 1), and samples of N(0, 1) show nothing. Ghosh
et al. 2020 (arXiv:1903.12436, section 4) fit a mixture of Gaussians to the latents of the training
set afterwards. This one has one Gaussian for each shot; of a network with a memory, for each key
moment.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SHRINKAGE = 16.0
"""How many of a shot's own frames the spread within all shots counts for."""


@dataclass(frozen=True, eq=False)
class LatentDensity:
    """Mixture with one Gaussian for each shot.

    N(m, (1 - a) S + a D), with m and S the mean and covariance of the shot's latents, D the
    diagonal of the covariance within shots, pooled over the film, and a = 16 / (16 + frames of the
    shot): a short shot tells little of its spread. A shot's weight is its share of the frames.
    `latents`, float32 [n, size], are sorted by shot; `shots` are the rows of each, (first, after
    the last); `deviation`, float32 [size], is the root of D.
    """

    latents: Floats
    shots: Sequence[tuple[int, int]]
    deviation: Floats

    def sample(self, count: int, seed: int) -> Floats:
        """Draw latents, float32 [count, size]; the same for the same seed."""
        random = np.random.default_rng(seed)
        lengths = np.array([end - start for start, end in self.shots])
        chosen = random.choice(len(lengths), count, p=lengths / lengths.sum())
        drawn = [self._sample_shot(self.shots[shot], random) for shot in chosen]
        return np.asarray(drawn, np.float32).reshape(count, -1)

    def _sample_shot(self, shot: tuple[int, int], random: np.random.Generator) -> Floats:
        start, end = shot
        own = self.latents[start:end]
        mean, frames = own.mean(axis=0), end - start
        share = SHRINKAGE / (SHRINKAGE + frames)
        # A random mix of the centred frames has their covariance: no matrix is needed.
        mix = random.standard_normal(frames) / np.sqrt(frames)
        inner = mix @ (own - mean)
        outer = random.standard_normal(own.shape[1]) * self.deviation
        return mean + np.sqrt(1.0 - share) * inner + np.sqrt(share) * outer


def fit_density(latents: Floats, shot_of: NDArray[np.integer]) -> LatentDensity:
    """Fit the mixture to posterior means of n frames, float32 [n, ...], and their shots, [n]."""
    if not len(latents):
        raise ValueError("a density needs at least one frame")
    order = np.argsort(shot_of, kind="stable")
    flat, shot_of = latents.reshape(len(latents), -1)[order], np.asarray(shot_of)[order]
    borders = [0, *(np.flatnonzero(np.diff(shot_of)) + 1).tolist(), len(flat)]
    shots = list(pairwise(borders))
    within = np.concatenate([flat[start:end] - flat[start:end].mean(axis=0)
                             for start, end in shots])  # fmt: skip
    return LatentDensity(flat, shots, np.sqrt((within**2).mean(axis=0)))


def groups_of(
    latents: Floats, shot_of: NDArray[np.integer], code_numbers: int
) -> NDArray[np.int64]:
    """Return the number of the Gaussian that each frame belongs to, int [n].

    Its shot, or its key moment, which the last `code_numbers` > 0 of its latent numbers name.
    """
    if not code_numbers:
        return shot_of.astype(np.int64)
    codes = latents.reshape(len(latents), -1)[:, -code_numbers:] > 0
    return np.unique(codes, axis=0, return_inverse=True)[1].reshape(-1).astype(np.int64)


Sampler = Callable[[tf.Tensor], tf.Tensor]


def normal_sampler(size: int) -> Sampler:
    """Return a function that draws from N(0, 1): seeds int64 [n] -> latents float32 [n, size]."""
    return lambda seeds: _normal(seeds, size)


def density_sampler(density: LatentDensity) -> Sampler:
    """Return a sampler like `LatentDensity.sample`, with the latents as constants of the graph."""
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
    """Return float32 [n], 0 to below 1, from seeds int64 [n]."""

    def draw(seed: tf.Tensor) -> tf.Tensor:
        return tf.random.stateless_uniform([], seed=tf.stack([seed, 1]))

    return tf.map_fn(draw, seeds, fn_output_signature=tf.TensorSpec((), tf.float32))
