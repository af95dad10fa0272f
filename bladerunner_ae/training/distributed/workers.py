"""Several processes, on one machine or many, that train one run together.

Keras 3 does not serve `tf.distribute.MultiWorkerMirroredStrategy`: its loop reduces every log by an
operation that scalars do not have. So the loop's function is ours here, and everything else (the
step, callbacks, checkpoints) is that of a run on one machine. Each worker reads its own part of
every global batch, all of them hold the same weights, and the first one, the chief, writes.
"""

import contextlib
import functools
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tensorflow as tf

from bladerunner_ae.errors import InputError, OutputError, UsageError
from bladerunner_ae.runs import config as configuration
from bladerunner_ae.runs.films import division_differences
from bladerunner_ae.runs.folder import CONFIG_NAME, load_config
from bladerunner_ae.runs.run_config import RunConfig
from bladerunner_ae.training.distributed.cluster import Cluster
from bladerunner_ae.training.stopping import Preemption, SharedPreemption
from bladerunner_ae.training.trainer import Trainer
from tfrecords import storage
from tfrecords.storage import Location

# How long a shared folder may take to show a worker what another one has written.
_FOLDER_SECONDS = 20.0
_STOP = "stop"

# What the native code makes of a worker that is gone, depending on what it was just doing.
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
)


