"""Frames that are held out reach nothing that learns, on none of the ways that frames take.

`tests/objectives/test_mutations.py` plants leaks, which these checks notice.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from bladerunner_ae.evaluation import evaluate_film as film_evaluation
from bladerunner_ae.evaluation.evaluate_film import EvaluationOptions, evaluate_film
from bladerunner_ae.evaluation.prior_samples import FilmFrames
from bladerunner_ae.exports.film_latents import collect_film_latents
from bladerunner_ae.runs import training_set
from bladerunner_ae.runs.run_config import RunConfig
from bladerunner_ae.training import fit
from bladerunner_ae.training.distributed.workers import Workers
from bladerunner_ae.training.monitoring.evaluation import RunEvaluation
from tests.helpers.marked_films import (
    Mark,
    check_learnt_from,
    divided,
    marked_run,
    marks,
    watch_training,
    write_marked_film,
)
from tests.helpers.parameters import some_slow
from tests.helpers.tiny_exports import small_networks, write_export

WAYS: dict[str, dict[str, Any]] = {
    "memory": {},
    "streamed": {"cache_limit": 0},
    "balanced": {"balance": "shots"},
    "streamed_balanced": {"balance": "shots", "cache_limit": 0},
    "runs": {"holdout_seconds": 0.25},
    "streamed_runs": {"holdout_seconds": 0.25, "cache_limit": 0},
    "weighted": {"films": 2, "data_weights": ["2", "1"]},
    "streamed_weighted": {"films": 2, "data_weights": ["1.5", "1"], "cache_limit": 0},
    "all_at_once": {"films": 2, "data_weights": ["1", "3"], "cache_limit": 0, "balance": "shots",
                    "holdout_seconds": 0.25},
    "several_steps": {"steps_per_execution": 4},
}  # fmt: skip
THREE_WAYS = ("memory", "streamed", "all_at_once")


@pytest.mark.parametrize("way", some_slow("memory", "all_at_once", of=WAYS))
def test_training_sees_all_frames_but_those_held_out(way: str, tmp_path: Path) -> None:
    config, records = marked_run(tmp_path, **WAYS[way])
    if "holdout_seconds" not in WAYS[way]:
        starts = {0, 7, 19, 24, 33, 44, 50, 60}
        assert {n for run in config.films[0].held_out for n in run} <= starts, "whole shots"
    learnt, fitted = watch_training(config, records, tmp_path / "run")
    assert len(learnt) == 480
    check_learnt_from(learnt, config)
    # The linear path takes as many draws as there are frames: of plain sets each frame once.
    plain = not {"balance", "films"} & WAYS[way].keys()
    assert len(fitted) == len(divided(config)[0])
    check_learnt_from(fitted, config, whole=plain)


@pytest.mark.parametrize("way", some_slow("memory", "all_at_once", of=THREE_WAYS))
def test_so_does_a_run_that_goes_on(way: str, tmp_path: Path) -> None:
    config, records = marked_run(tmp_path, **WAYS[way])
    unbroken, _ = watch_training(config, records, tmp_path / "unbroken")
    learnt, fitted = watch_training(config, records, tmp_path / "run", start=3)
    assert learnt == unbroken[24:] and fitted == []
    check_learnt_from(learnt, config)


class _Two(Workers):
    """Both of two workers, whose parts of a batch follow each other."""

    several = True  # type: ignore[assignment]

    def batches(self, read: Callable[[tuple[int, int]], tf.data.Dataset], batch_size: int) -> Any:
        return itertools.chain.from_iterable(zip(read((0, 2)), read((1, 2)), strict=True))


def learnt_by_workers(config: RunConfig, records: list[Path]) -> list[Mark]:
    """Return the frames that two workers learn from in all steps."""
    parts = training_set.film_parts(config, records)
    batches = fit._batches(config, parts, 0, "", _Two(tf.distribute.get_strategy()))
    halves = itertools.islice(batches, 2 * config.train.steps)
    return [mark for batch in halves for mark in marks(batch["image"].numpy())]


@pytest.mark.parametrize("way", some_slow("memory", "all_at_once", of=THREE_WAYS))
def test_so_do_workers_together(way: str, tmp_path: Path) -> None:
    config, records = marked_run(tmp_path, **WAYS[way])
    learnt = learnt_by_workers(config, records)
    check_learnt_from(learnt, config)
    alone, _ = watch_training(config, records, tmp_path / "run")
    assert learnt == alone


def test_so_does_a_service(tmp_path: Path) -> None:
    service = tf.data.experimental.service
    dispatcher = service.DispatchServer(service.DispatcherConfig(port=0))
    address = dispatcher.target.removeprefix("grpc://")
    worker = service.WorkerServer(service.WorkerConfig(dispatcher_address=address))
    config, records = marked_run(tmp_path, data_service=dispatcher.target)
    learnt, fitted = watch_training(config, records, tmp_path / "run", service=dispatcher.target)
    check_learnt_from(learnt, config)
    check_learnt_from(fitted, config)
    worker._stop()
    dispatcher._stop()


def test_what_is_measured_while_training_is_told_apart(tmp_path: Path) -> None:
    config, records = marked_run(tmp_path, films=2)
    kept, held = divided(config)
    evaluation = RunEvaluation(training_set.film_parts(config, records))
    found = np.array(marks(evaluation.images))
    for label, expected in (("seen", kept), ("held out", held)):
        assert {tuple(mark) for mark in found[evaluation.labels == label].tolist()} == expected
    assert set(marks(evaluation._film.training)) == kept
    assert set(marks(evaluation._film.held_out)) == held


def test_latent_density_is_fitted_to_seen_frames(tmp_path: Path) -> None:
    config, records = marked_run(tmp_path)
    kept, held = divided(config)
    parts = training_set.film_parts(config, records)
    film = collect_film_latents(fit.build_trainer(config).networks.encoder, parts)
    assert {(0, int(frame)) for frame in film.frames[film.held_out]} == held
    assert len(film.density().latents) == len(kept)


def evaluated(folder: Path, patch: pytest.MonkeyPatch) -> dict[str, set[Mark]]:
    """Return the frames that baselines and prior of an evaluation are fitted to or shown."""
    records = write_marked_film(folder / "film", shots=(40, 8))
    write_export(folder / "run" / "export", records, small_networks())
    found: dict[str, set[Mark]] = {}

    def fit_baselines(images: Any, sizes: Sequence[int]) -> list[Any]:
        found["baselines"] = set(marks(images))
        return []

    def film_frames(seen: Any, shot_of: Any, held_out: Any) -> FilmFrames:
        found["prior"], found["held out"] = set(marks(seen)), set(marks(held_out))
        return FilmFrames(seen, shot_of, held_out)

    patch.setattr(film_evaluation, "fit_baselines", fit_baselines)
    patch.setattr(film_evaluation.prior_samples, "FilmFrames", film_frames)
    evaluate_film(folder / "run", records, EvaluationOptions(vmaf=False, perceptual=False))
    return found


def test_baselines_and_prior_know_no_held_out_frames(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        found = evaluated(tmp_path, patch)
    seen = {(0, n) for n in range(40)}
    assert found["baselines"] == found["prior"] == seen, "held out frames were learnt from"
    assert found["held out"] == {(0, n) for n in range(40, 48)}
