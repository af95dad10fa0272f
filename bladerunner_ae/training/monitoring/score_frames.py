"""A fixed choice of frames by which a run is judged while it trains."""

from collections.abc import Sequence

import numpy as np

from bladerunner_ae.evaluation import image_quality
from bladerunner_ae.evaluation.labels import HELD_OUT, SEEN
from bladerunner_ae.model.networks import Networks
from bladerunner_ae.pictures.spread import spread
from tfrecords.frames import read_images
from tfrecords.mixture import FilmPart

FRAMES = 128
"""Largest number of frames of each label, over all films."""

_BYTES = 64 << 20
# A frame passes the networks once, forwards; in a step it passes them backwards too.
_OF_A_STEP = 1 / 3
_COST = 0.02
_POINTS = 10


class ScoreFrames:
    """Frames of a run's films, evenly spread, seen and, if there are any, held out."""

    def __init__(self, parts: Sequence[FilmPart]) -> None:
        images, held = [], []
        for part in parts:
            kept = part.kept()
            room = _BYTES // (part.card.height * part.card.width * 3)
            at_most = max(min(FRAMES, room) // len(parts), 1)
            chosen = []
            for mask in (kept, ~kept):
                indices = np.flatnonzero(mask)
                chosen += indices[spread(len(indices), min(at_most, len(indices)))].tolist()
            chosen.sort()
            images.append(read_images(part.directory, part.card, chosen))
            held.append(~kept[chosen])
        self.images = np.concatenate(images)
        self._held = np.concatenate(held)

    def interval(self, steps: int, batch_size: int) -> int:
        """Return the steps between measurements: ten in a run, but no more than 2 % of its time."""
        cheap = len(self.images) * _OF_A_STEP / (_COST * batch_size)
        return max(-(-steps // _POINTS), int(np.ceil(cheap)))

    def psnr(self, networks: Networks) -> dict[str, float]:
        """Return the mean PSNR in dB, "seen" and "held out", of the frames there are."""
        dreams = networks.autoencoder.reconstruct(self.images)
        found = image_quality.psnr(self.images, dreams).numpy()
        masks = ((SEEN, ~self._held), (HELD_OUT, self._held))
        return {label: float(found[mask].mean()) for label, mask in masks if mask.any()}
