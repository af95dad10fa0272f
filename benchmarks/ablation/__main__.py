"""Train an objective with each of its ingredients left out in turn, and the other objectives.

Every run is one `bladerunner_ae.train` and one `bladerunner_ae.evaluate`; its folder keeps their
output. A finished run is not repeated, so the command may be killed and started again, and --table
writes the tables from the folders alone. Two of them may work on one folder at once, on
different variants. Time is processor time of the training process.

Examples:
  python -m benchmarks.ablation --data=DATA/my_film --seeds=3
  python -m benchmarks.ablation --data=DATA/my_film --variants=dream,vae_gan --seeds=5
  python -m benchmarks.ablation --data=DATA/my_film --nolinear_path --seeds=3
  python -m benchmarks.ablation --data=DATA/camera --runs=build/camera --steps=300 --max_frames=1500
  python -m benchmarks.ablation --table --runs=build/camera --film=camera --output=ablation.md
"""

import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from benchmarks.markdown import NONE, median_and_spread, publish, table
from benchmarks.runs import run, say
from bladerunner_ae.command_line.app import run as run_command
from bladerunner_ae.errors import UsageError
from bladerunner_ae.runs.folder import write_json

STEPS = 500
_HOLDOUT = ("--holdout=0.1", "--holdout_seconds=2")
_HELD_OUT, _SEEN = "held out", "seen"
_COLUMNS = (
    (_SEEN, "psnr", "seen PSNR", 2), (_HELD_OUT, "psnr", "held out PSNR", 2),
    (_HELD_OUT, "ssim", "SSIM", 3), (_HELD_OUT, "ms_ssim", "MS-SSIM", 3),
    (_HELD_OUT, "vmaf", "VMAF", 1), (_HELD_OUT, "perceptual", "perceptual", 3),
    (_HELD_OUT, "sharpness", "sharpness", 2), (_HELD_OUT, "flicker", "flicker", 2),
)  # fmt: skip

Result = Mapping[str, Any]

_ADVERSARY = ("--objective=dream", "--adversarial_weight=0.002")

# Name -> (flags, what is different).
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


def main() -> None:
    options = flags.FLAGS
    names, runs = options.variants.split(","), Path(options.runs)
    if unknown := [name for name in names if name not in VARIANTS]:
        raise UsageError(f"--variants={unknown[0]}: choose from {', '.join(VARIANTS)}")
    if not options.table:
        if options.data is None:
            raise UsageError("--data=DATA/<film> is needed")
        # Seed by seed, so that a table of half of the seeds is one of all variants.
        for seed in range(options.seeds):
            for name in names:
                run_once(options, runs, name, seed)
    results = [json.loads(path.read_text("utf-8")) for path in sorted(runs.glob("*/run.json"))]
    described = {name: text for name, (_, text) in VARIANTS.items()}
    publish(page(results, described, options.film), options.output)


def run_once(options: flags.FlagValues, runs: Path, name: str, seed: int) -> None:
    """Train and evaluate one variant with one seed, unless that is done.

    An interrupted one starts over, because its time would be that of a part.
    """
    path = "" if options.linear_path else "-nolinear"
    folder = (runs / f"{name}-{options.steps}{path}-{seed}").absolute()
    if (folder / "run.json").is_file():
        return
    variant = (*VARIANTS[name][0], *([] if options.linear_path else ["--nolinear_path"]))
    data, started = f"--data={Path(options.data).absolute()}", time.monotonic()
    spent = run(sys.executable, "-m", "bladerunner_ae.train", data, f"--model_dir={folder}",
                "--preset=preview", f"--steps={options.steps}", f"--seed={seed}", "--noreport",
                "--overwrite", "--keep=last", *_HOLDOUT, *variant).processor  # fmt: skip
    # The same for all: the first run that is evaluated measures them.
    baselines = "--nobaselines" if any(runs.glob("*/run.json")) else "--baselines"
    run(sys.executable, "-m", "bladerunner_ae.evaluate", data, f"--model={folder}", baselines,
        f"--max_frames={options.max_frames}", f"--output={folder / 'evaluation.json'}")  # fmt: skip
    evaluation = json.loads((folder / "evaluation.json").read_text("utf-8"))
    lines = map(json.loads, (folder / "metrics.jsonl").read_text("utf-8").splitlines())
    result = {
        "variant": name,
        "seed": seed,
        "steps": options.steps,
        "linear_path": options.linear_path,
        "flags": list(variant),
        "train_cpu_seconds": round(spent, 1),
        "watchdog": [line["watchdog"] for line in lines if "watchdog" in line],
        **{key: evaluation.get(key) for key in ("groups", "baselines", "prior")},
    }
    write_json(folder / "run.json", result)
    held = result["groups"].get(_HELD_OUT, {}).get("psnr")
    say(f"{folder.name}: {time.monotonic() - started:.0f} s, held out {held} dB")


