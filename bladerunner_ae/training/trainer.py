"""One training step over the players. It names no loss: the objective says who learns what."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import keras
import tensorflow as tf

from bladerunner_ae.model import pixels
from bladerunner_ae.model.networks import Networks
from bladerunner_ae.objectives import Batch, Objective, Outcome
from bladerunner_ae.runs.config import TrainConfig
from bladerunner_ae.training import augmentation, watchdog
from bladerunner_ae.training.run_length import RunLength
from bladerunner_ae.training.weight_averages import WeightAverages

_ACTIVE_VARIANCE = 0.01
_LOWEST_RATE = 0.01  # of the peak


class Trainer(keras.Model):
    """Trains the players of one objective, on one device or under any mirrored strategy.

    Every loss is summed over the examples and divided by the *global* batch size, and optimizers
    add up the replicas' gradients, so N replicas do what one does with the same global batch. Noise
    is a function of (seed, step, place in the global batch), so it neither repeats across replicas
    nor depends on how many there are, and a resumed run draws what the unbroken one would have.
    """

    def __init__(self, networks: Networks, objective: Objective, config: TrainConfig) -> None:
        super().__init__(name="trainer")
        self._networks, self._objective, self._config = networks, objective, config
        self._length = RunLength(config)
        players = networks.players()
        missing = set(objective.players) - set(players)
        if missing:
            raise ValueError(f"objective {objective.name} needs a {', '.join(sorted(missing))}")
        for name in objective.players:
            # As attributes, so that checkpoints hold networks and optimizer slots; built now,
            # because restoring into an unbuilt optimizer silently loses its slots.
            setattr(self, name, players[name])
            optimizer = make_optimizer(config, name, self._length)
            optimizer.build(players[name].trainable_variables)
            setattr(self, f"{name}_optimizer", optimizer)
        self._state = RunState(
            adversarial_scale=tf.Variable(1.0, trainable=False, name="adversarial_scale"),
            watchdog=tf.Variable(watchdog.new_state(), trainable=False, name="watchdog"),
        )
        self._averages = WeightAverages(networks, config.ema) if config.ema else None
        self.built = True

    @property
    def objective(self) -> Objective:
        return self._objective

    @property
    def length(self) -> RunLength:
        """Steps of the run, on which the schedules depend."""
        return self._length

    @property
    def state(self) -> "RunState":
        """Decisions and memory of the watchdog."""
        return self._state

    @property
    def averages(self) -> WeightAverages | None:
        """The averages of the weights; None if the run keeps none."""
        return self._averages

    @property
    def dreaming(self) -> Networks:
        """The networks that samples, evaluation and export use: the averages if there are any."""
        return self._networks if self._averages is None else self._averages.networks

    def checkpoint_parts(self) -> dict[str, Any]:
        """Return everything that a checkpoint must hold for an exact resume, by name."""
        parts = {
            "trainer": self,
            "adversarial_scale": self._state.adversarial_scale,
            "watchdog": self._state.watchdog,
        }
        if self._averages is not None:
            parts["average_encoder"] = self._averages.networks.encoder
            parts["average_decoder"] = self._averages.networks.decoder
        return parts

    @property
    def networks(self) -> Networks:
        return self._networks

    def optimizer_of(self, player: str) -> keras.Optimizer:
        """Return the optimizer that moves `player` and no other."""
        return getattr(self, f"{player}_optimizer")

    @property
    def steps_done(self) -> int:
        """Optimizer steps taken, over all resumes."""
        return int(self.decoder_optimizer.iterations.numpy())

    def train_step(self, data: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Move every player once, by gradients taken at the same point; return scalars for logs.

        `data` is {"image": uint8 [B, H, W, 3], ...}, this replica's share of the global batch.
        """
        batch = self._batch(data["image"])
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        global_size = tf.cast(tf.shape(batch.images)[0] * replicas, tf.float32)
        with tf.GradientTape(persistent=True) as tape:
            outcome = self._objective(self._networks, batch)
            losses = _scaled(outcome.losses, global_size)
        gradients = self._gradients(tape, losses)
        if self._config.clip_norm:
            gradients, norms = _clipped(gradients, self._config.clip_norm, replicas)
        else:
            norms = _gradient_norms(gradients, replicas)
        for name, values in gradients.items():
            variables = self._networks.players()[name].trainable_variables
            self.optimizer_of(name).apply(values, variables)
        if self._averages is not None:
            self._averages.update(tf.convert_to_tensor(self.decoder_optimizer.iterations))
        return {**_summary(outcome), **norms}

    def _batch(self, images: tf.Tensor) -> Batch:
        context = tf.distribute.get_replica_context()
        replicas, replica = context.num_replicas_in_sync, context.replica_id_in_sync_group
        step = tf.cast(tf.convert_to_tensor(self.decoder_optimizer.iterations), tf.int64)
        size = tf.shape(images)[0]
        latent = self._networks.decoder.input_shape[-1]
        noise = tf.random.stateless_normal(
            [size * replicas, 2, latent], seed=tf.stack([self._config.seed, step])
        )
        share = noise[replica * size : (replica + 1) * size]
        pictures = pixels.to_float(images)
        if self._config.augment:
            uniform = tf.random.stateless_uniform(
                [size * replicas, augmentation.RANDOM_NUMBERS],
                seed=tf.random.experimental.stateless_fold_in(
                    tf.stack([self._config.seed, step]), 1
                ),
            )
            own = uniform[replica * size : (replica + 1) * size]
            pictures = augmentation.moved(pictures, own, self._config.augment)
        return Batch(
            pictures,
            epsilon=share[:, 0],
            prior=share[:, 1],
            step=step,
            adversarial_scale=tf.convert_to_tensor(self._state.adversarial_scale),
            progress=self._length.progress(step),
        )

    def _gradients(
        self, tape: tf.GradientTape, losses: Mapping[str, tf.Tensor]
    ) -> dict[str, list[tf.Tensor]]:
        """Return player -> gradients of its own loss; players of one loss share a backward pass."""
        players = self._networks.players()
        found: dict[str, list[tf.Tensor]] = {}
        for name, loss in losses.items():
            if name in found:
                continue
            sharing = [other for other in losses if losses[other] is loss]
            variables = [players[other].trainable_variables for other in sharing]
            values = tape.gradient(loss, variables)
            for other, own, gradients in zip(sharing, variables, values, strict=True):
                _refuse_unconnected(other, own, gradients)
                found[other] = gradients
        return found


