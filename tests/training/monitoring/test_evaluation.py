"""`--evaluate_every`: which frames are looked at, whose weights, and where the figures go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bladerunner_ae.errors import UsageError
from bladerunner_ae.evaluation import image_quality, perceptual, set_distances
from bladerunner_ae.evaluation.prior_samples import some
from bladerunner_ae.pictures.spread import spread
from bladerunner_ae.runs.config import TrainConfig
from bladerunner_ae.training.monitoring import evaluation as during
from bladerunner_ae.training.monitoring.evaluation import RunEvaluation, describe_values
from tests.helpers.commands import Result
from tests.helpers.small_records import write_numbered_film
from tests.helpers.synthetic_film import film_pictures
from tests.helpers.tiny_training import HEIGHT, WIDTH, tiny_flags, tiny_networks, train_here
from tfrecords.card import load_card
from tfrecords.mixture import FilmPart

FRAMES = 48


@pytest.fixture(scope="module")
def part(small_records: Path) -> FilmPart:
    keep = np.ones(FRAMES, bool)
    keep[20:26] = keep[38:44] = False  # the second run has a cut in it, at 40
    return FilmPart(small_records, load_card(small_records), keep)


def test_frames_of_a_small_film_are_all_there(part: FilmPart) -> None:
    evaluation = RunEvaluation([part])
    film = np.stack(list(film_pictures(FRAMES, HEIGHT, WIDTH)))
    seen = np.flatnonzero(part.kept())
    held = np.flatnonzero(~part.kept())
    np.testing.assert_array_equal(evaluation.images, film[np.concatenate([seen, held])])
    assert evaluation.labels.tolist() == ["seen"] * 36 + ["held out"] * 12
    # Runs of neighbours of one shot: 0-19, 26-37, 44-47; 20-25, 38-39, 40-43.
    lengths = [end - start for start, end in evaluation._pieces]
    assert lengths == [20, 12, 4, 6, 2, 4]


def test_a_longer_film_is_looked_at_in_pairs(
    part: FilmPart, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(during, "FRAMES", 16)
    write_numbered_film(tmp_path / "other", 60, HEIGHT, WIDTH, film_id="fedcba9876543210")
    other = FilmPart(tmp_path / "other", load_card(tmp_path / "other"))
    evaluation = RunEvaluation([part, other])
    # Of two films, eight frames each of a label; the second film has nothing held out.
    assert evaluation.labels.tolist() == ["seen"] * 8 + ["held out"] * 8 + ["seen"] * 8
    ends = [end for _, end in evaluation._pieces]
    assert 8 in ends and 16 in ends and ends[-1] == 24
    assert len(set(evaluation._shot_of[:8]) & set(evaluation._shot_of[16:])) == 0


def test_figures_are_those_of_the_metrics(part: FilmPart) -> None:
    networks = tiny_networks()
    evaluation = RunEvaluation([part])
    values = evaluation.measure(networks)
    model = networks.autoencoder
    images = evaluation.images[36:]
    dreams = model.reconstruct(images)
    for name, metric in (("psnr", image_quality.psnr), ("ssim", image_quality.ssim)):
        expected = float(metric(images, dreams).numpy().mean())
        assert values[f"evaluate/{name}_held_out"] == pytest.approx(expected, abs=2e-3)
    sharpness = (
        image_quality.gradient(dreams).numpy().sum() / image_quality.gradient(images).numpy().sum()
    )
    assert values["evaluate/sharpness_held_out"] == pytest.approx(sharpness, abs=2e-3)
    assert {"evaluate/nearest_fitted", "evaluate/flicker_seen", "evaluate/rate_bits_seen",
            "evaluate/ms_ssim_held_out"} <= set(values)  # fmt: skip
    assert not any("vmaf" in name for name in values)
    assert all(np.isfinite(value) for value in values.values())
    assert values == evaluation.measure(networks)


@pytest.mark.skipif(not perceptual.available(), reason="[perceptual] is not installed")
def test_perceptual_figures_are_of_some_of_the_frames(
    part: FilmPart, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(during, "_PERCEPTUAL_FRAMES", 6)
    monkeypatch.setattr(during, "_SAMPLES", 20)
    networks = tiny_networks()
    evaluation = RunEvaluation([part])
    values = evaluation.measure(networks)
    for label, first, count in (("seen", 0, 36), ("held_out", 36, 12)):
        own = evaluation.images[first : first + count][spread(count, 6)]
        dreams = networks.autoencoder.reconstruct(own)
        expected = perceptual.perceptual_distances(own, dreams).mean()
        # A pixel may be rounded the other way in a batch of another size.
        assert values[f"evaluate/perceptual_{label}"] == pytest.approx(expected, abs=5e-3)
    film = some(evaluation.images[:36], 20)
    normal = some(evaluation.draw(networks.autoencoder).normal, 20)
    expected = set_distances.frechet_distance(*map(perceptual.pooled_features, (normal, film)))
    assert values["evaluate/perceptual_frechet_normal"] == pytest.approx(expected, rel=1e-3)
    assert "evaluate/perceptual_frechet_fitted" in values
    assert f", seen perceptual {values['evaluate/perceptual_seen']:.4g}" in describe_values(values)


def test_without_the_extra_a_run_says_so_once(
    part: FilmPart, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(during, "missing_perceptual", lambda: "no perceptual figures: see there")
    evaluation = RunEvaluation([part])
    values = evaluation.measure(tiny_networks())
    assert capsys.readouterr().err.count("note: no perceptual figures: see there\n") == 1
    assert "evaluate/psnr_seen" in values and not any("perceptual" in name for name in values)
    assert "perceptual" not in describe_values(values)


def lines_of(run: Path) -> list[dict[str, Any]]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if "evaluate/psnr_seen" in line]


@pytest.mark.slow
def test_a_run_measures_its_averages(small_records: Path, tmp_path: Path) -> None:
    flags = {"steps": 5, "evaluate_every": 2, "holdout": 0.17, "ema": 0.9, "learning_rate": 0.02}
    trainer = train_here(tiny_flags(small_records, tmp_path / "run", **flags))
    lines = lines_of(tmp_path / "run")
    assert [line["step"] for line in lines] == [2, 4, 5]  # and the last
    assert all("evaluate/psnr_held_out" in line for line in lines)
    keep = np.ones(FRAMES, bool)
    keep[40:] = False
    evaluation = RunEvaluation([FilmPart(small_records, load_card(small_records), keep)])
    last = lines[-1]["evaluate/psnr_held_out"]
    averages, weights = (
        evaluation.measure(networks)["evaluate/psnr_held_out"]
        for networks in (trainer.dreaming, trainer.networks)
    )
    assert averages == pytest.approx(last, abs=2e-3)
    assert weights != pytest.approx(last, abs=2e-2)
    log = (tmp_path / "run" / "log.txt").read_text()
    assert log.count(": held out psnr ") == 3
    for name in ("prior.png", "interpolation.png"):
        assert (tmp_path / "run" / name).read_bytes().startswith(b"\x89PNG")


def test_a_run_that_was_not_asked_shows_its_latent_space_only(
    trained_run: tuple[Path, Result],
) -> None:
    run = trained_run[0]
    assert not lines_of(run)
    assert (run / "prior.png").is_file()
    assert (run / "interpolation.png").is_file()


@pytest.mark.slow
def test_measuring_changes_no_weight(small_records: Path, tmp_path: Path) -> None:
    trained = [
        train_here(tiny_flags(small_records, tmp_path / f"run{every}", steps=3,
                              evaluate_every=every))
        for every in (0, 1)
    ]  # fmt: skip
    for first, second in zip(trained[0].variables, trained[1].variables, strict=True):
        np.testing.assert_array_equal(first.numpy(), second.numpy(), first.path)


def test_how_often_is_checked() -> None:
    with pytest.raises(UsageError, match=r"--evaluate_every=.*: give 0 \(never\) or more"):
        TrainConfig(steps=1, batch_size=1, evaluate_every=-1)
