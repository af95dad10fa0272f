"""The table that `benchmarks/exactness` writes, and what counts as exact."""

from dataclasses import dataclass, field

from bladerunner_ae.geometry import Size

MOST_MILLISECONDS = 1.0
MOST_LEVELS = 2.0


@dataclass
class Row:
    """One line of the table."""

    film: str
    shown: str = ""
    held: str = ""
    milliseconds: float = float("nan")
    untimed: bool = False
    levels: tuple[float, float, float] = (float("nan"),) * 3
    reading: str = ""
    problems: list[str] = field(default_factory=list)

    def cells(self) -> list[str]:
        """The line, as text."""
        greatest, most, mean = self.levels
        star = " \\*" if self.untimed else ""
        return [
            self.film, self.shown, self.held, f"{self.milliseconds:.2f}{star}",
            f"{greatest:.0f}, {most:.0f}, {mean:.2f}", self.reading,
            "ok" if not self.problems else f"**FAILED**: {'; '.join(self.problems)}",
        ]  # fmt: skip


def table(rows: list[Row], command: str, raster: Size) -> str:
    """The rows as Markdown.

    Args:
        rows: a film each.
        command: that measured them.
        raster: (height, width) of the records.
    """
    good = sum(not row.problems for row in rows)
    head = ["film", "the display shows (rows x columns)", "the records hold", "times off, ms",
            "colours off: max, 99.9 %, mean", "read by", "verdict"]  # fmt: skip
    lines = [
        "# What the records hold of awkward films",
        "",
        f"Written by `{command}`: {good} of {len(rows)} films are exact: every frame is there, in "
        f"order, no time is off by more than {MOST_MILLISECONDS:.0f} ms, and 99.9 % of all values "
        f"are within {MOST_LEVELS:.0f} of 255 levels of ffmpeg's own turned, deinterlaced, "
        f"tone-mapped and scaled picture (records of {raster[0]}x{raster[1]}, PNG).",
        "",
        *(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head))),
        *(f"| {' | '.join(row.cells())} |" for row in rows),
    ]
    if any(row.untimed for row in rows):
        lines += [
            "",
            "\\* AVI numbers packets and times no frame. Records count from 0, as the sound does; "
            "ffmpeg shows all frames later by what its decoder holds back. Only distances count.",
        ]
    return "\n".join([*lines, ""])
