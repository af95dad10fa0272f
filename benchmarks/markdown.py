"""Markdown of the pages in docs/: tables, figures, and what is between two markers of a page."""

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path

NONE = "-"


def table(
    heads: Sequence[object], rows: Iterable[Sequence[object]], rule: str | Sequence[str] = "---"
) -> list[str]:
    """Return the lines of a table; `rule` is under each head, "---:" aligns to the right."""
    rules = [rule] * len(heads) if isinstance(rule, str) else rule
    return [row(heads), f"|{'|'.join(rules)}|", *map(row, rows)]


def numbers(columns: int) -> list[str]:
    """Return the rules of a column of names and `columns` of numbers."""
    return ["---", *["---:"] * columns]


def row(cells: Iterable[object]) -> str:
    """Return one line of a table."""
    return f"| {' | '.join(map(str, cells))} |"


def median(values: Iterable[float], decimals: int = 0) -> str:
    """Return a median as a figure."""
    return f"{statistics.median(values):.{decimals}f}"


def median_ratio(ones: Iterable[float], others: Iterable[float]) -> float:
    """Return the median of ratios of runs that alternated: neighbours share the machine's load."""
    return statistics.median(one / other for one, other in zip(ones, others, strict=True))


def median_and_spread(values: Iterable[float | None], decimals: int) -> str:
    """Return a median with the largest minus the smallest value in brackets, if there are two."""
    found = [value for value in values if value is not None]
    if not found:
        return NONE
    spread = f" ({max(found) - min(found):.{decimals}f})" if len(found) > 1 else ""
    return median(found, decimals) + spread


def replace_between(page: str, begin: str, end: str, text: str) -> str:
    """Return a page with the text between two markers replaced."""
    before, _, rest = page.partition(begin)
    return f"{before}{begin}\n{text}{end}{rest.partition(end)[2]}"


def publish(text: str, output: str | Path | None) -> None:
    """Print a page, and write it where --output says."""
    text = text.rstrip("\n") + "\n"
    print(text, end="")
    if output:
        Path(output).parent.mkdir(parents=True, exist_ok=True)
        Path(output).write_text(text, "utf-8")
