"""`bladerunner_ae.train`: light, it imports TensorFlow when it is called."""

import dataclasses
import difflib
import os
from collections.abc import Iterable, Sequence
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

    of_training = options_of(TrainingOptions)
    fields = {f.name for kind in (ModelConfig, TrainConfig) for f in dataclasses.fields(kind)}
    known = {*of_training, *fields, *weight_help()} - {"height", "width"}  # those of the records
    _refuse_unknown(options, known)
    films = [data] if isinstance(data, str | os.PathLike) else list(data)
    own = {name: options.pop(name) for name in of_training if name in options}
    return run_training(TrainingOptions(films, model_dir, **own, changes=options))


def _refuse_unknown(options: Iterable[str], known: set[str]) -> None:
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known))
            cure = (
                f"near ones are {', '.join(near)}"
                if near
                else "python -m bladerunner_ae.train --help lists them"
            )
            raise UsageError(f"train has no option {name}; {cure}")
