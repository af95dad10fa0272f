"""Agreement of the workers: that all train the same run, and what it means if one is gone."""

import contextlib
import re
import time
from collections.abc import Iterator

import tensorflow as tf

from bladerunner_ae.errors import BladerunnerError, InputError, OutputError, UsageError
from bladerunner_ae.runs.fields import differences
from bladerunner_ae.runs.files import CONFIG_NAME
from bladerunner_ae.runs.films import division_differences
from bladerunner_ae.runs.folder import load_config
from bladerunner_ae.runs.run_config import RunConfig
from bladerunner_ae.training.distributed.workers import Workers
from tfrecords import storage
from tfrecords.storage import Location

# How long a shared folder may take to show a worker what another one has written.
_FOLDER_SECONDS = 20.0

# Errors of the native code if a worker is gone, depending on what it was just doing.
_LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
)


def check_same_run(workers: Workers, config: RunConfig, run: Location) -> None:
    """Check that all workers see the run that the chief has opened, and were asked for it."""
    if not workers.several:
        return
    workers.wait_for_all()  # until here the chief may still be writing it
    error = None if workers.chief else difference(workers.index, config, run)
    wrong = [str(i) for i, bad in enumerate(workers.gather(error is not None)) if bad]
    if error is not None:
        raise error
    if wrong:
        raise UsageError(
            f"worker {', '.join(wrong)} cannot take part in this run; its own output says why"
        )


def difference(worker: int, config: RunConfig, run: Location) -> BladerunnerError | None:
    """Return what keeps a worker from taking part in the chief's run; None: nothing."""
    until = time.monotonic() + _FOLDER_SECONDS
    while not storage.is_file(run / CONFIG_NAME):
        if time.monotonic() > until:
            return InputError(
                f"{run}: worker {worker} does not see the run that the chief has begun there; "
                "--model_dir must be a folder that all workers share"
            )
        time.sleep(0.2)
    chiefs = load_config(run)
    different = [*config.differences(chiefs), *differences(config.train, chiefs.train)]
    if not different and config.reading.order != "memory":
        different = division_differences(config.films, chiefs.films)
    if not different:
        return None
    return UsageError(
        f"worker {worker} was asked for another run than the chief "
        f"({'; '.join(dict.fromkeys(different))}); start all workers with the same flags and "
        "records on machines of the same kind"
    )


def check_same_start(workers: Workers, start: int, run: Location) -> None:
    """Check that all workers start from the same step."""
    steps = workers.gather(start)
    if len(set(steps)) > 1:
        seen = ", ".join(f"worker {i} step {step}" for i, step in enumerate(steps))
        raise InputError(
            f"{run}: the workers see different checkpoints ({seen}); --model_dir must be a "
            "folder that all workers share"
        )


@contextlib.contextmanager
def losses_explained(workers: Workers, run: Location) -> Iterator[None]:
    """Turn TensorFlow's error into one line when another worker is gone."""
    try:
        yield
    except _LOST as error:
        if not workers.several:
            raise
        named = re.findall(r"/job:(?:worker|chief)/(?:replica:\d+/)?task:(\d+)", str(error))
        gone = sorted({int(i) for i in named} - {workers.index})
        who = f"worker {', '.join(map(str, gone))}" if gone else "another worker"
        raise OutputError(
            f"{run}: {who} is gone, and none can train without the others; start all of them "
            "again with the same command: they resume from the last checkpoint"
        ) from error
