"""Write docs/results.md from the folders that `make film` left.

Every figure comes from a file of the run: evaluation.json, run/config.json, result.json. README's
short form, between its two marker comments, is written along.

Examples:
  python -m benchmarks.demo out/big_buck_bunny_trailer
  python -m benchmarks.demo out/big_buck_bunny_trailer out_holdout/big_buck_bunny_trailer
"""

import json
import os
import platform
from pathlib import Path

from benchmarks.markdown import NONE, replace_between, table
from benchmarks.runs import DEMO_FILM, ROOT, Json, machine
from bladerunner_ae.command_line.app import run_with_arguments
from bladerunner_ae.errors import UsageError

_BEGIN, _END = "<!-- results: written by benchmarks/demo -->", "<!-- end of results -->"
_GROUPS = ("seen", "held out")
_HEADS = ("film", "frames", "raster", "preset, objective", "steps", "group", "PSNR dB", "SSIM",
          "perceptual", "frames in group", "training s", "all s")  # fmt: skip


def read_result(folder: Path) -> Json:
    """Read what `make film` left in OUT/<film>."""
    names = {
        "evaluation": "run/evaluation.json",
        "config": "run/config.json",
        "result": "result.json",
    }
    return {key: json.loads((folder / name).read_text("utf-8")) for key, name in names.items()}


def rows(found: Json) -> list[list[object]]:
    """Return the cells of each group of frames of one result."""
    config, evaluation, seconds = found["config"], found["evaluation"], found["result"]["seconds"]
    training = f"{seconds['training']:.0f}" if seconds else "resumed"
    whole = f"{sum(seconds.values()):.0f}" if seconds else "resumed"
    raster = f"{config['model']['height']}x{config['model']['width']}"
    kind = f"{config['preset']}, {config['objective']}, memory {config['model']['memory']:g}"
    network = [kind, config["train"]["steps"]], evaluation["groups"], [training, whole]
    others = evaluation.get("baselines", {}).items()
    systems = [network, *(([name, NONE], groups, [NONE, NONE]) for name, groups in others)]
    return [
        [evaluation["film"], evaluation["frames"], raster, *what, label, f"{group['psnr']:.2f}",
         f"{group['ssim']:.3f}", _perceptual(group), group["frames"], *seconds_taken]
        for what, groups, seconds_taken in systems
        for label, group in groups.items()
        if label in _GROUPS and group["frames"]
    ]  # fmt: skip


def _perceptual(group: Json) -> str:
    """Return the distance, for which an extra is needed and which earlier versions had not."""
    distance = group.get("perceptual")
    return NONE if distance is None else f"{distance:.3f}"


def make_command(folder: Path) -> str:
    """Return the `make film` that leaves such a folder (of the demo film: without FILM)."""
    found = read_result(folder)
    key, film = found["result"]["key"], found["evaluation"]["film"]
    words = {
        "FILM": None if film == DEMO_FILM.name else film,
        "OUT": None if folder.parent.name == "out" else folder.parent.name,
        "PRESET": None if key["preset"] == "preview" else key["preset"],
        "MEMORY": key.get("memory"),
        "STEPS": key["steps"],
        "HOLDOUT": key["holdout"] or None,
        "HOLDOUT_SECONDS": key["holdout_seconds"] or None,
    }
    return " ".join(["make film", *(f"{name}={value}" for name, value in words.items() if value)])


def results(folders: list[Path]) -> str:
    """Return the table with a line about the machine."""
    found = (row for folder in folders for row in rows(read_result(folder)))
    # Two runs on one film have the same baselines.
    lines = "\n".join(table(_HEADS, list(dict.fromkeys(map(tuple, found)))))
    return (
        f"{lines}\n\nMeasured on {machine()['processor']}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}. PSNR and SSIM are means over frames at the "
        "raster's size, and so is the perceptual distance, over some of them (smaller is nearer). "
        "*Seen* frames were trained on; *held out* ones were kept from training, in "
        "whole shots, or with HOLDOUT_SECONDS in runs of that length. After one step a network "
        "draws what its memory alone knows.\n"
    )


def main(arguments: list[str]) -> None:
    if not arguments:
        raise UsageError("no folder given; name those that `make film` left, such as out/my_film")
    folders = [*map(Path, arguments)]
    text = results(folders)
    commands = "".join(f"    {make_command(folder)}\n" for folder in folders)
    (ROOT / "docs" / "results.md").write_text(
        "# Results\n\nWritten by `benchmarks/demo` from the folders that these left:\n\n"
        f"{commands}\n{text}",
        "utf-8",
    )
    readme = ROOT / "README.md"
    readme.write_text(replace_between(readme.read_text("utf-8"), _BEGIN, _END, text), "utf-8")


if __name__ == "__main__":
    run_with_arguments(main)
