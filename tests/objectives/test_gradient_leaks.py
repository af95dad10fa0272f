"""Leaks of held out frames, planted one by one: the checks of `tests/runs/test_training_set.py`
must notice each.

They are planted in the code that runs, as in `tests/objectives/test_mutations.py`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bladerunner_ae.evaluation import evaluate_film
from bladerunner_ae.runs import training_set
from bladerunner_ae.training import batches, fit
from tests.helpers.marked_films import check_learnt_from, marked_run, watch_training
from tests.objectives.test_mutations import Patch, Planted
from tests.runs import test_training_set
from tfrecords import reader
from tfrecords.frames import read_images
from tfrecords.mixture import FilmPart

_LEAKED = "held out frames were learnt from"


def keep_every_frame(patch: Patch) -> None:
    """A run's films are handed to the reader as if nothing of them were held out."""
    right = training_set.film_parts

    def film_parts(*arguments: Any) -> Any:
        return [dataclasses.replace(part, keep=None) for part in right(*arguments)]

    for module in (fit, training_set):
        patch.setattr(module, "film_parts", film_parts)


def forget_what_is_kept(patch: Patch) -> None:
    """The reader takes all frames of a film."""
    patch.setattr(FilmPart, "kept", lambda part: np.ones(part.card.frames, bool))


def hold_out_one_frame_less(patch: Patch) -> None:
    """The last frame of each run of frames held out is trained on."""
    right = training_set.in_shots

    def in_shots(frames: int, shots: Any) -> Any:
        return right(frames, [(start, end - 1) for start, end in shots])

    patch.setattr(training_set, "in_shots", in_shots)


def draw_held_out_frames_too(patch: Patch) -> None:
    """Every frame of a streamed set is drawn, balanced or not."""
    right = reader.quotas
    patch.setattr(reader, "quotas", lambda *arguments: np.maximum(right(*arguments), 1.0))


def fit_components_to_the_whole_film(patch: Patch) -> None:
    """Principal components come from all frames, though training is kept from some."""
    right = fit._initialise

    def initialise(made: Any, config: Any, parts: Any, *others: Any) -> None:
        patch.setattr(batches, "collect_images", lambda *_: _whole_films(parts))
        right(made, config, parts, *others)

    patch.setattr(fit, "_initialise", initialise)


def _whole_films(parts: Any) -> Any:
    whole = [read_images(p.directory, p.card, range(p.card.frames)) for p in parts]
    return np.concatenate(whole)


def call_every_frame_seen(patch: Patch) -> None:
    """Evaluation takes all frames of the film for training frames."""
    patch.setattr(evaluate_film, "frame_labels", lambda card, _: np.full(card.frames, "seen"))


def hold_out(folder: Path, **flags: Any) -> None:
    """Nothing that is held out is learnt from, by training or by the linear path."""
    config, records = marked_run(folder, **flags)
    learnt, fitted = watch_training(config, records, folder / "run")
    check_learnt_from(learnt, config)
    check_learnt_from(fitted, config, whole=False)


def streamed_hold_out(folder: Path) -> None:
    """So it is of films too large for memory, balanced and weighted."""
    hold_out(folder, films=2, cache_limit=0, balance="shots", data_weights=["2", "1"])


def workers_hold_out(folder: Path) -> None:
    """So it is of several workers."""
    config, records = marked_run(folder, cache_limit=0)
    check_learnt_from(test_training_set.learnt_by_workers(config, records), config)


def baseline_hold_out(folder: Path) -> None:
    """Nor are the baselines of an evaluation fitted to it."""
    test_training_set.test_baselines_and_prior_know_no_held_out_frames(folder)


LEAKS = [
    Planted(keep_every_frame, hold_out, _LEAKED),
    pytest.param(Planted(keep_every_frame, streamed_hold_out, _LEAKED), marks=pytest.mark.slow),
    pytest.param(Planted(keep_every_frame, workers_hold_out, _LEAKED), marks=pytest.mark.slow),
    pytest.param(Planted(forget_what_is_kept, hold_out, _LEAKED), marks=pytest.mark.slow),
    Planted(hold_out_one_frame_less, hold_out, _LEAKED),
    Planted(draw_held_out_frames_too, streamed_hold_out, _LEAKED),
    Planted(draw_held_out_frames_too, workers_hold_out, _LEAKED),
    Planted(fit_components_to_the_whole_film, hold_out, _LEAKED),
    pytest.param(
        Planted(call_every_frame_seen, baseline_hold_out, _LEAKED), marks=pytest.mark.slow
    ),
]


@pytest.mark.parametrize(
    "planted", LEAKS, ids=lambda planted: f"{planted.fault.__name__}-{planted.check.__name__}"
)
def test_a_planted_leak_is_noticed(
    planted: Planted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted.fault(monkeypatch)
    with pytest.raises(AssertionError, match=planted.says):
        planted.check(tmp_path)
