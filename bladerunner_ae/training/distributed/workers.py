"""Several processes, on one machine or many, that train one run together.

Each reads its own part of every global batch, all hold the same weights, and the first one, the
chief, writes.
"""

import contextlib
import functools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from bladerunner_ae.training.distributed.cluster import Cluster
from tfrecords.storage import Location


class Workers:
    """The workers of a run, seen from one of them; also of a run with only one."""

    def __init__(self, strategy: tf.distribute.Strategy, cluster: Cluster | None = None) -> None:
        self._strategy, self._cluster = strategy, cluster or Cluster()

    @property
    def strategy(self) -> tf.distribute.Strategy:
        return self._strategy

    @property
    def chief(self) -> bool:
        """Whether this is the one worker that writes."""
        return self._cluster.chief

    @property
    def index(self) -> int:
        return self._cluster.index

    @property
    def several(self) -> bool:
        return self._cluster.count > 1

    def gather(self, number: int) -> list[int]:
        """Return the number of every worker; blocks until all workers have called it."""
        if not self.several:
            return [number]
        found = self._filled_places(tf.constant(number, tf.int64)).numpy()
        return found[:: len(found) // self._cluster.count].tolist()

    @functools.cached_property
    def _filled_places(self) -> Callable[[tf.Tensor], tf.Tensor]:
        places = tf.range(self._strategy.num_replicas_in_sync)

        def fill_own_place(number: tf.Tensor) -> tf.Tensor:
            context = tf.distribute.get_replica_context()
            own = tf.equal(places, context.replica_id_in_sync_group)
            return context.all_reduce("SUM", tf.where(own, number, 0))

        return self._on_replicas(fill_own_place)

    def take_from_chief(self, variables: Sequence[tf.Variable]) -> None:
        """Give variables the chief's values.

        Initial values computed on other processors may differ in the last bits, or in signs, and
        would stay different: what training adds is the same for all.
        """
        if not self.several:
            return

        def first_ones() -> list[tf.Tensor]:
            context = tf.distribute.get_replica_context()
            first = tf.equal(context.replica_id_in_sync_group, 0)
            # In one type, as they are sent together; every number of 16 bits is one of 32.
            values = [tf.cast(v.read_value(), tf.float32) for v in variables]
            return context.all_reduce(
                "SUM", [tf.where(first, value, tf.zeros_like(value)) for value in values]
            )

        with self._strategy.scope():
            for variable, value in zip(variables, self._on_replicas(first_ones)(), strict=True):
                variable.assign(tf.cast(value, variable.dtype))

    def _on_replicas(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Have all workers' replicas call a function that returns the same on each of them."""

        @tf.function  # type: ignore[untyped-decorator]
        def call(*arguments: tf.Tensor) -> Any:
            results = self._strategy.run(function, arguments)
            local = self._strategy.experimental_local_results
            return tf.nest.map_structure(lambda value: local(value)[0], results)

        return call

    def wait_for_all(self) -> None:
        """Block until all workers have come here; one that leaves early would seem lost."""
        self.gather(0)

    @contextlib.contextmanager
    def own_folder(self, run: Location) -> Iterator[Location]:
        """Provide the folder for this worker's logs and samples: the run's, for the chief.

        The others compute what the chief shows, because the watchdog judges by it and all must come
        to the same verdict; their folder is deleted.
        """
        if self.chief:
            yield run
        else:
            with tempfile.TemporaryDirectory(prefix="bladerunner-worker-") as folder:
                yield Path(folder)

    def batches(self, read: Callable[[tuple[int, int]], tf.data.Dataset], batch_size: int) -> Any:
        """Return this worker's part of the global batches, for `Trainer.fit`.

        `read` returns the batches of (worker, workers), of `batch_size` / workers frames.
        """
        shard = (self._cluster.index, self._cluster.count)
        share = batch_size // self._strategy.num_replicas_in_sync
        # The strategy expects one batch a replica here, its own replicas taking turns.
        return self._strategy.distribute_datasets_from_function(
            lambda context: read(shard).rebatch(share, drop_remainder=True)
        )
