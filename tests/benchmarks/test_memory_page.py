"""The table of what a network knows, from run.json contents; and the command that measures it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.memory.__main__ import VARIANTS, grid, page
from benchmarks.runs import ROOT
from tests.helpers.small_records import write_numbered_film


def result(variant: str, seed: int, psnr: float, **more: Any) -> dict[str, Any]:
    groups = {
        label: {"psnr": psnr, "ssim": 0.5, "perceptual": 0.25} for label in ("seen", "held out")
    }
    facts = {"moments": 7, "components": 90, "megabytes": 12, "steps": 1, "cpu_minutes": 1.5 + seed,
             "film_frames": 300, "grid": [1.2, 1.5]}  # fmt: skip
    return {"variant": variant, "seed": seed, "groups": groups, **facts, **more}


def test_a_row_is_the_median_of_a_variants_seeds() -> None:
    baselines = {"PCA-200": {"seen": {"psnr": 25.0, "ssim": 0.6}}}
    results = [
        result("1", 0, 30.0, baselines=baselines), result("1", 1, 31.0), result("1", 2, 33.0),
        result("0.5_trained", 0, 28.0, steps=900),
    ]  # fmt: skip
    lines = page(results, "a film").splitlines()
    assert lines[0] == "# What a network knows of a film: a film"
    rows = [line for line in lines if line.startswith("| ")]
    assert rows[1] == (
        "| `--memory=1`, memory alone | 7 | 90 | 12 | 0 | "
        "31.00 (3.00) / 0.500 (0.000) / 0.250 (0.000) | "
        "31.00 (3.00) / 0.500 (0.000) / 0.250 (0.000) | - / - / - | - / - / - | 1.5 (0.0) | "
        "2.5 (2.0) |"
    )
    assert rows[2].startswith(
        "| `--memory=0.5`, trained | 7 | 90 | 12 | 900 | 28.00 / 0.500 / 0.250 |"
    )
    nothing = " - / - / - | - / - / - | - / - / - | - | - |"
    assert rows[3] == f"| PCA-200 | - | - | - | - | 25.00 / 0.600 / - |{nothing}"
    assert len(rows) == 4 and page([]) == "No runs yet."


def test_what_is_not_trained_takes_one_step_that_changes_nothing() -> None:
    for _, given, trained in VARIANTS.values():
        assert ("--learning_rate=1e-9" in given) == ("--steps=1" in given) == (not trained)


def test_a_grid_is_seen_and_detail_is_none() -> None:
    random = np.random.default_rng(0)
    noise = random.integers(110, 140, (20, 48, 64, 3)).astype(np.uint8)
    assert grid(noise) < 1.1
    assert grid(np.full_like(noise, 9)) == 0.0
    for period in (2, 4, 8):
        board = noise.copy()
        board[:, :, ::period] += 10
        assert grid(board) > 2.0
        assert grid(board.swapaxes(1, 2)) > 2.0


@pytest.mark.slow
def test_the_command_measures_and_draws(tmp_path: Path) -> None:
    write_numbered_film(tmp_path / "film", 480, 24, 32, image_format="png")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.memory", f"--data={tmp_path / 'film'}",
         f"--runs={tmp_path / 'runs'}", "--variants=0.5", f"--output={tmp_path / 'page.md'}",
         f"--picture={tmp_path / 'strip.png'}"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "runs/0.5-0/run.json").read_text("utf-8"))
    assert result["groups"]["seen"]["psnr"] > result["groups"]["held out"]["psnr"] > 10
    assert "| `--memory=0.5`, memory alone |" in (tmp_path / "page.md").read_text("utf-8")
    assert (tmp_path / "strip.png").stat().st_size > 1000
