"""The default: reconstruct, in every octave of detail; on request with a late adversary on patches.

| encoder learns from | decoder learns from | discriminator |
|---|---|---|
| KL + pixel + bands (+ adversarial + features) | the same | (patches of the film / of the reconstruction) |

Encoder and decoder share one loss, so one backward pass serves both. A discriminator is built only
if the weight of one of its terms is above 0, and run only from `adversarial_start` on: up to there
a step costs no more than the plain autoencoder's. Why there is none by default, and what the
ingredients are worth: docs/decisions.md and `docs/measured/ablation_camera.md`.
"""  # noqa: E501

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import ClassVar

import tensorflow as tf

from bladerunner_ae.errors import UsageError
from bladerunner_ae.model.networks import Networks
from bladerunner_ae.objectives import losses
from bladerunner_ae.objectives.base import (
    ADVERSARIAL,
    KL,
    NOISE,
    Batch,
    Objective,
    Outcome,
    ramp,
    run_part,
    sample_posterior,
    weight,
)

_OF_THE_ADVERSARY = ("adversarial_start", "adversarial_ramp", "r1_weight")


def _warmed_up(objective: "Dream", progress: float, scale: float) -> float:
    return float(ramp(progress, 0.0, objective.kl_warmup))


def _adversarial(objective: "Dream", progress: float, scale: float) -> float | None:
    reached = _once_judged(objective, progress, scale)
    return None if reached is None else scale * reached


def _once_judged(objective: "Dream", progress: float, scale: float) -> float | None:
    return float(objective.reached(progress)) if objective.judged else None


def _if_judged(objective: "Dream", progress: float, scale: float) -> float | None:
    return 1.0 if objective.judged else None


@dataclass(frozen=True)
class Dream(Objective):
    """pixel + band_weight * bands + kl_weight * KL / latent_size.

    With an adversary, from `adversarial_start` on, encoder and decoder also learn from
    adversarial_weight * -D(y) + feature_weight * features, against a discriminator that learns from
    hinge(D(x), D(y)) + r1_weight / 2 * R1.

    KL warm-up: Bowman et al. 2016, arXiv:1511.06349, section 3.1. Free bits: Kingma et al. 2016,
    arXiv:1606.04934, appendix C.8. Features: Larsen et al. 2016.
    """

    name: ClassVar[str] = "dream"
    head: ClassVar[str] = "patch"
    # Of the hinge loss, which is 2 at chance. It falls to nothing, and with it the discriminator's
    # gradient, at logits of 1 and -1: as probabilities no more than 73 % and 27 %.
    mastered: ClassVar[float] = 0.1

    kl_weight: float = weight(1e-5, KL, _warmed_up)
    kl_warmup: float = run_part(0.0, "Part of the run over which the KL weight rises from 0")
    free_bits: float = weight(0.0, "Nats of each latent number that cost nothing")
    noise: float = weight(1.0, NOISE)
    band_weight: float = weight(0.1, "Weight of the error in each octave of detail")
    adversarial_weight: float = weight(
        0.0, f"{ADVERSARIAL}; above 0, dream has an adversary", _adversarial
    )
    adversarial_start: float = run_part(
        # An adversary that came in at the end would never be asked.
        0.6,
        "Part of the run after which the adversary comes in",
        before_end=True,
    )
    adversarial_ramp: float = run_part(0.1, "Part of the run over which its weight then rises")
    feature_weight: float = weight(
        0.0, "Weight of the learned similarity, once the adversary is there", _once_judged
    )
    r1_weight: float = weight(0.0, "Weight of the penalty on the discriminator's slope", _if_judged)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.judged:
            return
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in _OF_THE_ADVERSARY and value != field.default:
                raise UsageError(
                    f"--{field.name}={value:g} is about an adversary, and dream has none unless "
                    "it is asked for one; give --adversarial_weight too, 0.002 say"
                )

    @property
    def judged(self) -> bool:
        """Whether there is a discriminator: only where its verdict has a weight."""
        return self.adversarial_weight > 0.0 or self.feature_weight > 0.0

    @property
    def players(self) -> tuple[str, ...]:
        return ("encoder", "decoder", *(("discriminator",) if self.judged else ()))

    @property
    def moments(self) -> Mapping[str, float]:
        return {"the adversary comes in": self.adversarial_start} if self.judged else {}

    def reached(self, progress: tf.Tensor | float) -> tf.Tensor:
        """Return the part of the adversary that is in force, float32 scalar 0..1."""
        start = self.adversarial_start
        return ramp(progress, start, start + self.adversarial_ramp)

    def __call__(self, networks: Networks, batch: Batch) -> Outcome:
        mean, log_var = networks.encoder(batch.images, training=True)
        latent = sample_posterior(mean, log_var, batch.epsilon, self.noise)
        reconstruction = networks.decoder(latent, training=True)
        pixel = losses.squared_error(batch.images, reconstruction)
        bands = losses.band_distance(batch.images, reconstruction)
        kl = losses.kl_divergence(mean, log_var, free=self.free_bits)
        progress = tf.convert_to_tensor(batch.progress)
        kl_share = self.kl_weight * ramp(progress, 0.0, self.kl_warmup)
        loss = pixel + self.band_weight * bands + kl_share * kl / mean.shape[-1]
        terms = {"pixel": pixel, "bands": bands, "kl": kl}
        players = {}
        if self.judged:
            verdict = self._verdict(networks, batch, reconstruction)
            reached = self.reached(progress)
            scale = reached * batch.adversarial_scale * self.adversarial_weight
            loss += scale * verdict["adversarial"]
            loss += reached * self.feature_weight * verdict["features"]
            terms |= verdict
            players["discriminator"] = verdict["gan"] + 0.5 * self.r1_weight * verdict["slope"]
        return Outcome(
            losses={"encoder": loss, "decoder": loss, **players},
            terms=terms,
            latent=(mean, log_var),
            reconstruction=reconstruction,
        )

    def _verdict(
        self, networks: Networks, batch: Batch, reconstruction: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Return the discriminator's terms, or zeros before it is asked."""
        discriminator = networks.discriminator
        assert discriminator is not None, "dream's adversary needs a discriminator"
        nothing = tf.zeros_like(batch.images[:, 0, 0, 0])

        def asked() -> dict[str, tf.Tensor]:
            logits, features = discriminator(
                tf.concat([batch.images, reconstruction], 0), training=True
            )
            real, fake = tf.split(logits, 2)
            halves = [tf.split(feature, 2) for feature in features]
            return {
                "gan": losses.hinge_loss(real, fake),
                "adversarial": -losses.mean_logit(fake),
                "features": losses.feature_distance(*zip(*halves, strict=True)),
                "slope": self._slope(discriminator, batch.images, nothing),
                "p_real": losses.mean_probability(real),
                "p_reconstruction": losses.mean_probability(fake),
            }

        def silent() -> dict[str, tf.Tensor]:
            # Connected to the weights, so that their gradients are zeros and not missing.
            weights = tf.add_n([tf.reduce_sum(v) for v in discriminator.trainable_variables])
            names = ("gan", "adversarial", "features", "slope", "p_real", "p_reconstruction")
            return {name: nothing + 0.0 * weights if name == "gan" else nothing for name in names}

        return tf.cond(
            tf.convert_to_tensor(batch.progress) >= self.adversarial_start, asked, silent
        )

    def _slope(
        self, discriminator: Callable[..., object], images: tf.Tensor, nothing: tf.Tensor
    ) -> tf.Tensor:
        return losses.gradient_penalty(discriminator, images) if self.r1_weight else nothing
