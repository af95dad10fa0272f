"""The table of what a network knows, from run.json contents."""

from __future__ import annotations

from typing import Any

from benchmarks.memory.__main__ import VARIANTS, page


def result(variant: str, seed: int, psnr: float, **more: Any) -> dict[str, Any]:
    groups = {
        label: {"psnr": psnr, "ssim": 0.5, "perceptual": 0.25} for label in ("seen", "held out")
    }
    facts = {"moments": 7, "components": 90, "megabytes": 12, "steps": 1, "cpu_minutes": 1.5 + seed,
             "film_frames": 300}  # fmt: skip
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
        "31.00 (3.00) / 0.500 (0.000) / 0.250 (0.000) | - / - / - | - / - / - | 2.5 (2.0) |"
    )
    assert rows[2].startswith(
        "| `--memory=0.5`, trained | 7 | 90 | 12 | 900 | 28.00 / 0.500 / 0.250 |"
    )
    assert (
        rows[3]
        == "| PCA-200 | - | - | - | - | 25.00 / 0.600 / - | - / - / - | - / - / - | - / - / - | - |"
    )
    assert len(rows) == 4 and page([]) == "No runs yet."


def test_what_is_not_trained_takes_one_step_that_changes_nothing() -> None:
    for given, trained in VARIANTS.values():
        assert ("--learning_rate=1e-9" in given) == ("--steps=1" in given) == (not trained)
