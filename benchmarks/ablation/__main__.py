"""Trains an objective with each of its ingredients left out in turn, and the others beside it.

Every run is one `bladerunner_ae.train` and one `bladerunner_ae.evaluate`, as anyone would start
them; its folder keeps what they wrote. A run that is there already is not repeated, so the command
may be killed and started again, and --table writes the tables from the folders alone. Two of
them may work on one folder at once, on different variants.

Time is processor time of the training process, which does not ask who else uses the machine.

Examples:
  python -m benchmarks.ablation --data=DATA/my_film --seeds=3
  python -m benchmarks.ablation --data=DATA/my_film --variants=dream,vae_gan --seeds=5
  python -m benchmarks.ablation --data=DATA/my_film --nolinear_path --seeds=3
  python -m benchmarks.ablation --data=DATA/camera --runs=build/camera --steps=300 --max_frames=1500
  python -m benchmarks.ablation --table --runs=build/camera --film=camera --output=ablation.md
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from benchmarks.ablation.table import tables
from bladerunner_ae.runs.folder import write_json

STEPS = 500
_HOLDOUT = ("--holdout=0.1", "--holdout_seconds=2")

_ADVERSARY = ("--objective=dream", "--adversarial_weight=0.002")

# Name -> (flags, what is different). Steps are the same for all but those "at equal time", which
# get as many as take the same processor time, from the rates of single runs.
VARIANTS: dict[str, tuple[tuple[str, ...], str]] = {
    "dream": (("--objective=dream",), "the default"),
    "no_refinement": (
        ("--objective=dream", "--refinement_blocks=0"),
        "whose convolutions do not see the linear picture",
    ),
    "no_augmentation": (("--objective=dream", "--augment=0"), "without frames that are moved"),
    "no_bands": (("--objective=dream", "--band_weight=0"), "without the error in octaves"),
    "adversary": (_ADVERSARY, "with a late, light adversary"),
    "adversary_at_once": (
        (*_ADVERSARY, "--adversarial_start=0", "--adversarial_ramp=0"),
        "with that from the first step",
    ),
    "features": (("--objective=dream", "--feature_weight=0.05"), "with the learned similarity"),
    "r1": ((*_ADVERSARY, "--r1_weight=1"), "with an adversary whose slope is penalised"),
    "kl_warmup": (("--objective=dream", "--kl_warmup=0.3"), "with a KL weight that warms up"),
    "free_bits": (("--objective=dream", "--free_bits=0.5"), "with half a nat free"),
    "ema": (("--objective=dream", "--ema=0.99"), "with averaged weights"),
    "balanced": (("--objective=dream", "--balance=shots"), "with shots balanced"),
    "vae": (("--objective=vae",), "pixels alone"),
    "vae_gan": (("--objective=vae_gan",), "Larsen et al."),
    "vae_gan_ema": (("--objective=vae_gan", "--ema=0.99"), "that with averaged weights"),
    "patch_gan": (("--objective=patch_gan",), "Isola et al."),
    "broad2016": (("--objective=broad2016",), "the original's formulas"),
}


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder of a film's records")
    parser.add_argument("--runs", type=Path, default=Path("build/ablation"), help="folder of runs")
    parser.add_argument("--variants", default=",".join(VARIANTS), help="which, in this order")
    parser.add_argument("--seeds", type=int, default=3, help="how many, from 0")
    parser.add_argument("--steps", type=int, default=STEPS, help="of every run")
    parser.add_argument("--max_frames", type=int, default=0,
                        help="that are measured, evenly spread; 0: all")  # fmt: skip
    parser.add_argument("--film", default="", help="what the table says the film is")
    parser.add_argument("--nolinear_path", action="store_true", help="convolutions alone")
    parser.add_argument("--table", action="store_true", help="write the tables, train nothing")
    parser.add_argument("--output", type=Path, help="file for the tables")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what is missing, then writes the tables."""
    options = parse_arguments(arguments)
    names = options.variants.split(",")
    if unknown := [name for name in names if name not in VARIANTS]:
        print(f"error: --variants={unknown[0]}: choose from {', '.join(VARIANTS)}", file=sys.stderr)
        return 1
    if not options.table:
        if options.data is None:
            print("error: --data=DATA/<film> is needed", file=sys.stderr)
            return 1
        # Seed by seed, so that a table of half of the seeds is one of all variants.
        for seed in range(options.seeds):
            for name in names:
                run_once(options, name, seed)
    results = [
        json.loads(path.read_text("utf-8")) for path in sorted(options.runs.glob("*/run.json"))
    ]
    described = {name: text for name, (_, text) in VARIANTS.items()}
    text = tables(results, described, options.film)
    print(text)
    if options.output:
        options.output.write_text(text + "\n", "utf-8")
    return 0


def run_once(options: argparse.Namespace, name: str, seed: int) -> None:
    """Trains and evaluates one variant with one seed, unless that is done.

    One that was interrupted starts over, because its time would be that of a part.
    """
    path = "-nolinear" if options.nolinear_path else ""
    run = options.runs / f"{name}-{options.steps}{path}-{seed}"
    if (run / "run.json").is_file():
        return
    flags = (*VARIANTS[name][0], *(["--nolinear_path"] if options.nolinear_path else []))
    started = time.monotonic()
    spent = call("train", f"--data={options.data}", f"--model_dir={run}", "--preset=preview",
                 f"--steps={options.steps}", f"--seed={seed}", "--noreport", "--overwrite",
                 *_HOLDOUT, *flags)  # fmt: skip
    # The same for all: the first run that is evaluated measures them.
    baselines = "--nobaselines" if any(options.runs.glob("*/run.json")) else "--baselines"
    call("evaluate", f"--data={options.data}", f"--model={run}", baselines,
         f"--max_frames={options.max_frames}", f"--output={run / 'evaluation.json'}")  # fmt: skip
    result = {
        "variant": name,
        "seed": seed,
        "steps": options.steps,
        "linear_path": not options.nolinear_path,
        "flags": list(flags),
        "train_cpu_seconds": round(spent, 1),
        "watchdog": watchdog_lines(run),
        **figures(json.loads((run / "evaluation.json").read_text("utf-8"))),
    }
    write_json(run / "run.json", result)
    held = result["groups"].get("held out", {})
    print(f"{run.name}: {time.monotonic() - started:.0f} s, held out {held.get('psnr')} dB",
          file=sys.stderr)  # fmt: skip


def call(command: str, *arguments: str) -> float:
    """Runs one of our commands and returns the processor seconds it took."""
    before = os.times()
    subprocess.run(
        [sys.executable, "-m", f"bladerunner_ae.{command}", *arguments],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    after = os.times()
    return sum(after[i] - before[i] for i in (2, 3))  # of children that have ended


def watchdog_lines(run: Path) -> list[str]:
    """Returns what the watchdog said during a run, the kinds of trouble in order."""
    lines = (run / "metrics.jsonl").read_text("utf-8").splitlines()
    return [line["watchdog"] for line in map(json.loads, lines) if "watchdog" in line]


def figures(evaluation: Mapping[str, Any]) -> dict[str, Any]:
    """Returns those parts of an evaluation that the tables need."""
    return {key: evaluation.get(key) for key in ("groups", "baselines", "prior")}


if __name__ == "__main__":
    sys.exit(main())
