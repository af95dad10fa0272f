"""Measure what a network knows of a film, for each --memory, before training and after.

The original's objective is measured too. Every run is one `bladerunner_ae.train` and one
`bladerunner_ae.evaluate`; its folder keeps their output, and a finished run is not repeated. Runs
"alone" take one step at a learning rate of 1e-9: what they draw is the memory's. Time is processor
time of the training process, fit and export included.

Examples:
  python -m benchmarks.memory --data=DATA/varied
  python -m benchmarks.memory --data=DATA/varied --variants=1,0.5_trained --seeds=3
  python -m benchmarks.memory --data=DATA/varied --table --picture=memory.png --output=memory.md
"""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import flags
from numpy.typing import NDArray
from PIL import Image

from benchmarks.markdown import NONE, median_and_spread, publish, table
from benchmarks.runs import ROOT, cores_of_processor, run, say
from bladerunner_ae import load_autoencoder
from bladerunner_ae.command_line.app import run as run_command
from bladerunner_ae.errors import UsageError
from bladerunner_ae.pictures.png import to_png
from bladerunner_ae.pictures.spread import spread
from bladerunner_ae.runs.folder import write_json
from tfrecords.card import load_card

_HOLDOUT = ("--holdout=0.1", "--holdout_seconds=2")
_ALONE = ("--steps=1", "--learning_rate=1e-9")
_GROUPS = ("seen", "held out", "held out, no near copy", "held out, new")
_PICTURES = 8

_GRID_FRAMES = 100


class Variant(NamedTuple):
    title: str
    flags: tuple[str, ...]
    trained: bool = True


VARIANTS = {
    **{
        size: Variant(f"`--memory={size}`, memory alone", (f"--memory={size}", *_ALONE), False)
        for size in ("0", "0.25", "0.5", "0.75", "1")
    },
    **{
        f"{size}_trained": Variant(f"`--memory={size}`, trained", (f"--memory={size}",))
        for size in ("0", "0.5", "1")
    },
    "broad2016": Variant(
        "`flagfiles/broad2016.flags`", (f"--flagfile={ROOT / 'flagfiles/broad2016.flags'}",)
    ),
}

Result = Mapping[str, Any]


def main() -> None:
    options = flags.FLAGS
    names, runs = options.variants.split(","), Path(options.runs)
    if unknown := [name for name in names if name not in VARIANTS]:
        raise UsageError(f"--variants={unknown[0]}: choose from {', '.join(VARIANTS)}")
    if options.data is None and (options.picture or not options.table):
        raise UsageError("--data=DATA/<film> is needed")
    if not options.table:
        for seed in range(options.seeds):
            for name in names:
                run_once(options, runs, name, seed)
    results = [json.loads(path.read_text("utf-8")) for path in sorted(runs.glob("*/run.json"))]
    if options.picture:
        Path(options.picture).write_bytes(strip(runs, Path(options.data)))
    publish(page(results, options.film), options.output)


def run_once(options: flags.FlagValues, runs: Path, name: str, seed: int) -> None:
    """Train and evaluate one variant with one seed, unless that is done."""
    folder = (runs / f"{name}-{seed}").absolute()
    if (folder / "run.json").is_file():
        return
    data, started = f"--data={Path(options.data).absolute()}", time.monotonic()
    spent = run(sys.executable, "-m", "bladerunner_ae.train", data, f"--model_dir={folder}",
                f"--seed={seed}", "--noreport", "--overwrite", *_HOLDOUT,
                *VARIANTS[name].flags).processor  # fmt: skip
    # The same for all: the first run that is evaluated measures them.
    baselines = "--nobaselines" if any(runs.glob("*/run.json")) else "--pca=16,200"
    run(sys.executable, "-m", "bladerunner_ae.evaluate", data, f"--model={folder}", baselines,
        f"--max_frames={options.max_frames}", "--vmaf=off",
        f"--output={folder / 'evaluation.json'}")  # fmt: skip
    evaluation = json.loads((folder / "evaluation.json").read_text("utf-8"))
    config = json.loads((folder / "config.json").read_text("utf-8"))
    result = {
        "variant": name,
        "seed": seed,
        "trained": VARIANTS[name].trained,
        "steps": config["train"]["steps"],
        "moments": config["model"]["moments"],
        "components": config["model"]["components"],
        "megabytes": round(_bytes_below(folder / "export" / "decoder") / 1e6),
        "cpu_minutes": round(spent / 60, 2),
        "film_frames": evaluation["frames"],
        "grid": grids(folder, Path(options.data)),
        **{key: evaluation.get(key) for key in ("groups", "baselines", "prior")},
    }
    write_json(folder / "run.json", result)
    say(f"{folder.name}: {time.monotonic() - started:.0f} s")


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def page(results: Sequence[Result], film: str = "") -> str:
    """Return a page of run.json contents, a row for each variant and baseline."""
    if not results:
        return "No runs yet."
    frames = results[0]["film_frames"]
    lines = [
        f"# What a network knows of a film{f': {film}' * bool(film)}",
        "",
        f"Written by `benchmarks/memory` from the run folders. {frames} frames; medians over "
        "seeds, in brackets the largest minus the smallest. Held out is every tenth run of two "
        "seconds; *no near copy*: those of its frames with no seen frame within 36 dB; *new*: none "
        "within 26 dB. PSNR in dB / SSIM / perceptual distance (less is better). *Grid*: how many "
        "times as strong a period of 2, 4 or 8 pixels is as its neighbours, at worst; the film has "
        f"{results[0]['grid'][0]:.1f}. CPU minutes of `train` on {cores_of_processor()}.",
        "",
    ]
    heads = ["", "key moments", "components", "decoder MB", "steps", *_GROUPS, "grid", "CPU min"]
    rows = []
    for name, (title, _, trained) in VARIANTS.items():
        own = [result for result in results if result["variant"] == name]
        if own:
            rows.append([
                title, own[0]["moments"], own[0]["components"], own[0]["megabytes"],
                own[0]["steps"] if trained else 0,
                *_figures([result["groups"] for result in own]),
                median_and_spread((result["grid"][1] for result in own), 1),
                median_and_spread((result["cpu_minutes"] for result in own), 1),
            ])  # fmt: skip
    baselines = next((found for result in results if (found := result.get("baselines"))), {})
    rows += [[name, *[NONE] * 4, *_figures([own]), NONE, NONE] for name, own in baselines.items()]
    return "\n".join([*lines, *table(heads, rows)])


