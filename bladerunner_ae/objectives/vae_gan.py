"""The VAE-GAN of Larsen et al. 2016, arXiv:1512.09300, Algorithm 1.

| encoder learns from | decoder learns from | discriminator |
|---|---|---|
| KL + features | gamma * features + adversarial | real / reconstruction / prior sample |

The adversarial gradient never reaches the encoder, and gamma acts on the decoder only
(section 2.5.2 of the paper).
"""

from dataclasses import dataclass
from typing import ClassVar

from bladerunner_ae.model.networks import Networks
from bladerunner_ae.objectives import losses
from bladerunner_ae.objectives.adversarial_pass import run_players
from bladerunner_ae.objectives.base import (
    ADVERSARIAL,
    KL,
    NOISE,
    Batch,
    Objective,
    Outcome,
    adversarial,
    weight,
)


@dataclass(frozen=True)
class VaeGan(Objective):
    """L_prior = KL, L_like = distance of features, L_GAN as in eq. 5.

    encoder:        kl_weight * L_prior / latent_size + L_like
    decoder:        gamma * L_like + adversarial_weight * -log D(Dec(z)) (likewise for z_p)
    discriminator:  -L_GAN

    The decoder's adversarial term is Goodfellow et al.'s non-saturating form: the paper's
    log(1 - D) has no gradient left while the discriminator is winning.

    The adversarial weight is small because the features are means over some 10^4 numbers where the
    paper sums. The paper has no pixel error; a weight of 1 makes training start well from any seed.
    """

    name: ClassVar[str] = "vae_gan"

    gamma: float = weight(1.0, "Weight of the learned similarity in the decoder's loss")
    adversarial_weight: float = weight(0.005, ADVERSARIAL, adversarial)
    pixel_weight: float = weight(1.0, "Weight of the squared pixel error")
    kl_weight: float = weight(1e-4, KL)
    noise: float = weight(1.0, NOISE)

    @property
    def allowed_fall(self) -> float:
        """dB, as in `Objective`: pictures alike in features were measured 5 dB lower in PSNR."""
        return 6.0

    def __call__(self, networks: Networks, batch: Batch) -> Outcome:
        run = run_players(networks, batch, noise=self.noise, feature_layers=None)
        kl = losses.kl_divergence(run.mean, run.log_var)
        pixel = losses.squared_error(batch.images, run.reconstruction)
        realism = losses.real_cross_entropy(run.fake) + losses.real_cross_entropy(run.prior)
        gan = losses.discriminator_cross_entropy(run.real, run.fake, run.prior)
        return Outcome(
            losses={
                "encoder": self.kl_weight * kl / run.mean.shape[-1]
                + run.features
                + self.pixel_weight * pixel,
                "decoder": self.gamma * run.features
                + self.pixel_weight * pixel
                + self.adversarial_weight * batch.adversarial_scale * realism,
                "discriminator": gan,
            },
            terms={
                "features": run.features,
                "pixel": pixel,
                "kl": kl,
                "adversarial": realism,
                "gan": gan,
                **run.probabilities(),
            },
            latent=(run.mean, run.log_var),
            reconstruction=run.reconstruction,
        )
