"""A run from its configuration to its weights: build, initialise, fit."""

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from bladerunner_ae.errors import BladerunnerError, UsageError
from bladerunner_ae.evaluation.measurement import explain_reading
from bladerunner_ae.model.networks import build_networks
from bladerunner_ae.objectives import objective_of_run
from bladerunner_ae.runs.config import TrainConfig
from bladerunner_ae.runs.files import CONFIG_NAME, MEMORY_FIT
from bladerunner_ae.runs.folder import write_json
from bladerunner_ae.runs.presets import preset
from bladerunner_ae.runs.run_config import RunConfig
from bladerunner_ae.runs.training_set import film_parts
from bladerunner_ae.training import batches as training_batches
from bladerunner_ae.training.best_weights import BestWeights
from bladerunner_ae.training.callbacks import RunWatch, Watched
from bladerunner_ae.training.checkpoints import checkpoint_manager
from bladerunner_ae.training.determinism import add_in_order
from bladerunner_ae.training.distributed.keras_loop import use_workers_step
from bladerunner_ae.training.distributed.workers import Workers
from bladerunner_ae.training.fit_linear_path import initialise_linear_path
from bladerunner_ae.training.fit_memory import fit_memory, forget_fit, initialise_memory
from bladerunner_ae.training.logs import RunLog
from bladerunner_ae.training.monitoring.input_wait import WaitingClock
from bladerunner_ae.training.monitoring.probes import Probes
from bladerunner_ae.training.run_length import decided, is_open, most_steps
from bladerunner_ae.training.stopping import Preemption, SharedPreemption
from bladerunner_ae.training.time_limit import LearningClock, steps_in, trial_pace
from bladerunner_ae.training.trainer import Trainer
from tfrecords.mixture import FilmPart
from tfrecords.reader import mixed_frames, through_service
from tfrecords.storage import AnyPath, Location
from tfrecords.system_failures import is_out_of_memory

_COMPONENT_FRAMES = 2048
_NOISE_FRAMES = 256
_UNENDING = 2**40
# TensorFlow's errors for records that are damaged, cut, or gone.
_READING = (
    tf.errors.DataLossError,
    tf.errors.InvalidArgumentError,
    tf.errors.NotFoundError,
    tf.errors.OutOfRangeError,
)


def build_trainer(config: RunConfig) -> Trainer:
    """Build networks, objective and optimizers; call it inside the strategy's scope."""
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
    """Check that what was asked for works on so many devices."""
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
    records: Sequence[AnyPath],
    run: Location,
    start: int,
    service: str = "",
    workers: Workers | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    after_checkpoint: Callable[[], None] | None = None,
) -> None:
    """Train from step `start` to the configured number of steps and checkpoint at the end.

    Where the configuration has minutes, the number is found out, written to RUN/config.json and
    left in `trainer.length`. From that number on it only shows what the run came to, which a signal
    may have cut short. Asked to stop by SIGTERM or Ctrl-C, it finishes the step, writes a
    checkpoint and raises Preempted or KeyboardInterrupt.

    Args:
        trainer: restored to `start`, or new if that is 0.
        records: folder of each film's records, in the order of `config.films`.
        service: address of a tf.data service that reads and decodes; none if empty.
        workers: that train together; None: this process trains alone.
        callbacks: further ones, called after those of `RunWatch`.
        after_checkpoint: called each time the run folder has a new checkpoint, to send it.
    """
    workers = workers or Workers(trainer.distribute_strategy)
    parts = film_parts(config, records)
    batches = _batches(config, parts, start, service, workers)
    timed = config.train.minutes is not None
    clock = WaitingClock()
    if workers.strategy.num_replicas_in_sync == 1 and not workers.several:
        batches = clock.watch(batches)
    preemption = _preemption(trainer, workers)
    watch: RunWatch | None = None
    with workers.own_folder(run) as folder, preemption, contextlib.ExitStack() as opened:
        unfinished = Path(str(folder)) / MEMORY_FIT  # a run in a bucket is written here first
        learning = LearningClock(folder, fresh=start == 0)

        def keep_config(changed: RunConfig) -> None:
            if workers.chief:
                write_json(run / CONFIG_NAME, changed.to_json())

        try:
            if start == 0:
                _initialise(trainer, config, parts, batches, workers, unfinished, preemption)
            opens = is_open(config.train)
            if timed and (opens or start < trainer.length.steps):
                config = _decided(trainer, config, batches, start, learning, workers)
                keep_config(config)
            steps = trainer.length.steps
            log = RunLog(folder, start, steps, after_checkpoint)
            opened.callback(log.close)
            save = checkpoint_manager(trainer, run).save if workers.chief else _chief_saves
            probes = Probes(parts)
            keeps = workers.chief and config.train.keep == "best"
            watched = Watched(
                config, parts, trainer, log, preemption, clock, save, probes, learning,
                keep_config, agree=lambda number: workers.gather(number)[0],
                best=BestWeights(run, start, trainer.objective.allowed_fall) if keeps else None,
                pace_is_known=opens,
            )  # fmt: skip
            watch = RunWatch(watched)
            watch.begin()
            if start < steps:
                trainer.fit(
                    batches,
                    # `callbacks.Timing` ends a run of so many minutes.
                    steps_per_epoch=_UNENDING if timed else steps - start,
                    epochs=1,
                    verbose=0,
                    shuffle=False,
                    callbacks=[*watch.callbacks, *callbacks],
                )
            watch.finish()
            forget_fit(unfinished)
            opened.close()
            preemption.check()  # one that came after the last step: what follows takes its time
        except BaseException as error:
            if preemption.came and not isinstance(error, BladerunnerError):
                if watch is not None:
                    watch.checkpoints.write()
                opened.close()
                if trainer.steps_done:
                    learning.write()
                _say_stopped(trainer.steps_done)
                preemption.check()  # native code may have made another error of the answer
            opened.close()
            if trainer.steps_done:
                learning.write()
            if explained := _explained(error, config, parts):
                raise explained from None
            raise


