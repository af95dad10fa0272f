"""Whether what a model draws from latent space looks like its film.

Two ways to draw: from N(0, 1), which the objective's KL divergence asks the latents to follow, and
from the density fitted to the film's latents afterwards (`density.py`). Samples are judged beside
frames that the film really has; `docs/evaluation.md` says what the scores can and cannot tell.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bladerunner_ae.evaluation.features import frechet_distance, nearest_distances, random_features
from bladerunner_ae.model.autoencoder import LatentModel
from bladerunner_ae.model.latent_density import fit_density
from bladerunner_ae.pictures.thumbnails import small

SAMPLES = 512
"""How many pictures are drawn of each kind."""

REFERENCE = 1024
"""At most so many training frames, evenly spread, are what samples are compared with."""

NORMAL, FITTED = "drawn from N(0, 1)", "drawn from fitted density"

_SEED = 1982
_DECIMALS = 4

Pictures = NDArray[np.uint8]
Scores = dict[str, dict[str, Any]]


@dataclass(frozen=True, eq=False)
class FilmFrames:
    """Frames that samples are compared with.

    Attributes:
        training: uint8 [n, H, W, 3], n >= 1, of the frames that training saw.
        shot_of: [n], a number that tells each training frame's shot.
        held_out: uint8 [m, H, W, 3], of those it did not see; may be empty.
    """

    training: Pictures
    shot_of: NDArray[np.integer]
    held_out: Pictures


@dataclass(frozen=True, eq=False)
class Drawn:
    """What a model draws from latent space, uint8 [n, H, W, 3] each.

    Attributes:
        normal: from N(0, 1).
        fitted: from the density fitted to the training frames' latents; None without any.
    """

    normal: Pictures
    fitted: Pictures | None = None

    def sets(self) -> dict[str, Pictures]:
        """Returns name -> pictures of those that were drawn."""
        found = {NORMAL: self.normal}
        return found if self.fitted is None else {**found, FITTED: self.fitted}


def draw(model: LatentModel, film: FilmFrames, count: int = SAMPLES) -> Drawn:
    """Draws pictures both ways; the same for the same weights and frames."""
    density = fit_density(model.encode(film.training)[0], film.shot_of)
    fitted = model.decode(density.sample(count, _SEED))
    return Drawn(draw_normal(model, count).normal, fitted)


def draw_normal(model: LatentModel, count: int = SAMPLES) -> Drawn:
    """Draws pictures from N(0, 1) alone."""
    return Drawn(model.decode(normal_latents(model, count)))


def normal_latents(model: LatentModel, count: int) -> NDArray[np.float32]:
    """Returns what `draw_normal` makes pictures of, float32 [count, *model.shape]."""
    return model.samples(count, _SEED)


def prior_scores(model: LatentModel, film: FilmFrames, drawn: Drawn) -> Scores:
    """Compares what a model draws with the film, and with sets that tell what to expect.

    Args:
        model: that drew.
        film: frames.
        drawn: what `draw` gave.

    Returns:
        As `compare`, of frames held out (if any), the model's dreams of training frames, and both
        kinds of samples.
    """
    references = {
        "frames held out": film.held_out[spread(len(film.held_out), SAMPLES)],
        "dreams of training frames": model.reconstruct(
            film.training[spread(len(film.training), SAMPLES)]
        ),
    }
    return compare({**references, **drawn.sets()}, film)


def compare(sets: Mapping[str, Pictures], film: FilmFrames) -> Scores:
    """Compares sets of pictures with the film's training frames.

    Args:
        sets: name -> uint8 [n, H, W, 3]; empty ones are left out.
        film: frames.

    Returns:
        Name of the set -> {"pictures": how many, "nearest_film": mean distance of each to the most
        similar training frame, "nearest_sample": mean distance of each training frame to the most
        similar one of them (both as of `features.nearest_distances`), "frechet": or None for a
        single picture}.
    """
    reference = film.training[spread(len(film.training), REFERENCE)]
    thumbnails, features = small(reference), random_features(reference)
    return {
        name: _score(pictures, thumbnails, features)
        for name, pictures in sets.items()
        if len(pictures)
    }


def _score(
    pictures: Pictures, thumbnails: NDArray[np.float32], features: NDArray[np.float64]
) -> dict[str, Any]:
    own = small(pictures)
    frechet = frechet_distance(random_features(pictures), features)
    return {
        "pictures": len(pictures),
        "nearest_film": round(float(nearest_distances(own, thumbnails).mean()), _DECIMALS),
        "nearest_sample": round(float(nearest_distances(thumbnails, own).mean()), _DECIMALS),
        "frechet": None if frechet is None else round(frechet, _DECIMALS),
    }


def spread(count: int, at_most: int) -> NDArray[np.int64]:
    """Chooses at most so many of `count` things, evenly spread: their numbers, ascending."""
    chosen = min(count, at_most)
    return (2 * np.arange(chosen) + 1) * count // max(2 * chosen, 1)
