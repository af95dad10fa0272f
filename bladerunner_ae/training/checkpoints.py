"""A run's checkpoints: found by their files, restored whole or not at all."""

import shutil
from pathlib import Path

import tensorflow as tf

from bladerunner_ae.errors import InputError, ReplaceableError
from bladerunner_ae.runs.files import CHECKPOINTS, checkpoint_steps, is_whole
from bladerunner_ae.training.trainer import Trainer
from tfrecords import local_copies, storage
from tfrecords.storage import Location

_KEPT = 3


def checkpoint_path(run: Location, step: int) -> str:
    """Return the path of a checkpoint as TensorFlow wants it, without the files' endings."""
    return storage.join(run / CHECKPOINTS, f"step-{step}")


def _readable(run: Location, step: int) -> str:
    """The path by which TensorFlow reads a checkpoint, of a remote run that of a copy."""
    folder = local_copies.local_folder(run / CHECKPOINTS, start=f"step-{step}.")
    return storage.join(folder, f"step-{step}")


def checkpoint_manager(trainer: Trainer, run: Location) -> tf.train.CheckpointManager:
    """Return the manager of RUN/checkpoints, named by step; repair the folder after a kill."""
    folder = run / CHECKPOINTS
    _repair_list(run)
    if isinstance(folder, Path):
        _remove_unfinished(folder)
    return tf.train.CheckpointManager(
        tf.train.Checkpoint(**trainer.checkpoint_parts()),
        str(folder),
        max_to_keep=_KEPT,
        checkpoint_name="step",
    )


def _repair_list(run: Location) -> None:
    """Make TensorFlow's list of checkpoints agree with the files; it never deletes others."""
    folder = run / CHECKPOINTS
    paths = [checkpoint_path(run, step) for step in checkpoint_steps(run)]
    try:
        state = tf.train.get_checkpoint_state(str(folder))
    except UnicodeDecodeError:  # other damage counts as a missing list
        state = None
    if paths and (state is None or list(state.all_model_checkpoint_paths) != paths):
        # A manager deletes only those that have a time later than the last preserved.
        repaired = tf.compat.v1.train.generate_checkpoint_state_proto(
            str(folder),
            paths[-1],
            paths,
            all_model_checkpoint_timestamps=[float(i + 1) for i in range(len(paths))],
            last_preserved_timestamp=0.0,
        )
        storage.write_text(folder / "checkpoint", str(repaired))


def _remove_unfinished(folder: Path) -> None:
    """Remove what is half written, or half deleted."""
    for unfinished in folder.glob("step-*_temp*"):
        shutil.rmtree(unfinished, ignore_errors=True)
    half = [index for index in folder.glob("step-*.index") if not is_whole(index)]
    for path in [*folder.glob("checkpoint.tmp*"), *half]:
        path.unlink(missing_ok=True)
    for data in folder.glob("step-*.data-*"):
        if not data.with_name(f"{data.name.split('.')[0]}.index").exists():
            data.unlink(missing_ok=True)


def restore(trainer: Trainer, run: Location) -> int:
    """Load the newest checkpoint (networks, optimizers, averages, watchdog); return its step or 0.

    One that does not fit or cannot be read is a ReplaceableError: a run never continues from random
    weights by mistake.
    """
    steps = checkpoint_steps(run)
    if not steps:
        return 0
    newest = _readable(run, steps[-1])
    try:
        tf.train.Checkpoint(**trainer.checkpoint_parts()).restore(newest).assert_consumed()
    except (AssertionError, ValueError, IndexError, tf.errors.OpError) as error:
        # TensorFlow would list everything that was not restored, after our one line.
        tf.get_logger().setLevel("ERROR")
        raise ReplaceableError(
            f"{newest}: does not fit this run ({_short(error)}); it is damaged or of another "
            "preset or version; delete it to resume from an earlier one, or start over with "
            "--overwrite"
        ) from None
    return trainer.steps_done


def check_newest(run: Location) -> None:
    """Read the newest checkpoint from end to end, so that TensorFlow verifies its checksums."""
    newest = _readable(run, checkpoint_steps(run)[-1])
    try:
        # `tf.train.load_checkpoint` takes a name in a bucket for a folder.
        reader = tf.compat.v1.train.NewCheckpointReader(newest)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except (ValueError, IndexError, tf.errors.OpError) as error:
        raise InputError(
            f"{newest}: is damaged ({_short(error)}); delete its files to use an earlier one"
        ) from None


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:160]
