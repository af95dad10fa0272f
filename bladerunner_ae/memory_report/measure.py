"""Figures of a film that the report shows: error, motion and colours of its frames."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from bladerunner_ae.evaluation.choice import Choice
from bladerunner_ae.evaluation.measurement import Scope, measure
from bladerunner_ae.model.autoencoder import Autoencoder, Pictures
from bladerunner_ae.pictures.barcode import band_light
from tfrecords.card import FilmCard
from tfrecords.storage import Location

BANDS = 24
"""Colours in a column of a barcode, from the top of the frame to its bottom."""

Floats = NDArray[np.float32]
Light = NDArray[np.float64]
_COLUMNS = 1200
_MODEL = "dream"


@dataclass(frozen=True, eq=False)
class FilmMemory:
    """Measurements of n frames of a film, those of `choice`.

    Attributes:
        frames: int64 [n], ascending.
        seconds: float64 [n], when each is shown, from 0.
        psnr, ssim, perceptual: float32 [n], of the dream; the last is 0 where it was not measured.
        motion: float32 [n], mean absolute change from the frame before, in grey levels; NaN if that
            was not measured or is of another part.
        perceptual_weights: float32 [n], how many frames each perceptual distance stands for.
        original, dream: float64 [columns, BANDS, 3], mean linear light of the barcodes' columns.
    """

    card: FilmCard
    choice: Choice
    frames: NDArray[np.int64]
    seconds: NDArray[np.float64]
    psnr: Floats
    ssim: Floats
    perceptual: Floats
    perceptual_weights: Floats
    motion: Floats
    original: Light
    dream: Light

    @property
    def weights(self) -> Floats:
        """Number of frames that each measured one stands for, float32 [n]."""
        return self.choice.weights[self.frames]

    @property
    def change_weights(self) -> Floats:
        """Number of changes that each motion stands for, float32 [n]; 0 where there is none."""
        return self.choice.change_weights[self.frames]

    @cached_property
    def duration(self) -> float:
        return _duration(self.card)


def _duration(card: FilmCard) -> float:
    """Return the length of a film in seconds; the last frame counts with the mean length."""
    last = float((card.last_pts - card.first_pts) * card.time_base)
    return max(last, 0.0) + 1.0 / float(card.frame_rate)


def measure_film(
    autoencoder: Autoencoder,
    records: Location,
    card: FilmCard,
    choice: Choice,
    labels: NDArray[np.str_],
    perceptual: bool = False,
    batch_size: int = 64,
) -> FilmMemory:
    barcodes = _Barcodes(card, int(choice.frames.sum()))
    scope = Scope({_MODEL: autoencoder}, labels, choice, vmaf=False, detail=False,
                  perceptual=perceptual, batch_size=batch_size, watch=barcodes.add)  # fmt: skip
    measured = measure(scope, records, card, "report")
    frames = np.flatnonzero(choice.frames)
    values = measured.systems[_MODEL].values
    weights = measured.systems[_MODEL].weighted(choice).weights
    return FilmMemory(
        card, choice, frames, np.concatenate(barcodes.seconds), values["psnr"][frames],
        values["ssim"][frames], values["perceptual"][frames], weights["perceptual"][frames],
        measured.motion[frames], *barcodes.light(),
    )  # fmt: skip


class _Barcodes:
    """Light of film and dream, summed by columns of equal time."""

    def __init__(self, card: FilmCard, frames: int) -> None:
        self._card = card
        self._light = np.zeros((2, min(frames, _COLUMNS), BANDS, 3))
        self._counts = np.zeros(min(frames, _COLUMNS), np.int64)
        self.seconds: list[NDArray[np.float64]] = []

    def add(
        self, images: Pictures, dreams: Pictures, _: NDArray[np.int64], pts: NDArray[np.int64]
    ) -> None:
        seconds = np.asarray((pts - self._card.first_pts) * float(self._card.time_base), np.float64)
        self.seconds.append(seconds)
        columns = len(self._counts)
        place = (seconds / _duration(self._card) * columns).astype(np.int64)
        place = np.clip(place, 0, columns - 1)
        np.add.at(self._counts, place, 1)
        for light, pictures in zip(self._light, (images, dreams), strict=True):
            np.add.at(light, place, band_light(pictures, BANDS))

    def light(self) -> tuple[Light, Light]:
        """Return the means; columns without a frame get those of the nearest with one."""
        known = np.flatnonzero(self._counts)
        columns = np.arange(len(self._counts))
        right = np.clip(np.searchsorted(known, columns), 0, len(known) - 1)
        left = np.maximum(right - 1, 0)
        nearer_left = np.abs(columns - known[left]) <= np.abs(known[right] - columns)
        nearest = known[np.where(nearer_left, left, right)]
        original, dream = self._light[:, nearest] / self._counts[nearest][:, None, None]
        return original, dream
