"""Trains a network on the records of a film, or of several.

Interrupted at any moment, the same command goes on from the last checkpoint and ends with the
same weights as an unbroken run. Watch it with `tensorboard --logdir RUN`, or look at
RUN/samples/. At the end the run's networks are exported to RUN/export/, and RUN/report.html shows
what is remembered of each shot.

With --data=A --data=B --data_weights=2,1 each frame of A is seen twice as often as each of B. In
one pass over the films every frame of the one of smallest weight is seen once.

Examples:
  python -m bladerunner_ae.train --data=DATA/my_film --model_dir=RUN
  python -m bladerunner_ae.train --flagfile=flagfiles/preview.flags --data=DATA/my_film --model_dir=RUN
  python -m bladerunner_ae.train --preset=base --objective=vae_gan --data=DATA/my_film --model_dir=RUN
  python -m bladerunner_ae.train --data=DATA/my_film --model_dir=RUN --holdout=0.1 --steps=2000
  python -m bladerunner_ae.train --data=DATA/a --data=DATA/b --data_weights=2,1 --model_dir=RUN
  python -m bladerunner_ae.train --data=DATA/b --model_dir=RUN_B --fine_tune_from=RUN_A
"""  # noqa: E501

import bladerunner_ae.command_line.signals  # noqa: F401  first: signals are one line from here on
from bladerunner_ae.runs.training_set import hold_out_runs, hold_out_shots

# isort: split
import contextlib
import dataclasses
import math
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from bladerunner_ae.command_line.app import run as run_command
from bladerunner_ae.errors import UsageError
from bladerunner_ae.memory_report.write import is_reported, report_training
from bladerunner_ae.runs import config as configuration
from bladerunner_ae.runs import presets
from bladerunner_ae.runs.files import refuse_to_delete
from bladerunner_ae.runs.films import film_identity, held_out_frames
from bladerunner_ae.training import flags as train_flags
from bladerunner_ae.training.batches import check_service
from bladerunner_ae.training.flags import (
    MODEL_FLAGS,
    TRAIN_FLAGS,
    WEIGHT_FLAGS,
    define_flags,
    flagfiles,
    given_flags,
)
from tfrecords import spool, storage
from tfrecords.messages import counted
from tfrecords.mixture import FilmPart, check_together
from tfrecords.storage import Location


