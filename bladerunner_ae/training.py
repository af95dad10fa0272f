"""A run from its configuration to its weights: build, restore, start, fit, export."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from bladerunner_ae import data, saved_models
from bladerunner_ae.errors import InputError, UsageError
from bladerunner_ae.linear_path import initialise_linear_path
from bladerunner_ae.networks import build_networks
from bladerunner_ae.objectives import make_objective
from bladerunner_ae.run_folder import RunConfig
from bladerunner_ae.trainer import Trainer
from bladerunner_ae.training_log import TrainingLog
from tfrecords import storage
from tfrecords.card import load_card
from tfrecords.errors import RecordsError
from tfrecords.mixture import FilmPart
from tfrecords.reader import find_damage, mixed_frames, through_service, unexplained_loss
from tfrecords.storage import Location

_KEPT_CHECKPOINTS = 3
_COMPONENT_FRAMES = 2048


def choose_strategy(name: str) -> tf.distribute.Strategy:
    """Returns the strategy called `name`.

    Args:
        name: "none": one device. "mirrored": all GPUs, or all logical CPUs where there is none.
            "auto": mirrored with two GPUs or more, else none, which is quicker on one.
    """
    gpus = tf.config.list_logical_devices("GPU")
    if name == "none" or (name == "auto" and len(gpus) < 2):
        return tf.distribute.get_strategy()
    if name not in ("auto", "mirrored"):
        raise UsageError(f"--strategy={name}: choose auto, none or mirrored")
    devices = gpus or tf.config.list_logical_devices("CPU")
    return tf.distribute.MirroredStrategy([device.name for device in devices])


def choose_precision(name: str) -> str:
    """Resolves "auto": bfloat16 where the hardware multiplies it, float32 where it would emulate.

    Emulated bfloat16 was measured several times slower than float32.
    """
    if name != "auto":
        return name
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability")
        return "mixed_bfloat16" if capability and capability[0] >= 8 else "float32"
    cpu = Path("/proc/cpuinfo")
    native = cpu.exists() and any(
        flag in cpu.read_text("utf-8", "replace") for flag in ("avx512_bf16", "amx_bf16")
    )
    return "mixed_bfloat16" if native else "float32"


def build_trainer(config: RunConfig) -> Trainer:
    """Builds networks, objective and optimizers; call it inside the strategy's scope."""
    objective = make_objective(config.objective, config.weights)
    networks = build_networks(
        config.model,
        precision=config.train.precision,
        seed=config.train.seed,
        discriminator="discriminator" in objective.players,
    )
    trainer = Trainer(networks, objective, config.train)
    trainer.compile(optimizer=None, jit_compile="auto")
    return trainer


def checkpoint_manager(trainer: Trainer, run: Location) -> tf.train.CheckpointManager:
    """Returns the manager of RUN/checkpoints; checkpoints are named by their step."""
    return tf.train.CheckpointManager(
        tf.train.Checkpoint(trainer=trainer),
        str(run / "checkpoints"),
        max_to_keep=_KEPT_CHECKPOINTS,
        checkpoint_name="step",
    )


def restore(trainer: Trainer, run: Location) -> int:
    """Loads the newest checkpoint of a run, networks and optimizer slots alike.

    Returns:
        The step it was made at; 0 if there is none.

    Raises:
        InputError: a checkpoint is there but does not fit or cannot be read. A run never goes on
            from random weights by mistake.
    """
    manager = checkpoint_manager(trainer, run)
    # The list of checkpoints is kept apart from their files, which a person may have deleted.
    listed = [path for path in (*manager.checkpoints, manager.latest_checkpoint) if path]
    newest = next((path for path in reversed(listed) if storage.exists(f"{path}.index")), None)
    if newest is None:
        return 0
    try:
        manager.checkpoint.restore(newest).assert_consumed()
    except (AssertionError, ValueError, IndexError, tf.errors.OpError) as error:
        # TensorFlow would list everything that was not restored, behind our one line.
        tf.get_logger().setLevel("ERROR")
        reason = " ".join(str(error).split())[:160]
        raise InputError(
            f"{newest}: does not fit this run ({reason}); it is damaged or of another preset or "
            "version; delete it to go on from an earlier one, or start over with --overwrite"
        ) from None
    return trainer.steps_done


def film_parts(config: RunConfig, records: Sequence[storage.AnyPath]) -> list[FilmPart]:
    """Returns a run's films as the reader wants them.

    Args:
        config: of the run.
        records: folder of each film's records, in the order of `config.films`.
    """
    parts = []
    for film, directory in zip(config.films, records, strict=True):
        card = load_card(directory)
        keep = ~data.in_shots(card.frames, film["held_out"])
        parts.append(FilmPart(directory, card, keep, film["weight"]))
    return parts


def fit(
    trainer: Trainer,
    config: RunConfig,
    records: Sequence[storage.AnyPath],
    run: Location,
    start: int,
    service: str = "",
) -> None:
    """Trains from step `start` to the configured number of steps and checkpoints at the end.

    Args:
        trainer: restored to `start`, or new if that is 0.
        config: of the run.
        records: folder of each film's records, in the order of `config.films`.
        run: run folder.
        start: steps done.
        service: address of a tf.data service that reads and decodes; none if empty.
    """
    parts = film_parts(config, records)
    batches = mixed_frames(
        parts,
        batch_size=config.train.batch_size,
        seed=config.train.seed,
        in_memory=config.reading["order"] == "memory",
        first_batch=start,
        balance=config.reading["balance"],
    )
    if service:
        batches = through_service(batches, service)
    manager = checkpoint_manager(trainer, run)
    log = TrainingLog(config, parts, run, manager, start)
    try:
        if start == 0 and config.model.linear_path:
            kept = sum(int(part.kept().sum()) for part in parts)
            images = data.collect_images(batches, min(_COMPONENT_FRAMES, kept))
            initialise_linear_path(trainer.networks, config.model, images)
        trainer.fit(
            batches,
            steps_per_epoch=config.train.steps - start,
            epochs=1,
            verbose=0,
            shuffle=False,
            callbacks=[log],
        )
    except (KeyboardInterrupt, SystemExit):
        # A step is one call of a graph, so the weights are those after a whole step.
        manager.save(checkpoint_number=trainer.steps_done)
        log.close()
        print(f"stopped at step {trainer.steps_done}, checkpoint written", file=sys.stderr)
        raise
    except (tf.errors.DataLossError, tf.errors.InvalidArgumentError) as error:
        explained = explain_reading(error, parts)
        if explained is None:
            raise
        raise explained from None


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


def export(trainer: Trainer, config: RunConfig, run: Location) -> list[Location]:
    """Writes the SavedModels of a trained run to RUN/export as a new version."""
    card: dict[str, Any] = {"step": trainer.steps_done, **config.to_json()}
    return saved_models.export_models(trainer.networks, card, run / "export")


def export_if_new(trainer: Trainer, config: RunConfig, run: Location) -> list[Location]:
    """As `export`, but leaves newest versions alone that were made at this very step."""
    newest = saved_models.newest_versions(run / "export")
    steps = {saved_models.load_model_card(path).get("step") for path in newest}
    if len(newest) == len(saved_models.MODELS) and steps == {trainer.steps_done}:
        return newest
    return export(trainer, config, run)
