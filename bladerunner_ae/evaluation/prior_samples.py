"""Samples of latent space, and their likeness to the film.

They are drawn from N(0, 1), which the objective's KL divergence pulls the latents towards, and from
the density fitted to the film's latents (`model/latent_density.py`). Their scores are compared with
those of real frames; `docs/evaluation.md` explains what they can and cannot tell.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from bladerunner_ae.evaluation.perceptual import pooled_features
from bladerunner_ae.evaluation.set_distances import frechet_distance, nearest_distances
from bladerunner_ae.model.autoencoder import Autoencoder, Latents, Pictures
from bladerunner_ae.model.latent_density import fit_density, groups_of
from bladerunner_ae.pictures.spread import spread
from bladerunner_ae.pictures.thumbnails import small

SAMPLES = 512
"""Pictures drawn of each kind."""

REFERENCE = 1024
"""Most training frames, evenly spread, with which samples are compared."""

FRECHET_PICTURES = 256
"""Most pictures of a set, evenly spread, whose Frechet distance to as many frames is measured."""

NORMAL, FITTED = "drawn from N(0, 1)", "drawn from fitted density"

_SEED = 1982
_DECIMALS = 4

Scores = dict[str, dict[str, Any]]


@dataclass(frozen=True, eq=False)
class FilmFrames:
    """Frames to compare samples with: `training` [n >= 1], of shots `shot_of`, and `held_out`.

    A Frechet distance is measured of `frechet_pictures` at most.
    """

    training: Pictures
    shot_of: NDArray[np.integer]
    held_out: Pictures
    frechet_pictures: int = FRECHET_PICTURES

    @cached_property
    def features(self) -> NDArray[np.float64]:
        """`pooled_features` of training frames, evenly spread, as many as are compared."""
        return pooled_features(some(self.training, self.frechet_pictures))


@dataclass(frozen=True, eq=False)
class Drawn:
    """Samples, uint8 [n, H, W, 3], of N(0, 1) and of the fitted density, None without frames."""

    normal: Pictures
    fitted: Pictures | None = None

    def sets(self) -> dict[str, Pictures]:
        found = {NORMAL: self.normal}
        return found if self.fitted is None else {**found, FITTED: self.fitted}


def draw(model: Autoencoder, film: FilmFrames, count: int = SAMPLES) -> Drawn:
    """Draw pictures both ways; the same for the same weights and frames."""
    latents = model.encode(film.training)[0]
    density = fit_density(latents, groups_of(latents, film.shot_of, model.code_numbers))
    fitted = model.decode(density.sample(count, _SEED))
    return Drawn(draw_normal(model, count).normal, fitted)


def draw_normal(model: Autoencoder, count: int = SAMPLES) -> Drawn:
    return Drawn(model.decode(normal_latents(model, count)))


def normal_latents(model: Autoencoder, count: int) -> Latents:
    """Return the latents of `draw_normal`, float32 [count, *model.latent_shape]."""
    return tf.random.stateless_normal([count, *model.latent_shape], seed=[_SEED, 0]).numpy()


def some(pictures: Pictures, at_most: int) -> Pictures:
    return pictures[spread(len(pictures), min(len(pictures), at_most))]


def prior_scores(
    model: Autoencoder, film: FilmFrames, drawn: Drawn, perceptual: bool = False
) -> Scores:
    """Compare samples with the film, and with held-out frames and dreams of training frames."""
    references = {
        "frames held out": some(film.held_out, SAMPLES),
        "dreams of training frames": model.decode(model.encode(some(film.training, SAMPLES))[0]),
    }
    return compare({**references, **drawn.sets()}, film, perceptual)


def compare(sets: Mapping[str, Pictures], film: FilmFrames, perceptual: bool = False) -> Scores:
    """Compare sets of pictures, uint8 [n, H, W, 3] (empty ones are left out), with training frames.

    Returns name -> {"pictures": how many, "nearest_film": mean distance of each to the most similar
    training frame, "nearest_sample": mean distance of each training frame to the most similar one
    of them (both by `set_distances.nearest_distances`)}. If `perceptual`, also
    {"perceptual_frechet": Frechet distance of their `pooled_features` to those of the film,
    "perceptual_frechet_pictures": of how many pictures each}; None for a set of fewer pictures than
    the film has to compare with, whose distance would be another.
    """
    thumbnails = small(some(film.training, REFERENCE))
    found = {name: pictures for name, pictures in sets.items() if len(pictures)}
    scores = {name: _nearest(pictures, thumbnails) for name, pictures in found.items()}
    if perceptual:
        for name, pictures in found.items():
            scores[name] |= _frechet(pictures, film.features)
    return scores


def _nearest(pictures: Pictures, thumbnails: NDArray[np.float32]) -> dict[str, Any]:
    own = small(pictures)
    return {
        "pictures": len(pictures),
        "nearest_film": round(float(nearest_distances(own, thumbnails).mean()), _DECIMALS),
        "nearest_sample": round(float(nearest_distances(thumbnails, own).mean()), _DECIMALS),
    }


def _frechet(pictures: Pictures, features: NDArray[np.float64]) -> dict[str, Any]:
    count = len(features)
    if len(pictures) < count or count < 2:
        return {"perceptual_frechet": None, "perceptual_frechet_pictures": None}
    distance = frechet_distance(pooled_features(some(pictures, count)), features)
    return {
        "perceptual_frechet": None if distance is None else round(distance, _DECIMALS),
        "perceptual_frechet_pictures": count,
    }
