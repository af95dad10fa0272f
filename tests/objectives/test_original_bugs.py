"""Bugs of the original, which the checks that our trainer passes must notice.

Its decoder was never trained from TensorFlow 0.8 on, because the variables were listed before the
decoder existed; and the lists of encoder and decoder were swapped.
"""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import tensorflow as tf

from bladerunner_ae.training.trainer import Trainer
from tests.helpers import training_checks
from tests.helpers.parameters import some_slow
from tests.helpers.tiny_training import OBJECTIVES, film_images, tiny_trainer

Losses = Mapping[str, tf.Tensor]
Gradients = dict[str, list[tf.Tensor]]

# Where encoder and decoder share one loss, swapping their lists changes nothing.
DIFFERING = ["broad2016", "vae_gan"]


class DecoderLeftOut(Trainer):
    """Its optimizer is given none of the decoder's variables."""

    def _gradients(self, tape: tf.GradientTape, losses: Losses) -> Gradients:
        found = super()._gradients(tape, losses)
        del found["decoder"]
        # Steps are counted all the same.
        self.decoder_optimizer.iterations.assign_add(1)
        return found


class ListsSwapped(Trainer):
    """The encoder's variables follow the decoder's loss, and the other way round."""

    def _gradients(self, tape: tf.GradientTape, losses: Losses) -> Gradients:
        swapped = {"encoder": losses["decoder"], "decoder": losses["encoder"]}
        return super()._gradients(tape, {**losses, **swapped})


class EveryLossForAll(Trainer):
    """Every player follows the sum of all losses, as with one optimizer for everything."""

    def _gradients(self, tape: tf.GradientTape, losses: Losses) -> Gradients:
        with tape:
            together = tf.add_n(list(losses.values()))
        return super()._gradients(tape, dict.fromkeys(losses, together))


@pytest.mark.parametrize("objective", some_slow("dream", "broad2016", of=OBJECTIVES))
def test_a_decoder_left_out_is_noticed(objective: str) -> None:
    trainer = tiny_trainer(objective, DecoderLeftOut, run_eagerly=True)
    with pytest.raises(AssertionError, match="decoder: "):
        training_checks.check_players_move_by_their_own_losses(trainer, film_images(8))


def test_a_decoder_left_out_does_not_overfit() -> None:
    trainer = tiny_trainer("vae", DecoderLeftOut, model={"linear_path": False}, beta_1=0.5)
    with pytest.raises(AssertionError, match=r"1\d\.\d\d dB after 80 steps"):
        training_checks.check_overfits(trainer, film_images(4), 80, 24.0)


@pytest.mark.parametrize("kind", [ListsSwapped, EveryLossForAll])
@pytest.mark.parametrize("objective", some_slow("vae_gan", of=DIFFERING))
def test_a_wrong_loss_is_noticed(objective: str, kind: type[Trainer]) -> None:
    trainer = tiny_trainer(objective, kind, run_eagerly=True)
    with pytest.raises(AssertionError, match="moved by something else than its loss"):
        training_checks.check_players_move_by_their_own_losses(trainer, film_images(8))
