"""Intended losses of the code behind *Autoencoding Blade Runner*, with its selection repaired.

| encoder learns from | decoder learns from | discriminator |
|---|---|---|
| KL + features | gamma * features - gan | gan |

The formulas are the original's. Two of its faults made them act otherwise: the variables were
listed before the decoder existed, so from TensorFlow 0.8 on no decoder variable was ever trained;
and the encoder's and decoder's lists were swapped.
`tests/objectives/test_original_bugs.py` shows both.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import tensorflow as tf

from bladerunner_ae.model.networks import Networks
from bladerunner_ae.objectives import losses
from bladerunner_ae.objectives.adversarial_pass import run_players
from bladerunner_ae.objectives.base import (
    NOISE,
    Batch,
    Objective,
    Outcome,
    adversarial,
    weight,
)


def _noise(objective: "Broad2016", progress: float, scale: float) -> float:
    return float(objective.noise_share(progress))


@dataclass(frozen=True)
class Broad2016(Objective):
    """Four feature layers of equal weight, gamma 2.5, means where the paper has sums.

    encoder:        KL / latent_size + features
    decoder:        gamma * features - gan
    discriminator:  gan = (BCE(real, 1) + BCE(reconstruction, 0) + BCE(prior, 0)) * gan_scale

    The cross-entropies are taken of logits, not of clipped probabilities, and prior samples are
    drawn from N(0, 1), which the posterior is pulled to, not from a uniform distribution.

    Expect haze: the KL divergence weighs as much as feature means that are small, so at a noise of
    1 the latents carry little (at the preview's size 0.1 to 0.3 nats) and unlike frames blend into
    one picture. Frames come apart as the noise falls. The original's was 1 at first, lowered by
    hand in later runs, 0 when rendering; which values it had is not known. Here each quarter of a
    run has `noise_decay` of the noise of the one before.

    The original divided each mean of the cross-entropies by its batch size of 12 and their sum by
    6.
    """

    name: ClassVar[str] = "broad2016"

    gamma: float = weight(2.5, "Weight of the learned similarity in the decoder's loss")
    gan_scale: float = weight(
        1.0 / 72.0, "Scale of the discriminator's cross-entropies", adversarial
    )
    noise: float = weight(1.0, f"{NOISE}; with broad2016 in the first quarter of the run", _noise)
    noise_decay: float = weight(
        0.3, "Factor of the noise from each quarter of the run to the next; 1: it stays", None
    )

    def noise_share(self, progress: tf.Tensor | float) -> tf.Tensor:
        """Return the part of the noise that is left, float32 scalar, of the run's part done."""
        quarter = tf.minimum(tf.floor(4.0 * tf.cast(progress, tf.float32)), 3.0)
        return tf.pow(tf.cast(self.noise_decay, tf.float32), quarter)

    @property
    def allowed_fall(self) -> float:
        """dB, as in `Objective`: any, since what its formulas lead to is what is asked for."""
        return math.inf

    def __call__(self, networks: Networks, batch: Batch) -> Outcome:
        noise = self.noise * self.noise_share(batch.progress)
        run = run_players(networks, batch, noise=noise, feature_layers=None)
        kl = losses.kl_divergence(run.mean, run.log_var)
        gan = self.gan_scale * losses.discriminator_cross_entropy(run.real, run.fake, run.prior)
        return Outcome(
            losses={
                "encoder": kl / run.mean.shape[-1] + run.features,
                "decoder": self.gamma * run.features - batch.adversarial_scale * gan,
                "discriminator": gan,
            },
            terms={
                "features": run.features,
                "pixel": losses.squared_error(batch.images, run.reconstruction),
                "kl": kl,
                "gan": gan,
                **run.probabilities(),
            },
            latent=(run.mean, run.log_var),
            reconstruction=run.reconstruction,
        )
