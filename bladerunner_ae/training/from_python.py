"""`bladerunner_ae.train`: light, it imports TensorFlow when it is called."""

import os
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from bladerunner_ae.command_line.tensorflow_import import quiet_imports
from bladerunner_ae.errors import UsageError
from tfrecords.storage import AnyPath, Location


def train(data: AnyPath | Sequence[AnyPath], model_dir: AnyPath, **options: Any) -> list[Location]:
    """Train a network on records, or resume its run, and export it.

        train("DATA/my_film", "RUN", steps=2000, latent_size=100, objective="vae")

    Args:
        data: folder of a film's records, or of several.
        model_dir: run folder.
        options: flags of `python -m bladerunner_ae.train` by name: fields of `TrainingOptions`,
            `ModelConfig`, `TrainConfig` and the objective.

    Returns, Raises: see `run_training`; UsageError also for an option that does not exist.
    """
    with quiet_imports():
        from bladerunner_ae.objectives import weight_help
        from bladerunner_ae.runs.config import ModelConfig, TrainConfig
        from bladerunner_ae.runs.fields import options_of
        from bladerunner_ae.training.run import run_training
        from bladerunner_ae.training.training_options import TrainingOptions

    films = [data] if isinstance(data, str | os.PathLike) else list(data)
    own = {name: options.pop(name) for name in options_of(TrainingOptions) if name in options}
    known = [*options_of(ModelConfig), *options_of(TrainConfig), *weight_help()]
    for name in sorted(options.keys() - set(known)):
        near = get_close_matches(name, [*options_of(TrainingOptions), *known])
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise UsageError(f"train has no option {name}{hint}")
    return run_training(TrainingOptions(films, model_dir, **own, changes=options))
