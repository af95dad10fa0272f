"""Variational autoencoder with the losses of pix2pix (Isola et al. 2017, arXiv:1611.07004).

| encoder learns from | decoder learns from | discriminator |
|---|---|---|
| KL + L1 + adversarial | the same | patches of the film / of the reconstruction |

pix2pix shows its discriminator the input next to the output. Here the input is the target, and a
discriminator that sees both need only subtract them, so it is shown the pictures alone.
"""

from dataclasses import dataclass
from typing import ClassVar

import tensorflow as tf

from bladerunner_ae.model.networks import Networks
from bladerunner_ae.objectives import losses
from bladerunner_ae.objectives.base import (
    ADVERSARIAL,
    KL,
    NOISE,
    Batch,
    Objective,
    Outcome,
    adversarial,
    sample_posterior,
    weight,
)


@dataclass(frozen=True)
class PatchGan(Objective):
    """L1 keeps the picture, verdicts on patches keep it sharp (equations 1 to 4 of the paper).

    encoder, decoder:  pixel_weight * L1 + adversarial_weight * -log D(y) + kl_weight * KL / latent
    discriminator:     (-log D(x) - log(1 - D(y))) / 2

    averaged over the patches. Section 3.3 halves the discriminator's loss, and the paper, too,
    weighs the pixel error 100 times the adversarial term.
    """

    name: ClassVar[str] = "patch_gan"
    head: ClassVar[str] = "patch"

    pixel_weight: float = weight(100.0, "Weight of the absolute pixel error")
    adversarial_weight: float = weight(1.0, ADVERSARIAL, adversarial)
    kl_weight: float = weight(1e-3, KL)
    noise: float = weight(1.0, NOISE)

    def __call__(self, networks: Networks, batch: Batch) -> Outcome:
        assert networks.discriminator is not None, "patch_gan needs a discriminator"
        mean, log_var = networks.encoder(batch.images, training=True)
        latent = sample_posterior(mean, log_var, batch.epsilon, self.noise)
        reconstruction = networks.decoder(latent, training=True)
        logits, _ = networks.discriminator(
            tf.concat([batch.images, reconstruction], 0), training=True
        )
        real, fake = tf.split(logits, 2)
        kl = losses.kl_divergence(mean, log_var)
        absolute = losses.absolute_error(batch.images, reconstruction)
        realism = losses.real_cross_entropy(fake)
        gan = 0.5 * (losses.real_cross_entropy(real) + losses.fake_cross_entropy(fake))
        loss = (
            self.pixel_weight * absolute
            + self.adversarial_weight * batch.adversarial_scale * realism
            + self.kl_weight * kl / mean.shape[-1]
        )
        return Outcome(
            losses={"encoder": loss, "decoder": loss, "discriminator": gan},
            terms={
                "absolute": absolute,
                "pixel": losses.squared_error(batch.images, reconstruction),
                "kl": kl,
                "adversarial": realism,
                "gan": gan,
                "p_real": losses.mean_probability(real),
                "p_reconstruction": losses.mean_probability(fake),
            },
            latent=(mean, log_var),
            reconstruction=reconstruction,
        )
