"""Progress of long work: a bar with rate and ETA on a terminal, plain lines elsewhere."""

import sys
import time

from tqdm import tqdm

_PLAIN_EVERY_SECONDS = 10.0
_FEWEST_BAR_COLUMNS = 8
_REST = "{desc}: {percentage:3.0f}%|| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}, ]"


class Progress:
    """Counter of items on stderr, a context manager; `done` were finished by a resumed run."""

    def __init__(self, label: str, total: int | None, unit: str = "frames", done: int = 0) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._start, self._start_time, self._count = done, time.monotonic(), done
        self._last_line = self._start_time
        self._first = (self._start_time, done)
        self._bar = (
            tqdm(total=total, desc=label, unit=" " + unit, initial=done, dynamic_ncols=True)
            if sys.stderr.isatty()
            else None
        )

    def update(self, count: int = 1, note: str = "") -> None:
        """Add finished items; `note` is shown after the rate."""
        self._count += count
        if self._first[1] == self._start:
            self._first = (time.monotonic(), self._count)
        if self._bar is not None:
            self._bar.set_postfix_str(self._fitting(note), refresh=False)
            self._bar.update(count)
        elif time.monotonic() - self._last_line >= _PLAIN_EVERY_SECONDS:
            self._last_line = time.monotonic()
            print(self._line(note), file=sys.stderr, flush=True)

    def expect(self, total: int) -> None:
        """Take another number of items in all."""
        self._total = total
        if self._bar is not None:
            self._bar.total = total

    def _fitting(self, note: str) -> str:
        """Return as many of a note's figures as fit the terminal; half of one would be wrong."""
        assert self._bar is not None
        values = self._bar.format_dict
        if not note or (values["ncols"] or 0) <= 0:  # a terminal that does not know its width
            return note
        taken = len(tqdm.format_meter(**{**values, "bar_format": _REST, "ncols": None}))
        room = values["ncols"] - taken - _FEWEST_BAR_COLUMNS
        figures = note.split(", ")
        while figures and len(", ".join(figures)) > room:
            figures.pop()
        return ", ".join(figures)

    def _line(self, note: str) -> str:
        rate = self._rate()
        line = f"{self._label}: {self._count}"
        if self._total:
            line += f"/{self._total} {self._unit} ({100 * self._count / self._total:.0f} %)"
            line += f", {rate:.1f}/s"
            left = max(self._total - self._count, 0)
            if left and rate and self._count - self._start > 1:  # a first step may compile
                line += f", {tqdm.format_interval(left / rate)} left"
        else:
            line += f" {self._unit}, {rate:.1f}/s"
        return line + (f", {note}" if note else "")

    def _rate(self) -> float:
        """Items a second; without the first ones once there are others."""
        begun = self._count > self._first[1]
        then, before = self._first if begun else (self._start_time, self._start)
        return (self._count - before) / max(time.monotonic() - then, 1e-9)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()
        elif kind is None:
            print(self._line(""), file=sys.stderr, flush=True)
