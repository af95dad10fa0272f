"""The figures of `cross_film.py` as a table in Markdown. Nothing here measures anything."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.cross_film.plan import HOLDOUT, Film, Network, Plan
from tfrecords.card import FilmCard

Figures = Mapping[str, Any]
_COLUMNS = (
    ("psnr", "PSNR dB", 2), ("ssim", "SSIM", 3), ("ms_ssim", "MS-SSIM", 3), ("vmaf", "VMAF", 1),
    ("sharpness", "sharpness", 2), ("flicker", "flicker", 2),
)  # fmt: skip
_GROUPS = {"seen": "seen", "held out": "held out", "unseen film": "never seen film"}
_NONE = "-"


def table(
    plan: Plan, found: Mapping[tuple[str, str], Figures], cards: Mapping[str, FilmCard]
) -> str:
    """Returns a page with a row for each film, network and kind of frame that was measured.

    Args:
        plan: what was asked for.
        found: (network's folder, film's name) -> what `bladerunner_ae.evaluate` wrote.
        cards: film's name -> its card.
    """
    rows = [row for film in plan.films for row in _rows_of_film(plan, film, found)]
    columns = [c for c in _COLUMNS if any(figures.get(c[0]) is not None for _, figures in rows)]
    heads = ["film shown", "network trained on", "steps", "these frames are", "frames",
             *(head for _, head, _ in columns)]  # fmt: skip
    lines = [
        "# What one film's network makes of another",
        "",
        f"Written by `{plan.command()}` on {plan.machine}.",
        "",
        *(_about(film, cards[film.name]) for film in plan.films),
        "",
        _explained(plan),
        "",
        f"| {' | '.join(heads)} |",
        f"|{'---|' * len(heads)}",
        *(_line(title, figures, columns) for title, figures in rows),
    ]
    return "\n".join(lines) if rows else "No figures yet."


def _rows_of_film(
    plan: Plan, film: Film, found: Mapping[tuple[str, str], Figures]
) -> list[tuple[list[str], Figures]]:
    """([film, network, steps, kind of frames], figures) of all that a film was shown to."""
    rows = []
    for network in plan.shown(film):
        evaluation = found.get((network.folder, film.name), {})
        who, steps = _described(plan, network)
        rows += [([film.file, who, steps, _GROUPS[label]], figures)
                 for label, figures in _in_order(evaluation.get("groups"))]  # fmt: skip
    baselines = found.get((plan.own(film).folder, film.name), {}).get("baselines") or {}
    for name, groups in baselines.items():
        rows += [([film.file, f"none: {name}", _NONE, _GROUPS[label]], figures)
                 for label, figures in _in_order(groups)]  # fmt: skip
    return rows


def _in_order(groups: Mapping[str, Figures] | None) -> list[tuple[str, Figures]]:
    return [(label, groups[label]) for label in _GROUPS if groups and label in groups]


def _described(plan: Plan, network: Network) -> tuple[str, str]:
    """(which films a network was trained on, for how many steps)."""
    if network.source is None:
        return network.film.file, str(network.steps)
    before = plan.own(network.source).steps
    return f"{network.source.file}, then {network.film.file}", f"{before} + {network.steps}"


def _about(film: Film, card: FilmCard) -> str:
    """A film in a line. Its margins are easy to dream, and so must be known to the reader."""
    line = (f"* {film.file}: {card.frames} frames, {float(card.frame_rate):.3f} a second, "
            f"{card.height}x{card.width}")  # fmt: skip
    picture = card.geometry["picture"]
    margin = 1 - picture["height"] * picture["width"] / (card.height * card.width)
    if margin > 0:
        line += f", of which {margin:.0%} are black margins; they count in all figures"
    return line


def _explained(plan: Plan) -> str:
    text = (
        "*Seen* frames were trained on; *held out* ones were kept from training, every "
        f"{round(1 / HOLDOUT)}th run of {plan.holdout_seconds:g} s; of a *never seen film* all "
        "frames count, so its rows are not of the same frames as the others. Sharpness and "
        "flicker are the dream's over the film's. Mean frame and principal components are fitted "
        "to the seen frames. One seed."
    )
    if plan.fine_tune_steps:
        text += (
            f" *A, then B*: the network of A, fine-tuned on B; {plan.fine_tune_steps} steps on "
            "B alone, from scratch, stand below it."
        )
    return text


def _line(title: Sequence[str], figures: Figures, columns: Sequence[tuple[str, str, int]]) -> str:
    cells = [_cell(figures.get(key), decimals) for key, _, decimals in columns]
    return f"| {' | '.join([*title, str(figures['frames']), *cells])} |"


def _cell(value: float | None, decimals: int) -> str:
    return _NONE if value is None else f"{value:.{decimals}f}"