def page(results: Sequence[Result], described: Mapping[str, str], film: str = "") -> str:
    """Return a page of run.json contents: a row for each variant and baseline, twice.

    Networks with a linear path begin as good as principal components and those without at nothing,
    so the second table shows what an objective does, the first what a user gets.
    """
    if not results:
        return "No runs yet."
    steps = sorted({result["steps"] for result in results})
    lines = [
        f"# What each ingredient is worth{f': {film}' * bool(film)}",
        "",
        "Written by `benchmarks/ablation` from the run folders. Medians over seeds; in brackets "
        "the spread, largest minus smallest. Frames held out are every tenth run of two seconds. "
        f"Steps: {', '.join(map(str, steps))}. Sharpness and flicker are the dream's over the "
        "film's. CPU s is processor time of training.",
    ]
    for linear, title in ((True, "With the linear path, as by default"),
                          (False, "Without it: convolutions alone")):  # fmt: skip
        own = [result for result in results if result["linear_path"] is linear]
        if own:
            lines += ["", f"## {title}", "", *_table(own, described)]
    return "\n".join(lines)


def _table(results: Sequence[Result], described: Mapping[str, str]) -> list[str]:
    heads = ["variant", "seeds", *(head for *_, head, _ in _COLUMNS), "prior: perceptual Frechet",
             "CPU s", "watchdog"]  # fmt: skip
    rows = []
    for name, text in described.items():
        own = [result for result in results if result["variant"] == name]
        if own:
            said = sorted({kind for result in own for kind in result["watchdog"]})
            rows.append([
                f"**{name}**: {text}", len(own), *_figures([result["groups"] for result in own]),
                median_and_spread(map(_frechet, own), 2),
                median_and_spread((result["train_cpu_seconds"] for result in own), 0),
                ", ".join(said) or "quiet",
            ])  # fmt: skip
    baselines = next((found for result in results if (found := result.get("baselines"))), {})
    rows += [[name, NONE, *_figures([own]), *[NONE] * 3] for name, own in baselines.items()]
    return table(heads, rows)


def _figures(runs: Iterable[Mapping[str, Any]]) -> list[str]:
    return [
        median_and_spread([(groups.get(label) or {}).get(key) for groups in runs], decimals)
        for label, key, _, decimals in _COLUMNS
    ]


def _frechet(result: Result) -> float | None:
    scores = (result.get("prior") or {}).get("scores") or {}
    fitted = (score for name, score in scores.items() if "fitted" in name)
    return next((score.get("perceptual_frechet") for score in fitted), None)


def cli() -> None:
    flags.DEFINE_string("data", None, "Folder of a film's records.")
    flags.DEFINE_string("runs", "build/ablation", "Folder of runs.")
    flags.DEFINE_string("variants", ",".join(VARIANTS), "Variants, in this order.")
    flags.DEFINE_integer("seeds", 3, "Number of seeds, from 0.")
    flags.DEFINE_integer("steps", STEPS, "Steps of every run.")
    flags.DEFINE_integer("max_frames", 0, "Frames that are measured, evenly spread; 0: all.")
    flags.DEFINE_string("film", "", "The film in the title of the page.")
    flags.DEFINE_bool("linear_path", True, "Train with the linear path, or convolutions alone.")
    flags.DEFINE_bool("table", False, "Write the tables, train nothing.")
    flags.DEFINE_string("output", None, "Markdown file for the tables.")
    run_command(main)


if __name__ == "__main__":
    cli()
