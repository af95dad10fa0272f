"""Progress of long work: a bar with rate and ETA on a terminal, plain lines elsewhere."""

import sys
import time
from types import TracebackType

from tqdm import tqdm

_PLAIN_EVERY_SECONDS = 10.0


class Progress:
    """Counts items of work on stderr; use as a context manager.

    Args:
        label: what is being done, e.g. "convert".
        total: how many items there are, or None where nobody knows.
        unit: the items' name, e.g. "frames".
        done: items that were finished before (a resumed run).
    """

    def __init__(self, label: str, total: int | None, unit: str = "frames", done: int = 0) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._start, self._start_time, self._count = done, time.monotonic(), done
        self._last_line = self._start_time
        self._bar = (
            tqdm(total=total, desc=label, unit=" " + unit, initial=done, dynamic_ncols=True)
            if sys.stderr.isatty()
            else None
        )

    def update(self, count: int = 1, note: str = "") -> None:
        """Adds `count` finished items; `note` is shown behind the rate."""
        self._count += count
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(count)
        elif time.monotonic() - self._last_line >= _PLAIN_EVERY_SECONDS:
            self._last_line = time.monotonic()
            print(self._line(note), file=sys.stderr, flush=True)

    def _line(self, note: str) -> str:
        elapsed = time.monotonic() - self._start_time
        rate = (self._count - self._start) / max(elapsed, 1e-9)
        line = f"{self._label}: {self._count}"
        if self._total:
            line += f"/{self._total} {self._unit} ({100 * self._count / self._total:.0f} %)"
            line += f", {rate:.1f}/s"
            left = max(self._total - self._count, 0)
            if left and rate:
                line += f", {tqdm.format_interval(left / rate)} left"
        else:
            line += f" {self._unit}, {rate:.1f}/s"
        return line + (f", {note}" if note else "")

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        elif kind is None:
            print(self._line(""), file=sys.stderr, flush=True)
