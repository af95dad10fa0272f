"""Memories of a film without a network: its mean frame, and its principal components.

Both are fitted to training frames only. The best linear autoencoder of a given width is principal
component analysis (Baldi & Hornik 1989), so a network of that width is worth what it does better.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bladerunner_ae.pictures.spread import spread

FRAMES = 2048
"""Most training frames, evenly spread, that are fitted; fewer where they are large."""

_BYTES = 1 << 30
_BLOCK = 8192
_REAL = 1e-9


@dataclass(frozen=True, eq=False)
class LinearBaseline:
    """Pictures projected onto a few components, in full resolution.

    `mean` is float32 [H * W * 3], 0..255; `components` float32 [H * W * 3, n], with columns that
    are orthonormal or zero, n = 0 for the mean frame.
    """

    name: str
    mean: NDArray[np.float32]
    components: NDArray[np.float32]

    def reconstruct(self, images: NDArray[np.uint8]) -> NDArray[np.uint8]:
        flat = images.reshape(len(images), -1).astype(np.float32) - self.mean
        output = (flat @ self.components) @ self.components.T + self.mean
        return np.clip(np.rint(output), 0, 255).astype(np.uint8).reshape(images.shape)


def fit_baselines(images: NDArray[np.uint8], sizes: Sequence[int]) -> list[LinearBaseline]:
    """Fit the mean frame, and a PCA of each of the sizes, to uint8 [n, H, W, 3].

    There are fewer components where n frames have only n - 1, or memory holds no more; the
    baseline's name has their number.
    """
    most = max(min(len(images) - 1, _BYTES // (4 * images[0].size)), 1)
    counts = sorted({min(size, most) for size in sizes})
    mean, components = principal_components(images, max(counts, default=0))
    return [
        LinearBaseline("mean frame", mean, components[:, :0]),
        *(LinearBaseline(f"PCA-{count}", mean, components[:, :count]) for count in counts),
    ]


def principal_components(
    images: NDArray[np.uint8], count: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the mean frame, float32 [size], and the strongest components, float32 [size, count].

    With centred frames as the rows of X and X X^T = V S^2 V^T, the components are X^T V / S. Some
    thousand pixels are taken at a time: no float copy of all frames, uint8 [n, H, W, 3], is made.
    Columns beyond the span of the frames are zero.
    """
    flat = images.reshape(len(images), -1)
    size = flat.shape[1]
    blocks = [slice(start, start + _BLOCK) for start in range(0, size, _BLOCK)]
    mean = np.concatenate([flat[:, block].mean(axis=0, dtype=np.float64) for block in blocks])
    gram = np.zeros((len(flat), len(flat)))
    for block in blocks:
        centred = (flat[:, block] - mean[block]).astype(np.float32)
        gram += centred @ centred.T
    values, vectors = np.linalg.eigh(gram)
    strongest = max(values[-1], 1.0)
    values, vectors = values[::-1][:count], vectors[:, ::-1][:, :count]
    real = values > strongest * _REAL
    weights = (vectors * real / np.sqrt(np.where(real, values, 1.0))).astype(np.float32)
    components = np.zeros((size, count), np.float32)
    for block in blocks:
        centred = (flat[:, block] - mean[block]).astype(np.float32)
        components[block, : len(values)] = centred.T @ weights
    return mean.astype(np.float32), components


def training_frames(training: NDArray[np.bool_], frame_bytes: int) -> list[int]:
    """Choose the frames to fit: all of `training` (bool [frames]), or an even choice that fits."""
    indices = np.flatnonzero(training)
    count = min(len(indices), FRAMES, max(_BYTES // frame_bytes, 1))
    return indices[spread(len(indices), count)].tolist()
