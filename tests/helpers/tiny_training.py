"""Trainers small enough for a test: the preview's widths on a raster of a few pixels."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from bladerunner_ae.model.networks import Networks, build_networks
from bladerunner_ae.objectives import REGISTRY, make_objective
from bladerunner_ae.runs.config import ModelConfig, TrainConfig
from bladerunner_ae.runs.fields import options_of
from bladerunner_ae.runs.folder import open_run
from bladerunner_ae.runs.presets import PRESETS
from bladerunner_ae.runs.run_config import RunConfig
from bladerunner_ae.training import fit as training
from bladerunner_ae.training.checkpoints import checkpoint_manager, restore
from bladerunner_ae.training.trainer import Trainer
from bladerunner_ae.training.training_options import TrainingOptions, run_config
from tests.helpers.synthetic_film import film_pictures
from tfrecords import storage

HEIGHT, WIDTH = 24, 32
OBJECTIVES = sorted(REGISTRY)
# Weights with which an objective has every player it can have, and each learns from the first step.
AT_ONCE: dict[str, dict[str, float]] = {
    "dream": {"adversarial_weight": 0.002, "adversarial_start": 0.0, "adversarial_ramp": 0.0}
}

# Changes of `ModelConfig` for tests of the step itself, or of what is around it: most of their time
# goes into building it. As flags, for this process only: commands have none for them.
FEW_LAYERS: dict[str, Any] = {"filters": (8, 16), "residual_blocks": 0, "bottleneck_channels": 0}


def tiny_model(**changes: Any) -> ModelConfig:
    """Return the preview's networks for frames of 24x32."""
    values = {"height": HEIGHT, "width": WIDTH, **PRESETS["preview"].model, **changes}
    return ModelConfig(**values).resolve()


def tiny_train(**changes: Any) -> TrainConfig:
    """Return the preview's training, 8 frames as they are in a batch, one learning rate."""
    values = {"steps": 4, "batch_size": 8, "warmup_steps": 0, "constant_learning_rate": True,
              "augment": 0.0}  # fmt: skip
    return TrainConfig(**{**PRESETS["preview"].train, **values, **changes})


def tiny_networks(objective: str = "vae", seed: int = 0, **changes: Any) -> Networks:
    """Return the networks that an objective needs with the weights of `AT_ONCE`."""
    kind = make_objective(objective, AT_ONCE.get(objective))
    return build_networks(
        tiny_model(**changes),
        precision="float32",
        seed=seed,
        discriminator="discriminator" in kind.players,
        head=kind.head,
    )


def tiny_trainer(
    objective: str,
    kind: type[Trainer] = Trainer,
    model: Mapping[str, Any] | None = None,
    run_eagerly: bool = False,
    **changes: Any,
) -> Trainer:
    """Return a compiled trainer with `changes` of `TrainConfig` and `model` of `ModelConfig`.

    `run_eagerly` is quicker where only a step or two are taken.
    """
    config = tiny_train(**changes)
    networks = tiny_networks(objective, config.seed, **(model or {}))
    trainer = kind(networks, make_objective(objective, AT_ONCE.get(objective)), config)
    trainer.compile(optimizer=None, jit_compile=False, run_eagerly=run_eagerly)
    return trainer


def tiny_flags(records: Path, run: Path, objective: str = "vae", **changes: Any) -> dict[str, Any]:
    """Return flags of `bladerunner_ae.train` for a run of four steps: name -> value."""
    values = {
        "data": records, "model_dir": run, "preset": "preview", "objective": objective,
        "strategy": "none", "precision": "float32", "steps": 4, "batch_size": 8, "seed": 1,
        "checkpoint_every": 2, "sample_every": 100, "log_every": 1, "augment": 0.25,
    }  # fmt: skip
    return {**values, **changes}


def tiny_run(flags: Mapping[str, Any]) -> RunConfig:
    """Return what `bladerunner_ae.train` makes of its flags."""
    values = {**flags, "data": _folders(flags)}
    own = {name: values.pop(name) for name in options_of(TrainingOptions) if name in values}
    given = {name: value for name, value in values.items() if value is not None}
    return run_config(TrainingOptions(**own, changes=given))


def _folders(flags: Mapping[str, Any]) -> list[Path]:
    return flags["data"] if isinstance(flags["data"], list) else [flags["data"]]


def train_here(
    flags: Mapping[str, Any], after_checkpoint: Callable[[], None] | None = None
) -> Trainer:
    """Train in this process as `bladerunner_ae.train` does, but for the export."""
    config, run = tiny_run(flags), storage.location(flags["model_dir"])
    open_run(run, config, overwrite=False)
    trainer = training.build_trainer(config)
    training.fit(
        trainer, config, _folders(flags), run, restore(trainer, run),
        after_checkpoint=after_checkpoint,
    )  # fmt: skip
    return trainer


def untrained_run(flags: Mapping[str, Any]) -> None:
    """Leave a run whose checkpoint of step 1 holds the weights that it would begin with."""
    config, run = tiny_run(flags), storage.location(flags["model_dir"])
    open_run(run, config, overwrite=False)
    checkpoint_manager(training.build_trainer(config), run).save(checkpoint_number=1)


def arguments(flags: Mapping[str, Any]) -> list[str]:
    """Return flags as command line arguments."""
    return [
        f"--{name}={value}"
        for name, values in flags.items()
        for value in (values if isinstance(values, list) else [values])
    ]


def forget_after(run: Path, step: int) -> None:
    """Delete a run's checkpoints beyond `step`."""
    for file in (run / "checkpoints").glob("step-*"):
        if int(file.name.removeprefix("step-").split(".")[0]) > step:
            file.unlink()


def film_images(count: int = 8, height: int = HEIGHT, width: int = WIDTH) -> NDArray[np.uint8]:
    """Return frames of the synthetic film, a few of each shot: uint8 [count, height, width, 3]."""
    pictures = list(film_pictures(10 * count, height, width))
    return np.stack(pictures[::10])


def take_steps(trainer: Trainer, images: NDArray[np.uint8], steps: int = 1) -> dict[str, float]:
    """Train on one batch again and again through `fit`; return the last step's logs."""
    batches = tf.data.Dataset.from_tensors({"image": images}).repeat()
    last = _LastLogs()
    trainer.fit(batches, steps_per_epoch=steps, verbose=0, shuffle=False, callbacks=[last])
    return last.values


class _LastLogs(keras.callbacks.Callback):
    values: dict[str, float]

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        self.values = {name: float(value) for name, value in (logs or {}).items()}


def weights_of(model: keras.Model) -> dict[str, NDArray[np.float32]]:
    """Return a copy of every variable of a network by its path."""
    return {variable.path: variable.numpy().copy() for variable in model.variables}


def checkpoint_values(checkpoint: Path | str) -> dict[str, NDArray[Any]]:
    """Return every number that a checkpoint holds, by its key.

    Left out are the counter of saves and the object graph, which holds names like "adam_3".
    """
    reader = tf.train.load_checkpoint(str(checkpoint))
    keys = sorted(reader.get_variable_to_shape_map())
    left_out = ("save_counter", "_CHECKPOINTABLE_OBJECT_GRAPH")
    return {key: reader.get_tensor(key) for key in keys if not key.startswith(left_out)}
