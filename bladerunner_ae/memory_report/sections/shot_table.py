"""Sections of shots: the best and the worst, memory against motion, and the table of all."""

from html import escape

import numpy as np

from bladerunner_ae.evaluation.choice import spread_evenly
from bladerunner_ae.evaluation.labels import HELD_OUT, SEEN
from bladerunner_ae.memory_report import charts
from bladerunner_ae.memory_report.gather import Memory
from bladerunner_ae.memory_report.sections.film_facts import pair_figure, section
from bladerunner_ae.memory_report.shot_memory import FEWEST, Relation, ShotMemory, relation
from bladerunner_ae.memory_report.shown_frames import Pair

_FRAME_DOTS = 900
_STILL = 0.1  # grey levels per frame; less is noise of the encoding


def gallery_section(memory: Memory) -> str:
    unit = unit_of(memory)

    def listed(title: str, kind: str, shots: list[tuple[ShotMemory, Pair]]) -> str:
        figures = "".join(
            pair_figure(pair, _words(memory, shot), _caption(memory, shot)) for shot, pair in shots
        )
        return f'<div class="{kind}"><h3>{title}</h3><div class="shots">{figures}</div></div>'

    best = listed(f"Best remembered {_plural(unit)}", "best", memory.best)
    worst = listed(f"Most forgotten {_plural(unit)}", "worst", memory.worst) if memory.worst else ""
    body = f"""
<p class="lead">On the left the film, on the right the dream: of each {unit} the frame whose error
is nearest to the {unit}'s mean.</p>
<div class="galleries">{best}{worst}</div>
"""
    return section("remembered", "Remembered and forgotten", body)


def unit_of(memory: Memory) -> str:
    return "stretch" if memory.cut else "shot"


def _plural(unit: str) -> str:
    return unit + ("es" if unit == "stretch" else "s")


def _words(memory: Memory, shot: ShotMemory) -> str:
    film = f"{memory.films[shot.part.film].card.source['name']}, " if len(memory.films) > 1 else ""
    return f"{film}frame {shot.shown}"


def _caption(memory: Memory, shot: ShotMemory) -> str:
    moving = "" if shot.motion is None else f", motion {shot.motion:.1f}"
    held = ' <b class="held">held out</b>' if shot.part.label == HELD_OUT else ""
    return (
        f"<b>{shot.psnr:.1f} dB</b>{held}<br>{escape(_words(memory, shot))}, at "
        f"{charts.clock(shot.seconds)} for {shot.length:.1f} s{moving}"
    )


def relation_section(memory: Memory) -> str:
    """Return the shots' motion and length against how well they are remembered."""
    shots = memory.shots
    own, which = _compared(shots)
    moving = [shot for shot in own if shot.motion is not None]
    by_motion = relation([shot.motion or 0.0 for shot in moving], [shot.psnr for shot in moving])
    by_length = relation([shot.length for shot in own], [shot.psnr for shot in own])
    unit = unit_of(memory)
    body = f"""
<p class="lead">Broad and Grierson found that static scenes are remembered and fleeting ones barely
grasped. {_reading(by_motion, "more", "moves", which, unit)}</p>
<div class="two">
{_motion_plot(memory)}
<div>{_length_plot(memory)}</div>
</div>
<p class="note">{_reading(by_length, "longer", "lasts", which, unit)} Motion is the mean absolute
change from one frame to the next, in grey levels. &rho; is Spearman's rank correlation over {which}
{_plural(unit)}; its 95 % interval comes from drawing {_plural(unit)} with replacement.
{_legend(memory)}</p>
"""
    return section("motion", "Motion and memory", body)


def _compared(shots: list[ShotMemory]) -> tuple[list[ShotMemory], str]:
    """Return the shots whose errors can be compared: those that training saw, if enough."""
    seen = [shot for shot in shots if shot.part.label == SEEN]
    return (seen, "seen") if len(seen) >= FEWEST else (shots, "all")


def _reading(found: Relation | None, how: str, verb: str, which: str, unit: str) -> str:
    """Describe a relation, and claim no more than the figures support."""
    if found is None:
        return (
            f"Too few {_plural(unit)}, or too similar ones, to tell whether a {unit} that {verb} "
            f"{how} is remembered better or worse."
        )
    kind = "" if which == "all" else f"{which} "
    numbers = (
        f"(&rho; = {_signed(found.rho)}, 95 % interval {_signed(found.low)} to "
        f"{_signed(found.high)}, {found.shots} {kind}{_plural(unit)})"
    )
    if not found.clear:
        return (
            f"These {found.shots} {_plural(unit)} do not show whether a {unit} that {verb} {how} "
            f"is remembered better or worse {numbers}."
        )
    result = "worse" if found.rho < 0 else "better"
    return f"Here the {how} a {unit} {verb}, the {result} it is remembered {numbers}."


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "\u2212").replace("+", "")


