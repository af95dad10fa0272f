"""The page of `benchmarks.gpu`, made from its results."""

import statistics

from benchmarks.runs import FILM_FRAMES, Json
from benchmarks.training.training_page import EPOCHS, rows

# Name -> (objective, part of the run at which it is measured).
PHASES = {
    "dream, before the adversary": ("dream", 0.0),
    "dream, with the adversary": ("dream", 0.8),
    "vae_gan": ("vae_gan", 0.0),
}
# `dream` has an adversary only if asked for one; this part of a run is over when it comes in.
BEFORE = 0.6
ADVERSARY = {"dream": {"adversarial_weight": 0.002}}


def page(found: Json) -> str:
    """Return everything that has been measured so far as Markdown."""
    parts = {"step": _step, "loop": _loop, "check": _check, "profile": _profile}
    text = [f"# Training on a GPU\n\nWritten by `python -m benchmarks.gpu` on {_machine(found)}."]
    text += [make(found) for piece, make in parts.items() if piece in found]
    return "\n\n".join(text) + "\n"


def _machine(found: Json) -> str:
    about = found.get("about", {})
    cores = found.get("machine", {}).get("cores", "?")
    return (
        f"one {about.get('card') or 'processor and no card'}, {cores} processor cores, with "
        f"TensorFlow {about.get('tensorflow')}: preset `base` at 144x256, mixed_bfloat16"
    )


def _step(found: Json) -> str:
    lines = []
    for name, batches in found["step"].items():
        phase, jit = name.rsplit(", ", 1)
        for batch, answer in batches.items():
            if "error" in answer:
                lines.append([phase, jit, batch, answer["error"], "", "", "", ""])
                continue
            rates = [int(batch) / seconds for seconds in answer["seconds"]]
            rate = statistics.median(rates)
            peak = answer["peak_gib"]
            lines.append([
                phase, jit, batch, f"{1000 * int(batch) / rate:.1f}", f"{rate:.0f}",
                f"{min(rates):.0f} to {max(rates):.0f}", f"{answer['first_step']:.0f}",
                "" if peak is None else f"{peak:.1f}",
            ])  # fmt: skip
    head = ("objective", "XLA", "batch", "ms a step", "frames/s, median", "range", "first step, s",
            "most memory, GiB")  # fmt: skip
    return (
        "## The step\n\nOne batch again and again, each turn's last loss read back. The first step "
        "holds tracing, XLA's compiling and the choice of kernels; memory holds what was tried for "
        "that. Of the same process, a later phase finds both done.\n\n" + rows(head, lines)
    )


def windows(lines: list[Json]) -> dict[str, list[Json]]:
    """Return lines of a run's metrics with a rate, by phase, without the first (the set-up)."""
    rated = [line for line in lines if "speed/frames_per_second" in line][1:]
    found: dict[str, list[Json]] = {"before": [], "with": []}
    for line in rated:
        found["with" if line.get("loss/discriminator") else "before"].append(line)
    return {phase: lines for phase, lines in found.items() if lines}


def film_minutes(rates: dict[str, float], objective: str) -> tuple[float | None, float | None]:
    """Return minutes of six epochs of a film of 117 minutes, without and with an adversary.

    That of `dream` takes part in 1 - `BEFORE` of the steps. None if a rate is missing.
    """
    before, adversary = rates.get("before"), rates.get("with")
    minutes = FILM_FRAMES * EPOCHS / 60
    without = minutes / before if before else None
    if objective != "dream":
        return without, minutes / adversary if adversary else None
    if not before or not adversary:
        return without, None
    return without, minutes * (BEFORE / before + (1 - BEFORE) / adversary)


def _loop(found: Json) -> str:
    lines = []
    for name, run in found["loop"].items():
        objective, reading, jit = name.split(", ")
        phases = windows(run["lines"])
        rated = [line for phase in phases.values() for line in phase]
        rates = {
            phase: statistics.median(line["speed/frames_per_second"] for line in some)
            for phase, some in phases.items()
        }
        waits = [line["speed/waiting_for_data"] for line in rated]
        psnr = [(x["step"], x["probe/psnr_seen"]) for x in run["lines"] if "probe/psnr_seen" in x]
        minutes = film_minutes(rates, objective)
        first = next(x for x in run["lines"] if "speed/frames_per_second" in x)
        lines.append([
            f"{objective}, {reading}", jit, str(run["batch"]), str(rated[-1]["step"]),
            *(f"{rates[phase]:.0f}" if phase in rates else "" for phase in ("before", "with")),
            f"{100 * statistics.median(waits):.1f} %",
            f"{first['step'] * run['batch'] / first['speed/frames_per_second']:.0f}",
            ", ".join(f"{value:.1f} (step {step})" for step, value in psnr),
            *("" if spent is None else f"{spent:.1f}" for spent in minutes),
        ])  # fmt: skip
    head = ("objective, reading", "XLA", "batch", "steps", "frames/s without adversary",
            "frames/s with one", "waiting for data", "first logged steps, s",
            "PSNR dB, seen frames", "film, min", "film with an adversary, min")  # fmt: skip
    return (
        "## The whole loop\n\n`python -m bladerunner_ae.train`, frames a second as its own "
        "metrics.jsonl has them: medians over windows, the first left out. *Streamed* frames are "
        "read and decoded in every pass. The last columns are what six epochs of a film of 117 "
        f"minutes ({FILM_FRAMES:,} frames) take at these rates; the adversary of `dream`, if it is "
        f"asked for one, comes in after {BEFORE:.0%} of the steps; compiling, checkpoints, "
        "pictures and export come on top.\n\n" + rows(head, lines)
    )


def _check(found: Json) -> str:
    steps = (1, 6)
    processor = f"processor ({found['check']['processor']}), float32"
    lines = [[processor, *(f"{loss:.4f}" for loss in found["check"]["losses"][: len(steps)])]]
    for name, batches in found.get("step", {}).items():
        phase, jit = name.rsplit(", ", 1)
        answer = batches.get(str(found["check"]["batch"]), {})
        if phase == "dream, before the adversary" and "loss" in answer:
            losses = answer["loss"][: len(steps)]
            lines.append([
                f"card, mixed_bfloat16, XLA {jit}", *(f"{loss:.4f}" for loss in losses)
            ])  # fmt: skip
    return (
        "## The same steps on processor and card\n\nThe decoder's loss of `dream` after the same "
        f"first steps from the same weights, batch {found['check']['batch']}.\n\n"
        + rows(("", *(f"step {step}" for step in steps)), lines)
    )


def _profile(found: Json) -> str:
    lines = [
        [name, str(run["batch"]), f"{1000 * run['step']:.1f}", f"{1000 * seconds:.2f}", kind]
        for name, run in found["profile"].items()
        for kind, seconds in run.get("kinds", {}).items()
    ]
    return "## Kernels of the card\n\n" + rows(
        ("objective, XLA", "batch", "ms a step, profiled", "ms a step of the card", "kernels"),
        lines,
    )