def run_config(values: Any) -> Any:
    """Turns flag values into a `RunConfig`; the only place where training flags are read."""
    from bladerunner_ae.objectives import make_objective
    from bladerunner_ae.runs.folder import RunConfig
    from bladerunner_ae.training.distributed import devices
    from tfrecords.card import load_card
    from tfrecords.reader import fits

    configuration.check_hold_out(values.holdout, values.holdout_seconds)
    preset = presets.preset(values.preset)
    weights_of_films = _data_weights(values.data_weights, len(values.data))
    parts = [
        FilmPart(directory, load_card(directory), weight=weight)
        for directory, weight in zip(values.data, weights_of_films, strict=True)
    ]
    check_together(parts)
    card = parts[0].card
    in_memory = not values.data_service and fits(parts, values.cache_limit << 20)
    given = {name: getattr(values, name) for name in TRAIN_FLAGS}
    shape = {name: getattr(values, name) for name in MODEL_FLAGS}
    model = {**preset.model, **{k: v for k, v in shape.items() if v is not None}}
    if (values.refinement_blocks or 0) > 0 and not model.get("linear_path"):
        raise UsageError(
            f"--refinement_blocks={values.refinement_blocks} mend what the linear path draws, and "
            "these networks have none; add --linear_path, or leave --refinement_blocks out"
        )
    networks = configuration.ModelConfig(height=card.height, width=card.width, **model)
    train = {**preset.train, **{k: v for k, v in given.items() if v is not None}}
    films = [_film(part, values.holdout, values.holdout_seconds) for part in parts]
    own_path = not values.fine_tune_from or values.refit_linear_path is not False
    if values.augment is None and own_path and _remembers_all(networks, films):
        train["augment"] = 0.0
    train["warmup_steps"] = min(train.get("warmup_steps", 0), train["steps"] // 3)
    weights = {name: getattr(values, name) for name in WEIGHT_FLAGS}
    objective = make_objective(
        values.objective or preset.objective, {k: v for k, v in weights.items() if v is not None}
    )
    if values.discriminator_learning_rate is not None and "discriminator" not in objective.players:
        raise UsageError(
            f"--discriminator_learning_rate={values.discriminator_learning_rate:g}: objective "
            f"{objective.name} has no discriminator with these flags; leave it out"
        )
    return RunConfig(
        preset=values.preset,
        objective=objective.name,
        weights=dataclasses.asdict(objective),  # type: ignore[call-overload]
        model=networks,
        train=configuration.TrainConfig(
            **train, precision=devices.choose_precision(values.precision)
        ),
        films=films,
        reading={"order": "memory" if in_memory else "streamed", "balance": values.balance},
    )


def _remembers_all(model: configuration.ModelConfig, films: Sequence[dict[str, Any]]) -> bool:
    """Whether the films are so short that their components alone remember nearly every frame.

    Then moved frames teach nothing that is needed and cost what was remembered (docs/decisions.md).
    Not so in a grid, whose components are those of blocks.
    """
    frames = sum(film["frames"] - held_out_frames(film) for film in films)
    return model.linear_path and model.latent == "vector" and frames < 2 * model.latent_size


def _data_weights(given: Sequence[str], films: int) -> list[float]:
    """Returns one weight for each film; all are 1 if none were given."""
    try:
        weights = [float(weight) for weight in given] or [1.0] * films
    except ValueError:
        weights = []
    if len(weights) != films or not all(0.0 < weight < math.inf for weight in weights):
        raise UsageError(
            f"--data_weights={','.join(given)}: give one number above 0 for each --data ({films})"
        )
    return weights


def _film(part: FilmPart, holdout: float, holdout_seconds: float) -> dict[str, Any]:
    card = part.card
    return {
        **film_identity(card),
        "weight": part.weight,
        "held_out": [list(run) for run in _held_out(card, holdout, holdout_seconds)],
    }


def _held_out(card: Any, fraction: float, seconds: float) -> list[tuple[int, int]]:

    if seconds > 0:
        return hold_out_runs(card, fraction, seconds)
    return hold_out_shots(card, fraction)


def main() -> None:
    """Reads the flags, then trains, or goes on, and exports."""
    from bladerunner_ae.runs.files import settling
    from bladerunner_ae.runs.folder import CONFIG_NAME, load_config, open_run, writing
    from bladerunner_ae.runs.working_copy import WorkingCopy
    from bladerunner_ae.training import fit
    from bladerunner_ae.training.distributed import devices

    values = flags.FLAGS
    if values.spool_dir:
        os.environ[spool.FOLDER] = values.spool_dir
    if values.data_service:
        check_service(values.data_service)
    records = [storage.location(directory) for directory in values.data]
    run = storage.location(values.model_dir)
    devices.choose_device(values.device)
    if values.device == "auto" and (reason := devices.why_no_gpu()):
        print(f"note: training on the CPU: {reason}", file=sys.stderr)
    config = _fine_tuned(run_config(values), values, run)
    workers = devices.join(values.strategy, os.environ)
    replicas = workers.strategy.num_replicas_in_sync
    fit.check_replicas(config.train, replicas)
    if workers.several and values.data_service:
        raise UsageError("--data_service serves one worker only; leave it out")
    print(_plan(config, replicas), file=sys.stderr)
    usual = presets.preset(values.preset).train.get("augment", 0.0)
    if values.augment is None and config.train.augment < usual:
        print(f"a short film for {config.model.latent_size} numbers a frame: its frames are not "
              "moved (--augment=0)", file=sys.stderr)  # fmt: skip
    if values.dry_run:
        return
    with contextlib.ExitStack() as stack:
        copy = WorkingCopy(run)
        if workers.chief:
            run = stack.enter_context(copy.opened(values.overwrite))
            stack.enter_context(writing(run))
            if values.overwrite:
                refuse_to_delete(run, _inputs(values))
            stack.enter_context(settling(run))
        stack.enter_context(workers.together(run))
        goes_on = storage.is_file(run / CONFIG_NAME) and not values.overwrite
        earlier = load_config(run) if goes_on else None
        if workers.chief:
            config = open_run(run, config, values.overwrite)
            storage.write_text(run / "flags.txt", given_flags(values))
            if workers.several:  # they look for it
                copy.send()
        workers.check_same_run(config, run)
        exported = _train(config, earlier, workers, records, run, values, copy)
        copy.send()
        for path in exported:
            print(copy.place_of(path))
        workers.wait_for_all()


def _inputs(values: Any) -> list[tuple[str, Location]]:
    """Everything that the command reads, beside the flag that names it."""
    given = [("--data", folder) for folder in values.data]
    if values.fine_tune_from:
        given.append(("--fine_tune_from", values.fine_tune_from))
    given += [("--flagfile", file) for file in flagfiles(sys.argv[1:])]
    return [(flag, storage.location(path)) for flag, path in given]


def _fine_tuned(config: Any, values: Any, run: Location) -> Any:
    """Adds what --fine_tune_from says, and checks it where it is going to be needed."""
    from bladerunner_ae.training import fine_tuning
    from bladerunner_ae.training.checkpoints import checkpoint_steps

    if not values.fine_tune_from:
        if values.refit_linear_path is not None:
            raise UsageError("--refit_linear_path belongs to --fine_tune_from=RUN")
        return config
    source = storage.location(values.fine_tune_from)
    config = fine_tuning.fine_tuned(config, source, values.refit_linear_path)
    if values.overwrite or not checkpoint_steps(run):
        fine_tuning.check_source(config, run)
    return config


def _train(
    config: Any,
    earlier: Any,
    workers: Any,
    records: list[Location],
    run: Location,
    values: Any,
    copy: Any,
) -> list[Location]:
    """Trains from the newest checkpoint to the end and exports; returns the SavedModels.

    Then it reports, in RUN/report.html.
    """
    from bladerunner_ae.exports import from_run
    from bladerunner_ae.runs.folder import CONFIG_NAME, write_json
    from bladerunner_ae.training import fit, resume
    from bladerunner_ae.training.checkpoints import restore
    from bladerunner_ae.training.fine_tuning import load_source

    service = values.data_service
    with workers.strategy.scope():
        trainer = fit.build_trainer(config)
        start = restore(trainer, run)
        workers.check_same_start(start, run)
        if start == 0 and config.fine_tune:
            config = load_source(trainer, config)
            if workers.chief:
                write_json(run / CONFIG_NAME, config.to_json())
    print(f"tensorboard --logdir {shlex.quote(str(run))}", file=sys.stderr)
    # All show it together, as they train: what the chief looks at may lie with the others.
    if start == config.train.steps and any(
        workers.gather(int(not resume.has_finished(run, start)))
    ):
        print(f"trained to step {start}; showing what it came to", file=sys.stderr)
        fit.fit(trainer, config, records, run, start, workers=workers)
    elif start >= config.train.steps:
        print(f"already trained to step {start}; nothing to do", file=sys.stderr)
    else:
        if start and service:
            raise UsageError(
                f"{run}: is at step {start}, and a tf.data service cannot be told where to go on; "
                "leave out --data_service and add --cache_limit=0, which reads in the same order"
            )
        if start:
            print(f"going on from step {start}", file=sys.stderr)
            if earlier is not None and (change := resume.rate_change(earlier, config, start)):
                print(change, file=sys.stderr)
            if earlier is not None and (change := resume.order_change(earlier, config, start)):
                print(change, file=sys.stderr)
        if service:  # its workers have working directories of their own
            records = [path.absolute() if isinstance(path, Path) else path for path in records]
        fit.fit(
            trainer,
            config,
            records,
            run,
            start,
            service,
            workers,
            copy.send if copy.remote else None,
        )
    if not workers.chief:
        return []
    exported = from_run.export_trained(trainer.dreaming, trainer.steps_done, config, run, records)
    new = start < config.train.steps or not is_reported(run, trainer.steps_done)
    if values.report and new:
        report_training(trainer.dreaming, config.to_json(), trainer.steps_done, records, run)
    return exported


def _plan(config: Any, replicas: int) -> str:
    model, train = config.model, config.train
    held = sum(map(held_out_frames, config.films))
    names = ", ".join(film["name"] for film in config.films)
    frames = sum(film["frames"] for film in config.films)
    return (
        f"{names}: {counted(frames, 'frame')} ({held} held out), "
        f"{model.height}x{model.width}, preset {config.preset}, objective {config.objective}, "
        f"{counted(train.steps, 'step')} of {counted(train.batch_size, 'frame')}, "
        f"{train.precision}, {counted(replicas, 'device')}"
    )


def cli() -> None:
    """Entry point: `python -m bladerunner_ae.train`."""
    define_flags()
    flags.adopt_module_key_flags(train_flags)  # --help lists a module's own flags only
    run_command(
        main,
        less_memory="a smaller --batch_size or --preset takes less, and so does --cache_limit=0",
    )


if __name__ == "__main__":
    cli()
