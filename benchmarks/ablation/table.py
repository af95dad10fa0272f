"""The results of an ablation as tables in Markdown: medians over seeds, and their spread."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

_HELD_OUT, _SEEN = "held out", "seen"
_COLUMNS = (
    (_SEEN, "psnr", "seen PSNR", 2), (_HELD_OUT, "psnr", "held out PSNR", 2),
    (_HELD_OUT, "ssim", "SSIM", 3), (_HELD_OUT, "ms_ssim", "MS-SSIM", 3),
    (_HELD_OUT, "vmaf", "VMAF", 1), (_HELD_OUT, "sharpness", "sharpness", 2),
    (_HELD_OUT, "flicker", "flicker", 2),
)  # fmt: skip

Result = Mapping[str, Any]


def tables(results: Sequence[Result], described: Mapping[str, str], film: str = "") -> str:
    """Returns a page: one row for each variant and the rows of the baselines, twice.

    Networks with a linear path begin as good as principal components and those without at nothing,
    so what an objective does shows in the second table, what a user gets in the first.

    Args:
        results: contents of run.json files.
        described: variant -> what it is, in the order of the rows.
        film: what they were trained on.
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
    heads = ["variant", "seeds", *(f"{head}" for *_, head, _ in _COLUMNS), "prior: Frechet",
             "CPU s", "watchdog"]  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    for name in described:
        own = [result for result in results if result["variant"] == name]
        if own:
            lines.append(_row(f"**{name}**: {described[name]}", own))
    baselines = next((found for r in results if (found := r.get("baselines"))), {})
    for name, groups in baselines.items():
        lines.append(_baseline(name, groups))
    return lines


def _row(title: str, results: Sequence[Result]) -> str:
    cells = [
        _cell([_figure(result["groups"], label, key) for result in results], decimals)
        for label, key, _, decimals in _COLUMNS
    ]
    frechet = [_prior(result) for result in results]
    seconds = [result["train_cpu_seconds"] for result in results]
    said = sorted({kind for result in results for kind in result["watchdog"]})
    row = [title, str(len(results)), *cells, _cell(frechet, 2), _cell(seconds, 0),
           ", ".join(said) or "quiet"]  # fmt: skip
    return f"| {' | '.join(row)} |"


def _baseline(name: str, groups: Mapping[str, Any]) -> str:
    cells = [_cell([_figure(groups, label, key)], decimals) for label, key, _, decimals in _COLUMNS]
    return f"| {' | '.join([name, '-', *cells, '-', '-', '-'])} |"


def _figure(groups: Mapping[str, Any], label: str, key: str) -> float | None:
    return (groups.get(label) or {}).get(key)


def _prior(result: Result) -> float | None:
    scores = (result.get("prior") or {}).get("scores") or {}
    return next((score["frechet"] for name, score in scores.items() if "fitted" in name), None)


def _cell(values: Sequence[float | None], decimals: int) -> str:
    found = [value for value in values if value is not None]
    if not found:
        return "-"
    text = f"{median(found):.{decimals}f}"
    return text if len(found) < 2 else f"{text} ({max(found) - min(found):.{decimals}f})"
