"""Which batch would have fitted, found by trying."""

import tensorflow as tf

from bladerunner_ae.errors import UsageError
from bladerunner_ae.runs.run_config import RunConfig
from bladerunner_ae.training.trainer import Trainer
from tfrecords.system_failures import is_out_of_memory


def largest_batch(trainer: Trainer, config: RunConfig) -> int:
    """Halves the batch until a step of it fits into memory.

    The steps are real ones, on black frames, so the trainer is spoilt afterwards.

    Returns:
        The size, a multiple of the number of devices; 0 if not even the smallest fits.
    """
    replicas = trainer.distribute_strategy.num_replicas_in_sync
    size = config.train.batch_size // 2 // replicas * replicas
    while size:
        shape = (size, config.model.height, config.model.width, 3)
        black = tf.data.Dataset.from_tensors({"image": tf.zeros(shape, tf.uint8)})
        options = tf.data.Options()
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
        try:
            trainer.fit(black.with_options(options), verbose=0, shuffle=False)
        except (tf.errors.OpError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            size = size // 2 // replicas * replicas
        else:
            return size
    return 0


def explain_out_of_memory(
    error: BaseException, trainer: Trainer, config: RunConfig, start: int = 0
) -> UsageError | None:
    """Says which batch would fit; to be called when a step has failed for want of memory.

    Args:
        error: what the step failed with.
        trainer, config: of the run.
        start: the step that the run was resumed from. Starting over would lose what it has learnt.

    Returns:
        None if the error is about something else, such as a disk.
    """
    if not is_out_of_memory(error):
        return None
    fits = largest_batch(trainer, config)
    if not fits:
        cure = "nor does any smaller one: choose a smaller --preset, or convert the film smaller"
    elif start:
        cure = (
            f"--batch_size={fits} does, but a run keeps its batch: end other programs that use "
            f"this memory and resume from step {start}, here or on a larger machine"
        )
    else:
        cure = f"--batch_size={fits} does (add --overwrite to start over with it)"
    return UsageError(f"out of memory: --batch_size={config.train.batch_size} does not fit; {cure}")
