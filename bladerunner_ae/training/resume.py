"""A run that is resumed: whether anything is left to do, and what changed settings mean."""

import math

from bladerunner_ae.objectives import objective_of_run
from bladerunner_ae.runs.films import division_differences
from bladerunner_ae.runs.run_config import RunConfig
from bladerunner_ae.training.logs import FINISHED
from bladerunner_ae.training.trainer import make_schedule
from tfrecords import storage
from tfrecords.storage import Location


def has_finished(run: Location, step: int) -> bool:
    """Return whether log.txt says that a run has shown everything of its last step."""
    log = run / "log.txt"
    said = storage.read_text(log, "replace").splitlines() if storage.is_file(log) else []
    return any(line.endswith(f": {FINISHED}{step}") for line in said)


def rate_change(earlier: RunConfig, config: RunConfig, start: int) -> str:
    """Return one line if other steps change the learning rate from `start` on, else ""."""
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