class Workers:
    """The workers of a run, seen from one of them; also of a run with only one.

    Args:
        strategy: that the run is built in.
        cluster: who they are.
    """

    def __init__(self, strategy: tf.distribute.Strategy, cluster: Cluster | None = None) -> None:
        self._strategy, self._cluster = strategy, cluster or Cluster()

    @property
    def strategy(self) -> tf.distribute.Strategy:
        """What the run is built in."""
        return self._strategy

    @property
    def chief(self) -> bool:
        """Whether this is the one worker that writes."""
        return self._cluster.chief

    @property
    def several(self) -> bool:
        """Whether there are others."""
        return self._cluster.count > 1

    def gather(self, number: int) -> list[int]:
        """Shows every worker everybody's number; returns when all workers have called it."""
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
        """Gives variables the values that they have on the chief.

        What every worker computes for itself may differ in the last bits, or in signs, where their
        processors differ, and would for ever: what training adds is the same for all.
        """
        if not self.several:
            return

        def first_ones() -> list[tf.Tensor]:
            context = tf.distribute.get_replica_context()
            first = tf.equal(context.replica_id_in_sync_group, 0)
            return context.all_reduce(
                "SUM", [tf.where(first, v.read_value(), tf.zeros_like(v)) for v in variables]
            )

        with self._strategy.scope():
            for variable, value in zip(variables, self._on_replicas(first_ones)(), strict=True):
                variable.assign(value)

    def _on_replicas(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Has all workers' replicas call a function, which gives the same on each of them."""

        @tf.function  # type: ignore[untyped-decorator]
        def call(*arguments: tf.Tensor) -> Any:
            results = self._strategy.run(function, arguments)
            local = self._strategy.experimental_local_results
            return tf.nest.map_structure(lambda value: local(value)[0], results)

        return call

    def check_same_run(self, config: RunConfig, run: Location) -> None:
        """Checks that all workers were asked to do the same, once the chief has opened the run.

        Raises:
            InputError: this worker does not see the run folder.
            UsageError: this worker, or another one, was asked for another run.
        """
        if not self.several:
            return
        self.gather(0)  # until here the chief may still be at it
        error = None if self.chief else self._difference(config, run)
        wrong = [str(i) for i, bad in enumerate(self.gather(error is not None)) if bad]
        if error is not None:
            raise error
        if wrong:
            raise UsageError(
                f"worker {', '.join(wrong)} cannot take part in this run; its own output says why"
            )

    def _difference(self, config: RunConfig, run: Location) -> Exception | None:
        until = time.monotonic() + _FOLDER_SECONDS
        while not storage.is_file(run / CONFIG_NAME):
            if time.monotonic() > until:
                return InputError(
                    f"{run}: worker {self._cluster.index} does not see the run that the chief has "
                    "begun there; --model_dir must be a folder that all workers share"
                )
            time.sleep(0.2)
        chiefs = load_config(run)
        different = [
            *config.differences(chiefs),
            *configuration.differences(config.train, chiefs.train),
        ]
        if not different and config.reading.order != "memory":
            different = division_differences(config.films, chiefs.films)
        if not different:
            return None
        return UsageError(
            f"worker {self._cluster.index} was asked for another run than the chief "
            f"({'; '.join(dict.fromkeys(different))}); start all workers with the same flags and "
            "records on machines of the same kind"
        )

    def check_same_start(self, start: int, run: Location) -> None:
        """Checks that all workers go on from the same step.

        Raises:
            InputError: they do not.
        """
        steps = self.gather(start)
        if len(set(steps)) > 1:
            seen = ", ".join(f"worker {i} step {step}" for i, step in enumerate(steps))
            raise InputError(
                f"{run}: the workers see different checkpoints ({seen}); --model_dir must be a "
                "folder that all workers share"
            )

    def wait_for_all(self) -> None:
        """Returns when all workers have come here; who leaves early looks as if it were lost."""
        self.gather(0)

    @contextlib.contextmanager
    def own_folder(self, run: Location) -> Iterator[Location]:
        """Gives the folder that this worker writes logs and samples to: the run's, for the chief.

        The others have to compute what the chief shows, because the watchdog judges by it and all
        must come to the same verdict; theirs goes to a folder that is deleted.
        """
        if self.chief:
            yield run
        else:
            with tempfile.TemporaryDirectory(prefix="bladerunner-worker-") as folder:
                yield Path(folder)

    @contextlib.contextmanager
    def together(self, run: Location) -> Iterator[None]:
        """Makes one line of what happens when another worker is gone.

        Args:
            run: run folder.

        Raises:
            OutputError: in place of TensorFlow's error.
        """
        try:
            yield
        except _LOST as error:
            if not self.several:
                raise
            gone = sorted({int(i) for i in _tasks(str(error))} - {self._cluster.index})
            who = f"worker {', '.join(map(str, gone))}" if gone else "another worker"
            raise OutputError(
                f"{run}: {who} is gone, and none can go on without the others; start all of them "
                "again with the same command: they go on from the last checkpoint"
            ) from error

    def batches(self, read: Callable[[tuple[int, int]], tf.data.Dataset], batch_size: int) -> Any:
        """Returns this worker's part of the global batches, for `Trainer.fit`.

        Args:
            read: returns the batches of (worker, workers), of `batch_size` / workers frames.
            batch_size: of all workers together.
        """
        shard = (self._cluster.index, self._cluster.count)
        share = batch_size // self._strategy.num_replicas_in_sync
        # A batch a replica is what the strategy wants here, its own replicas taking turns.
        return self._strategy.distribute_datasets_from_function(
            lambda context: read(shard).rebatch(share, drop_remainder=True)
        )

    def preemption(self, trainer: Trainer) -> Preemption:
        """Returns what answers signals in the loop; of several workers, all at the same step."""
        if not self.several:
            return Preemption(lambda: trainer.steps_done)
        preemption = SharedPreemption()
        self._prepare(trainer, preemption)
        return preemption

    def _prepare(self, trainer: Trainer, preemption: SharedPreemption) -> None:
        """Gives a trainer the function that Keras' loop shall call for every step."""
        strategy = self._strategy
        with strategy.scope():
            asked = tf.Variable(0.0, trainable=False, name="asked_to_stop")
        names: list[str] = []

        def replica_step(data: Mapping[str, tf.Tensor]) -> tf.Tensor:
            logs = {**trainer.train_step(data), _STOP: asked.read_value()}
            names[:] = logs
            # All at once: one after the other they would wait for the network some twenty times.
            values = tf.stack([tf.cast(value, tf.float32) for value in logs.values()])
            return tf.distribute.get_replica_context().all_reduce("MEAN", values)

        @tf.function  # type: ignore[untyped-decorator]
        def step(iterator: Any) -> tf.Tensor:
            results = strategy.run(replica_step, args=(next(iterator),))
            return strategy.experimental_local_results(results)[0]

        def train(iterator: Any) -> dict[str, tf.Tensor]:
            if preemption.asked:
                asked.assign(1.0)
            values = step(iterator)
            logs = dict(zip(names, tf.unstack(values), strict=True))
            preemption.hear(logs.pop(_STOP))
            return logs

        trainer.train_function = train
        # Keras would read a batch and reduce it over all workers, to build what is built already.
        trainer._maybe_symbolic_build = lambda *_, **__: None


class NoCheckpoints:
    """In place of a manager of checkpoints, for workers that are not the chief."""

    def save(self, checkpoint_number: int) -> None:
        """Does nothing: the chief's checkpoint holds the same."""


def _tasks(text: str) -> list[str]:
    """Numbers of the workers that an error names."""
    return re.findall(r"/job:(?:worker|chief)/(?:replica:\d+/)?task:(\d+)", text)
