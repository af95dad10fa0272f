"""Time that training waits for its data."""

import time

import tensorflow as tf


class WaitingClock:
    """Adds up the time between asking a dataset for a batch and getting it.

    Measured in the dataset's native code, with two readings of the clock a batch. A GPU runs its
    steps asynchronously and may not notice the wait, so the share is an upper bound there.
    """

    def __init__(self) -> None:
        with tf.device("CPU:0"):
            self._seconds = tf.Variable(0.0, trainable=False, dtype=tf.float64)
        self._watches = False
        self._last = (time.monotonic(), 0.0)

    def watch(self, batches: tf.data.Dataset) -> tf.data.Dataset:
        """Return the same batches in the same order, measured; for one device only."""
        self._watches = True
        asked = tf.data.Dataset.counter().map(lambda _: tf.timestamp())

        def arrive(since: tf.Tensor, batch: object) -> object:
            self._seconds.assign_add(tf.timestamp() - since)
            return batch

        options = tf.data.Options()
        # A buffer after the clock would make it measure how long the buffer waits.
        options.experimental_optimization.inject_prefetch = False
        return tf.data.Dataset.zip((asked, batches)).map(arrive).with_options(options)

    def share(self) -> float | None:
        """Return the part, 0..1, of the time since the last call; None if nothing is watched."""
        if not self._watches:
            return None
        now, waited = time.monotonic(), float(self._seconds.numpy())
        then, before = self._last
        self._last = (now, waited)
        return min(max((waited - before) / max(now - then, 1e-9), 0.0), 1.0)
