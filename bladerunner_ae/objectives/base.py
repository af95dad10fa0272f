"""Base of the objectives: losses of the networks, given these and a batch.

An objective is a frozen dataclass. Its fields, made by `weight` and `run_part`, are its weights:
each is a flag of `bladerunner_ae.train`, a value of `RunConfig.weights`, and a curve of the logs.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import tensorflow as tf

from bladerunner_ae.model.networks import Networks
from bladerunner_ae.runs.fields import Option, check

Share = Callable[[Any, float, float], float | None]
"""(objective, part of the run done, adversarial scale) -> factor of a weight at this moment, or
None where the weight has no effect."""


KL = "Weight of the KL divergence averaged over latent numbers"
NOISE = "Posterior sample's standard deviation, in units of the posterior's own"
ADVERSARIAL = "Weight of the adversarial term in the decoder's loss"
"""Help of weights that several objectives have."""


def constant(objective: Any, progress: float, scale: float) -> float:
    """Return the share of a weight that stays as it is."""
    return 1.0


def adversarial(objective: Any, progress: float, scale: float) -> float:
    """Return the share of an adversarial weight, which the watchdog may lower."""
    return scale


def weight(default: float, help: str, share: Share | None = constant) -> Any:
    """Return a field for a finite number, 0 or above, with a curve "weight/NAME" in the logs.

    Without a share it has no curve.
    """
    option = Option(help, "objective", "a finite number, 0 or above", least=0.0, below=math.inf)
    return dataclasses.field(default=default, metadata={"option": option, "share": share})


def run_part(default: float, help: str, *, before_end: bool = False) -> Any:
    """Return a field for a part of the run, 0 to 1; to below 1 if it must come before the end."""
    if before_end:
        option = Option(help, "objective", "a part of the run, from 0 to below 1", 0.0, below=1.0)
    else:
        option = Option(help, "objective", "a part of the run, from 0 to 1", 0.0, 1.0)
    return dataclasses.field(default=default, metadata={"option": option})


@dataclass(frozen=True)
class Batch:
    """One replica's share of a step.

    Attributes:
        images: float32 [B, H, W, 3], -1..1.
        epsilon: float32 [B, latent], standard normal, for the posterior sample.
        prior: float32 [B, latent], standard normal, samples of the prior.
        step: scalar int64, steps taken before this one, for schedules.
        adversarial_scale: scalar float32, by which an objective multiplies the weight of the
            adversarial term in its players' losses (not in the discriminator's own); 1 unless the
            watchdog has lowered it.
        progress: scalar float32, 0..1, the part of the run's steps taken before this one.
    """

    images: tf.Tensor
    epsilon: tf.Tensor
    prior: tf.Tensor
    step: tf.Tensor
    adversarial_scale: tf.Tensor | float = 1.0
    progress: tf.Tensor | float = 1.0


@dataclass(frozen=True)
class Outcome:
    """Per-example losses of one step.

    `losses` are by player, float32 [B]: a player's variables follow the gradient of its own loss
    only, and players that share one tensor object share one backward pass. `terms`, float32 [B],
    are parts of the losses for the logs; `latent` is (mean, log_var), float32 [B, latent] each.
    """

    losses: Mapping[str, tf.Tensor]
    terms: Mapping[str, tf.Tensor]
    latent: tuple[tf.Tensor, tf.Tensor]
    reconstruction: tf.Tensor


class Objective:
    """Base class; a subclass is a frozen dataclass whose fields are its weights.

    Attributes:
        name: in the registry and on the command line.
        head: see `networks.build_discriminator`.
        mastered: the "gan" term below which the discriminator has nothing left to learn; 0 where
            its probabilities show that, as those of cross-entropies do.
    """

    name: ClassVar[str]
    head: ClassVar[str] = "image"
    mastered: ClassVar[float] = 0.0

    def __post_init__(self) -> None:
        check(self)

    @property
    def players(self) -> tuple[str, ...]:
        """Networks that learn, in the order of `Networks.players`."""
        return "encoder", "decoder", "discriminator"

    @property
    def moments(self) -> Mapping[str, float]:
        """Parts of the run after which it learns from something else: event in words -> part."""
        return {}

    @property
    def allowed_fall(self) -> float:
        """dB by which the score may be below the run's best, and later weights still be kept.

        0 where the objective asks for PSNR. An adversary trades some of it for sharpness.
        """
        return 1.0 if "discriminator" in self.players else 0.0

    def score(self, psnr: Mapping[str, float]) -> float:
        """Return the figure by which weights are kept, the higher the better.

        `psnr` is in dB, of "seen" frames and, where there are any, "held out" ones.
        """
        return sum(psnr.values()) / len(psnr)

    def __call__(self, networks: Networks, batch: Batch) -> Outcome:
        """Run the networks on `batch`; pure, takes no gradient and changes nothing."""
        raise NotImplementedError

    def weights_now(self, progress: float, scale: float) -> dict[str, float]:
        """Return the factor of each term, by name for the logs: "weight/kl" and so on.

        "weight/noise" is the standard deviation of the posterior sample, in units of the
        posterior's. `progress` is the part of the run taken, 0..1; `scale` what the watchdog has
        left of the adversarial weight, 0..1.
        """
        found = {}
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            share = field.metadata.get("share")
            if share is not None and (factor := share(self, progress, scale)) is not None:
                name = f"weight/{field.name.removesuffix('_weight')}"
                found[name] = float(getattr(self, field.name)) * factor
        return found


def sample_posterior(
    mean: tf.Tensor, log_var: tf.Tensor, epsilon: tf.Tensor, noise: tf.Tensor | float = 1.0
) -> tf.Tensor:
    """Return mean + noise * exp(log_var / 2) * epsilon (Kingma & Welling 2014, section 2.4)."""
    return mean + noise * tf.exp(0.5 * log_var) * epsilon


def ramp(progress: tf.Tensor, start: float, end: float) -> tf.Tensor:
    """Return 0 to 1, float32, linear from `start` to `end` of the run; equal ends give a jump."""
    progress = tf.cast(progress, tf.float32)
    if end <= start:
        return tf.cast(progress >= start, tf.float32)
    return tf.clip_by_value((progress - start) / (end - start), 0.0, 1.0)
