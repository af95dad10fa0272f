"""A training from its options to the exported models: the function behind the command."""

import contextlib
import dataclasses
import os
import shlex
import sys
from pathlib import Path

from bladerunner_ae.errors import UsageError
from bladerunner_ae.exports.from_run import export_trained
from bladerunner_ae.memory_report.write import is_reported, report_training
from bladerunner_ae.runs.files import CONFIG_NAME, FLAGS_NAME, refuse_to_delete, settling
from bladerunner_ae.runs.folder import load_config, open_run, write_json, writing
from bladerunner_ae.runs.presets import preset
from bladerunner_ae.runs.run_config import RunConfig
from bladerunner_ae.runs.working_copy import WorkingCopy
from bladerunner_ae.training import fine_tuning, resume
from bladerunner_ae.training.batches import check_service
from bladerunner_ae.training.best_weights import networks_to_show
from bladerunner_ae.training.checkpoints import checkpoint_steps, restore
from bladerunner_ae.training.distributed import agreement, devices
from bladerunner_ae.training.distributed.workers import Workers
from bladerunner_ae.training.fit import build_trainer, check_replicas, fit
from bladerunner_ae.training.run_length import is_open
from bladerunner_ae.training.time_limit import seconds_spent
from bladerunner_ae.training.trainer import Trainer
from bladerunner_ae.training.training_options import TrainingOptions, describe, run_config
from tfrecords import local_copies, storage
from tfrecords.storage import Location, location


def run_training(options: TrainingOptions) -> list[Location]:
    """Train a run, or resume it, and export it; say on stderr what happens.

    Must come before TensorFlow's first operation where the options name a device or a strategy.

    Returns:
        The exported models, RUN/export/NAME/VERSION each; none for `dry_run`, or on a worker that
        is not the chief.

    Raises:
        UsageError: the options make no sense.
        InputError, RecordsError: records or run folder are missing, damaged or of another run.
        OutputError: the output could not be written, or training has blown up.
        Preempted, KeyboardInterrupt: a signal came; a checkpoint was written first.
    """
    if options.spool_dir:
        os.environ[local_copies.FOLDER] = os.fspath(options.spool_dir)
    if options.data_service:
        check_service(options.data_service)
    records = [location(directory) for directory in options.data]
    run = location(options.model_dir)
    devices.choose_device(options.device)
    if options.device == "auto" and (reason := devices.why_no_gpu()):
        _say(f"note: training on the CPU: {reason}")
    config = _fine_tuned(run_config(options), options, run)
    workers = devices.join(options.strategy, os.environ)
    replicas = workers.strategy.num_replicas_in_sync
    check_replicas(config.train, replicas)
    if workers.several and options.data_service:
        raise UsageError("--data_service serves one worker only; leave it out")
    _say(describe(config, replicas))
    usual = preset(options.preset).train.get("augment", 0.0)
    short = config.train.augment < usual and not config.model.moments
    if "augment" not in options.changes and short:
        _say(f"a short film for {config.model.latent_size} numbers a frame: its frames are not "
             "moved (--augment=0)")  # fmt: skip
    if options.dry_run:
        return []
    copy = WorkingCopy(run)
    with contextlib.ExitStack() as stack:
        if workers.chief:
            run = stack.enter_context(copy.opened(options.overwrite))
            stack.enter_context(writing(run))
            if options.overwrite:
                refuse_to_delete(run, _inputs(options))
            stack.enter_context(settling(run))
        stack.enter_context(agreement.losses_explained(workers, run))
        resumes = storage.is_file(run / CONFIG_NAME) and not options.overwrite
        earlier = load_config(run) if resumes else None
        config = resume.kept_length(config, earlier)
        if workers.chief:
            config = open_run(run, config, options.overwrite)
            if options.flagfile:
                storage.write_text(run / FLAGS_NAME, options.flagfile)
            if workers.several:  # they look for it
                copy.send()
        agreement.check_same_run(workers, config, run)
        trainer, config, new = _trained(config, earlier, workers, records, run, options, copy)
        exported = []
        if workers.chief:
            networks, step = networks_to_show(trainer, run, config.train.keep)
            done = trainer.steps_done
            exported = export_trained(networks, step, config, run, records, new, done)
            if options.report and (new or not is_reported(run, step)):
                report_training(networks, config.to_json(), step, records, run, done)
        copy.send()
        workers.wait_for_all()
        return [copy.place_of(model) for model in exported]


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def _inputs(options: TrainingOptions) -> list[tuple[str, Location]]:
    """Everything that the command reads, with the flag that names it."""
    given = [("--data", folder) for folder in options.data]
    if options.fine_tune_from:
        given.append(("--fine_tune_from", options.fine_tune_from))
    given += [("--flagfile", file) for file in options.flagfiles]
    return [(flag, location(path)) for flag, path in given]


