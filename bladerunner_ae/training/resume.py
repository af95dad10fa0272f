"""Resuming a run: whether anything is left to do, from which step, and what changed settings mean.

`checkpoints.restore` loads the weights; `run.py` calls both.
"""

import dataclasses
import json
import math
import re

from bladerunner_ae.errors import UsageError
from bladerunner_ae.exports.saved_models import newest_versions
from bladerunner_ae.objectives import objective_of_run
from bladerunner_ae.runs.config import TrainConfig
from bladerunner_ae.runs.films import division_differences
from bladerunner_ae.runs.run_config import RunConfig
from bladerunner_ae.training.logs import FINISHED
from bladerunner_ae.training.run_length import is_open, refitted
from bladerunner_ae.training.trainer import make_schedule
from tfrecords import storage
from tfrecords.storage import Location

_SAID_FINISHED = re.compile(r": finished step (\d+)$")


def has_finished(run: Location, step: int) -> bool:
    """Return whether a run has shown everything of this step, its last."""
    return step in finished_steps(run)


def finished_steps(run: Location) -> set[int]:
    """Return the steps at which a run ended and had shown everything."""
    found: set[int] = set()
    for line in _lines(run / "metrics.jsonl"):
        try:
            values = json.loads(line)
            if values.get(FINISHED) is True:
                found.add(int(values["step"]))
        except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
            continue  # half a line of a process that was killed
    # Earlier versions said it in log.txt instead.
    said = (_SAID_FINISHED.search(line) for line in _lines(run / "log.txt"))
    return found | {int(match[1]) for match in said if match}


def _lines(path: Location) -> list[str]:
    return storage.read_text(path, "replace").splitlines() if storage.is_file(path) else []


def lost_checkpoints(run: Location) -> str:
    """Return one line if a run at step 0 has ended before, else ""."""
    if not finished_steps(run) and not newest_versions(run / "export"):
        return ""
    return f"{run}: its checkpoints are gone, so it starts at step 0; its earlier exports stay"


def kept_length(config: RunConfig, earlier: RunConfig | None) -> RunConfig:
    """Return the configuration of a run that is resumed, with the length found out before.

    Asked for more minutes, or in minutes for the first time, the length is open again.
    """
    if earlier is None or is_open(earlier.train):
        return config
    now, before = config.train.minutes, earlier.train.minutes
    if now is None or before is None or now > before:
        return config
    if config.train.epochs != earlier.train.epochs:
        return config
    return _with_length(config, earlier.train)


def length_at(config: RunConfig, start: int, time_is_up: bool) -> RunConfig:
    """Return the configuration with the length as far as it is known at the start from a step.

    With no checkpoint left it is open again; with no time left the run ends where it is.
    """
    train = config.train
    if train.minutes is None:
        return config
    if start == 0:
        return dataclasses.replace(config, train=dataclasses.replace(train, length=()))
    if time_is_up and (is_open(train) or start < train.steps):
        return _with_length(config, refitted(train, start, start))
    return config


def _with_length(config: RunConfig, train: TrainConfig) -> RunConfig:
    names = ("steps", "warmup_steps", "length")
    changes = {name: getattr(train, name) for name in names}
    return dataclasses.replace(config, train=dataclasses.replace(config.train, **changes))


def resuming(
    config: RunConfig, earlier: RunConfig | None, run: Location, start: int, service: str
) -> list[str]:
    """Return the lines that say from which step a run is resumed, and what differs from there on.

    Raises:
        UsageError: a tf.data service hands out the frames, and cannot begin in the middle.
    """
    if service:
        raise UsageError(
            f"{run}: is at step {start}, and a tf.data service cannot be told where to resume; "
            "leave out --data_service and add --cache_limit=0, which reads in the same order"
        )
    changes = [change(earlier, config, start) for change in (rate_change, order_change) if earlier]
    return [f"resuming from step {start}", *filter(None, changes)]


def rate_change(earlier: RunConfig, config: RunConfig, start: int) -> str:
    """Return one line if other steps change the learning rate from `start` on, else ""."""
    if is_open(config.train):
        return (
            f"--minutes={config.train.minutes:g}: the run gets another length, so from step "
            f"{start} on its learning rate is another one"
        )
    before, after = (make_schedule(c.train) for c in (earlier, config))
    if not callable(before) or before.get_config() == after.get_config():
        return ""
    return (
        f"--steps was {earlier.train.steps} and is {config.train.steps} now: the learning rate's "
        f"cosine ends there, so from step {start} on it is {float(after(start)):.3g} instead of "
        f"{float(before(start)):.3g}{_moved_moments(earlier, config)}, and weights differ "
        f"from those of a run begun with --steps={config.train.steps}"
    )


def _moved_moments(earlier: RunConfig, config: RunConfig) -> str:
    """Return where the objective's moments, which are parts of the run, are now."""
    moments = objective_of_run(config.objective, config.weights).moments
    before, after = earlier.train.steps, config.train.steps
    return "".join(
        f", {event} at step {math.ceil(part * after)} instead of {math.ceil(part * before)}"
        for event, part in moments.items()
        if part
    )


def order_change(earlier: RunConfig, config: RunConfig, start: int) -> str:
    """Return one line if streamed frames come in another order from step `start`, else ""."""
    changed = division_differences(config.films, earlier.films)
    if config.reading.order == "memory" or not changed:
        return ""
    return (
        f"{'; '.join(changed)}: streamed frames come in another order from step {start} on, and "
        "weights differ from those of an unbroken run"
    )
