"""Writes docs/results.md from the folders that `make film` left.

Every figure comes from a file of the run: evaluation.json, run/config.json, result.json. README's
short form, between its two marker comments, is written along.

Examples:
  python -m benchmarks.demo out/big_buck_bunny_trailer
  python -m benchmarks.demo out/big_buck_bunny_trailer out_holdout/big_buck_bunny_trailer
"""

import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parent.parent.parent
_BEGIN, _END = "<!-- results: written by benchmarks/demo -->", "<!-- end of results -->"
_DEMO = "big_buck_bunny_trailer.mp4"
_HEAD = (
    "| film | frames | raster | preset, objective | steps | group | PSNR dB | SSIM "
    "| frames in group | training s | all s |\n|---|---|---|---|---|---|---|---|---|---|---|"
)


def read_result(folder: Path) -> dict[str, Any]:
    """Reads what `make film` left in OUT/<film>."""
    names = {
        "evaluation": "run/evaluation.json",
        "config": "run/config.json",
        "result": "result.json",
    }
    return {key: json.loads((folder / name).read_text("utf-8")) for key, name in names.items()}


def rows(found: dict[str, Any]) -> list[str]:
    """Returns one table row for each group of frames of one result."""
    config, evaluation, seconds = found["config"], found["evaluation"], found["result"]["seconds"]
    training = f"{seconds['training']:.0f}" if seconds else "resumed"
    whole = f"{sum(seconds.values()):.0f}" if seconds else "resumed"
    return [
        f"| {evaluation['film']} | {evaluation['frames']} "
        f"| {config['model']['height']}x{config['model']['width']} "
        f"| {config['preset']}, {config['objective']} | {config['train']['steps']} | {label} "
        f"| {group['psnr']:.2f} | {group['ssim']:.3f} | {group['frames']} | {training} | {whole} |"
        for label, group in evaluation["groups"].items()
    ]


def make_command(folder: Path) -> str:
    """The `make film` that leaves such a folder (of the demo film: without FILM)."""
    found = read_result(folder)
    key, film = found["result"]["key"], found["evaluation"]["film"]
    words = {
        "FILM": None if film == _DEMO else film,
        "OUT": None if folder.parent.name == "out" else folder.parent.name,
        "PRESET": None if key["preset"] == "preview" else key["preset"],
        "STEPS": key["steps"],
        "HOLDOUT": key["holdout"] or None,
        "HOLDOUT_SECONDS": key["holdout_seconds"] or None,
    }
    return " ".join(["make film", *(f"{name}={value}" for name, value in words.items() if value)])


def machine() -> str:
    """Says what the times were taken on."""
    model = platform.machine()
    information = Path("/proc/cpuinfo")
    if information.exists():
        lines = information.read_text("utf-8", "replace").splitlines()
        named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        model = named[0] if named else model
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def table(folders: list[Path]) -> str:
    """Returns the whole table with a line about the machine."""
    body = "\n".join(row for folder in folders for row in rows(read_result(folder)))
    return (
        f"{_HEAD}\n{body}\n\nMeasured on {machine()}. PSNR and SSIM are means over frames at the "
        "raster's size. *Seen* frames were trained on; *held out* ones were kept from training, in "
        "whole shots, or with HOLDOUT_SECONDS in runs of that length.\n"
    )


def main() -> None:
    """Writes both files."""
    folders = [Path(argument) for argument in sys.argv[1:]]
    if not folders or "--help" in sys.argv:
        print(__doc__)
        return
    text = table(folders)
    command = "\n".join(f"    {make_command(folder)}" for folder in folders) + "\n"
    (_ROOT / "docs" / "results.md").write_text(
        f"# Results\n\nWritten by `benchmarks/demo` from the folders that these left:\n\n"
        f"{command}\n{text}",
        "utf-8",
    )
    readme = _ROOT / "README.md"
    before, _, rest = readme.read_text("utf-8").partition(_BEGIN)
    _, _, after = rest.partition(_END)
    readme.write_text(f"{before}{_BEGIN}\n{text}{_END}{after}", "utf-8")


if __name__ == "__main__":
    main()
