"""The step of several workers in Keras' loop: Keras still has the two parts that it replaces."""

from __future__ import annotations

import keras
import tensorflow as tf

from bladerunner_ae.training.distributed.keras_loop import use_workers_step
from bladerunner_ae.training.stopping import SharedPreemption
from tests.helpers.tiny_training import FEW_LAYERS, film_images, take_steps, tiny_trainer


def test_keras_still_builds_before_the_first_step() -> None:
    assert callable(keras.Model._maybe_symbolic_build)


def test_it_takes_the_steps_of_fit_and_hears_of_signals() -> None:
    ours, plain = (tiny_trainer("vae", model=FEW_LAYERS) for _ in range(2))
    preemption = SharedPreemption()
    use_workers_step(ours, tf.distribute.get_strategy(), preemption)
    preemption._asked = 15
    logs, expected = (take_steps(trainer, film_images(8), 2) for trainer in (ours, plain))
    assert logs == expected
    assert ours.steps_done == 2
    assert preemption.came, "each step passes on that a signal came"
