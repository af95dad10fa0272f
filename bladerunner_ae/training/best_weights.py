"""The weights of the best measured step, kept beside the checkpoints in RUN/best/.

Training measures a few frames now and then (`callbacks.Scores`), and does not always end where it
was best: an adversary, or frames that are moved, may cost more than was learnt. So encoder and
decoder, as samples show them, are copied at each step that is the best so far, step 0 included.
Training itself goes on with its own weights and never reads them.

A file holds the weights, its step's score and the best score until then, which is all that a
resumed run has to know. As many are left as are needed to resume from any checkpoint.
"""

import io
import re
import zipfile
from collections.abc import Sequence

import keras
import numpy as np
from numpy.typing import NDArray

from bladerunner_ae.errors import InputError
from bladerunner_ae.model.memory import copied, weights_beside_memory
from bladerunner_ae.model.networks import Networks
from bladerunner_ae.runs.files import BEST
from bladerunner_ae.training.trainer import Trainer
from tfrecords import storage
from tfrecords.storage import Location


class BestWeights:
    """The best weights of a run while it trains.

    Args:
        run: the run folder.
        start: step that training starts from; what was kept of later steps is removed, because they
            are going to be taken again.
        allowed_fall: a step whose score is lower than the best by no more is as good.
    """

    def __init__(self, run: Location, start: int, allowed_fall: float = 0.0) -> None:
        self._run, self._allowed_fall = run, allowed_fall
        self._best = -np.inf
        steps = kept_steps(run)
        for step in steps:
            if step > start or start == 0:
                storage.remove(_path(run, step))
        if start and (left := [step for step in steps if step <= start]):
            self._best = float(_read(_path(run, left[-1]))["best"])

    def offer(self, step: int, score: float, networks: Networks) -> bool:
        """Keep these weights if they are as good as any until now; return whether they are."""
        self._best = max(self._best, score)
        if not score >= self._best - self._allowed_fall:  # or it is NaN
            return False
        arrays = {
            f"{name}/{place}": values
            for name, network in _halves(networks)
            for place, values in enumerate(weights_beside_memory(network))
        }
        file = io.BytesIO()
        np.savez(file, allow_pickle=False, score=score, best=self._best, **arrays)
        storage.make_directories(self._run / BEST)
        storage.write_bytes(_path(self._run, step), file.getvalue())
        return True

    def tidy(self, checkpoints: Sequence[int]) -> None:
        """Remove all that is not the best until one of these steps, or until now."""
        kept = kept_steps(self._run)
        wanted = {max(kept, default=0)}
        for checkpoint in checkpoints:
            wanted.add(max((step for step in kept if step <= checkpoint), default=0))
        for step in set(kept) - wanted:
            storage.remove(_path(self._run, step))


def kept_steps(run: Location) -> list[int]:
    """Return the steps that weights are kept of, in order."""
    found = (re.fullmatch(r"step-(\d+)\.npz", name) for name in storage.names(run / BEST))
    return sorted(int(match[1]) for match in found if match)


def best_step(run: Location, keep: str, last: int) -> int:
    """Return the step whose weights are to be shown of a run that is at step `last`."""
    kept = [step for step in kept_steps(run) if step <= last] if keep == "best" else []
    return kept[-1] if kept else last


def networks_to_show(trainer: Trainer, run: Location, keep: str) -> tuple[Networks, int]:
    """Return the networks to export and evaluate, and the step that their weights are of.

    `keep` is that of `TrainConfig`. The last weights are the trainer's own, or their averages.
    InputError if the file is damaged.
    """
    step = best_step(run, keep, trainer.steps_done)
    if step == trainer.steps_done:
        return trainer.dreaming, step
    values = _read(_path(run, step))
    halves: dict[str, keras.Model] = {}
    for name, network in _halves(trainer.dreaming):
        halves[name] = copied(network)
        for place, weight in enumerate(weights_beside_memory(halves[name])):
            weight.assign(values[f"{name}/{place}"])
    return Networks(**halves, memory=trainer.dreaming.memory), step


def score_of(run: Location, step: int) -> float:
    """Return the score of a step whose weights are kept."""
    return float(_read(_path(run, step))["score"])


def _halves(networks: Networks) -> list[tuple[str, keras.Model]]:
    return [("encoder", networks.encoder), ("decoder", networks.decoder)]


def _path(run: Location, step: int) -> Location:
    return run / BEST / f"step-{step}.npz"


def _read(path: Location) -> dict[str, NDArray[np.float32]]:
    try:
        with np.load(io.BytesIO(storage.read_bytes(path)), allow_pickle=False) as file:
            return dict(file)
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path}: is damaged ({error}); delete it to use what else was kept of the run"
        ) from None
