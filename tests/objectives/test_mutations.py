"""Faults that have ruined trainings elsewhere, planted one by one: a check must notice each.

Leaks of held out frames are planted in `tests/objectives/test_gradient_leaks.py`.

A check that cannot fail is no check. Here every fault is put into the code that runs (functions of
it are replaced, not copies), the check that the code passes elsewhere is called, and must fail.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from bladerunner_ae.objectives import Batch
from bladerunner_ae.training import augmentation, checkpoints, trainer
from bladerunner_ae.training.trainer import Trainer
from tests.helpers import training_checks
from tests.helpers.small_records import write_numbered_film
from tests.helpers.synthetic_film import film_pictures
from tests.helpers.tiny_training import FEW_LAYERS, film_images, take_steps, tiny_trainer
from tests.model import test_networks

Patch = pytest.MonkeyPatch


def leave_the_decoder_out(patch: Patch) -> None:
    """The optimizer is never given the decoder's variables, as in the original since 2016."""
    right = Trainer._gradients

    def gradients(self: Trainer, tape: Any, losses: Any) -> Any:
        found = right(self, tape, losses)
        del found["decoder"]
        self.decoder_optimizer.iterations.assign_add(1)
        return found

    patch.setattr(Trainer, "_gradients", gradients)


def swap_the_players_lists(patch: Patch) -> None:
    """The encoder learns from the decoder's loss and the other way round, as in the original."""
    right = Trainer._gradients

    def gradients(self: Trainer, tape: Any, losses: Any) -> Any:
        swapped = {"encoder": losses["decoder"], "decoder": losses["encoder"]}
        return right(self, tape, {**losses, **swapped})

    patch.setattr(Trainer, "_gradients", gradients)


def divide_by_the_replicas_own_batch(patch: Patch) -> None:
    """Losses are means over a replica's share, and optimizers add the replicas' gradients."""
    right = trainer._scaled

    def scaled(losses: Any, global_size: tf.Tensor) -> Any:
        return right(losses, global_size / tf.distribute.get_strategy().num_replicas_in_sync)

    patch.setattr(trainer, "_scaled", scaled)


def draw_the_same_noise_everywhere(patch: Patch) -> None:
    """Every replica draws as if it were the first."""
    right = Trainer._batch

    def batch(self: Trainer, images: tf.Tensor) -> Batch:
        found = right(self, images)
        seed = tf.stack([self._config.seed, found.step])
        shape = tf.concat([[tf.shape(images)[0], 2], tf.shape(found.epsilon)[1:]], 0)
        noise = tf.random.stateless_normal(shape, seed)
        return Batch(found.images, noise[:, 0], noise[:, 1], found.step)

    patch.setattr(Trainer, "_batch", batch)


def move_the_same_places_everywhere(patch: Patch) -> None:
    """Every replica moves the frames in the same places of its share, by the same numbers."""
    right = augmentation.moved

    def moved(images: tf.Tensor, uniform: tf.Tensor, part: float) -> tf.Tensor:
        return right(images, tf.random.stateless_uniform(tf.shape(uniform), [0, 0]), part)

    patch.setattr(augmentation, "moved", moved)


def clip_before_the_sum(patch: Patch) -> None:
    """Each replica shortens its own share of the gradient."""
    right = trainer._clipped

    def clipped(gradients: Any, longest: float, replicas: int) -> Any:
        shortened, norms = right(gradients, longest / replicas, 1)
        return shortened, norms

    patch.setattr(trainer, "_clipped", clipped)


def normalize_over_the_batch(patch: Patch) -> None:
    """Normalisation takes its statistics from all frames of the batch, also at inference."""

    def call(self: Any, inputs: tf.Tensor) -> tf.Tensor:
        mean, variance = tf.nn.moments(inputs, [0, 1, 2])
        return tf.nn.batch_normalization(inputs, mean, variance, self.beta, self.gamma, 1e-3)

    patch.setattr(keras.layers.GroupNormalization, "call", call)


def forget_the_optimizers(patch: Patch) -> None:
    """Networks and step are restored, the moments of the gradients are not."""
    right = checkpoints.restore

    def restore(trainer: Trainer, run: Path) -> int:
        step = right(trainer, run)
        for player in trainer.networks.players():
            for slot in trainer.optimizer_of(player).variables:
                if slot.path.endswith(("_momentum", "_velocity")):
                    slot.assign(tf.zeros_like(slot))
        return step

    patch.setattr(checkpoints, "restore", restore)


