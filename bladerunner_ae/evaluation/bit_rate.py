"""The bits that a frame's latent numbers hold.

The rate of Alemi et al. 2018 (arXiv:1711.00464): the divergence of the posterior q(z|x) from the
prior is the cost of telling z to a receiver who knows the prior. Latents may have any shape; their
axes are summed over.
"""

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def kl_bits(mean: Floats, log_var: Floats) -> NDArray[np.float64]:
    """Return the divergence of N(mean, exp(log_var)) from N(0, 1) in bits, float64 [frames].

    KL = 1/2 sum(exp(log_var) + mean^2 - 1 - log_var) / ln 2 (Kingma & Welling 2014, appendix B);
    mean and log_var are [frames, ...].
    """
    mean, log_var = _flat(mean), _flat(log_var)
    return 0.5 * (np.exp(log_var) + mean**2 - 1.0 - log_var).sum(axis=1) / math.log(2.0)


class LatentMoments:
    """Sums over a film's posteriors, of a size that does not grow with the film."""

    def __init__(self) -> None:
        self.frames = 0.0
        self._sums: NDArray[np.float64] = np.zeros((3, 0))

    def add(self, mean: Floats, log_var: Floats, weights: Floats | None = None) -> None:
        """Add posteriors, [frames, ...] each; `weights` is how many frames each stands for."""
        mean, log_var = _flat(mean), _flat(log_var)
        times = np.ones(len(mean)) if weights is None else np.asarray(weights, np.float64)
        second = np.exp(log_var) + mean**2
        sums = np.stack(
            [(values * times[:, None]).sum(axis=0) for values in (mean, second, log_var)]
        )
        self._sums = sums if self.frames == 0 else self._sums + sums
        self.frames += float(times.sum())

    def __add__(self, other: "LatentMoments") -> "LatentMoments":
        if not self.frames or not other.frames:
            return self if self.frames else other
        total = LatentMoments()
        total.frames, total._sums = self.frames + other.frames, self._sums + other._sums
        return total

    def bits_to(self, whole: "LatentMoments") -> float:
        """Return the mean divergence of these posteriors from the aggregate of `whole`, in bits.

        The aggregated posterior, the mean of all posteriors (Hoffman & Johnson 2016), is taken as
        the Gaussian with its mean m and variances v: 1/2 sum(ln v - mean(log_var) +
        mean((mean - m)^2 + exp(log_var)) / v - 1) / ln 2. It is an upper bound of the information
        of the latents about the frame, and what is left of the rate when the prior fits.
        """
        mean, second, _ = whole._sums / whole.frames
        variance = np.maximum(second - mean**2, 1e-12)
        first, square, log_var = self._sums / self.frames
        distance = square - 2.0 * mean * first + mean**2
        terms = np.log(variance) - log_var + distance / variance - 1.0
        return float(0.5 * terms.sum() / math.log(2.0))


def _flat(values: Floats) -> NDArray[np.float64]:
    return np.asarray(values, np.float64).reshape(len(values), -1)
