"""Gradients are added in the graph's order, not in the order in which threads have them ready."""

from __future__ import annotations

from collections import Counter

from tensorflow.python.eager import context as eager_context

from bladerunner_ae.runs.config import TrainConfig
from bladerunner_ae.runs.presets import PRESETS
from bladerunner_ae.runs.run_config import Reading, RunConfig
from bladerunner_ae.training.fit import build_trainer
from tests.helpers.tiny_training import AT_ONCE, film_images, take_steps, tiny_model


def ops_of_a_step(objective: str, height: int, width: int, batch: int) -> Counter[str]:
    """Return op -> how often a training step, as TensorFlow runs it, has it."""
    train = TrainConfig(**{**PRESETS["preview"].train, "steps": 4, "batch_size": batch})
    weights = AT_ONCE.get(objective, {})
    model = tiny_model(height=height, width=width)
    config = RunConfig("preview", objective, weights, model, train, (), Reading())
    trainer = build_trainer(config)
    images = film_images(batch, height, width)
    context = eager_context.context()
    context.enable_run_metadata()
    try:
        take_steps(trainer, images)
        metadata = context.export_run_metadata()
    finally:
        context.disable_run_metadata()
    return Counter(node.op for graph in metadata.partition_graphs for node in graph.node)


def test_no_sum_of_gradients_depends_on_which_comes_first() -> None:
    # Frames this large are worth the rewrite to TensorFlow; without the switch it makes nine here.
    ops = ops_of_a_step("dream", 72, 128, 32)
    assert ops["AddN"] > 40
    assert ops["TemporaryVariable"] == 0
