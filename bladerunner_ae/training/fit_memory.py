"""Fit of the memory to a film in closed form: components, key moments, directions of each.

Frames are read twice: a sample, whose Gram matrix gives the components, and then all of them, of
which only their coordinates are kept, in a file. All else is computed from these. Memory holds the
sample and the components, whatever the film's length. A fit that was stopped is resumed from what
its folder holds.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from bladerunner_ae.command_line.progress import Progress
from bladerunner_ae.model import memory_codes, pixels
from bladerunner_ae.model.memory import MemoryValues, quantised
from bladerunner_ae.pictures.spread import spread
from bladerunner_ae.runs.config import ModelConfig
from tfrecords.frames import read_images
from tfrecords.mixture import FilmPart
from tfrecords.reader import film_frames

Floats = NDArray[np.float32]

_SAMPLE = 2.5
"""Frames of the sample, for each component."""

_BATCH = 256
_ROUNDS = 3
_FLOOR = 0.05
_REAL = 1e-9


def fit_memory(config: ModelConfig, parts: Sequence[FilmPart], folder: Path) -> MemoryValues:
    """Fit a memory of the size of `config` to the frames kept of some films.

    `folder` is for the files of an unfinished fit; they stay, for a start that needs them again.
    """
    work = _Work(folder, config, parts)
    frames = sum(int(part.kept().sum()) for part in parts)
    sample = work.array("sample", lambda: _sample_components(config, parts, frames))
    mean, components = sample[0], sample[1:]
    coordinates = _coordinates(config, parts, work, mean, components, frames)
    turn = _principal_axes(coordinates)
    components = turn.T @ components
    return _moments(config, mean, components, coordinates, turn)


class _Work:
    """Files of a fit, all of them of the same films, frames and sizes."""

    def __init__(self, folder: Path, config: ModelConfig, parts: Sequence[FilmPart]) -> None:
        facts = [config.components, config.linear_pool] + [
            [part.card.film_id, [shard.sha256 for shard in part.card.shards],
             hashlib.sha256(part.kept().tobytes()).hexdigest()]
            for part in parts
        ]  # fmt: skip
        self._key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            if not path.name.startswith(self._key):
                path.unlink()

    def path(self, name: str) -> Path:
        return self._folder / f"{self._key}-{name}"

    def array(self, name: str, make: Callable[[], Floats]) -> Floats:
        """Return an array from its file, or make and write it."""
        path = self.path(f"{name}.npy")
        if not path.is_file():
            partial = self.path(f"{name}.partial")
            with partial.open("wb") as file:
                np.save(file, make())
            partial.rename(path)
        return np.load(path)


def _sample_components(config: ModelConfig, parts: Sequence[FilmPart], frames: int) -> Floats:
    """Return the mean and, as rows, orthonormal components of a sample: float32 [1 + M, D]."""
    count = min(frames, max(round(_SAMPLE * config.components), config.components + 1))
    pictures = np.concatenate([
        _flat(read_images(part.directory, part.card, chosen), config.linear_pool)
        for part, chosen in _spread_over(parts, count)
    ])  # fmt: skip
    mean = pictures.mean(axis=0, dtype=np.float64).astype(np.float32)
    pictures -= mean
    values, vectors = np.linalg.eigh(tf.matmul(pictures, pictures, transpose_b=True).numpy())
    values, vectors = values[::-1][: config.components], vectors[:, ::-1][:, : config.components]
    real = values > max(values[0], 0.0) * _REAL
    weights = (vectors * real / np.sqrt(np.where(real, values, 1.0))).astype(np.float32)
    return np.concatenate([mean[None], tf.matmul(weights, pictures, transpose_a=True).numpy()])


def _spread_over(parts: Sequence[FilmPart], count: int) -> Iterator[tuple[FilmPart, list[int]]]:
    """Yield each film with its share of `count` kept frames, evenly spread."""
    kept = [np.flatnonzero(part.kept()) for part in parts]
    chosen = np.array(spread(sum(map(len, kept)), count))
    first = 0
    for part, frames in zip(parts, kept, strict=True):
        own = chosen[(first <= chosen) & (chosen < first + len(frames))] - first
        first += len(frames)
        if len(own):
            yield part, frames[own].tolist()


def _coordinates(
    config: ModelConfig,
    parts: Sequence[FilmPart],
    work: _Work,
    mean: Floats,
    components: Floats,
    frames: int,
) -> NDArray[np.float32]:
    """Return the coordinates of all kept frames in film order, a file mapped to memory [n, M]."""
    path, done_path = work.path("coordinates.npy"), work.path("rows.json")
    shape = (frames, len(components))
    done = json.loads(done_path.read_text()) if path.is_file() and done_path.is_file() else 0
    mode = "r+" if done else "w+"
    found = np.lib.format.open_memmap(path, mode, np.float32, None if done else shape)
    basis = tf.constant(components)
    row = 0
    with Progress("remember", frames, done=done) as progress:
        for images in _kept_batches(parts, config.linear_pool):
            if row >= done:
                centred = images - mean
                # As in the layer: the components are read as they lie in memory.
                own = tf.transpose(tf.matmul(basis, centred, transpose_b=True)).numpy()
                found[row : row + len(own)] = own
                progress.update(len(own))
                if (row // _BATCH) % 16 == 15:
                    found.flush()
                    done_path.write_text(json.dumps(row + len(own)))
            row += len(images)
    found.flush()
    done_path.write_text(json.dumps(row))
    return found


def _kept_batches(parts: Sequence[FilmPart], pool: int) -> Iterator[Floats]:
    """Yield the kept frames in film order, float32 [n, D]; frames held out are dropped at once."""
    for part in parts:
        kept = part.kept()
        for batch in film_frames(part.directory, batch_size=_BATCH):
            images = batch["image"].numpy()[kept[batch["index"].numpy()]]
            if len(images):
                yield _flat(images, pool)


def _flat(images: NDArray[np.uint8], pool: int) -> Floats:
    """Return pictures as the linear path sees them, float32 [n, D], -1..1."""
    parts = []
    for start in range(0, len(images), _BATCH):
        floats = pixels.to_float(images[start : start + _BATCH])
        if pool > 1:
            floats = tf.nn.avg_pool2d(floats, pool, pool, "VALID")
        parts.append(tf.reshape(floats, [len(floats), -1]).numpy())
    return np.concatenate(parts)


def _principal_axes(coordinates: Floats) -> Floats:
    """Return the axes of the coordinates, the strongest first, as columns: float32 [M, M].

    The components of a sample span what the film's do, but are not them.
    """
    size = coordinates.shape[1]
    products = np.zeros((size, size))
    for start in range(0, len(coordinates), 4096):
        part = tf.constant(coordinates[start : start + 4096])
        products += tf.matmul(part, part, transpose_a=True).numpy()
    return np.linalg.eigh(products)[1][:, ::-1].astype(np.float32)


def _moments(
    config: ModelConfig, mean: Floats, components: Floats, coordinates: Floats, turn: Floats
) -> MemoryValues:
    whole, local = config.global_numbers, config.local_numbers
    numbers = np.concatenate([
        coordinates[i : i + 4096] @ turn[:, :whole] for i in range(0, len(coordinates), 4096)
    ])  # fmt: skip
    deviations = _floored(numbers.std(axis=0))
    centres, moment_of = nearest_means(numbers, config.moments)
    rest = len(components) - whole
    drawings = np.zeros((config.moments + 1, rest), np.float32)
    directions = np.zeros((config.moments + 1, local, rest), np.int8)
    steps = np.ones((config.moments + 1, local), np.float32)
    spreads = np.ones((config.moments + 1, local), np.float32)
    order = [0]
    directions[0], steps[0] = quantised(np.eye(local, rest, dtype=np.float32))
    spreads[0] = _floored(_spread_along(coordinates, turn[:, whole : whole + local]))
    first_seen = np.full(config.moments, len(numbers))
    np.minimum.at(first_seen, moment_of, np.arange(len(numbers)))
    for moment in np.argsort(first_seen, kind="stable"):
        order.append(int(moment) + 1)
        rows = np.flatnonzero(moment_of == moment)
        if not len(rows):
            continue
        own = np.asarray(coordinates[rows]) @ turn[:, whole:]
        centres[moment] = numbers[rows].mean(axis=0)
        drawings[moment + 1] = own.mean(axis=0)
        axes, spread_along = own_directions(own - drawings[moment + 1], local)
        directions[moment + 1], steps[moment + 1] = quantised(axes)
        spreads[moment + 1] = _floored(spread_along)
    return MemoryValues(
        mean=mean,
        components=components,
        deviations=deviations,
        centres=centres,
        drawings=drawings,
        directions=directions,
        steps=steps,
        local_deviations=spreads,
        codewords=memory_codes.codewords(config.moments + 1, order),
    )


def nearest_means(numbers: Floats, count: int) -> tuple[Floats, NDArray[np.int64]]:
    """Return k means, float32 [count, G], and the nearest of each row, int64 [n].

    Some rounds of Lloyd's algorithm from rows evenly spread over the film: no choice by chance.
    """
    means = numbers[np.array(spread(len(numbers), count))].copy()
    nearest = _nearest(numbers, means)
    for _ in range(_ROUNDS):
        sums, rows = np.zeros_like(means), np.bincount(nearest, minlength=count)
        np.add.at(sums, nearest, numbers)
        there = rows > 0
        means[there] = sums[there] / rows[there, None]
        nearest = _nearest(numbers, means)
    return means, nearest


def _nearest(numbers: Floats, means: Floats) -> NDArray[np.int64]:
    squares = (means**2).sum(axis=1)
    parts = [
        (squares - 2.0 * numbers[i : i + 4096] @ means.T).argmin(axis=1)
        for i in range(0, len(numbers), 4096)
    ]
    return np.concatenate(parts)


def own_directions(centred: Floats, count: int) -> tuple[Floats, Floats]:
    """Return the strongest directions of rows, [count, R], orthonormal or zero, and deviations."""
    few = len(centred) <= centred.shape[1]
    values, vectors = np.linalg.eigh(centred @ centred.T if few else centred.T @ centred)
    values, vectors = values[::-1][:count], vectors[:, ::-1][:, :count]
    real = values > max(float(values[0]), 1e-12) * 1e-6
    singular = np.sqrt(np.where(real, values, 1.0))
    axes = (vectors / singular).T @ centred if few else vectors.T
    found = np.zeros((count, centred.shape[1]), np.float32)
    found[: len(values)] = axes * real[:, None]
    deviations = np.zeros(count, np.float32)
    deviations[: len(values)] = singular * real / np.sqrt(len(centred))
    return found, deviations


def _spread_along(coordinates: Floats, axes: Floats) -> Floats:
    squares = np.zeros(axes.shape[1])
    for start in range(0, len(coordinates), 4096):
        squares += ((coordinates[start : start + 4096] @ axes) ** 2).sum(axis=0)
    return np.sqrt(squares / len(coordinates)).astype(np.float32)


def _floored(deviations: Floats) -> Floats:
    """Return deviations, none so small that the numbers of an unseen frame were huge."""
    largest = float(deviations.max(initial=0.0))
    return np.maximum(deviations, _FLOOR * largest if largest > 0.0 else 1.0).astype(np.float32)


def as_fields(values: MemoryValues) -> dict[str, NDArray[np.generic]]:
    return {field.name: getattr(values, field.name) for field in dataclasses.fields(values)}
