"""A run from its configuration to its weights: build, restore, start, fit."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from bladerunner_ae.errors import BladerunnerError, UsageError
from bladerunner_ae.model.networks import build_networks
from bladerunner_ae.objectives import objective_of_run
from bladerunner_ae.runs.config import TrainConfig
from bladerunner_ae.runs.folder import RunConfig
from bladerunner_ae.runs.training_set import film_parts
from bladerunner_ae.training import batches as data
from bladerunner_ae.training.callback import TrainingLog
from bladerunner_ae.training.checkpoints import checkpoint_manager
from bladerunner_ae.training.determinism import add_in_order
from bladerunner_ae.training.distributed.workers import NoCheckpoints, Workers
from bladerunner_ae.training.fit_linear_path import initialise_linear_path
from bladerunner_ae.training.monitoring.input_wait import WaitingClock
from bladerunner_ae.training.out_of_memory import explain_out_of_memory
from bladerunner_ae.training.trainer import Trainer
from tfrecords import storage
from tfrecords.errors import RecordsError
from tfrecords.mixture import FilmPart
from tfrecords.reader import find_damage, mixed_frames, through_service, unexplained_loss
from tfrecords.storage import Location
from tfrecords.system_failures import is_out_of_memory

_COMPONENT_FRAMES = 2048
# What TensorFlow says of records that are damaged, cut, or gone.
_READING = (
    tf.errors.DataLossError,
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
    tf.errors.OutOfRangeError,
)


def build_trainer(config: RunConfig) -> Trainer:
    """Builds networks, objective and optimizers; call it inside the strategy's scope."""
    add_in_order()
    objective = objective_of_run(config.objective, config.weights)
    networks = build_networks(
        config.model,
        precision=config.train.precision,
        seed=config.train.seed,
        discriminator="discriminator" in objective.players,
        head=objective.head,
    )
    trainer = Trainer(networks, objective, config.train)
    trainer.compile(
        optimizer=None,
        jit_compile={"auto": "auto", "on": True, "off": False}[config.train.jit],
        steps_per_execution=config.train.steps_per_execution,
    )
    return trainer


def check_replicas(config: TrainConfig, replicas: int) -> None:
    """Checks that what was asked for works on so many devices.

    Raises:
        UsageError: it does not.
    """
    if config.batch_size % replicas:
        raise UsageError(
            f"--batch_size={config.batch_size} does not divide by {replicas} devices; "
            f"give a multiple of {replicas}, or --strategy=none for one device"
        )
    # Neither works in Keras with several replicas: its loop of steps fails on their merges.
    if replicas > 1 and config.steps_per_execution > 1:
        raise UsageError(
            f"--steps_per_execution={config.steps_per_execution} works on one device only, not on "
            f"{replicas}; leave it out"
        )
    if replicas > 1 and config.jit == "on":
        raise UsageError(f"--jit=on works on one device only, not on {replicas}; leave it out")


def fit(
    trainer: Trainer,
    config: RunConfig,
    records: Sequence[storage.AnyPath],
    run: Location,
    start: int,
    service: str = "",
    workers: Workers | None = None,
    after_checkpoint: Callable[[], None] | None = None,
) -> None:
    """Trains from step `start` to the configured number of steps and checkpoints at the end.

    From that number on it only shows what the run came to, which a signal may have cut short.

    Asked to stop by SIGTERM or Ctrl-C, it finishes the step and writes a checkpoint first.

    Args:
        trainer: restored to `start`, or new if that is 0.
        config: of the run.
        records: folder of each film's records, in the order of `config.films`.
        run: run folder.
        start: steps done.
        service: address of a tf.data service that reads and decodes; none if empty.
        workers: that train together; None: this process trains alone.
        after_checkpoint: is called each time the run folder has a new checkpoint, to send it.

    Raises:
        Preempted: SIGTERM came.
        KeyboardInterrupt: Ctrl-C came.
        OutputError: training has blown up, or the watchdog was told to stop it.
        UsageError: the batch does not fit into memory.
        RecordsError: a record is damaged.
    """
    workers = workers or Workers(trainer.distribute_strategy)
    parts = film_parts(config, records)
    batches = _batches(config, parts, start, service, workers)
    clock = WaitingClock()
    if workers.strategy.num_replicas_in_sync == 1 and not workers.several:
        batches = clock.watch(batches)
    with workers.own_folder(run) as folder, workers.preemption(trainer) as preemption:
        manager = checkpoint_manager(trainer, run) if workers.chief else NoCheckpoints()
        log = TrainingLog(
            config, parts, folder, manager, start, preemption, clock, after_checkpoint
        )
        log.set_model(trainer)
        try:
            if start == 0:
                _initialise(trainer, config, parts, batches, workers)
            if start < config.train.steps:
                trainer.fit(
                    batches,
                    steps_per_epoch=config.train.steps - start,
                    epochs=1,
                    verbose=0,
                    shuffle=False,
                    callbacks=[log],
                )
            else:
                log.on_train_begin()
                log.on_train_end()
            preemption.check()  # one that came after the last step: what follows takes its time
        except BaseException as error:
            if preemption.came and not isinstance(error, BladerunnerError | RecordsError):
                _stop(log)
                preemption.check()  # native code may have made another error of the answer
            explained = _explained(error, trainer, config, parts, log, workers, start)
            if explained is None:
                raise
            raise explained from None
        finally:
            log.close()


