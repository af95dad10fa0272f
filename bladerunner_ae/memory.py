"""Which batch would have fitted, found by trying."""

import errno
import os

import tensorflow as tf

from bladerunner_ae.errors import UsageError
from bladerunner_ae.run_folder import RunConfig
from bladerunner_ae.trainer import Trainer


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
        except tf.errors.ResourceExhaustedError:
            size = size // 2 // replicas * replicas
        else:
            return size
    return 0


def explain_out_of_memory(
    error: tf.errors.ResourceExhaustedError, trainer: Trainer, config: RunConfig
) -> UsageError | None:
    """Says which batch would fit; to be called when a step has failed for want of memory.

    Returns:
        None if the error is about a disk.
    """
    if os.strerror(errno.ENOSPC) in str(error):
        return None
    asked = config.train.batch_size
    fits = largest_batch(trainer, config)
    cure = (
        f"--batch_size={fits} does (add --overwrite to start over with it)"
        if fits
        else "nor does any smaller one: choose a smaller --preset, or convert the film smaller"
    )
    return UsageError(f"out of memory: --batch_size={asked} does not fit; {cure}")
