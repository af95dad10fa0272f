"""A run that is started again: whether anything is left to do, and what other settings change."""

import math

from bladerunner_ae.objectives import objective_of_run
from bladerunner_ae.runs.films import division_differences
from bladerunner_ae.runs.run_config import RunConfig
from bladerunner_ae.training.trainer import make_schedule
from tfrecords import storage
from tfrecords.storage import Location

FINISHED = "finished step "
"""What log.txt says last of a step that a run ended at, before the step's number."""


def has_finished(run: Location, step: int) -> bool:
    """Whether log.txt says that a run has shown all that it came to at its last step."""
    log = run / "log.txt"
    said = storage.read_text(log, "replace").splitlines() if storage.is_file(log) else []
    return any(line.endswith(f": {FINISHED}{step}") for line in said)


def rate_change(earlier: RunConfig, config: RunConfig, start: int) -> str:
    """Says in one line if another number of steps changes the learning rate from here on.

    Args:
        earlier: of the run as it was started before.
        config: as it is started now, in which only `config._FREE` may differ.
        start: step it goes on from.

    Returns:
        An empty text if the rate stays what it was.
    """
    before, after = (make_schedule(c.train) for c in (earlier, config))
    if not callable(before) or before.get_config() == after.get_config():
        return ""
    return (
        f"--steps was {earlier.train.steps} and is {config.train.steps} now: the learning rate's "
        f"cosine ends there, so from step {start} on it is {float(after(start)):.3g} instead of "
        f"{float(before(start)):.3g}{_moved_start(earlier, config)}, and weights differ "
        f"from those of a run begun with --steps={config.train.steps}"
    )


def _moved_start(earlier: RunConfig, config: RunConfig) -> str:
    """Says where an adversary that waits for a part of the run comes in now."""
    players = objective_of_run(config.objective, config.weights).players
    part = config.weights.get("adversarial_start")
    if not part or "discriminator" not in players:
        return ""
    steps = [math.ceil(part * c.train.steps) for c in (earlier, config)]
    return f", the adversary comes in at step {steps[1]} instead of {steps[0]}"


def order_change(earlier: RunConfig, config: RunConfig, start: int) -> str:
    """Says in one line if streamed frames come in another order from here on.

    Args:
        earlier, config, start: as for `rate_change`.

    Returns:
        An empty text if the order stays what it was.
    """
    changed = division_differences(config.films, earlier.films)
    if config.reading.order == "memory" or not changed:
        return ""
    return (
        f"{'; '.join(changed)}: streamed frames come in another order from step {start} on, and "
        "weights differ from those of an unbroken run"
    )
