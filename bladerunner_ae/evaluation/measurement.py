"""One pass over a film's frames that were chosen: a few numbers of each from every system compared.

Each number has a weight, so that a shot's or a film's figure is the sum of numbers over the sum of
weights: 1 for most; for a ratio such as sharpness, what the film itself has there. Both count as
often as the choice says that the frame stands for others.
"""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from bladerunner_ae.command_line.progress import Progress
from bladerunner_ae.evaluation import image_quality
from bladerunner_ae.evaluation.bit_rate import LatentMoments, kl_bits
from bladerunner_ae.evaluation.choice import Choice
from bladerunner_ae.evaluation.vmaf import VmafMeter
from bladerunner_ae.geometry import Size
from bladerunner_ae.model.autoencoder import LatentModel, Latents
from tfrecords.card import FilmCard
from tfrecords.frames import chosen_batches
from tfrecords.reader import explain_data_loss, find_damage
from tfrecords.storage import Location

METRICS = ("psnr", "ssim", "ms_ssim", "vmaf", "sharpness", "flicker", "black_level", "rate_bits")

Pictures = NDArray[np.uint8]


class System(Protocol):
    """Anything that pictures go into and come out of again."""

    def reconstruct(self, images: Pictures) -> Pictures:
        """uint8 [batch, H, W, 3] in and out."""
        ...


@dataclass(frozen=True, eq=False)
class Numbers:
    """What was measured of one system.

    Attributes:
        values, weights: metric -> float32 [frames]; the weight is 0 where nothing was measured or
            the film has nothing to compare with.
    """

    values: dict[str, NDArray[np.float32]]
    weights: dict[str, NDArray[np.float32]]

    @classmethod
    def of(cls, frames: int) -> "Numbers":
        """Nothing measured yet of a film of so many frames."""
        return cls(*({name: np.zeros(frames, np.float32) for name in METRICS} for _ in range(2)))

    def put(self, name: str, index: Any, values: Any, weights: Any = 1.0) -> None:
        """Keeps the numbers of some frames; those that are not finite count as not measured."""
        values, weights = np.broadcast_arrays(
            np.asarray(values, np.float32), np.asarray(weights, np.float32)
        )
        good = np.isfinite(values) & np.isfinite(weights)
        self.values[name][index] = np.where(good, values, 0.0)
        self.weights[name][index] = np.where(good, weights, 0.0)

    def stand_for(self, choice: Choice) -> None:
        """Lets each frame's numbers count as often as it stands for others."""
        special = {"flicker": choice.change_weights, "vmaf": choice.run_weights}
        for name in METRICS:
            times = special.get(name, choice.weights)
            self.values[name] *= times
            self.weights[name] *= times


@dataclass(frozen=True, eq=False)
class Measured:
    """What a pass over a film gave.

    Attributes:
        frames: bool [frames], which were looked at.
        systems: name -> its numbers.
        moments: label -> of the posteriors of the frames that bear it; empty without encoder.
    """

    frames: NDArray[np.bool_]
    systems: dict[str, Numbers]
    moments: dict[str, LatentMoments]


@dataclass(frozen=True, eq=False)
class Plan:
    """What a pass shall measure.

    Attributes:
        systems: name -> system, the model first.
        labels: str [frames], of `frame_labels`.
        choice: which frames to look at, and how many each stands for.
        latents: gives the first system's posterior; None: no rate.
        vmaf: whether to measure it.
        batch_size: frames at once; the numbers do not depend on it.
    """

    systems: Mapping[str, System]
    labels: NDArray[np.str_]
    choice: Choice
    latents: LatentModel | None = None
    vmaf: bool = True
    batch_size: int = 64


def stretches(card: FilmCard, labels: NDArray[np.str_]) -> list[tuple[int, int]]:
    """Cuts the film into runs of frames of one shot and one label: (first, after the last)."""
    changes = set((np.flatnonzero(labels[1:] != labels[:-1]) + 1).tolist())
    borders = sorted({*card.shot_starts, *changes, card.frames})
    return list(pairwise(borders))


