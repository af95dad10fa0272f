"""The function that Keras' loop calls for every step, for several workers.

Keras 3 (up to 3.15 at least) does not serve `tf.distribute.MultiWorkerMirroredStrategy`: its own
function reduces every log by an operation that scalars do not have, and before the first step it
reduces a batch over all workers to build what is built already. So this replaces
`trainer.train_function` and `trainer._maybe_symbolic_build`; the rest is as on one machine.
"""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from bladerunner_ae.training.stopping import SharedPreemption
from bladerunner_ae.training.trainer import Trainer

_STOP = "stop"


def use_workers_step(
    trainer: Trainer, strategy: tf.distribute.Strategy, preemption: SharedPreemption
) -> None:
    """Give a trainer a step for all workers together; it also shares whether one is to stop."""
    with strategy.scope():
        asked = tf.Variable(0.0, trainable=False, name="asked_to_stop")
    names: list[str] = []

    def replica_step(data: Mapping[str, tf.Tensor]) -> tf.Tensor:
        logs = {**trainer.train_step(data), _STOP: asked.read_value()}
        names[:] = logs
        # As one vector: one after the other they would wait for the network some twenty times.
        values = tf.stack([tf.cast(value, tf.float32) for value in logs.values()])
        return tf.distribute.get_replica_context().all_reduce("MEAN", values)

    @tf.function  # type: ignore[untyped-decorator]
    def step(iterator: Any) -> tf.Tensor:
        results = strategy.run(replica_step, args=(next(iterator),))
        return strategy.experimental_local_results(results)[0]

    def train(iterator: Any) -> dict[str, tf.Tensor]:
        if preemption.asked:
            asked.assign(1.0)
        logs = dict(zip(names, tf.unstack(step(iterator)), strict=True))
        preemption.hear(logs.pop(_STOP))
        return logs

    trainer.train_function = train
    trainer._maybe_symbolic_build = lambda *_, **__: None
