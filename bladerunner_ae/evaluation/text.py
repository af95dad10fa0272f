from collections.abc import Mapping, Sequence
from typing import Any

from tfrecords.wording import counted

_WORST_SHOTS = 5
_COLUMNS = (
    ("psnr", "PSNR dB", 2), ("ssim", "SSIM", 3), ("ms_ssim", "MS-SSIM", 3), ("vmaf", "VMAF", 1),
    ("perceptual", "perceptual", 3), ("sharpness", "sharpness", 2), ("flicker", "flicker", 2),
    ("black_level", "black", 1), ("rate_bits", "bits", 0),
)  # fmt: skip
_PRIOR_COLUMNS = (
    ("pictures", "pictures", 0), ("nearest_film", "to nearest frame", 2),
    ("nearest_sample", "from frame to nearest", 2),
    ("perceptual_frechet", "perceptual Frechet", 1),
    ("perceptual_frechet_pictures", "of pictures", 0),
)  # fmt: skip
_NONE = "-"


def describe(result: Mapping[str, Any]) -> list[str]:
    """Return the result of `evaluate_film` as lines for a terminal."""
    lines: list[str] = []
    for label, figures in result["groups"].items():
        title = ", ".join(
            [label, counted(figures["frames"], "frame"), counted(figures["shots"], "shot")]
        )
        rows = [("dream", figures)]
        rows += [
            (name, groups[label])
            for name, groups in result.get("baselines", {}).items()
            if label in groups
        ]
        lines += _table(title, _COLUMNS, rows)
        if (bits := figures.get("rate_bits_aggregated")) is not None:
            lines.append(f"  bits from the film's own distribution of latents: {bits:.0f}")
    if result.get("prior"):
        rows = list(result["prior"]["scores"].items())
        lines += _table("samples", _PRIOR_COLUMNS, rows)
    lines.append(_worst(result["shots"]))
    if result.get("measured", 0) < result.get("frames", 0):
        lines.append(f"measured: {result['sample']['description']}; each frame of the sample "
                     "weighs as much as the frames it stands for")  # fmt: skip
    return lines + [f"note: {note}" for note in result.get("notes", [])]


def _table(
    title: str, columns: Sequence[tuple[str, str, int]], rows: Sequence[tuple[str, Any]]
) -> list[str]:
    """Return aligned columns that some row has, intervals below their figures."""
    shown = [column for column in columns if any(f.get(column[0]) is not None for _, f in rows)]
    grid = [[title, *(heading for _, heading, _ in shown)]]
    for name, figures in rows:
        grid.append([f"  {name}", *(_number(figures.get(key), d) for key, _, d in shown)])
        bounds = figures.get("confidence", {})
        if any(bounds.get(key) for key, _, _ in shown):
            grid.append(["    95 %", *(_interval(bounds.get(key), d) for key, _, d in shown)])
    widths = [max(map(len, column)) for column in zip(*grid, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in grid
    ]


def _number(value: float | None, decimals: int) -> str:
    return _NONE if value is None else f"{value:.{decimals}f}"


def _interval(bounds: Sequence[float | None] | None, decimals: int) -> str:
    return "" if not bounds else "..".join(_number(bound, decimals) for bound in bounds)


def _worst(shots: Sequence[Mapping[str, Any]]) -> str:
    worst = sorted(shots, key=lambda shot: shot["psnr"])[:_WORST_SHOTS]
    return "most forgotten shots: " + ", ".join(
        f"frame {shot['first_frame']} ({shot['psnr']:.1f} dB, {shot['label']})" for shot in worst
    )
