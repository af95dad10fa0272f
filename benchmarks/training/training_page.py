"""The page of `benchmarks.training`, made from its results."""

import statistics
from collections.abc import Sequence

from benchmarks import markdown
from benchmarks.runs import FILM_FRAMES, Json

EPOCHS = 6
# Dense bfloat16 of the H100 SXM, operations per second, from its data sheet.
H100 = 989e12
UTILISATIONS = (0.1, 0.2, 0.3, 0.4)
LOOP_GOAL = 0.97
TORCH_GOALS = {"preview": 1.4, "base": 1.0}


def page(found: Json) -> str:
    """Return everything that has been measured so far as Markdown."""
    parts = {"loop": _loop, "torch": _torch, "memory": _memory, "operations": _operations,
             "profile": _profile}  # fmt: skip
    text = [f"# Training\n\nWritten by `python -m benchmarks.training` on {_machine(found)}."]
    text += [make(found) for piece, make in parts.items() if piece in found]
    return "\n\n".join(text) + "\n"


def rows(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join(markdown.table(head, lines, " --- "))


def _machine(found: Json) -> str:
    machine = found["machine"]
    return f"{machine['cores']} cores of {machine['processor']} ({', '.join(machine['native'])})"


def _emulated(found: Json) -> str:
    if {"avx512_bf16", "amx_bf16"} & set(found["machine"]["native"]):
        return ""
    return " This processor does not multiply bfloat16; it is emulated, in PyTorch and here."


def _loop(found: Json) -> str:
    pairs = found["loop"]["step_and_loop"]
    steps, loops = zip(*pairs, strict=True)
    ratio = markdown.median_ratio(loops, steps)
    lines = [
        [name, markdown.median(values, 1), f"{min(values):.1f} to {max(values):.1f}"]
        for name, values in (
            ("the step, one batch again and again", steps), ("the whole of training", loops)
        )
    ]  # fmt: skip
    return (
        "## The loop around the step\n\n`preview`, objective `vae`, "
        f"{len(pairs)} turns of {found['loop']['steps']} steps each; the whole of training reads "
        "and mixes records, writes logs and curves, is watched, and makes a checkpoint and "
        "pictures as often as the preset says, and at the end of each turn.\n\n"
        + rows(("", "frames/s, median", "range"), lines)
        + f"\n\nRatio, median of the turns: **{ratio:.3f}** (goal {LOOP_GOAL})."
    )


def _torch(found: Json) -> str:
    parts = [
        "## The same networks in PyTorch\n\nWritten plainly (`benchmarks/training/pytorch.py`): "
        'channels_last, fused Adam; "compiled" is `torch.compile` of each network. In turns with '
        f"our step; ratios are medians over turns, above 1 is ours ahead.{_emulated(found)}"
    ]
    for preset, result in found["torch"].items():
        lines = [_variant(name, variant) for name, variant in result["variants"].items()]
        ratios = [_ratio(variant) for variant in result["variants"].values() if "rounds" in variant]
        parity = max(result["parity"].values(), default=float("nan"))
        parts.append(
            f"`{preset}`, objective `{result['objective']}`, batch {result['batch']}; TensorFlow "
            f"{result['tensorflow']} in {result['precision']}, PyTorch {result['torch']}. With the "
            f"same weights the largest difference of any output or loss is {parity:.1e}.\n\n"
            + rows(("PyTorch", "its frames/s", "ours beside it", "ratio", "turns"), lines)
            + (
                f"\n\nAgainst the best of them: **{min(ratios):.2f}** (goal "
                f"{TORCH_GOALS.get(preset, 1.0)})."
                if ratios
                else ""
            )
        )
    return "\n\n".join(parts)


def _ratio(variant: Json) -> float:
    return markdown.median_ratio(*zip(*variant["rounds"], strict=True))


def _variant(name: str, variant: Json) -> list[str]:
    if "rounds" not in variant:
        return [name, variant["error"], "", "", ""]
    ours, theirs = (statistics.median(values) for values in zip(*variant["rounds"], strict=True))
    turns = "far behind: two steps" if variant.get("short") else str(len(variant["rounds"]))
    return [name, f"{theirs:.2f}", f"{ours:.2f}", f"{_ratio(variant):.2f}", turns]


def _memory(found: Json) -> str:
    lines = [
        [batch, f"{peak / 1024:.2f} GiB" if isinstance(peak, float) else peak]
        for batch, peak in found["memory"].items()
    ]
    return (
        "## Memory of `base`\n\nThe most that a process held after three steps of `vae_gan` at "
        "144x256, weights, optimizers, TensorFlow itself and all.\n\n"
        + rows(("batch", "peak"), lines)
    )


def _operations(found: Json) -> str:
    lines, costs = [], []
    for preset, result in found["operations"].items():
        height, width = result["raster"]
        whole = result["step"] * FILM_FRAMES * EPOCHS
        name = f"`{preset}`, {result['objective']}"
        lines.append([
            name, f"{height}x{width}", f"{result['parameters'] / 1e6:.1f} M",
            f"{result['forward'] / 1e9:.2f}", f"{result['step'] / 1e9:.2f}",
            f"{result['step'] / result['forward']:.1f}",
        ])  # fmt: skip
        minutes = [whole / (H100 * share) / 60 for share in UTILISATIONS]
        costs.append([name, f"{whole / 1e15:.1f}", *(f"{value:.1f}" for value in minutes)])
    shares = [f"{share:.0%} used" for share in UTILISATIONS]
    return (
        "## Operations\n\nMultiplications and additions of convolutions and matrix products that "
        "the graph of a step carries out, in 10^9 for each frame; forward is encoder and decoder "
        "once.\n\n"
        + rows(("preset", "raster", "weights", "forward", "step", "step / forward"), lines)
        + f"\n\nA film of 117 minutes ({FILM_FRAMES:,} frames), {EPOCHS} epochs, on one H100 "
        f"({H100 / 1e12:.0f} x 10^12 operations/s in bfloat16 by its data sheet): by "
        "calculation. What was measured on one is in [gpu.md](gpu.md).\n\n"
        + rows(("preset", "10^15 operations", *(f"minutes, {share}" for share in shares)), costs)
    )


def _profile(found: Json) -> str:
    kinds, places = found["profile"]["kinds"], found["profile"]["places"]
    whole = sum(kinds.values())

    def shares(seconds: Json) -> list[list[str]]:
        return [[name, f"{100 * value / whole:.1f} %"] for name, value in seconds.items()][:12]

    return (
        "## Where the step's time goes\n\n`preview`, objective `vae`: share of the time of all "
        "operations.\n\n"
        + rows(("operation", "share"), shares(kinds))
        + "\n\nThe longest:\n\n"
        + rows(("operation", "share"), shares(places))
    )