@dataclass(frozen=True)
class RunState:
    """State of a run besides its networks and optimizers, as variables.

    See `Batch.adversarial_scale` and `watchdog.new_state`.
    """

    adversarial_scale: tf.Variable
    watchdog: tf.Variable


class LearningRate(keras.optimizers.schedules.LearningRateSchedule):
    """A linear warm-up from a hundredth of the peak, then a cosine to a hundredth at the end."""

    def __init__(self, peak: float, length: RunLength) -> None:
        self._peak, self._length = peak, length

    def __call__(self, step: Any) -> tf.Tensor:
        step = tf.cast(tf.convert_to_tensor(step), tf.float32)
        risen = self._length.risen(step)
        rising = _LOWEST_RATE + (1.0 - _LOWEST_RATE) * risen
        cosine = 0.5 * (1.0 + tf.cos(math.pi * self._length.decayed(step)))
        falling = _LOWEST_RATE + (1.0 - _LOWEST_RATE) * cosine
        return self._peak * tf.where(risen < 1.0, rising, falling)

    def get_config(self) -> dict[str, Any]:
        config = self._length.config
        return {
            "peak": self._peak,
            "warmup_steps": config.warmup_steps,
            "length": config.length or ((0, config.steps),),
        }


def make_optimizer(
    config: TrainConfig, player: str = "decoder", length: RunLength | None = None
) -> keras.Optimizer:
    """Return Adam with the player's learning rate."""
    rate = make_schedule(config, player, length)
    return keras.optimizers.Adam(rate, beta_1=config.beta_1, beta_2=config.beta_2)


