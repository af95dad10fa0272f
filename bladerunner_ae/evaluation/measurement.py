"""One pass over chosen frames of a film: a few numbers of each from every system compared.

Each number has a weight, so that a shot's or a film's figure is the sum of numbers over the sum of
weights: 1 for most; for a ratio such as sharpness, the film's own value.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from bladerunner_ae.command_line.progress import Progress
from bladerunner_ae.evaluation import image_quality, perceptual
from bladerunner_ae.evaluation.bit_rate import LatentMoments, kl_bits
from bladerunner_ae.evaluation.choice import Choice
from bladerunner_ae.evaluation.vmaf import VmafMeter
from bladerunner_ae.model.autoencoder import Autoencoder, Latents, Pictures
from tfrecords.card import FilmCard
from tfrecords.frames import chosen_batches
from tfrecords.mixture import FilmPart
from tfrecords.reader import find_damage, unexplained_loss
from tfrecords.record_errors import RecordsError
from tfrecords.storage import Location

METRICS = (
    "psnr", "ssim", "ms_ssim", "vmaf", "perceptual", "sharpness", "flicker", "black_level",
    "rate_bits",
)  # fmt: skip

Integers = NDArray[np.int64]


class System(Protocol):
    def reconstruct(self, images: Pictures) -> Pictures:
        """Return dreams, uint8 [batch, H, W, 3] in and out."""
        ...


@dataclass(frozen=True, eq=False)
class Numbers:
    """Metric -> float32 [frames] of one system; the weight is 0 where nothing could be measured."""

    values: dict[str, NDArray[np.float32]]
    weights: dict[str, NDArray[np.float32]]

    @classmethod
    def of(cls, frames: int) -> "Numbers":
        return cls(*({name: np.zeros(frames, np.float32) for name in METRICS} for _ in range(2)))

    def put(self, name: str, index: Any, values: Any, weights: Any = 1.0) -> None:
        """Keep the numbers of some frames; those that are not finite count as not measured."""
        values, weights = np.broadcast_arrays(
            np.asarray(values, np.float32), np.asarray(weights, np.float32)
        )
        good = np.isfinite(values) & np.isfinite(weights)
        self.values[name][index] = np.where(good, values, 0.0)
        self.weights[name][index] = np.where(good, weights, 0.0)

    def weighted(self, choice: Choice) -> "Numbers":
        """Count each frame's numbers as often as it stands for others."""
        special = {
            "flicker": choice.change_weights,
            "vmaf": choice.run_weights,
            "perceptual": choice.few_weights,
        }
        times = {name: special.get(name, choice.weights) for name in METRICS}
        return Numbers(
            {name: values * times[name] for name, values in self.values.items()},
            {name: weights * times[name] for name, weights in self.weights.items()},
        )

    def only(self, frames: NDArray[np.bool_]) -> "Numbers":
        """Leave out the numbers of other frames than these, bool [frames]."""
        return Numbers(
            {name: np.where(frames, values, 0.0) for name, values in self.values.items()},
            {name: np.where(frames, weights, 0.0) for name, weights in self.weights.items()},
        )


@dataclass(frozen=True, eq=False)
class Measured:
    """Result of a pass over a film.

    `motion` is the film's mean absolute change from the frame before, float32 [frames] in grey
    levels, NaN where it was not measured or is of another part; `moments` are of the posteriors of
    the frames with each label, empty without encoder.
    """

    choice: Choice
    systems: dict[str, Numbers]
    motion: NDArray[np.float32]
    moments: dict[str, LatentMoments]


@dataclass(frozen=True, eq=False)
class Scope:
    """Subject of a pass.

    Attributes:
        systems: by name, the model first.
        labels: str [frames], of `frame_labels`.
        latents: gives the first system's posteriors; None: no rate.
        detail: measure all metrics; else PSNR, SSIM and the perceptual distance alone.
        perceptual: measure the perceptual distance, on the few frames of the choice.
        batch_size: frames at once; the numbers do not depend on it.
        watch: called with the frames, the first system's dreams, frame numbers, and times in units
            of the card's time base.
    """

    systems: Mapping[str, System]
    labels: NDArray[np.str_]
    choice: Choice
    latents: Autoencoder | None = None
    vmaf: bool = True
    detail: bool = True
    perceptual: bool = False
    batch_size: int = 64
    watch: Callable[[Pictures, Pictures, Integers, Integers], None] | None = None


def stretches(card: FilmCard, labels: NDArray[np.str_]) -> list[tuple[int, int]]:
    """Cut the film into runs of frames of one shot and one label: (first, after the last)."""
    changes = set((np.flatnonzero(labels[1:] != labels[:-1]) + 1).tolist())
    borders = sorted({*card.shot_starts, *changes, card.frames})
    return list(pairwise(borders))


def measure(scope: Scope, records: Location, card: FilmCard, task: str = "evaluate") -> Measured:
    """Run the chosen frames of a film through all systems, once, in its order.

    `task` names the progress line.

    Raises:
        RecordsError: a record is damaged or of another size.
        OutputError: ffmpeg could not measure VMAF.
    """
    chosen = scope.choice.frames
    with explained_damage(records, card), Progress(task, int(chosen.sum())) as progress:

        def batches() -> Iterator[tuple[Pictures, Integers, Integers]]:
            for batch in chosen_batches(records, card, chosen, scope.batch_size):
                yield batch
                progress.update(len(batch[1]))

        return _measure(scope, batches())