def _fine_tuned(config: RunConfig, options: TrainingOptions, run: Location) -> RunConfig:
    """Add what `fine_tune_from` asks for, and check it if this start is going to need it."""
    if not options.fine_tune_from:
        if options.refit_linear_path is not None:
            raise UsageError("--refit_linear_path belongs to --fine_tune_from=RUN")
        return config
    source = location(options.fine_tune_from)
    config = fine_tuning.fine_tuned(config, source, options.refit_linear_path)
    if options.overwrite or not checkpoint_steps(run):
        fine_tuning.check_source(config, run)
    return config


def _trained(
    config: RunConfig,
    earlier: RunConfig | None,
    workers: Workers,
    records: list[Location],
    run: Location,
    options: TrainingOptions,
    copy: WorkingCopy,
) -> tuple[Trainer, RunConfig, bool]:
    """Train to the end; return also the configuration as written, and whether anything was left."""
    with workers.strategy.scope():
        trainer = build_trainer(config)
        start = restore(trainer, run)
        agreement.check_same_start(workers, start, run)
        if start == 0 and config.fine_tune:
            config = fine_tuning.load_source(trainer, config)
            if workers.chief:
                write_json(run / CONFIG_NAME, config.to_json())
    config = _with_known_length(config, workers, run, start)
    trainer.length.set(config.train)
    if start == 0 and earlier and workers.chief and (lost := resume.lost_checkpoints(run)):
        _say(lost)
    _say(f"tensorboard --logdir {shlex.quote(str(run))}")
    steps = config.train.steps
    # All workers show it together, as they train: the chief may need what only others have.
    ended = start == steps and not is_open(config.train)
    unshown = ended and any(workers.gather(int(not resume.has_finished(run, start))))
    if unshown:
        _say(f"trained to step {start}; showing the results")
        fit(trainer, config, records, run, start, workers=workers)
    elif start >= steps and not is_open(config.train):
        _say(f"already trained to step {start}; nothing to do")
    else:
        if start:
            for line in resume.resuming(config, earlier, run, start, options.data_service):
                _say(line)
        if options.data_service:  # its workers have working directories of their own
            records = [path.absolute() if isinstance(path, Path) else path for path in records]
        send = copy.send if copy.remote else None
        fit(
            trainer, config, records, run, start, options.data_service, workers,
            after_checkpoint=send,
        )  # fmt: skip
    trained = unshown or start < trainer.length.steps
    return trainer, dataclasses.replace(config, train=trainer.length.config), trained


def _with_known_length(config: RunConfig, workers: Workers, run: Location, start: int) -> RunConfig:
    """Return the configuration with its length, as far as the chief's clock tells."""
    if config.train.minutes is None:
        return config
    time_is_up = workers.gather(int(seconds_spent(run) >= 60.0 * config.train.minutes))[0] > 0
    config = resume.length_at(config, start, time_is_up)
    if workers.chief:
        write_json(run / CONFIG_NAME, config.to_json())
    return config
