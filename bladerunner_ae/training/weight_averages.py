"""Averages of the weights over the steps, which fluctuate less than the weights themselves."""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from bladerunner_ae.model.memory import copied
from bladerunner_ae.model.networks import Networks

_YOUNG = 9.0


class WeightAverages:
    """A second encoder and decoder whose weights are running averages of the trained ones'.

        average <- d * average + (1 - d) * weight, after every step

    with d = min(decay, (n - 1) / (n + 8)) in step n = 1, 2, ... So the first step copies the
    weights, nothing of their initial values is left in the average, and it needs no bias
    correction; later it reaches about a tenth of the run back, until that is more than 1 / (1 -
    decay) steps. (Averages of the iterates: Polyak & Juditsky 1992; a share that grows with the run
    as in Karras et al. 2024, arXiv:2312.02696, section 3.1.) Construct in the scope in which
    `networks` were built.
    """

    def __init__(self, networks: Networks, decay: float) -> None:
        self._trained, self._decay = networks, decay
        self.networks = Networks(
            encoder=copied(networks.encoder),
            decoder=copied(networks.decoder),
            memory=networks.memory,
        )
        self._pairs = [
            pair
            for ours, theirs in (
                (self.networks.encoder, networks.encoder),
                (self.networks.decoder, networks.decoder),
            )
            for pair in _pairs(ours.trainable_variables, theirs.trainable_variables)
        ]
        self.restart()

    def restart(self) -> None:
        """Copy every weight, trained or not; not to be called in a step."""
        self.networks.encoder.set_weights(self._trained.encoder.get_weights())
        self.networks.decoder.set_weights(self._trained.decoder.get_weights())

    def decay(self, step: tf.Tensor) -> tf.Tensor:
        """Return d of step number `step`, counted from 1; scalar float32."""
        number = tf.cast(step, tf.float32)
        return tf.minimum(self._decay, (number - 1.0) / (number - 1.0 + _YOUNG))

    def update(self, step: tf.Tensor) -> None:
        """Follow the weights after step 1, 2, ...; called on each replica after its optimizers."""
        keep = self.decay(step)

        def follow(average: tf.Variable, weight: tf.Tensor) -> None:
            average.assign(average * keep + weight * (1.0 - keep))

        def follow_all(strategy: tf.distribute.Strategy) -> None:
            for average, weight in self._pairs:
                strategy.extended.update(average, follow, args=(weight,), group=False)

        # Every replica's weights are the same, so each updates its own copy: nothing is sent.
        tf.distribute.get_replica_context().merge_call(follow_all)


def _pairs(ours: Sequence[Any], theirs: Sequence[Any]) -> list[tuple[tf.Variable, tf.Variable]]:
    for our, their in zip(ours, theirs, strict=True):
        if our.path.rpartition("/")[2] != their.path.rpartition("/")[2] or our.shape != their.shape:
            raise ValueError(f"{our.path} {our.shape} is no copy of {their.path} {their.shape}")
    return [(our.value, their.value) for our, their in zip(ours, theirs, strict=True)]