def swap_neighbouring_frames(patch: Patch) -> None:
    """Records are read in pairs of frames that bear each other's numbers."""
    right = training_checks.film_frames

    def film_frames(*arguments: Any, **options: Any) -> tf.data.Dataset:
        def swap(frame: Any) -> Any:
            return {**frame, "image": tf.concat([frame["image"][1::-1], frame["image"][2:]], 0)}

        return right(*arguments, **options).map(swap)

    patch.setattr(training_checks, "film_frames", film_frames)


def isolation(folder: Path) -> None:
    """Every player follows its own loss and no other."""
    made = tiny_trainer("vae_gan", run_eagerly=True)
    training_checks.check_players_move_by_their_own_losses(made, film_images(4))


def replica_equality(folder: Path, **changes: float) -> None:
    """A step on two devices is one on one device."""
    training_checks.check_replica_equality(
        lambda: tiny_trainer("vae", model=FEW_LAYERS, **changes), film_images(8)
    )


def augmented_replica_equality(folder: Path) -> None:
    """So it is where frames are moved."""
    replica_equality(folder, augment=0.5)


def clipped_replica_equality(folder: Path) -> None:
    """So it is where gradients are too long."""
    replica_equality(folder, clip_norm=2e-3)


def frame_independence(folder: Path) -> None:
    """The output for a frame depends on that frame alone."""
    test_networks.test_a_frame_s_output_does_not_depend_on_its_batch("group", False)


def restoring(folder: Path) -> None:
    """A new process that restores a checkpoint has all that it holds."""
    saved, copied = folder / "saved", folder / "copied"
    made, new = (tiny_trainer("vae", run_eagerly=True, seed=seed) for seed in (0, 1))
    take_steps(made, film_images(2))
    checkpoints.checkpoint_manager(made, saved).save(checkpoint_number=1)
    assert checkpoints.restore(new, saved) == 1
    checkpoints.checkpoint_manager(new, copied).save(checkpoint_number=1)
    training_checks.check_same_checkpoint(
        saved / "checkpoints" / "step-1", copied / "checkpoints" / "step-1"
    )


def path_equality(folder: Path) -> None:
    """Each record holds the frame that the film has at its number."""
    write_numbered_film(folder / "film", 12, 24, 32, image_format="png")
    film = np.stack(list(film_pictures(12, 24, 32)))
    training_checks.check_path_equality(film, folder / "film", lambda x: x, lambda x: x)


@dataclass(frozen=True)
class Planted:
    """A fault, the check that must notice it, and how the check puts it."""

    fault: Callable[[Patch], None]
    check: Callable[[Path], None]
    says: str


FAULTS = [
    # The quick tests of `test_original_bugs.py` plant the like of these two.
    pytest.param(Planted(leave_the_decoder_out, isolation, "decoder: "), marks=pytest.mark.slow),
    pytest.param(
        Planted(swap_the_players_lists, isolation, "moved by something else than its loss"),
        marks=pytest.mark.slow,
    ),
    Planted(divide_by_the_replicas_own_batch, replica_equality, "gradient differs by"),
    pytest.param(
        Planted(
            draw_the_same_noise_everywhere, replica_equality, "gradient differs by|term/|loss/"
        ),
        marks=pytest.mark.slow,
    ),
    pytest.param(
        Planted(
            move_the_same_places_everywhere, augmented_replica_equality, "gradient differs by|loss/"
        ),
        marks=pytest.mark.slow,
    ),
    pytest.param(
        Planted(clip_before_the_sum, clipped_replica_equality, "gradient differs by"),
        marks=pytest.mark.slow,
    ),
    Planted(normalize_over_the_batch, frame_independence, "Not equal to tolerance"),
    Planted(forget_the_optimizers, restoring, "of .* differ: .*optimizer"),
    Planted(swap_neighbouring_frames, path_equality, "the two paths differ by"),
]


@pytest.mark.parametrize("planted", FAULTS, ids=lambda planted: planted.fault.__name__)
def test_a_planted_fault_is_noticed(
    planted: Planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted.fault(monkeypatch)
    with pytest.raises(AssertionError, match=planted.says):
        planted.check(tmp_path)


@pytest.mark.parametrize(
    "check",
    [
        isolation,
        frame_independence,
        restoring,
        path_equality,
        pytest.param(clipped_replica_equality, marks=pytest.mark.slow),
    ],
    ids=lambda check: check.__name__,
)
def test_without_a_fault_the_check_passes(check: Callable[[Path], None], tmp_path: Path) -> None:
    """Replica equality has its own in `tests/training/test_trainer.py`."""
    check(tmp_path)