def make_schedule(
    config: TrainConfig, player: str = "decoder", length: RunLength | None = None
) -> Any:
    """Return the player's learning rate over `length`, by default `config`'s; or a number."""
    rate = config.learning_rate
    if player == "discriminator" and config.discriminator_learning_rate is not None:
        rate = config.discriminator_learning_rate
    if config.constant_learning_rate:
        return rate
    return LearningRate(rate, length or RunLength(config))


def _scaled(losses: Mapping[str, tf.Tensor], global_size: tf.Tensor) -> dict[str, tf.Tensor]:
    """Return sums over the examples, divided by the global batch; one tensor stays one tensor."""
    scaled: dict[int, tf.Tensor] = {}
    for loss in losses.values():
        if id(loss) not in scaled:
            scaled[id(loss)] = tf.reduce_sum(loss) / global_size
    return {name: scaled[id(loss)] for name, loss in losses.items()}


def _refuse_unconnected(player: str, variables: list[Any], gradients: list[Any]) -> None:
    """Refuse variables that their player's loss does not reach: they would silently not learn."""
    lost = [v.path for v, gradient in zip(variables, gradients, strict=True) if gradient is None]
    if lost:
        raise ValueError(f"{player}'s loss does not reach {', '.join(lost)}")


def _summary(outcome: Outcome) -> dict[str, tf.Tensor]:
    mean, log_var = outcome.latent
    spread = _variance_over_batch(mean)
    return {
        **{f"loss/{name}": tf.reduce_mean(value) for name, value in outcome.losses.items()},
        **{f"term/{name}": tf.reduce_mean(value) for name, value in outcome.terms.items()},
        "latent/sigma": tf.reduce_mean(tf.exp(0.5 * log_var)),
        "latent/mean_std": tf.reduce_mean(tf.sqrt(spread)),
        # Units whose mean varies over the batch (Burda et al. 2016, arXiv:1509.00519, sec. 5.2).
        "latent/active_units": tf.reduce_sum(tf.cast(spread > _ACTIVE_VARIANCE, tf.float32)),
    }


def _variance_over_batch(values: tf.Tensor) -> tf.Tensor:
    """Return the variance over the examples of all replicas, [B, ...] -> [...]."""
    context = tf.distribute.get_replica_context()
    if context.num_replicas_in_sync == 1:
        return tf.math.reduce_variance(values, axis=0)
    moments = [tf.reduce_mean(values, 0), tf.reduce_mean(tf.square(values), 0)]
    first, second = context.all_reduce(tf.distribute.ReduceOp.MEAN, moments)
    return tf.maximum(second - tf.square(first), 0.0)


def _clipped(
    gradients: Mapping[str, list[tf.Tensor]], longest: float, replicas: int
) -> tuple[dict[str, list[tf.Tensor]], dict[str, tf.Tensor]]:
    """Shorten each player's gradient to `longest` (Pascanu et al. 2013, arXiv:1211.5063, alg. 1).

    The sum over the replicas is measured, so that N replicas do what one does. Returns the
    gradients, which the optimizers sum again, and the lengths before, by name for the logs.
    """
    context = tf.distribute.get_replica_context()
    shortened, norms = {}, {}
    for name, values in gradients.items():
        whole = context.all_reduce(tf.distribute.ReduceOp.SUM, values) if replicas > 1 else values
        norm = tf.linalg.global_norm(whole)
        share = longest / tf.maximum(norm, longest) / replicas
        shortened[name] = [value * share for value in whole]
        norms[f"gradient_norm/{name}"] = norm
    return shortened, norms


def _gradient_norms(
    gradients: Mapping[str, list[tf.Tensor]], replicas: int
) -> dict[str, tf.Tensor]:
    # A replica's gradient is its share of the sum; times the replicas it is on one scale with it.
    return {
        f"gradient_norm/{name}": tf.linalg.global_norm(values) * replicas
        for name, values in gradients.items()
    }
