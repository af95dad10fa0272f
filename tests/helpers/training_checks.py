"""Properties that every preset and objective must have, as functions that raise AssertionError.

`tests/training/test_trainer.py` shows that our trainer has them,
`tests/objectives/test_original_bugs.py` that they are missed where the original failed.
"""

import functools
from collections.abc import Callable, Iterable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from bladerunner_ae.evaluation import image_quality
from bladerunner_ae.model import pixels
from bladerunner_ae.model.networks import Networks
from bladerunner_ae.objectives import Batch
from bladerunner_ae.training.trainer import Trainer
from tests.helpers.tiny_training import checkpoint_values, take_steps, weights_of
from tfrecords.reader import film_frames

Gradients = dict[str, list[NDArray[np.float32]]]

# A unit near the kink of a rectifier may fall on either side when sums are rounded in another
# order, so gradients are compared as wholes: the length of the difference over the length.
_SAME = 5e-3


def check_players_move_by_their_own_losses(trainer: Trainer, images: NDArray[np.uint8]) -> None:
    """After the first step every weight of every player has moved, along its own loss alone."""
    players = trainer.networks.players()
    wake(players.values())
    expected = own_gradients(trainer, images)
    before = {name: weights_of(player) for name, player in players.items()}
    rates = {name: float(trainer.optimizer_of(name).learning_rate) for name in expected}
    damping = {  # Adam's epsilon, as it acts in the first step
        name: float(adam.epsilon / (1 - adam.beta_2) ** 0.5)
        for name, adam in ((name, trainer.optimizer_of(name)) for name in expected)
    }
    take_steps(trainer, images)
    assert trainer.steps_done == 1
    for name, gradients in expected.items():
        trained = {variable.path for variable in players[name].trainable_variables}
        after = weights_of(players[name])
        moved = {path for path in after if not np.array_equal(after[path], before[name][path])}
        assert moved == trained, f"{name}: {sorted(moved ^ trained)}"
        found = first_moments(trainer, name)
        off = distance(found, gradients)
        assert off < _SAME, f"{name} moved by something else than its loss ({off:.3g})"
        for variable, gradient in zip(players[name].trainable_variables, gradients, strict=True):
            path = variable.path
            size = np.abs(gradient)
            step = -rates[name] * gradient / (size + damping[name])
            off = np.abs(after[path] - before[name][path] - step)[size > 1e-2 * size.max()]
            wrong = off > 0.1 * rates[name]
            assert wrong.mean() < 0.02, f"{name}: {path} did not take Adam's first step"


def wake(players: Iterable[keras.Model]) -> None:
    """Give kernels that begin at zero small numbers, else what feeds them has no gradient yet."""
    random = np.random.default_rng(0)
    for player in players:
        for variable in player.trainable_variables:
            if variable.name == "kernel" and not variable.numpy().any():
                variable.assign(random.normal(0.0, 0.03, variable.shape))


def own_gradients(trainer: Trainer, images: NDArray[np.uint8]) -> Gradients:
    """Return each player's gradient of the mean of its own loss at a new trainer's first step."""
    config, networks = trainer._config, trainer.networks
    latent = networks.decoder.input_shape[-1]
    seed = tf.constant([config.seed, 0], tf.int64)
    noise = tf.random.stateless_normal([len(images), 2, latent], seed)
    step = tf.constant(0, tf.int64)
    batch = Batch(pixels.to_float(images), noise[:, 0], noise[:, 1], step, progress=0.0)
    with tf.GradientTape(persistent=True) as tape:
        losses = trainer._objective(networks, batch).losses
        means = {name: tf.reduce_mean(loss) for name, loss in losses.items()}
    return {
        name: [
            gradient.numpy()
            for gradient in tape.gradient(mean, networks.players()[name].trainable_variables)
        ]
        for name, mean in means.items()
    }


def first_moments(trainer: Trainer, player: str) -> list[NDArray[np.float32]]:
    """Return what Adam remembers of the gradients; after one step, the gradients themselves."""
    optimizer = trainer.optimizer_of(player)
    slots = [variable for variable in optimizer.variables if variable.path.endswith("_momentum")]
    assert len(slots) == len(trainer.networks.players()[player].trainable_variables)
    return [slot.numpy() / (1 - optimizer.beta_1) for slot in slots]


def distance(ours: list[NDArray[np.float32]], theirs: list[NDArray[np.float32]]) -> float:
    """Return the length of the difference of two gradients, in units of the second one's."""
    off = sum(float(np.square(a - b).sum()) for a, b in zip(ours, theirs, strict=True))
    length = sum(float(np.square(b).sum()) for b in theirs)
    assert length > 0, "a gradient of nothing but zeros teaches nothing"
    return (off / length) ** 0.5


@functools.cache
def two_devices() -> tf.distribute.Strategy:
    """Return a strategy over the two logical CPUs, always the same one.

    Strategies over the same devices in one process use the same keys for their reductions, which
    then meet each other's. TensorFlow's own tests set them apart in this way too.
    """
    tf.distribute.MirroredStrategy._collective_key_base += 100_000
    strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    assert strategy.num_replicas_in_sync == 2
    return strategy


