"""Variational autoencoder on pixels (Kingma & Welling 2014, arXiv:1312.6114).

| encoder learns from | decoder learns from | discriminator |
|---|---|---|
| KL + pixel | KL + pixel | none |
"""

from dataclasses import dataclass
from typing import ClassVar

from bladerunner_ae.model.networks import Networks
from bladerunner_ae.objectives import losses
from bladerunner_ae.objectives.base import (
    KL,
    NOISE,
    Batch,
    Objective,
    Outcome,
    sample_posterior,
    weight,
)


@dataclass(frozen=True)
class Vae(Objective):
    """loss = mean_pixels (x - y)^2 + kl_weight * KL / latent_size.

    So small a KL weight keeps the film sharp and leaves the latents far from N(0, 1): prior samples
    are grey.
    """

    name: ClassVar[str] = "vae"

    kl_weight: float = weight(1e-5, KL)
    noise: float = weight(1.0, NOISE)

    @property
    def players(self) -> tuple[str, ...]:
        return "encoder", "decoder"

    def __call__(self, networks: Networks, batch: Batch) -> Outcome:
        mean, log_var = networks.encoder(batch.images, training=True)
        latent = sample_posterior(mean, log_var, batch.epsilon, self.noise)
        reconstruction = networks.decoder(latent, training=True)
        pixel = losses.squared_error(batch.images, reconstruction)
        kl = losses.kl_divergence(mean, log_var)
        loss = pixel + self.kl_weight * kl / mean.shape[-1]
        return Outcome(
            losses={"encoder": loss, "decoder": loss},
            terms={"pixel": pixel, "kl": kl},
            latent=(mean, log_var),
            reconstruction=reconstruction,
        )