def measure_pictures(scope: Scope, images: Pictures) -> Measured:
    """Measure frames in memory, uint8 [frames, H, W, 3], as `measure` does."""
    index = np.flatnonzero(scope.choice.frames)
    parts = (index[i : i + scope.batch_size] for i in range(0, len(index), scope.batch_size))
    return _measure(scope, ((images[part], part, part) for part in parts))


def explain_reading(error: tf.errors.OpError, parts: Sequence[FilmPart]) -> RecordsError | None:
    """Return the damage of records that made TensorFlow fail; None if they are not the cause."""
    for part in parts:
        if damage := find_damage(part.directory, part.card):
            return damage
    if isinstance(error, tf.errors.DataLossError):
        return unexplained_loss(*(part.directory for part in parts))
    return None


@contextlib.contextmanager
def explained_damage(records: Location, card: FilmCard) -> Iterator[None]:
    """Raise RecordsError, which names the record, where one made TensorFlow fail."""
    try:
        yield
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
        if damage := explain_reading(error, [FilmPart(records, card)]):
            raise damage from None
        raise


def _measure(scope: Scope, batches: Iterable[tuple[Pictures, Integers, Integers]]) -> Measured:
    with contextlib.ExitStack() as stack:
        passing = _Pass(scope, stack)
        for batch in batches:
            passing.add(*batch)
        return passing.finish()


class _Pass:
    def __init__(self, scope: Scope, stack: contextlib.ExitStack) -> None:
        self._scope, self._stack = scope, stack
        self._in_runs = scope.choice.run_weights > 0
        self._numbers = {name: Numbers.of(len(scope.labels)) for name in scope.systems}
        self._motion = np.full(len(scope.labels), np.nan, np.float32)
        self._moments: dict[str, LatentMoments] = {}
        self._last: dict[str, Pictures] = {}  # the frame before, of the film and each system
        self._meters: dict[str, VmafMeter] = {}

    def add(self, images: Pictures, index: Integers, pts: Integers) -> None:
        scope = self._scope
        within = scope.choice.follows[index]
        change = self._change("", images)
        self._motion[index] = np.where(within, change, np.nan)
        gradient = image_quality.gradient(images).numpy() if scope.detail else None
        mean = self._add_posterior(images, index)
        few = (scope.choice.few_weights[index] > 0) & scope.perceptual
        features = perceptual.unit_features(images[few]) if few.any() else None
        for place, (name, system) in enumerate(scope.systems.items()):
            if mean is not None and system is scope.latents and scope.latents.dream is None:
                dreams = scope.latents.decode(mean)
            else:
                dreams = system.reconstruct(images)
            if not place and scope.watch is not None:
                scope.watch(images, dreams, index, pts)
            numbers = self._numbers[name]
            numbers.put("psnr", index, image_quality.psnr(images, dreams))
            if features is not None:
                own = perceptual.unit_features(dreams[few])
                numbers.put("perceptual", index[few], perceptual.layer_distances(features, own))
            if not scope.detail:
                numbers.put("ssim", index, image_quality.ssim(images, dreams))
                continue
            single, multi = image_quality.both_ssim(images, dreams)
            numbers.put("ssim", index, single)
            numbers.put("ms_ssim", index, multi)
            numbers.put("sharpness", index, image_quality.gradient(dreams), gradient)
            numbers.put("black_level", index, *image_quality.black_level(images, dreams))
            numbers.put("flicker", index, self._change(name, dreams) * within, change * within)
            in_runs = self._in_runs[index]
            if scope.vmaf and in_runs.any():
                self._meter(name, images).write(images[in_runs], dreams[in_runs])

    def _change(self, name: str, images: Pictures) -> NDArray[np.float32]:
        before = np.concatenate([self._last.get(name, images[:1]), images[:-1]])
        self._last[name] = images[-1:].copy()
        return image_quality.change(before, images).numpy()

    def _meter(self, name: str, images: Pictures) -> VmafMeter:
        if name not in self._meters:
            meter = VmafMeter((images.shape[1], images.shape[2]))
            self._meters[name] = self._stack.enter_context(meter)
        return self._meters[name]

    def _add_posterior(self, images: Pictures, index: Integers) -> Latents | None:
        scope = self._scope
        if scope.latents is None:
            return None
        mean, log_var = scope.latents.encode(images)
        self._numbers[next(iter(scope.systems))].put("rate_bits", index, kl_bits(mean, log_var))
        labels, weights = scope.labels[index], scope.choice.weights[index]
        for label in sorted(set(labels.tolist())):
            own = labels == label
            moments = self._moments.setdefault(label, LatentMoments())
            moments.add(mean[own], log_var[own], weights[own])
        return mean

    def finish(self) -> Measured:
        for name, meter in self._meters.items():
            self._numbers[name].put("vmaf", self._in_runs, meter.finish())
        return Measured(self._scope.choice, self._numbers, self._motion, self._moments)
