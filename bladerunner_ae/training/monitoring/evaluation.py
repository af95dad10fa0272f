"""Figures of a run during training, from a few hundred frames that are read once and kept."""

import sys
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from bladerunner_ae.evaluation import prior_samples
from bladerunner_ae.evaluation.choice import choose_all, spread_pairs
from bladerunner_ae.evaluation.labels import HELD_OUT, SEEN
from bladerunner_ae.evaluation.measurement import METRICS, Scope, measure_pictures
from bladerunner_ae.evaluation.perceptual import missing_perceptual
from bladerunner_ae.evaluation.sheets import (
    INTERPOLATION_NAME,
    PRIOR_NAME,
    SHOWN,
    prior_sheet,
    ways,
    ways_sheet,
)
from bladerunner_ae.evaluation.summary import summarise
from bladerunner_ae.model.autoencoder import Autoencoder
from bladerunner_ae.model.networks import Networks
from bladerunner_ae.training.monitoring.probes import Probes
from tfrecords.frames import read_images
from tfrecords.mixture import FilmPart

FRAMES = 256
"""Largest number of frames of each label that are measured, over all films."""

_PERCEPTUAL_FRAMES = 64
_SAMPLES = 128
_BYTES = 128 << 20


class RunEvaluation:
    """Measures networks on frames of a run's films, seen and, if there are any, held out."""

    def __init__(self, parts: Sequence[FilmPart]) -> None:
        images: list[NDArray[np.uint8]] = []
        labels: list[str] = []
        pieces: list[tuple[int, int]] = []
        shots: list[tuple[int, int]] = []
        done = 0
        for number, part in enumerate(parts):
            for label, mask in ((SEEN, part.kept()), (HELD_OUT, ~part.kept())):
                chosen = _choose(part, mask, len(parts))
                if not len(chosen):
                    continue
                shot = np.searchsorted(part.card.shot_starts, chosen, side="right")
                images.append(read_images(part.directory, part.card, chosen.tolist()))
                labels += [label] * len(chosen)
                shots += [(number, int(own)) for own in shot]
                cuts = (np.flatnonzero((np.diff(chosen) != 1) | (np.diff(shot) != 0)) + 1).tolist()
                borders = [done, *(done + cut for cut in cuts), done + len(chosen)]
                pieces += pairwise(borders)
                done += len(chosen)
        self.images = np.concatenate(images)
        self.labels = np.array(labels)
        self._pieces = pieces
        if missing := missing_perceptual():
            print(f"note: {missing}", file=sys.stderr)
        self._perceptual = not missing
        self._shot_of = np.unique(np.array(shots), axis=0, return_inverse=True)[1].reshape(-1)

    def measure(self, networks: Networks) -> dict[str, float]:
        """Return the figures by name for the logs.

        "evaluate/psnr_held_out" and so on for every metric but VMAF, seen and held out, and of
        samples "evaluate/perceptual_frechet_normal", "evaluate/perceptual_frechet_fitted",
        "evaluate/nearest_normal", "evaluate/nearest_fitted"; those that are not defined, or need an
        extra that is not installed, are left out.
        """
        model = networks.autoencoder
        scope = Scope(
            systems={"dream": model},
            labels=self.labels,
            choice=choose_all(
                self._pieces,
                [str(self.labels[start]) for start, _ in self._pieces],
                len(self.labels),
                _PERCEPTUAL_FRAMES,
            ),
            latents=model,
            vmaf=False,
            perceptual=self._perceptual,
        )
        groups = summarise(measure_pictures(scope, self.images), self.labels, self._pieces)[
            "groups"
        ]
        values = {
            f"evaluate/{metric}_{label.replace(' ', '_')}": figures[metric]
            for label, figures in groups.items()
            for metric in METRICS
        }
        scores = prior_samples.compare(self.draw(model).sets(), self._film, self._perceptual)
        for name, title in (("normal", prior_samples.NORMAL), ("fitted", prior_samples.FITTED)):
            values[f"evaluate/perceptual_frechet_{name}"] = scores[title].get("perceptual_frechet")
            values[f"evaluate/nearest_{name}"] = scores[title]["nearest_film"]
        return {name: float(value) for name, value in values.items() if value is not None}

    def draw(self, model: Autoencoder, count: int = _SAMPLES) -> prior_samples.Drawn:
        """Draw pictures from N(0, 1) and from the density fitted to the seen frames' latents."""
        return prior_samples.draw(model, self._film, count)

    @cached_property
    def _film(self) -> prior_samples.FilmFrames:
        seen = self.labels == SEEN
        return prior_samples.FilmFrames(
            self.images[seen], self._shot_of[seen], self.images[~seen], _SAMPLES
        )


def _choose(part: FilmPart, mask: NDArray[np.bool_], films: int) -> NDArray[Any]:
    """Return frames of `mask`; if there are too many, pairs of neighbours."""
    indices = np.flatnonzero(mask)
    room = _BYTES // (part.card.height * part.card.width * 3)
    at_most = max(min(FRAMES, room) // films, 2)
    if len(indices) <= at_most:
        return indices
    return indices[spread_pairs(len(indices), at_most // 2)]


def describe_values(values: dict[str, float]) -> str:
    """Return the most important figures in one line."""
    shown = [
        f"{label} {metric} {values[f'evaluate/{metric}_{key}']:.4g}"
        for label, key in ((HELD_OUT, "held_out"), (SEEN, "seen"))
        for metric in ("psnr", "ssim", "ms_ssim", "perceptual", "sharpness", "flicker")
        if f"evaluate/{metric}_{key}" in values
    ]
    missing = [] if "evaluate/psnr_held_out" in values else ["no frames are held out"]
    return ", ".join([*missing, *shown])


def latent_sheets(
    networks: Networks, probes: Probes, evaluation: RunEvaluation | None
) -> dict[str, Callable[[], Image.Image]]:
    """Return file of the run folder -> draws a picture of the latent space, without the networks.

    Paths begin and end with the probes. A density is fitted to the frames of `evaluation`; None:
    samples of N(0, 1) only.
    """
    model = networks.autoencoder
    drawn = (
        prior_samples.draw_normal(model, SHOWN)
        if evaluation is None
        else evaluation.draw(model, SHOWN)
    )
    on_ways = model.decode(ways(model.encode(probes.originals)[0]))
    return {
        PRIOR_NAME: lambda: prior_sheet(drawn),
        INTERPOLATION_NAME: lambda: ways_sheet(probes.originals, probes.names, on_ways),
    }