def measure(plan: Plan, records: Location, card: FilmCard) -> Measured:
    """Runs the chosen frames of a film through all systems, once, in its order.

    Raises:
        RecordsError: a record is damaged or of another size.
        OutputError: ffmpeg could not measure VMAF.
    """
    with explained_damage(records, card), contextlib.ExitStack() as stack:
        passing = _Pass(plan, (card.height, card.width), stack)
        chosen = plan.choice.frames
        with Progress("evaluate", int(chosen.sum())) as progress:
            for images, index, _ in chosen_batches(records, card, chosen, plan.batch_size):
                passing.add(images, index)
                progress.update(len(index))
        return passing.finish()


def measure_pictures(plan: Plan, images: Pictures) -> Measured:
    """As `measure`, of frames that are in memory: uint8 [frames, H, W, 3]."""
    with contextlib.ExitStack() as stack:
        passing = _Pass(plan, (images.shape[1], images.shape[2]), stack)
        for start in range(0, len(images), plan.batch_size):
            index = np.arange(start, min(start + plan.batch_size, len(images)))
            here = index[plan.choice.frames[index]]
            if len(here):
                passing.add(images[here], here)
        return passing.finish()


@contextlib.contextmanager
def explained_damage(records: Location, card: FilmCard) -> Iterator[None]:
    """Names the record that made TensorFlow fail.

    Raises:
        RecordsError: in place of TensorFlow's error.
    """
    try:
        yield
    except tf.errors.DataLossError:
        raise explain_data_loss(records, card) from None
    except tf.errors.InvalidArgumentError:
        if error := find_damage(records, card):
            raise error from None
        raise


class _Pass:
    def __init__(self, plan: Plan, raster: Size, stack: contextlib.ExitStack) -> None:
        self._plan, self._in_runs = plan, plan.choice.run_weights > 0
        self._numbers = {name: Numbers.of(len(plan.labels)) for name in plan.systems}
        self._moments: dict[str, LatentMoments] = {}
        self._last: dict[str, Pictures] = {}  # the frame before, of the film and each system
        self._meters = {
            name: stack.enter_context(VmafMeter(raster)) for name in plan.systems if plan.vmaf
        }

    def add(self, images: Pictures, index: NDArray[np.int64]) -> None:
        film = (image_quality.gradient(images).numpy(), self._change("", images))
        latents, mean = self._plan.latents, None
        if latents is not None:
            mean, log_var = latents.encode(images)
            self._add_posterior(mean, log_var, index)
        for name, system in self._plan.systems.items():
            if system is latents and mean is not None:
                dreams = latents.decode(mean)
            else:
                dreams = system.reconstruct(images)
            numbers = self._numbers[name]
            numbers.put("psnr", index, image_quality.psnr(images, dreams))
            for metric, values in zip(
                ("ssim", "ms_ssim"), image_quality.both_ssim(images, dreams), strict=True
            ):
                numbers.put(metric, index, values)
            numbers.put("sharpness", index, image_quality.gradient(dreams), film[0])
            numbers.put("black_level", index, *image_quality.black_level(images, dreams))
            within = self._plan.choice.follows[index]
            numbers.put("flicker", index, self._change(name, dreams) * within, film[1] * within)
            in_runs = self._in_runs[index]
            if name in self._meters and in_runs.any():
                self._meters[name].write(images[in_runs], dreams[in_runs])

    def _change(self, name: str, images: Pictures) -> NDArray[np.float32]:
        before = np.concatenate([self._last.get(name, images[:1]), images[:-1]])
        self._last[name] = images[-1:].copy()
        return image_quality.change(before, images).numpy()

    def _add_posterior(self, mean: Latents, log_var: Latents, index: NDArray[np.int64]) -> None:
        bits = kl_bits(mean, log_var)
        self._numbers[next(iter(self._plan.systems))].put("rate_bits", index, bits)
        labels, weights = self._plan.labels[index], self._plan.choice.weights[index]
        for label in sorted(set(labels.tolist())):
            own = labels == label
            moments = self._moments.setdefault(label, LatentMoments())
            moments.add(mean[own], log_var[own], weights[own])

    def finish(self) -> Measured:
        for name, meter in self._meters.items():
            self._numbers[name].put("vmaf", self._in_runs, meter.finish())
        for numbers in self._numbers.values():
            numbers.stand_for(self._plan.choice)
        return Measured(self._plan.choice.frames, self._numbers, self._moments)
