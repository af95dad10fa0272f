"""The rows of the results, from what `make film` leaves, of this version and of earlier ones."""

from typing import Any

from benchmarks.demo.__main__ import _HEADS, rows


def found(**group: Any) -> dict[str, Any]:
    """Return the results of a run that saw all of its film."""
    return {
        "config": {
            "model": {"height": 72, "width": 128, "memory": 0.5}, "preset": "preview",
            "objective": "dream", "train": {"steps": 500},
        },
        "evaluation": {
            "film": "film.mp4", "frames": 1323,
            "groups": {"seen": {"psnr": 39.374, "ssim": 0.9751, "frames": 1323, **group}},
        },
        "result": {"seconds": {"records": 20.0, "training": 122.2}},
    }  # fmt: skip


def test_a_row_has_the_figures_of_a_group() -> None:
    (row,) = rows(found(perceptual=0.16251))
    cells = dict(zip(_HEADS, row, strict=True))
    assert (cells["PSNR dB"], cells["SSIM"], cells["perceptual"]) == ("39.37", "0.975", "0.163")
    assert (cells["raster"], cells["training s"], cells["all s"]) == ("72x128", "122", "142")


def test_results_without_a_perceptual_distance() -> None:
    for group in ({}, {"perceptual": None}):
        (row,) = rows(found(**group))
        assert dict(zip(_HEADS, row, strict=True))["perceptual"] == "-"


def test_a_row_for_each_baseline() -> None:
    with_others = found()
    group = {"psnr": 12.0, "ssim": 0.3, "frames": 1323}
    with_others["evaluation"]["baselines"] = {
        "mean frame": {"seen": group, "held out, new": group}, "PCA-200": {"held out": group},
    }  # fmt: skip
    _, mean, components = (dict(zip(_HEADS, row, strict=True)) for row in rows(with_others))
    assert (mean["preset, objective"], mean["group"], mean["PSNR dB"]) == (
        "mean frame",
        "seen",
        "12.00",
    )
    assert (components["preset, objective"], components["group"]) == ("PCA-200", "held out")
    assert components["steps"] == components["all s"] == "-"
