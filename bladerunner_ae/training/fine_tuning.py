"""A run that begins with the weights of another one, trained on another film.

It takes over the weights that are exported: the best or the last ones, and averages if there are
any. Optimizers start at step 0. The linear path is fitted to the new film, because the other film's
principal components hold it back; then the convolutions' last layers start at zero again, because
they had learnt what the old linear path lacks. So is the memory, whose size is the new film's.
"""

import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras

from bladerunner_ae.errors import InputError, UsageError
from bladerunner_ae.model.memory import MemoryCode, MemoryPicture
from bladerunner_ae.objectives import objective_of_run
from bladerunner_ae.runs.config import MEMORY_FIELDS, ModelConfig
from bladerunner_ae.runs.fields import differences, options_of
from bladerunner_ae.runs.folder import load_config
from bladerunner_ae.runs.run_config import FineTuning, RunConfig
from bladerunner_ae.training.best_weights import networks_to_show
from bladerunner_ae.training.checkpoints import check_newest, checkpoint_steps, restore
from bladerunner_ae.training.fit import build_trainer
from bladerunner_ae.training.trainer import Trainer
from tfrecords.storage import Location, location


def fine_tuned(
    config: RunConfig, source: Location, refit_linear_path: bool | None = None
) -> RunConfig:
    """Return the configuration of a run that begins with the weights of the run `source`.

    `refit_linear_path` fits the linear path to this run's films; None: where there is one.
    """
    if refit_linear_path is None:
        refit_linear_path = config.model.linear_path
    elif refit_linear_path and not config.model.linear_path:
        raise UsageError(
            f"--refit_linear_path: the networks of --preset={config.preset} have no linear path"
        )
    elif not refit_linear_path and config.model.linear_path and checkpoint_steps(source):
        theirs = load_config(source).model
        same = {name: getattr(theirs, name) for name in MEMORY_FIELDS}
        config = dataclasses.replace(config, model=dataclasses.replace(config.model, **same))
    path = os.path.abspath(source) if isinstance(source, Path) else str(source)
    return dataclasses.replace(config, fine_tune=FineTuning(path, None, refit_linear_path))


def check_source(config: RunConfig, run: Location | None = None) -> None:
    """Check that the run to fine-tune exists, has networks of this shape, and is not `run`."""
    assert config.fine_tune is not None
    source = location(config.fine_tune.run)
    if run is not None and _real(source) == _real(run):
        raise UsageError(
            f"--fine_tune_from and --model_dir are the same folder, {run}; give another --model_dir"
        )
    if run is not None and _real(source).startswith(f"{_real(run)}/"):
        raise UsageError(
            f"--fine_tune_from={source} is inside --model_dir, which is written to; give another "
            "--model_dir"
        )
    theirs = load_config(source)
    if not checkpoint_steps(source):
        raise InputError(f"{source}: has no checkpoint to fine-tune from; train it first")
    # A discriminator's shape matters only if it is taken over, and where a weight began never does.
    ignored = ["initial_log_var", *_fitted_fields(config)]
    if not _share_discriminator(config, theirs):
        fields = dataclasses.fields(config.model)
        ignored += [f.name for f in fields if f.name.startswith("discriminator")]
    different = differences(config.model, theirs.model, ignore=tuple(ignored))
    if different:
        raise InputError(
            f"{source}: its networks have another shape ({'; '.join(different)}); "
            f"{_fix(config, theirs)}"
        )
    if run is not None:
        check_newest(source)  # before --overwrite deletes what this run was before


def _fitted_fields(config: RunConfig) -> Sequence[str]:
    """Return the fields of the memory that may differ: all if it is going to be fitted.

    Else only --memory, which says how its sizes were chosen.
    """
    assert config.fine_tune is not None
    return MEMORY_FIELDS if config.fine_tune.refit_linear_path else MEMORY_FIELDS[:1]


def _share_discriminator(ours: RunConfig, theirs: RunConfig) -> bool:
    """Return whether both runs have a discriminator with the same head."""
    both = [objective_of_run(config.objective, config.weights) for config in (ours, theirs)]
    there = all("discriminator" in objective.players for objective in both)
    return there and both[0].head == both[1].head


def _fix(ours: RunConfig, theirs: RunConfig) -> str:
    """Return how to ask for networks of the shape of `theirs`."""
    model = theirs.model
    flags = [
        f"--{'' if value else 'no'}{name}" if isinstance(value, bool) else f"--{name}={value}"
        for name in options_of(ModelConfig)
        if name not in _fitted_fields(ours)
        if (value := getattr(model, name)) != getattr(ours.model, name)
    ]
    same_raster = (ours.model.height, ours.model.width) == (model.height, model.width)
    if flags and same_raster and ours.preset == theirs.preset:
        return f"give {' '.join(flags)}"
    return (
        f"choose its --preset={theirs.preset} and convert the film to its {model.height}x"
        f"{model.width}"
    ) + (f", and give {' '.join(flags)}" if flags and ours.preset == theirs.preset else "")


def _real(folder: Location) -> str:
    return os.path.realpath(folder) if isinstance(folder, Path) else str(folder)


def load_source(trainer: Trainer, config: RunConfig) -> RunConfig:
    """Load the source's weights, in the strategy's scope; return `config` with their step."""
    check_source(config)
    assert config.fine_tune is not None
    source = location(config.fine_tune.run)
    their_config = load_config(source)
    other = build_trainer(their_config)
    restore(other, source)
    shown, step = networks_to_show(other, source, their_config.train.keep)
    ours = trainer.networks.players()
    theirs: dict[str, Any] = {**other.networks.players(), **shown.players()}
    if not _share_discriminator(config, their_config):
        theirs.pop("discriminator", None)
    refit = config.fine_tune.refit_linear_path
    for name, network in ours.items():
        if name in theirs:
            _take_over(network, theirs[name], refit)
    new = [name for name in ours if name not in theirs]
    print(
        f"fine-tuning {source} from its step {step}" + "".join(f", with a new {n}" for n in new),
        file=sys.stderr,
    )
    return dataclasses.replace(config, fine_tune=dataclasses.replace(config.fine_tune, step=step))


def _take_over(ours: keras.Model, theirs: keras.Model, refit: bool) -> None:
    """Give a network another one's weights, layer by layer.

    Without those of the linear path if it is going to be fitted: they may have another size, and
    one film may have a memory where the other has none.
    """
    fitted = (MemoryCode, MemoryPicture) if refit else ()
    names = {layer.name for layer in theirs.layers}
    for layer in ours.layers:
        if layer.weights and layer.name in names and not isinstance(layer, fitted):
            layer.set_weights(theirs.get_layer(layer.name).get_weights())
