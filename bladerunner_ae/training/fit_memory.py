"""Fit of the memory to a film in closed form: components, key moments, directions of each.

Frames are read twice: a sample, whose Gram matrix gives the components, and then all of them, of
which only their coordinates are kept, in a file. All else is computed from these. Memory holds the
sample and the components, whatever the film's length. A fit that was stopped is resumed from what
its folder holds.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from bladerunner_ae.command_line.progress import Progress
from bladerunner_ae.model import memory_codes, pixels
from bladerunner_ae.model.linear_path import linear_size
from bladerunner_ae.model.memory import MemoryValues
from bladerunner_ae.model.networks import LOG_VAR_RANGE, Networks
from bladerunner_ae.pictures.spread import spread
from bladerunner_ae.runs.config import ModelConfig
from bladerunner_ae.runs.files import MEMORY_FIT, is_run_file
from bladerunner_ae.training.moved_frames import MOVES, moved_frames
from tfrecords import storage
from tfrecords.frames import read_images
from tfrecords.mixture import FilmPart
from tfrecords.reader import film_frames

Floats = NDArray[np.float32]

_SAMPLE = 2.5
"""Frames of the sample, for each component."""

_SPARE, _PASSES, _SEED = 64, 2, 1982
_BATCH, _WRITTEN_EVERY = 512, 8
_ROWS = 4096
_ROUNDS = 3
_MOVED_FRAMES, _MOVED_WEIGHT = 3, 0.2
_MOMENTS_AT_ONCE = 16
_FLOOR = 0.05
_FEW = 32
_NOISE = 0.023  # 0.1 dB
_FINEST = (2 / 255) ** 2 / 12  # of a picture in whole grey levels
_REAL = 1e-9


def fit_memory(
    config: ModelConfig,
    parts: Sequence[FilmPart],
    folder: Path,
    check: Callable[[], None] = lambda: None,
) -> MemoryValues:
    """Fit a memory of the size of `config` to the frames kept of some films.

    `folder` is for the files of an unfinished fit; whoever no longer needs them calls
    `forget_fit`. `check` is called often, and stops the fit by raising.
    """
    work = _Work(folder, config, parts, check)
    frames = sum(int(part.kept().sum()) for part in parts)
    sample = work.array("sample", lambda: _sample_components(config, parts, frames, check))
    mean, components = sample[0], sample[1:]
    coordinates = _coordinates(config, parts, work, mean, components, frames)
    turn = _principal_axes(coordinates)
    components = tf.matmul(turn, components, transpose_a=True).numpy()
    fit = _Moments(config, parts, mean, components, coordinates, turn)
    return fit.values(check)


def forget_fit(folder: Path) -> None:
    """Delete the files of a fit, if there are any; other files stay, and the folder with them."""
    for path in _own_files(folder):
        path.unlink()
    with suppress(OSError):
        folder.rmdir()


def _own_files(folder: Path) -> list[Path]:
    return [folder / name for name in storage.names(folder) if is_run_file(f"{MEMORY_FIT}/{name}")]


def initialise_memory(
    networks: Networks, config: ModelConfig, values: MemoryValues, images: NDArray[np.uint8]
) -> None:
    """Set the memory, silence the convolutions, and start the posterior's noise where it is small.

    `images`, uint8 [n, H, W, 3], are some of the film's frames. The noise of all numbers together
    adds `_NOISE` of the memory's mean squared error on them, each number the same share.
    """
    memory = networks.memory
    assert memory is not None, "the networks have no memory"
    memory.assign(values)
    for layer in (networks.encoder.get_layer("mean"), networks.decoder.get_layer("deconv_0")):
        layer.set_weights([np.zeros_like(weights) for weights in layer.get_weights()])
    error = float(np.mean([_error(networks, part) for part in _batches(images)]))
    local = np.mean(values.local_deviations**2, axis=0)
    shown = np.concatenate([values.deviations**2, local]) / len(values.mean)
    share = _NOISE * max(error, _FINEST) / len(shown)
    log_var = np.log(np.maximum(share / np.maximum(shown, _REAL), _REAL))
    head = networks.encoder.get_layer("log_var")
    kernel, bias = head.get_weights()
    bias[: len(shown)] = np.clip(log_var, LOG_VAR_RANGE[0], 0.0)
    head.set_weights([kernel, bias])


def _error(networks: Networks, images: NDArray[np.uint8]) -> float:
    pictures = pixels.to_float(images)
    drawn = networks.decoder(networks.encoder(pictures, training=False)[0], training=False)
    return float(tf.reduce_mean(tf.square(pictures - drawn)))


def _batches(images: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    return [images[i : i + _FEW] for i in range(0, len(images), _FEW)]


class _Work:
    """Files of a fit, all of them of the same films, frames and sizes."""

    def __init__(
        self,
        folder: Path,
        config: ModelConfig,
        parts: Sequence[FilmPart],
        check: Callable[[], None],
    ) -> None:
        self.check = check
        frames = sum(int(part.kept().sum()) for part in parts)
        facts = [config.fitted_components(frames), config.linear_pool] + [
            [part.card.film_id, [shard.sha256 for shard in part.card.shards],
             hashlib.sha256(part.kept().tobytes()).hexdigest()]
            for part in parts
        ]  # fmt: skip
        self._key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for path in _own_files(folder):
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


def _sample_components(
    config: ModelConfig, parts: Sequence[FilmPart], frames: int, check: Callable[[], None]
) -> Floats:
    """Return the mean and, as rows, orthonormal components of a sample: float32 [1 + M, D]."""
    wanted = config.fitted_components(frames)
    count = min(frames, max(round(_SAMPLE * wanted), wanted + 1))
    # Minutes for a long film, of which each of these steps takes a part.
    with Progress("components", _PASSES + 3, unit="steps") as progress:

        def done(steps: int = 1) -> None:
            progress.update(steps)
            check()

        pictures = np.concatenate([
            _flat(read_images(part.directory, part.card, chosen), config.linear_pool)
            for part, chosen in _spread_over(parts, count)
        ])  # fmt: skip
        mean = pictures.mean(axis=0, dtype=np.float64).astype(np.float32)
        pictures -= mean
        done()
        gram = tf.matmul(pictures, pictures, transpose_b=True)
        done()
        weights = _strongest(gram, wanted, done)
        done()
    return np.concatenate([mean[None], tf.matmul(weights, pictures, transpose_a=True).numpy()])


def _strongest(gram: tf.Tensor, count: int, done: Callable[[int], None]) -> tf.Tensor:
    """Return weights, float32 [n, count], that make rows orthonormal components, or zero.

    `gram`, float32 [n, n], holds the rows' inner products. Subspace iteration from random vectors
    (Halko et al. 2011, doi:10.1137/090771806, algorithm 4.4): a full decomposition takes several
    times as long, and of the weakest components only their span matters. `done` is told of each of
    the `_PASSES`.
    """
    rows, width = gram.shape[0], count + _SPARE
    if width < 0.7 * rows:
        start = np.random.RandomState(_SEED).standard_normal((rows, width)).astype(np.float32)
        span = tf.constant(start)
        for _ in range(_PASSES):
            span = tf.linalg.qr(tf.matmul(gram, span))[0]
            done(1)
        small = tf.matmul(span, tf.matmul(gram, span), transpose_a=True)
    else:
        span, small = None, gram
        done(_PASSES)
    values, vectors = tf.linalg.eigh(0.5 * (small + tf.transpose(small)))
    values, vectors = values.numpy()[::-1][:count], vectors.numpy()[:, ::-1][:, :count]
    real = values > max(float(values[0]), 0.0) * _REAL
    weights = (vectors * real / np.sqrt(np.where(real, values, 1.0))).astype(np.float32)
    return tf.constant(weights) if span is None else tf.matmul(span, weights)


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
            work.check()
            if row >= done:
                centred = images - mean
                # As in the layer: the components are read as they lie in memory.
                own = tf.transpose(tf.matmul(basis, centred, transpose_b=True)).numpy()
                found[row : row + len(own)] = own
                progress.update(len(own))
                if (row // _BATCH) % _WRITTEN_EVERY == _WRITTEN_EVERY - 1:
                    found.flush()
                    storage.write_text(done_path, json.dumps(row + len(own)))
            row += len(images)
    found.flush()
    storage.write_text(done_path, json.dumps(row))
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
    for start in range(0, len(coordinates), _ROWS):
        part = tf.constant(coordinates[start : start + _ROWS])
        products += tf.matmul(part, part, transpose_a=True).numpy()
    return tf.linalg.eigh(products)[1].numpy()[:, ::-1].astype(np.float32)


class _Moments:
    """Key moments of a film whose components and coordinates are known."""

    def __init__(
        self,
        config: ModelConfig,
        parts: Sequence[FilmPart],
        mean: Floats,
        components: Floats,
        coordinates: Floats,
        turn: Floats,
    ) -> None:
        self._config, self._parts = config, parts
        self._mean, self._components = mean, components
        self._coordinates, self._turn = coordinates, turn

    def values(self, check: Callable[[], None]) -> MemoryValues:
        config = self._config
        whole, local, count = config.global_numbers, config.local_numbers, config.moments
        rest = len(self._components) - whole
        numbers = self._along(self._turn[:, :whole])
        centres, moment_of = nearest_means(numbers, count)
        drawings = np.zeros((count + 1, rest), np.float32)
        directions = np.zeros((count + 1, local, rest), np.float32)
        spreads = np.ones((count + 1, local), np.float32)
        directions[0] = np.eye(local, rest)
        spreads[0] = self._along(self._turn[:, whole : whole + local]).std(axis=0)
        first_seen = np.full(count, len(numbers))
        np.minimum.at(first_seen, moment_of, np.arange(len(numbers)))
        order = np.argsort(first_seen, kind="stable")
        rows_of = [np.flatnonzero(moment_of == moment) for moment in range(count)]
        moves = self._moves([rows_of[moment] for moment in order])
        with Progress("key moments", count, unit="moments") as progress:
            for moment in order:
                check()
                progress.update()
                rows, moved = rows_of[moment], next(moves)
                if not len(rows):
                    continue
                centres[moment] = numbers[rows].mean(axis=0)
                own = np.asarray(self._coordinates[rows]) @ self._turn[:, whole:]
                drawings[moment + 1] = own.mean(axis=0)
                own -= drawings[moment + 1]
                directions[moment + 1] = own_directions(np.concatenate([own, moved]), local)
                spreads[moment + 1] = (own @ directions[moment + 1].T).std(axis=0)
        frames = np.array([len(numbers), *map(len, rows_of)], np.float32)
        axes = _drawn_axes(frames, drawings, directions, spreads, config.components - whole)
        components = self._components
        if axes is not None:
            chosen = tf.matmul(axes, components[whole:], transpose_a=True).numpy()
            components = np.concatenate([components[:whole], chosen])
            drawings, directions = drawings @ axes, directions @ axes
        return MemoryValues(
            mean=self._mean,
            components=components,
            deviations=_floored(numbers.std(axis=0)),
            centres=centres,
            drawings=drawings,
            directions=directions.astype(np.float16),
            local_deviations=np.stack([_floored(spread) for spread in spreads]),
            codewords=memory_codes.codewords(count + 1, [0, *(order + 1).tolist()]),
        )

    def _along(self, axes: Floats) -> Floats:
        """Return the coordinates of all frames along axes, float32 [n, axes]."""
        return np.concatenate([
            self._coordinates[i : i + _ROWS] @ axes
            for i in range(0, len(self._coordinates), _ROWS)
        ])  # fmt: skip

    def _moves(self, rows_of: Sequence[NDArray[np.int64]]) -> Iterator[Floats]:
        """Yield, for each moment, what a moving camera would change in some of its frames.

        float32 [n, R], in the other components: moved frames less those that were not moved. Of
        frames that were never seen many are such (Simard et al. 1992, tangent distance).
        """
        whole = self._config.global_numbers
        kept = [(part, int(frame)) for part in self._parts for frame in np.flatnonzero(part.kept())]
        basis = tf.constant(self._components[whole:])
        for first in range(0, len(rows_of), _MOMENTS_AT_ONCE):
            changes, counts = [], []
            for rows in rows_of[first : first + _MOMENTS_AT_ONCE]:
                chosen = spread(len(rows), min(len(rows), _MOVED_FRAMES)) if len(rows) else []
                counts.append(len(chosen) * MOVES)
                if len(chosen):
                    changes.append(self._changes([kept[rows[i]] for i in chosen]))
            if not changes:
                yield from np.zeros((len(counts), 0, basis.shape[0]), np.float32)
                continue
            found = tf.transpose(tf.matmul(basis, np.concatenate(changes), transpose_b=True))
            yield from np.split(found.numpy(), np.cumsum(counts)[:-1])

    def _changes(self, chosen: Sequence[tuple[FilmPart, int]]) -> Floats:
        """Return moved frames less those that were not, weighted, float32 [n, D]."""
        images = np.concatenate([
            read_images(part.directory, part.card, [frame]) for part, frame in chosen
        ])  # fmt: skip
        shrunk = _flat(images, self._config.linear_pool)
        height, width = linear_size(self._config)
        moved = moved_frames(shrunk.reshape(-1, height, width, 3))
        change = moved.reshape(len(shrunk), MOVES, -1) - shrunk[:, None]
        return change.reshape(-1, shrunk.shape[1]) * np.float32(_MOVED_WEIGHT)


def _drawn_axes(
    frames: Floats, drawings: Floats, directions: Floats, spreads: Floats, count: int
) -> Floats | None:
    """Return the axes along which moments draw most, orthonormal columns, float32 [R, count].

    The other components of a film hold much that no moment can draw: to keep the strongest of them
    would leave a grain in what moments do draw. `frames` are how many each moment has, `drawings`
    [K, R], `directions` [K, L, R] and `spreads` [K, L] what they draw. None: all are kept.
    """
    size = drawings.shape[1]
    if count >= size:
        return None
    rows = directions * (spreads * np.sqrt(frames)[:, None])[..., None]
    rows = np.concatenate([rows.reshape(-1, size), drawings * np.sqrt(frames)[:, None]])
    products = tf.matmul(rows, rows, transpose_a=True)
    return tf.linalg.eigh(products)[1].numpy()[:, ::-1][:, :count].copy()


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
        (squares - 2.0 * numbers[i : i + _ROWS] @ means.T).argmin(axis=1)
        for i in range(0, len(numbers), _ROWS)
    ]
    return np.concatenate(parts)


def own_directions(centred: Floats, count: int) -> Floats:
    """Return the strongest directions of rows, float32 [count, R], orthonormal or zero."""
    few = len(centred) <= centred.shape[1]
    values, vectors = np.linalg.eigh(centred @ centred.T if few else centred.T @ centred)
    values, vectors = values[::-1][:count], vectors[:, ::-1][:, :count]
    real = values > max(float(values[0]), 1e-12) * 1e-6
    axes = (vectors / np.sqrt(np.where(real, values, 1.0))).T @ centred if few else vectors.T
    found = np.zeros((count, centred.shape[1]), np.float32)
    found[: len(values)] = axes * real[:, None]
    return found


def _floored(deviations: Floats) -> Floats:
    """Return deviations, none so small that the numbers of an unseen frame were huge."""
    largest = float(deviations.max(initial=0.0))
    return np.maximum(deviations, _FLOOR * largest if largest > 0.0 else 1.0).astype(np.float32)
