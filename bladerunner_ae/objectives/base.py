"""What an objective is: who learns from what, given the networks and a batch."""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import tensorflow as tf

from bladerunner_ae.errors import UsageError
from bladerunner_ae.model.networks import Networks

# Parts of a run. An adversary that came in at its end would never be asked.
_PARTS = ("adversarial_start", "adversarial_ramp", "kl_warmup")
_BELOW_ONE = ("adversarial_start",)


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

    Attributes:
        losses: player -> float32 [B]. A player's variables follow the gradient of its own loss
            and of no other. Players that share one tensor object share one backward pass.
        terms: name -> float32 [B], what the losses are made of, for the logs.
        latent: (mean, log_var), float32 [B, latent] each.
        reconstruction: float32 [B, H, W, 3].
    """

    losses: Mapping[str, tf.Tensor]
    terms: Mapping[str, tf.Tensor]
    latent: tuple[tf.Tensor, tf.Tensor]
    reconstruction: tf.Tensor


class Objective(Protocol):
    """A frozen dataclass whose fields are its weights; calling it gives the step's losses.

    It calls `check_weights` when it is made.

    Attributes:
        name: in the registry and on the command line.
        players: the networks that learn, in the order of `Networks.players`.
        head: what the discriminator judges, see `networks.build_discriminator`.
    """

    name: ClassVar[str]
    head: ClassVar[str]

    @property
    def players(self) -> tuple[str, ...]: ...

    def __call__(self, networks: Networks, batch: Batch) -> Outcome:
        """Runs the networks on `batch`; pure, takes no gradient and changes nothing."""
        ...


def check_weights(objective: Any) -> None:
    """Checks that an objective can be learnt from with its weights.

    Args:
        objective: a dataclass of weights. Those that are a part of the run must be from 0 to 1,
            all others finite and 0 or above.

    Raises:
        UsageError: one is not; the message names it as its flag.
    """
    for field in dataclasses.fields(objective):
        name, value = field.name, getattr(objective, field.name)
        if name in _BELOW_ONE:
            fits, allowed = 0.0 <= value < 1.0, "a part of the run, from 0 to below 1"
        elif name in _PARTS:
            fits, allowed = 0.0 <= value <= 1.0, "a part of the run, from 0 to 1"
        else:  # NaN compares false with everything
            fits, allowed = 0.0 <= value < math.inf, "a finite number, 0 or above"
        if not fits:
            raise UsageError(f"--{name}={value:g}: give {allowed}")


def sample_posterior(
    mean: tf.Tensor, log_var: tf.Tensor, epsilon: tf.Tensor, noise: float = 1.0
) -> tf.Tensor:
    """mean + noise * exp(log_var / 2) * epsilon (Kingma & Welling 2014, section 2.4).

    Args:
        mean, log_var, epsilon: float32 [B, latent].
        noise: 1 is the variational autoencoder; 0 the posterior mean. The original's knob.

    Returns:
        float32 [B, latent].
    """
    return mean + noise * tf.exp(0.5 * log_var) * epsilon


def ramp(progress: tf.Tensor, start: float, end: float) -> tf.Tensor:
    """Rises from 0 at `start` to 1 at `end` along a straight line.

    Args:
        progress: scalar, 0..1.
        start, end: the part of the run where it begins and where it is there; equal for a jump.

    Returns:
        float32 scalar, 0..1.
    """
    progress = tf.cast(progress, tf.float32)
    if end <= start:
        return tf.cast(progress >= start, tf.float32)
    return tf.clip_by_value((progress - start) / (end - start), 0.0, 1.0)