def _legend(memory: Memory) -> str:
    held = any(shot.part.label == HELD_OUT for shot in memory.shots)
    rings = f" Rings are {_plural(unit_of(memory))} held out of training." if held else ""
    return (
        f"Dots are {_plural(unit_of(memory))}, larger for longer ones; faint dots are "
        f"frames.{rings}"
    )


def _dots(shots: list[ShotMemory], points: list[tuple[float, float]]) -> str:
    drawing = ""
    for shot, (x, y) in zip(shots, points, strict=True):
        size = min(max(5.0 + 3.0 * np.sqrt(shot.length), 6.0), 22.0)
        held = shot.part.label == HELD_OUT
        drawing += charts.dot(x, y, "held" if held else "seen", f'stroke-width="{size:.1f}"')
        if held:
            drawing += charts.dot(x, y, "hole", f'stroke-width="{size - 4:.1f}"')
    return drawing


def _motion_plot(memory: Memory) -> str:
    shots = [shot for shot in memory.shots if shot.motion is not None]
    if not shots:
        return "<p>No two neighbouring frames were measured, so no motion is known.</p>"
    frames = _moving_frames(memory)
    psnr = [shot.psnr for shot in shots] + [y for _, y in frames]
    motion = [shot.motion or 0.0 for shot in shots] + [x for x, _ in frames]
    across = charts.logarithmic(motion, "motion, grey levels per frame", _STILL)
    up = charts.linear(psnr, "PSNR, dB")
    drawing = "".join(charts.dot(across.place(x), up.place(y), "frame-dot") for x, y in frames)
    points = [(across.place(shot.motion or 0.0), up.place(shot.psnr)) for shot in shots]
    return charts.plot(
        drawing + _dots(shots, points), across, up,
        "Motion of each shot against the PSNR of its dream; the table has the figures", "square",
    )  # fmt: skip


def _moving_frames(memory: Memory) -> list[tuple[float, float]]:
    """Return (motion, PSNR) of frames all over the films, few enough to be told apart."""
    motion = np.concatenate([film.motion for film in memory.films])
    psnr = np.concatenate([film.psnr for film in memory.films])
    known = np.flatnonzero(np.isfinite(motion))
    if all(film.choice.complete for film in memory.films):
        chosen = known[:: max(-(-len(known) // _FRAME_DOTS), 1)]
    else:
        weights = np.concatenate([film.change_weights for film in memory.films])
        chosen = known[spread_evenly(weights[known], _FRAME_DOTS)]
    return list(zip(motion[chosen].tolist(), psnr[chosen].tolist(), strict=True))


def _length_plot(memory: Memory) -> str:
    shots = memory.shots
    lengths = [shot.length for shot in shots]
    across = charts.logarithmic(lengths, f"length of the {unit_of(memory)}, seconds", 0.0)
    up = charts.linear([shot.psnr for shot in shots], "PSNR, dB")
    points = [(across.place(shot.length), up.place(shot.psnr)) for shot in shots]
    return charts.plot(
        _dots(shots, points), across, up,
        "Length of each shot against the PSNR of its dream; the table has the figures", "square",
    )  # fmt: skip


def table_section(memory: Memory) -> str:
    several = len(memory.films) > 1
    unit = unit_of(memory)
    heads = [("film", "t")] * several + [
        ("shot", "n"), ("first frame", "n"), ("at", "n"), ("frames", "n"), ("PSNR, dB", "n"),
        ("SSIM", "n"), ("motion", "n"), ("training", "t"),
    ]  # fmt: skip
    head = "".join(
        f'<th scope="col" class="{kind}" aria-sort="none">'
        f'<button type="button">{name}</button></th>'
        for name, kind in heads
    )
    rows = "".join(_row(memory, shot, several) for shot in memory.shots)
    body = f"""
<div class="scroll" tabindex="0" role="region" aria-labelledby="shots">
<table><caption class="hidden">PSNR, SSIM and motion of every {unit}; its headings sort it</caption>
<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"""
    return section("shots", f"Every {unit}", body)


def _row(memory: Memory, shot: ShotMemory, several: bool) -> str:
    part = shot.part
    moving = "" if shot.motion is None else f"{shot.motion:.2f}"
    name = escape(memory.films[part.film].card.source["name"])
    film = f'<td class="t">{name}</td>' if several else ""
    held = ' class="held"' if part.label == HELD_OUT else ""
    cells = (
        (part.start, part.start), (f"{shot.seconds:.3f}", charts.clock(shot.seconds)),
        (part.end - part.start, part.end - part.start), (f"{shot.psnr:.4f}", f"{shot.psnr:.2f}"),
        (f"{shot.ssim:.5f}", f"{shot.ssim:.3f}"), (moving, moving or "none"),
    )  # fmt: skip
    numbers = "".join(f'<td data-value="{value}">{words}</td>' for value, words in cells)
    return (
        f'<tr{held}>{film}<th scope="row" data-value="{part.shot}">{part.shot}</th>{numbers}'
        f'<td class="t">{part.label}</td></tr>'
    )