def _chief_saves(checkpoint_number: int) -> None:
    """Write nothing: the chief's checkpoint holds the same."""


def _preemption(trainer: Trainer, workers: Workers) -> Preemption:
    """Return what answers signals in the loop; of several workers, all at the same step."""
    if not workers.several:
        return Preemption(lambda: trainer.steps_done)
    preemption = SharedPreemption()
    use_workers_step(trainer, workers.strategy, preemption)
    return preemption


def _batches(
    config: RunConfig, parts: Sequence[FilmPart], start: int, service: str, workers: Workers
) -> Any:
    """Return what the steps from `start` on learn from."""

    def read(shard: tuple[int, int] = (0, 1)) -> tf.data.Dataset:
        return mixed_frames(
            parts,
            batch_size=config.train.batch_size // shard[1],
            seed=config.train.seed,
            in_memory=config.reading.order == "memory",
            first_batch=start,
            balance=config.reading.balance,
            shard=shard,
        )

    if workers.several:
        return workers.batches(read, config.train.batch_size)
    batches = through_service(read(), service) if service else read()
    ends = config.train.minutes is None
    if (
        ends and config.train.steps_per_execution > 1
    ):  # an end, so that the last takes no step too many
        batches = batches.take(config.train.steps - start)
    return batches


def _decided(
    trainer: Trainer,
    config: RunConfig,
    batches: Any,
    start: int,
    learning: LearningClock,
    workers: Workers,
) -> RunConfig:
    """Find out how many steps fit into the minutes asked for, if that is open; return it as data.

    The last of several steps that are taken at once must be the last of all.
    """
    train = config.train
    at_once = train.steps_per_execution
    assert train.minutes is not None
    if is_open(train):
        limit = train.minutes * 60.0
        pace = trial_pace(trainer, batches, limit - learning.seconds, not workers.several)
        fitting = start + max(steps_in(limit - learning.seconds, pace, at_once), at_once)
        most = most_steps(config)
        steps = workers.gather(fitting if most is None else min(fitting, most))[0]
        usual = preset(config.preset).train.get("warmup_steps", 0)
        trainer.length.set(decided(train, steps, usual))
        if workers.chief:
            print(
                f"{train.minutes:g} minutes: {steps} steps, each of {pace:.3g} s "
                f"(--steps={steps} repeats the run)",
                file=sys.stderr,
            )
    if over := (trainer.length.steps - start) % at_once:
        trainer.length.change(start, max(trainer.length.steps - over, start + at_once))
    return dataclasses.replace(config, train=trainer.length.config)


def _say_stopped(step: int) -> None:
    done = f"step {step}, checkpoint written" if step else "step 0, nothing to keep"
    print(f"stopped at {done}; the same command resumes from there", file=sys.stderr)


def _explained(
    error: BaseException, config: RunConfig, parts: Sequence[FilmPart]
) -> Exception | None:
    """Return what a person should read in place of an error of TensorFlow; None: the error."""
    if isinstance(error, _READING):
        return explain_reading(error, parts)
    if isinstance(error, tf.errors.OpError | MemoryError) and is_out_of_memory(error):
        return UsageError(
            f"out of memory: --batch_size={config.train.batch_size} does not fit; give a smaller "
            "one (with --overwrite, as a run keeps its batch), choose a smaller --preset, or end "
            "other programs that use this memory"
        )
    return None


def _initialise(
    trainer: Trainer,
    config: RunConfig,
    parts: Sequence[FilmPart],
    batches: Any,
    workers: Workers,
    unfinished: Path,
    preemption: Preemption,
) -> None:
    """Do what is done once, before the first step."""
    fits = config.model.linear_path and not (
        config.fine_tune and not config.fine_tune.refit_linear_path
    )
    adversary = trainer.networks.discriminator is not None
    decided: list[tf.Variable] = []
    black = False
    if workers.chief and (fits or adversary):
        if workers.several:  # then `batches` are but a part of them
            batches = _batches(config, parts, 0, "", Workers(tf.distribute.get_strategy()))
        count = min(_COMPONENT_FRAMES, sum(int(part.kept().sum()) for part in parts))
        if fits and config.model.moments:
            values = fit_memory(config.model, parts, unfinished, preemption.check)
            images = training_batches.collect_images(batches, min(count, _NOISE_FRAMES))
            initialise_memory(trainer.networks, config.model, values, images)
            black = training_batches.is_black(images)
        elif fits:
            images = training_batches.collect_images(batches, count)
            initialise_linear_path(trainer.networks, config.model, images)
            black = training_batches.is_black(images)
        else:
            black = training_batches.are_black(batches, count)
    if fits:
        players = trainer.networks.players().values()
        shared = {id(v): v.value for p in players for v in p.variables}  # the memory, once
        decided += shared.values()
    if adversary:
        if black:
            # An adversary could only tell apart the last grey levels of the dream, and would
            # drive it away from black.
            trainer.state.adversarial_scale.assign(0.0)
        decided.append(trainer.state.adversarial_scale)
    if decided:
        workers.take_from_chief(decided)
    if trainer.averages is not None:
        trainer.averages.restart()
