"""A run's checkpoints: found by their files, restored whole or not at all."""

import shutil
from pathlib import Path

import tensorflow as tf

from bladerunner_ae.errors import InputError, ReplaceableError
from bladerunner_ae.runs.files import CHECKPOINTS, checkpoint_steps, is_whole
from bladerunner_ae.training.trainer import STATE_OF_LATER_VERSIONS, Trainer
from tfrecords import spool, storage
from tfrecords.storage import Location

_KEPT = 3


def checkpoint_path(run: Location, step: int) -> str:
    """Returns the path of a checkpoint as TensorFlow wants it, without the files' endings."""
    return storage.join(run / CHECKPOINTS, f"step-{step}")


def _readable(run: Location, step: int) -> str:
    """The path by which TensorFlow reads a checkpoint, of a remote run that of a copy."""
    folder = spool.local_folder(run / CHECKPOINTS, start=f"step-{step}.")
    return storage.join(folder, f"step-{step}")


def checkpoint_manager(trainer: Trainer, run: Location) -> tf.train.CheckpointManager:
    """Returns the manager that writes RUN/checkpoints; checkpoints are named by their step.

    Mends the list of checkpoints where it does not agree with the files, so that none of them is
    forgotten and kept for ever, and removes what a process that was killed has left half written.
    """
    folder = run / CHECKPOINTS
    paths = [checkpoint_path(run, step) for step in checkpoint_steps(run)]
    listed = _listed(folder)
    if paths and listed != paths:
        # A manager never deletes those that have no time later than this.
        mended = tf.compat.v1.train.generate_checkpoint_state_proto(
            str(folder),
            paths[-1],
            paths,
            all_model_checkpoint_timestamps=[float(i + 1) for i in range(len(paths))],
            last_preserved_timestamp=0.0,
        )
        storage.write_text(folder / "checkpoint", str(mended))
    if isinstance(folder, Path):
        for unfinished in folder.glob("step-*_temp*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        for unfinished in folder.glob("checkpoint.tmp*"):
            unfinished.unlink(missing_ok=True)
        for index in folder.glob("step-*.index"):
            if not is_whole(index):
                index.unlink(missing_ok=True)
        for data in folder.glob("step-*.data-*"):  # half written, or half deleted
            if not data.with_name(f"{data.name.split('.')[0]}.index").exists():
                data.unlink(missing_ok=True)
    return tf.train.CheckpointManager(
        tf.train.Checkpoint(**trainer.checkpoint_parts()),
        str(folder),
        max_to_keep=_KEPT,
        checkpoint_name="step",
    )


def _listed(folder: Location) -> list[str]:
    """Returns the checkpoints that TensorFlow's list names; none if it is lost or damaged."""
    try:
        state = tf.train.get_checkpoint_state(str(folder))
    except UnicodeDecodeError:  # other damage it takes for a list that is not there
        return []
    return list(state.all_model_checkpoint_paths) if state else []


def restore(trainer: Trainer, run: Location) -> int:
    """Loads the newest checkpoint of a run: networks, optimizer slots, averages, watchdog.

    Returns:
        The step it was made at; 0 if there is none.

    Raises:
        InputError: a checkpoint is there but does not fit or cannot be read. A run never goes on
            from random weights by mistake.
    """
    steps = checkpoint_steps(run)
    if not steps:
        return 0
    newest = _readable(run, steps[-1])
    try:
        # Not `tf.train.list_variables`, which takes a name in a bucket for a folder.
        reader = tf.compat.v1.train.NewCheckpointReader(newest)
        held = {name.split("/")[0] for name in reader.get_variable_to_shape_map()}
        parts = {
            name: part
            for name, part in trainer.checkpoint_parts().items()
            if name in held or name not in STATE_OF_LATER_VERSIONS
        }
        tf.train.Checkpoint(**parts).restore(newest).assert_consumed()
    except (AssertionError, ValueError, IndexError, tf.errors.OpError) as error:
        # TensorFlow would list everything that was not restored, behind our one line.
        tf.get_logger().setLevel("ERROR")
        reason = " ".join(str(error).split())[:160]
        raise ReplaceableError(
            f"{newest}: does not fit this run ({reason}); it is damaged or of another preset or "
            "version; delete it to go on from an earlier one, or start over with --overwrite"
        ) from None
    return trainer.steps_done


def check_newest(run: Location) -> None:
    """Reads the newest checkpoint of a run from end to end; TensorFlow checks its sums.

    Raises:
        InputError: it is damaged.
    """
    newest = _readable(run, checkpoint_steps(run)[-1])
    try:
        reader = tf.compat.v1.train.NewCheckpointReader(newest)
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except (ValueError, IndexError, tf.errors.OpError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(
            f"{newest}: is damaged ({reason}); delete its files to use an earlier one"
        ) from None
