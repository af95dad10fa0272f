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
from bladerunner_ae.objectives.adversarial import run_players
from bladerunner_ae.objectives.base import Batch, Outcome, check_weights


@dataclass(frozen=True)
class VaeGan:
    """L_prior = KL, L_like = distance of features, L_GAN as in eq. 5.

    encoder:        kl_weight * L_prior / latent_size + L_like
    decoder:        gamma * L_like + adversarial_weight * -log D(Dec(z)) (likewise for z_p)
    discriminator:  -L_GAN

    The decoder's adversarial term is Goodfellow et al.'s non-saturating form: the paper's
    log(1 - D) has no gradient left while the discriminator is winning.

    Attributes:
        gamma: weight of the features against the adversarial term, decoder only.
        adversarial_weight: of the adversarial term; the features are means over some 10^4
            numbers where the paper sums, so it is small.
        pixel_weight: of a squared pixel error beside the features, for encoder and decoder. The
            paper has none; 1 makes training start well from any seed.
        kl_weight: of the KL divergence averaged over latent numbers.
        noise: standard deviation of the posterior sample in units of the posterior's own.
    """

    name: ClassVar[str] = "vae_gan"
    players: ClassVar[tuple[str, ...]] = ("encoder", "decoder", "discriminator")
    head: ClassVar[str] = "image"

    gamma: float = 1.0
    adversarial_weight: float = 0.005
    pixel_weight: float = 1.0
    kl_weight: float = 1e-4
    noise: float = 1.0

    def __post_init__(self) -> None:
        check_weights(self)

    def __call__(self, networks: Networks, batch: Batch) -> Outcome:
        run = run_players(networks, batch, noise=self.noise, feature_layers=None)
        kl = losses.kl_divergence(run.mean, run.log_var)
        pixel = losses.squared_error(batch.images, run.reconstruction)
        adversarial = losses.real_cross_entropy(run.fake) + losses.real_cross_entropy(run.prior)
        gan = losses.discriminator_cross_entropy(run.real, run.fake, run.prior)
        return Outcome(
            losses={
                "encoder": self.kl_weight * kl / run.mean.shape[-1]
                + run.features
                + self.pixel_weight * pixel,
                "decoder": self.gamma * run.features
                + self.pixel_weight * pixel
                + self.adversarial_weight * batch.adversarial_scale * adversarial,
                "discriminator": gan,
            },
            terms={
                "features": run.features,
                "pixel": pixel,
                "kl": kl,
                "adversarial": adversarial,
                "gan": gan,
                **run.probabilities(),
            },
            latent=(run.mean, run.log_var),
            reconstruction=run.reconstruction,
        )
