"""Distances between sets of pictures, of their thumbnails or of features of them."""

import numpy as np
from numpy.typing import NDArray

_BATCH = 256


def frechet_distance(first: NDArray[np.float64], second: NDArray[np.float64]) -> float | None:
    """Return the Frechet distance of the Gaussians fitted to two sets (Dowson & Landau 1982).

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2)), as in the FID of Heusel et al. 2017
    (arXiv:1706.08500, equation 6), whose features are of another network: the numbers are not
    comparable. It falls with the sets' size, so compare sets of one size. None if a set, float64
    [n, features], has less than two members.

    With A and B the sets less their means, C1 C2 = A'A B'B / ((n1 - 1) (n2 - 1)) has the
    eigenvalues of (A B')' (A B') in place of A'A B'B; so the trace of its root is the sum of the
    singular values of A B', exact for any number of features, also beyond n.
    """
    if min(len(first), len(second)) < 2:
        return None
    means = first.mean(axis=0), second.mean(axis=0)
    one, other = (
        (s - m) / (len(s) - 1) ** 0.5 for s, m in zip((first, second), means, strict=True)
    )
    shared = np.linalg.svd(one @ other.T, compute_uv=False).sum()
    squares = (one**2).sum() + (other**2).sum() + ((means[0] - means[1]) ** 2).sum()
    return max(float(squares - 2 * shared), 0.0)


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
