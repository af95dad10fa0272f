"""The ablation's tables follow from its runs' files; every variant is a run that can be started."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.ablation import __main__ as ablation
from benchmarks.ablation import camera as camera_film
from benchmarks.ablation.__main__ import page
from bladerunner_ae.film.reading.frame_reader import FrameReader
from bladerunner_ae.film.reading.probe import probe_film
from bladerunner_ae.objectives import make_objective, weight_help
from tests.helpers.commands import run_python
from tests.helpers.synthetic_film import make_film


def result(variant: str, seed: int, psnr: float, **more: Any) -> dict[str, Any]:
    groups = {"seen": {"psnr": 33.0}, "held out": {"psnr": psnr, "sharpness": 0.9}}
    return {"variant": variant, "seed": seed, "steps": 500, "linear_path": True,
            "groups": groups, "watchdog": [], "train_cpu_seconds": 300.0,
            "baselines": {"PCA": {"held out": {"psnr": 29.75}}}, "prior": None, **more}  # fmt: skip


def row(text: str, start: str) -> list[str]:
    line = next(line for line in text.splitlines() if line.startswith(f"| {start}"))
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_a_row_holds_medians_and_spreads() -> None:
    results = [result("dream", seed, psnr) for seed, psnr in enumerate((28.0, 30.5, 29.0))]
    results.append(result("vae", 0, 27.0, watchdog=["collapse"]))
    text = page(results, {"dream": "the default", "vae": "pixels alone", "r1": "not run"})
    heads = row(text, "variant")
    dream = dict(zip(heads, row(text, "**dream**"), strict=True))
    assert dream["seeds"] == "3"
    assert dream["held out PSNR"] == "29.00 (2.50)"
    assert dream["seen PSNR"] == "33.00 (0.00)"
    assert dream["VMAF"] == "-"
    assert dream["watchdog"] == "quiet"
    vae = dict(zip(heads, row(text, "**vae**"), strict=True))
    assert (vae["held out PSNR"], vae["watchdog"]) == ("27.00", "collapse")
    assert "r1" not in text
    baseline = dict(zip(heads, row(text, "PCA"), strict=True))
    assert (baseline["held out PSNR"], baseline["seeds"]) == ("29.75", "-")


def test_baselines_may_stand_in_any_run_and_the_film_in_the_title() -> None:
    results = [result("dream", 0, 28.0, baselines=None), result("dream", 1, 29.0)]
    text = page(results, {"dream": "the default"}, "four cameras")
    assert text.startswith("# What each ingredient is worth: four cameras\n")
    assert row(text, "PCA")[3] == "29.75"


def test_a_frechet_distance_of_an_earlier_version_is_not_shown() -> None:
    """It was by other features."""
    scores = [{"drawn from fitted density": {name: 7.25}}
              for name in ("frechet", "perceptual_frechet")]  # fmt: skip
    old, new = (
        page([result("dream", 0, 28.0, prior={"scores": own})], {"dream": "the default"})
        for own in scores
    )
    place = row(new, "variant").index("prior: perceptual Frechet")
    assert (row(old, "**dream**")[place], row(new, "**dream**")[place]) == ("-", "7.25")


def test_runs_without_the_linear_path_have_a_table_of_their_own() -> None:
    text = page(
        [result("dream", 0, 28.0), result("dream", 0, 20.0, linear_path=False)],
        {"dream": "the default"},
    )
    first, second = text.split("## ")[1:]
    assert "28.00" in first and "20.00" not in first
    assert "20.00" in second and "28.00" not in second and "PCA" in second


@pytest.mark.parametrize("name", sorted(ablation.VARIANTS))
def test_every_variant_is_an_objective_with_weights_that_it_has(name: str) -> None:
    flags = dict(flag.removeprefix("--").split("=") for flag in ablation.VARIANTS[name][0])
    objective = flags.pop("objective")
    weights = {key: float(value) for key, value in flags.items() if key in weight_help()}
    made = make_objective(objective, weights)
    for key, value in weights.items():
        assert value != getattr(make_objective(objective), key), "a variant that changes nothing"
        assert getattr(made, key) == value


def test_four_cameras_look_at_every_frame(tmp_path: Path) -> None:
    made = make_film(tmp_path / "film.mp4", frames=10)
    output = tmp_path / "camera" / "film.mp4"
    camera_film.make(made, output)
    with FrameReader(probe_film(output), size=(36, 64)) as reader:
        pictures = [frame.image for frame in reader]
    assert len(pictures) == 40
    found = np.stack(pictures).astype(np.float32)
    # Windows of their own size and place: no camera shows what another one does.
    apart = [np.abs(found[10 * i] - found[10 * j]).mean() for i in range(4) for j in range(i)]
    assert min(apart) > 4.0


def test_an_unknown_variant_is_one_line() -> None:
    done = run_python("-m", "benchmarks.ablation", "--variants=dream,dreams", "--table")
    assert done.returncode == 1
    assert "error: --variants=dreams: choose from dream," in done.stderr