def _figures(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        " / ".join(
            median_and_spread([(groups.get(label) or {}).get(key) for groups in runs], decimals)
            for key, decimals in (("psnr", 2), ("ssim", 3), ("perceptual", 3))
        )
        for label in _GROUPS
    ]


def grids(run: Path, records: Path) -> tuple[float, float]:
    """Return the grid of frames of the film, and that of what a run draws of them."""
    frames = some_frames(records, _GRID_FRAMES)
    return grid(frames), grid(load_autoencoder(run).reconstruct(frames))


def grid(pictures: NDArray[np.uint8]) -> float:
    """Return how much layers that double a picture show in it, uint8 [n, H, W, C]; 1: not at all.

    A checkerboard has periods of 2, 4 and 8 pixels; of each direction's mean power spectrum this is
    the power there over the median of the frequencies beside it, at its greatest.
    """
    found = []
    for axis in (1, 2):
        size = pictures.shape[axis]
        spectrum = np.abs(np.fft.rfft(pictures - pictures.mean(axis, keepdims=True), axis=axis))
        power = np.square(spectrum).mean(axis=tuple({0, 1, 2, 3} - {axis}))
        for period in (2, 4, 8):
            if size % period == 0:
                at = size // period
                beside = [
                    i for i in range(at - 5, at + 6) if abs(i - at) > 1 and 0 < i < len(power)
                ]
                found.append(power[at] / max(float(np.median(power[beside])), 1e-9))
    return float(max(found))


def some_frames(records: Path, count: int) -> NDArray[np.uint8]:
    """Return frames of a film, evenly spread, uint8 [count, H, W, 3]."""
    from tfrecords.frames import read_images  # TensorFlow, which --help and --table need not

    card = load_card(records)
    return read_images(records, card, spread(card.frames, count))


def strip(runs: Path, records: Path) -> bytes:
    """Return a PNG: frames of the film, and below them what each finished run draws of them."""
    frames = some_frames(records, _PICTURES + 2)[1:-1]
    rows = [frames]
    for name in VARIANTS:
        if (runs / f"{name}-0" / "run.json").is_file():
            rows.append(load_autoencoder(runs / f"{name}-0").reconstruct(frames))
    sheet = np.concatenate([np.concatenate(list(row), axis=1) for row in rows])
    return to_png(Image.fromarray(sheet))


def cli() -> None:
    flags.DEFINE_string("data", None, "Folder of a film's records.")
    flags.DEFINE_string("runs", "build/memory", "Folder of runs.")
    flags.DEFINE_string("variants", ",".join(VARIANTS), "Variants, in this order.")
    flags.DEFINE_integer("seeds", 1, "Number of seeds, from 0.")
    flags.DEFINE_integer("max_frames", 5000, "Frames that are measured, evenly spread; 0: all.")
    flags.DEFINE_string("film", "", "The film in the title of the page.")
    flags.DEFINE_bool("table", False, "Write the table, train nothing.")
    flags.DEFINE_string("picture", None, "PNG file for frames as each variant draws them.")
    flags.DEFINE_string("output", None, "Markdown file for the table.")
    run_command(main)


if __name__ == "__main__":
    cli()