def check_replica_equality(make_trainer: Callable[[], Trainer], images: NDArray[np.uint8]) -> None:
    """A step on two logical CPUs is a step on one with the same global batch."""
    single = make_trainer()
    with two_devices().scope():
        double = make_trainer()
    ours, theirs = take_steps(single, images), take_steps(double, images)
    for name in ours:
        if name.startswith(("loss/", "term/")):
            assert abs(theirs[name] - ours[name]) <= 1e-4 * abs(ours[name]) + 1e-6, name
    for name, player in single.networks.players().items():
        off = distance(first_moments(double, name), first_moments(single, name))
        assert off < _SAME, f"the {name}'s gradient differs by {off:.3g}"
        rate = float(single.optimizer_of(name).learning_rate)
        other = weights_of(double.networks.players()[name])
        for path, values in weights_of(player).items():
            # Adam's first step is +-rate; where the gradient is rounding noise its sign may turn.
            wrong = np.abs(other[path] - values) > 0.1 * rate
            assert wrong.mean() < 0.02, f"{name}: {path} moved elsewhere"


def check_overfits(trainer: Trainer, images: NDArray[np.uint8], steps: int, psnr: float) -> None:
    """After `steps` steps on one batch its frames come back at `psnr` dB, each as itself."""
    assert mean_psnr(images, reconstruct(trainer, images)) < psnr - 2, "it began there"
    take_steps(trainer, images, steps)
    dreams = reconstruct(trainer, images)
    found = mean_psnr(images, dreams)
    assert found >= psnr, f"{found:.2f} dB after {steps} steps"
    differences = dreams[:, None].astype(np.float64) - images[None]
    nearest = np.square(differences).mean((2, 3, 4)).argmin(1)
    assert nearest.tolist() == list(range(len(images))), "frames were taken for each other"


def reconstruct(
    trainer: Trainer, images: NDArray[np.uint8], networks: Networks | None = None
) -> NDArray[np.uint8]:
    """Return what the trained networks, or other ones, make of frames without noise."""
    networks = networks or trainer.networks
    mean, _ = networks.encoder(pixels.to_float(images), training=False)
    return pixels.to_pixels(networks.decoder(mean, training=False)).numpy()


def check_path_equality(
    film: NDArray[np.uint8],
    records: Path,
    trained: Callable[[NDArray[np.uint8]], NDArray[np.uint8]],
    exported: Callable[[NDArray[np.uint8]], NDArray[np.uint8]],
) -> None:
    """Film, records and networks end where film and SavedModel end, in batches of 1 or 32.

    `film` is uint8 [frames, height, width, 3], as decoded; `records` are its records.
    """
    through_records = np.zeros_like(film)
    for batch in film_frames(records, batch_size=7):
        through_records[batch["index"].numpy()] = trained(batch["image"].numpy())
    for size in (1, 32):
        straight = np.concatenate([exported(film[i : i + size]) for i in range(0, len(film), size)])
        off = np.abs(straight.astype(int) - through_records).max()
        assert off <= 1, f"in batches of {size} the two paths differ by {off}"
    assert np.ptp(through_records) > 50, "an even grey would agree with anything"


def mean_psnr(images: NDArray[np.uint8], dreams: NDArray[np.uint8]) -> float:
    """Return the mean over frames of their PSNR, dB."""
    return float(tf.reduce_mean(image_quality.psnr(images, dreams)))


def check_same_checkpoint(ours: Path | str, theirs: Path | str) -> None:
    """Two checkpoints hold the same weights, slots and counters, to the bit."""
    first, second = checkpoint_values(ours), checkpoint_values(theirs)
    assert first.keys() == second.keys()
    for kind in ("_optimizer/_trainable_variables", "_optimizer/_variables", "_iterations"):
        assert any(kind in key for key in first), f"the checkpoint holds no {kind}"
    unequal = [key for key in first if first[key].tobytes() != second[key].tobytes()]
    assert not unequal, f"{len(unequal)} of {len(first)} differ: {unequal[:5]}"


def check_nearly_same_checkpoint(ours: Path | str, theirs: Path | str, before: Path | str) -> None:
    """Two checkpoints are the same up to rounding, in units of the way there from `before`.

    A few steps only: rounding errors grow with each.
    """
    first, second, start = (checkpoint_values(path) for path in (ours, theirs, before))
    assert first.keys() == second.keys() == start.keys()
    off = way = 0.0
    for key, value in second.items():
        if np.issubdtype(value.dtype, np.floating):
            off += float(np.square(first[key] - value).sum())
            way += float(np.square(start[key] - value).sum())
        else:
            np.testing.assert_array_equal(first[key], value, key)
    assert way > 0.0
    assert (off / way) ** 0.5 < 0.02, f"{(off / way) ** 0.5:.3g} of the way apart"
