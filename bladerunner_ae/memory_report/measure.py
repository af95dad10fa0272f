"""One pass over a film's frames that were chosen: error, motion and colours of each."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bladerunner_ae.command_line.progress import Progress
from bladerunner_ae.evaluation import image_quality
from bladerunner_ae.evaluation.choice import Choice
from bladerunner_ae.evaluation.measurement import explained_damage
from bladerunner_ae.exports.dreamer import Dreamer
from bladerunner_ae.pictures.barcode import band_light
from tfrecords.card import FilmCard
from tfrecords.frames import chosen_batches
from tfrecords.storage import Location

BANDS = 24
"""A barcode's column has so many colours, from the top of the frame to its bottom."""

Floats = NDArray[np.float32]
_COLUMNS = 1200


@dataclass(frozen=True, eq=False)
class FilmMemory:
    """What was measured of a film; n frames were looked at.

    Attributes:
        card: of the film.
        choice: which frames were looked at.
        frames: int64 [n], ascending.
        seconds: float64 [n], when each is shown, from 0.
        psnr, ssim: float32 [n], of the dream.
        motion: float32 [n], mean absolute change from the frame before, in grey levels; NaN where
            that was not looked at or belongs to another part.
        original, dream: float64 [columns, BANDS, 3], mean linear light of each column of the two
            barcodes.
    """

    card: FilmCard
    choice: Choice
    frames: NDArray[np.int64]
    seconds: NDArray[np.float64]
    psnr: Floats
    ssim: Floats
    motion: Floats
    original: NDArray[np.float64]
    dream: NDArray[np.float64]

    @property
    def weights(self) -> Floats:
        """How many frames each of those looked at stands for, float32 [n]."""
        return self.choice.weights[self.frames]

    @property
    def change_weights(self) -> Floats:
        """How many changes the motion of each stands for, float32 [n]; 0 where there is none."""
        return self.choice.change_weights[self.frames]

    @property
    def duration(self) -> float:
        """Seconds from the first frame to the end of the last one."""
        return duration(self.card)


def duration(card: FilmCard) -> float:
    """Seconds that a film lasts; the last frame counts with the mean length."""
    last = float((card.last_pts - card.first_pts) * card.time_base)
    return max(last, 0.0) + 1.0 / float(card.frame_rate)


def measure_film(
    dreamer: Dreamer,
    records: Location,
    card: FilmCard,
    choice: Choice,
    batch_size: int = 64,
) -> FilmMemory:
    """Runs a film through a network, in its order; a few numbers are kept of each frame.

    Args:
        dreamer: the network.
        records: folder of the film's records.
        card: of the film.
        choice: which frames to look at, one at least.
        batch_size: frames at once; the numbers do not depend on it.

    Raises:
        RecordsError: a record is damaged or of another size.
    """
    count = int(choice.frames.sum())
    passing = _Pass(dreamer, card, choice, count)
    with explained_damage(records, card), Progress("report", count) as progress:
        for images, index, pts in chosen_batches(records, card, choice.frames, batch_size):
            passing.add(images, index, pts)
            progress.update(len(index))
    return passing.finish()


class _Pass:
    def __init__(self, dreamer: Dreamer, card: FilmCard, choice: Choice, count: int) -> None:
        self._dreamer, self._card, self._choice = dreamer, card, choice
        self._numbers = {name: np.zeros(count, np.float32) for name in ("psnr", "ssim", "motion")}
        self._frames, self._seconds = np.zeros(count, np.int64), np.zeros(count)
        columns = min(count, _COLUMNS)
        self._light = np.zeros((2, columns, BANDS, 3))
        self._counts = np.zeros(columns, np.int64)
        self._done = 0
        self._last: NDArray[np.uint8] | None = None

    def add(
        self, images: NDArray[np.uint8], index: NDArray[np.int64], pts: NDArray[np.int64]
    ) -> None:
        """Looks at some frames, which follow those of the last call."""
        dreams = self._dreamer.reconstruct(images)
        where = slice(self._done, self._done + len(images))
        self._done = where.stop
        self._frames[where] = index
        self._seconds[where] = (pts - self._card.first_pts) * float(self._card.time_base)
        self._numbers["psnr"][where] = image_quality.psnr(images, dreams)
        self._numbers["ssim"][where] = image_quality.ssim(images, dreams)
        before = np.concatenate([images[:1] if self._last is None else self._last, images[:-1]])
        change = image_quality.change(before, images).numpy()
        self._numbers["motion"][where] = np.where(self._choice.follows[index], change, np.nan)
        self._last = images[-1:].copy()
        columns = len(self._counts)
        place = (self._seconds[where] / duration(self._card) * columns).astype(np.int64)
        place = np.clip(place, 0, columns - 1)
        np.add.at(self._counts, place, 1)
        for light, pictures in zip(self._light, (images, dreams), strict=True):
            np.add.at(light, place, band_light(pictures, BANDS))

    def finish(self) -> FilmMemory:
        """Returns what was measured; columns without a frame get their nearest neighbour's."""
        known = np.flatnonzero(self._counts)
        columns = np.arange(len(self._counts))
        right = np.clip(np.searchsorted(known, columns), 0, len(known) - 1)
        left = np.maximum(right - 1, 0)
        nearer_left = np.abs(columns - known[left]) <= np.abs(known[right] - columns)
        nearest = known[np.where(nearer_left, left, right)]
        light = self._light[:, nearest] / self._counts[nearest][:, None, None]
        return FilmMemory(
            self._card, self._choice, self._frames, self._seconds, self._numbers["psnr"],
            self._numbers["ssim"], self._numbers["motion"], light[0], light[1],
        )  # fmt: skip
