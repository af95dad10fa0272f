"""One training step over the players. Names no loss: the objective says who learns from what."""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from bladerunner_ae import pixels
from bladerunner_ae.config import TrainConfig
from bladerunner_ae.networks import Networks
from bladerunner_ae.objectives import Batch, Objective, Outcome

_ACTIVE_VARIANCE = 0.01


class Trainer(keras.Model):
    """Trains the players of one objective; serves one device and `MirroredStrategy` alike.

    Every loss is summed over the examples and divided by the *global* batch size, and optimizers
    add up the replicas' gradients, so N replicas do what one does with the same global batch. Noise
    is a function of (seed, step, place in the global batch), so it neither repeats across
    replicas nor depends on how many there are, and a resumed run draws what the unbroken one
    would have.

    Args:
        networks: the players.
        objective: whose losses they follow.
        config: learning rates and seed.
    """

    def __init__(self, networks: Networks, objective: Objective, config: TrainConfig) -> None:
        super().__init__(name="trainer")
        self._networks, self._objective, self._config = networks, objective, config
        players = networks.players()
        missing = set(objective.players) - set(players)
        if missing:
            raise ValueError(f"objective {objective.name} needs a {', '.join(sorted(missing))}")
        for name in objective.players:
            # As attributes, so that checkpoints hold networks and optimizer slots; built now,
            # because restoring into an unbuilt optimizer silently loses its slots.
            setattr(self, name, players[name])
            optimizer = make_optimizer(config)
            optimizer.build(players[name].trainable_variables)
            setattr(self, f"{name}_optimizer", optimizer)
        self.built = True

    @property
    def networks(self) -> Networks:
        """The players."""
        return self._networks

    def optimizer_of(self, player: str) -> keras.Optimizer:
        """The optimizer that moves `player` and nobody else."""
        return getattr(self, f"{player}_optimizer")

    @property
    def steps_done(self) -> int:
        """Optimizer steps taken, over all resumes."""
        return int(self.decoder_optimizer.iterations.numpy())

    def train_step(self, data: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Moves every player once, all by gradients taken at the same point.

        Args:
            data: {"image": uint8 [B, H, W, 3], ...}, this replica's share of the global batch.

        Returns:
            Scalars of this replica for the logs.
        """
        batch = self._batch(data["image"])
        replicas = tf.distribute.get_strategy().num_replicas_in_sync
        global_size = tf.cast(tf.shape(batch.images)[0] * replicas, tf.float32)
        with tf.GradientTape(persistent=True) as tape:
            outcome = self._objective(self._networks, batch)
            losses = _scaled(outcome.losses, global_size)
        gradients = self._gradients(tape, losses)
        for name, values in gradients.items():
            variables = self._networks.players()[name].trainable_variables
            self.optimizer_of(name).apply(values, variables)
        return {**_summary(outcome), **_gradient_norms(gradients, replicas)}

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
        return Batch(pixels.to_float(images), epsilon=share[:, 0], prior=share[:, 1], step=step)

    def _gradients(
        self, tape: tf.GradientTape, losses: Mapping[str, tf.Tensor]
    ) -> dict[str, list[tf.Tensor]]:
        """Player -> gradients of its own loss. Players with one loss share one backward pass."""
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


def make_optimizer(config: TrainConfig) -> keras.Optimizer:
    """Adam with linear warm-up, then cosine decay to a hundredth, or constant."""
    rate: Any = config.learning_rate
    if not config.constant_learning_rate:
        rate = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=config.learning_rate * 0.01 if config.warmup_steps else rate,
            decay_steps=max(config.steps - config.warmup_steps, 1),
            alpha=0.01,
            warmup_target=rate if config.warmup_steps else None,
            warmup_steps=config.warmup_steps,
        )
    return keras.optimizers.Adam(rate, beta_1=config.beta_1, beta_2=config.beta_2)


def _scaled(losses: Mapping[str, tf.Tensor], global_size: tf.Tensor) -> dict[str, tf.Tensor]:
    """Sums over the examples, divided by the global batch; one tensor stays one tensor."""
    scaled: dict[int, tf.Tensor] = {}
    for loss in losses.values():
        if id(loss) not in scaled:
            scaled[id(loss)] = tf.reduce_sum(loss) / global_size
    return {name: scaled[id(loss)] for name, loss in losses.items()}


def _refuse_unconnected(player: str, variables: list[Any], gradients: list[Any]) -> None:
    """A variable that its player's loss does not reach would never learn, and silently so."""
    lost = [v.path for v, gradient in zip(variables, gradients, strict=True) if gradient is None]
    if lost:
        raise ValueError(f"{player}'s loss does not reach {', '.join(lost)}")


def _summary(outcome: Outcome) -> dict[str, tf.Tensor]:
    mean, log_var = outcome.latent
    spread = tf.math.reduce_variance(mean, axis=0)
    return {
        **{f"loss/{name}": tf.reduce_mean(value) for name, value in outcome.losses.items()},
        **{f"term/{name}": tf.reduce_mean(value) for name, value in outcome.terms.items()},
        "latent/sigma": tf.reduce_mean(tf.exp(0.5 * log_var)),
        "latent/mean_std": tf.reduce_mean(tf.sqrt(spread)),
        # Units whose mean varies over the batch (Burda et al. 2016, arXiv:1509.00519, sec. 5.2).
        "latent/active_units": tf.reduce_sum(tf.cast(spread > _ACTIVE_VARIANCE, tf.float32)),
    }


def _gradient_norms(
    gradients: Mapping[str, list[tf.Tensor]], replicas: int
) -> dict[str, tf.Tensor]:
    # A replica's gradient is its share of the sum; times the replicas it is on one scale with it.
    return {
        f"gradient_norm/{name}": tf.linalg.global_norm(values) * replicas
        for name, values in gradients.items()
    }