def _batches(
    config: RunConfig, parts: Sequence[FilmPart], start: int, service: str, workers: Workers
) -> Any:
    """Returns what the steps from `start` on learn from."""

    def read(shard: tuple[int, int] = (0, 1)) -> tf.data.Dataset:
        return mixed_frames(
            parts,
            batch_size=config.train.batch_size // shard[1],
            seed=config.train.seed,
            in_memory=config.reading["order"] == "memory",
            first_batch=start,
            balance=config.reading["balance"],
            shard=shard,
        )

    if workers.several:
        return workers.batches(read, config.train.batch_size)
    batches = through_service(read(), service) if service else read()
    if config.train.steps_per_execution > 1:  # an end, so that the last takes no step too many
        batches = batches.take(config.train.steps - start)
    return batches


def _stop(log: TrainingLog) -> None:
    """Writes a checkpoint of the last step, and says so."""
    step = log.save()
    log.close()
    done = f"step {step}, checkpoint written" if step else "step 0, nothing to keep"
    print(f"stopped at {done}; the same command goes on from there", file=sys.stderr)


def _explained(
    error: BaseException,
    trainer: Trainer,
    config: RunConfig,
    parts: Sequence[FilmPart],
    log: TrainingLog,
    workers: Workers,
    start: int,
) -> Exception | None:
    """Returns what a person should read in place of an error of TensorFlow; None: the error."""
    if isinstance(error, _READING):
        return explain_reading(error, parts)
    if isinstance(error, tf.errors.OpError | MemoryError) and is_out_of_memory(error):
        log.close()
        if workers.several:  # trying which batch fits takes all of them
            asked = f"--batch_size={config.train.batch_size}"
            return UsageError(f"out of memory: {asked} does not fit; give a smaller one")
        return explain_out_of_memory(error, trainer, config, start)
    return None


def _initialise(
    trainer: Trainer, config: RunConfig, parts: Sequence[FilmPart], batches: Any, workers: Workers
) -> None:
    """Does what is done once, before the first step."""
    fits = config.model.linear_path and not (
        config.fine_tune and not config.fine_tune["refit_linear_path"]
    )
    adversary = trainer.networks.discriminator is not None
    decided: list[tf.Variable] = []
    black = False
    if workers.chief and (fits or adversary):
        if workers.several:  # then `batches` are but a part of them
            batches = _batches(config, parts, 0, "", Workers(tf.distribute.get_strategy()))
        count = min(_COMPONENT_FRAMES, sum(int(part.kept().sum()) for part in parts))
        if fits:
            images = data.collect_images(batches, count)
            initialise_linear_path(trainer.networks, config.model, images)
            black = data.is_black(images)
        else:
            black = data.are_black(batches, count)
    if fits:
        decided += [v.value for p in trainer.networks.players().values() for v in p.variables]
    if adversary:
        if black:
            # All that an adversary can tell apart here are the last grey levels of the dream,
            # and what it says of them drives the dream away from black.
            trainer.state.adversarial_scale.assign(0.0)
        decided.append(trainer.state.adversarial_scale)
    if decided:
        workers.take_from_chief(decided)
    if trainer.averages is not None:
        trainer.averages.restart()


def explain_reading(error: tf.errors.OpError, parts: Sequence[FilmPart]) -> RecordsError | None:
    """What is wrong with a run's records that made a step fail.

    Args:
        error: what TensorFlow made of it.
        parts: the films.

    Returns:
        One line, or None if the step failed for another reason than the records.
    """
    for part in parts:
        if damage := find_damage(part.directory, part.card):
            return damage
    if isinstance(error, tf.errors.DataLossError):
        return unexplained_loss(*(part.directory for part in parts))
    return None
