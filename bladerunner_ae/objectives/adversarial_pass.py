"""One pass of all three networks, shared by the objectives with a discriminator."""

from dataclasses import dataclass

import tensorflow as tf

from bladerunner_ae.model.networks import Networks
from bladerunner_ae.objectives import losses
from bladerunner_ae.objectives.base import Batch, sample_posterior


@dataclass(frozen=True)
class AdversarialPass:
    """Results of which Algorithm 1 of Larsen et al. forms its losses.

    Attributes:
        mean, log_var: float32 [B, latent].
        reconstruction: Dec(z), float32 [B, H, W, 3].
        features: distance of the reconstruction's features from the film's, float32 [B].
        real, fake, prior: logits of the film, the reconstruction and the prior sample, [B, 1].
    """

    mean: tf.Tensor
    log_var: tf.Tensor
    reconstruction: tf.Tensor
    features: tf.Tensor
    real: tf.Tensor
    fake: tf.Tensor
    prior: tf.Tensor

    def probabilities(self) -> dict[str, tf.Tensor]:
        """Return the discriminator's probability "from the film" of each kind, float32 [B]."""
        named = {"real": self.real, "reconstruction": self.fake, "prior": self.prior}
        return {f"p_{kind}": losses.mean_probability(logits) for kind, logits in named.items()}


def run_players(
    networks: Networks,
    batch: Batch,
    *,
    noise: tf.Tensor | float,
    feature_layers: tuple[int, ...] | None,
) -> AdversarialPass:
    """Encode, reconstruct, dream a prior sample and have the discriminator judge all three.

    Each kind passes alone: a player's gradient then runs back only through passes that its loss
    depends on. As one batch of all kinds they would take 26 passes of a network a step instead of
    22. The results are the same, for there are no batch statistics.
    """
    discriminator = networks.discriminator
    assert discriminator is not None, "this objective needs a discriminator"
    mean, log_var = networks.encoder(batch.images, training=True)
    latent = sample_posterior(mean, log_var, batch.epsilon, noise)
    reconstruction = networks.decoder(latent, training=True)
    dreamt = networks.decoder(_prior(networks, batch, mean), training=True)
    (real, real_features), (fake, fake_features), (prior, _) = (
        discriminator(pictures, training=True)
        for pictures in (batch.images, reconstruction, dreamt)
    )
    distance = losses.feature_distance(real_features, fake_features, feature_layers)
    return AdversarialPass(mean, log_var, reconstruction, distance, real, fake, prior)


def _prior(networks: Networks, batch: Batch, mean: tf.Tensor) -> tf.Tensor:
    """Return samples of the prior, float32 [B, latent].

    N(0, 1), but with a memory: that is one Gaussian a key moment, whose local numbers are N(0, 1)
    and whose global ones are those of one of its frames, here of the batch.
    """
    if networks.memory is None:
        return batch.prior
    known = tf.stop_gradient(mean)
    start, end = networks.memory.global_numbers, -networks.code_numbers
    return tf.concat([known[:, :start], batch.prior[:, start:end], known[:, end:]], axis=1)
