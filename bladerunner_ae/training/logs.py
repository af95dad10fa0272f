"""The written record of a run: log.txt, metrics.jsonl, event files, and the status line."""

from __future__ import annotations

import contextlib
import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

import tensorflow as tf
from tqdm import tqdm

from bladerunner_ae.command_line.progress import Progress
from bladerunner_ae.training.monitoring.event_files import Summaries
from bladerunner_ae.training.monitoring.picture_queue import PictureQueue
from tfrecords import storage
from tfrecords.storage import Location

FINISHED = "finished"
"""Name of the last value that a run records, in metrics.jsonl, once it has shown everything."""

# A remote log is written as a whole each time; one of a long run has about a megabyte.
_REMOTE_EVERY_SECONDS = 30.0


class LogFile:
    """Appends lines to a text file; a context manager.

    Local lines are written at once. No remote store can append: there the whole file is written at
    most every half minute, and by `synchronise` and `close`.
    """

    def __init__(self, path: Location, keep: Callable[[str], bool] = lambda line: True) -> None:
        """Open the file, which need not exist, and drop the lines that `keep` refuses."""
        self._path = path
        self._file: TextIO | None = None
        old = storage.read_bytes(path).decode("utf-8", "replace") if storage.is_file(path) else ""
        kept = "".join(line + "\n" for line in old.splitlines() if keep(line))
        self._text = ""  # all that a remote file is to hold
        self._unwritten = False
        self._written_at = time.monotonic()
        if isinstance(path, Path):
            if kept != old:
                storage.write_text(path, kept)
            self._file = path.open("a", encoding="utf-8")
        else:
            self._text, self._unwritten = kept, kept != old

    def write(self, line: str) -> None:
        if self._file is not None:
            self._file.write(line + "\n")
            self._file.flush()
            return
        self._text += line + "\n"
        self._unwritten = True
        if time.monotonic() - self._written_at >= _REMOTE_EVERY_SECONDS:
            self.synchronise()

    def synchronise(self) -> None:
        """Write what is not written yet."""
        if self._unwritten:
            storage.write_text(self._path, self._text)
            self._unwritten = False
            self._written_at = time.monotonic()

    def close(self) -> None:
        """Write the rest and close the file; may be called again."""
        self.synchronise()
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> LogFile:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class RunLog:
    """The written record of a run: metrics.jsonl, log.txt, tensorboard/, and the status line.

    Args:
        start: steps done before; what an interrupted run logged beyond is dropped.
        after_checkpoint: called each time there is a new checkpoint, to send the folder.

    Attributes:
        step: that lines are written for.
        saved: step of the newest checkpoint; 0: there is none.
        opened: closed with the log, last in first out.
    """

    def __init__(
        self,
        run: Location,
        start: int,
        steps: int,
        after_checkpoint: Callable[[], None] | None = None,
    ) -> None:
        self.run, self.start, self.after_checkpoint = run, start, after_checkpoint
        self.step = self.saved = start
        self._shown: set[str] = set()
        self.opened = contextlib.ExitStack()
        storage.make_directories(run / "samples")
        opened = self.opened.enter_context
        self._metrics = opened(LogFile(run / "metrics.jsonl", self._is_before_start))
        self._text = opened(LogFile(run / "log.txt"))
        self.summaries = opened(
            contextlib.closing(Summaries(run, start, after_checkpoint is not None))
        )
        self.pictures = opened(contextlib.closing(PictureQueue(self.summaries)))
        self._progress = opened(Progress("train", steps, "steps", done=start))

    def advance(self, step: int, note: str) -> None:
        """Move the status line to a step."""
        self._progress.update(step - self.step, note)
        self.step = step

    def expect(self, steps: int) -> None:
        """Let the status line count up to so many steps."""
        self._progress.expect(steps)

    def record(self, values: Mapping[str, float]) -> None:
        """Add figures of the current step to metrics.jsonl and to TensorBoard's curves."""
        self.write(
            {
                name: float(f"{value:.6g}") if math.isfinite(value) else None  # JSON has no NaN
                for name, value in values.items()
            }
        )
        self.summaries.scalars(values, self.step)

    def write(self, values: Mapping[str, Any]) -> None:
        """Add a line to metrics.jsonl."""
        self._metrics.write(json.dumps({"step": self.step, **values}))

    def say(self, text: str) -> None:
        """Add a line to log.txt."""
        self._text.write(time.strftime("%Y-%m-%d %H:%M:%S ") + f"step {self.step}: {text}")

    def announce(self, text: str) -> None:
        """Say something that a person must not miss: on the terminal too."""
        self.say(text)
        tqdm.write(f"step {self.step}: {text}", file=sys.stderr)

    def has_shown(self, prefix: str) -> bool:
        """Return whether an earlier start has recorded such figures of the current step."""
        return self.step == self.start and any(name.startswith(prefix) for name in self._shown)

    def synchronise(self) -> None:
        """Bring remote logs up to date; local ones always are."""
        for log in (self._metrics, self._text, self.summaries):
            log.synchronise()

    def close(self) -> None:
        """Close all files; may be called again, and at any moment of an interruption."""
        self.opened.close()

    def _is_before_start(self, line: str) -> bool:
        """Return whether a line of metrics.jsonl stays: not beyond the start, nor half written."""
        try:
            values = json.loads(line)
            step = int(values["step"])
        except (ValueError, KeyError, TypeError, ArithmeticError, RecursionError):
            print(f"{self.run / 'metrics.jsonl'}: dropped a half-written line", file=sys.stderr)
            return False
        if step == self.start:
            self._shown |= set(values)
        return self.start > 0 and step <= self.start


def fetched(logs: Mapping[str, Any]) -> dict[str, float]:
    """Fetch scalars of any device, all at once."""
    if all(isinstance(value, float) for value in logs.values()):  # Keras has fetched them
        return dict(logs)
    values = tf.stack([tf.cast(value, tf.float32) for value in logs.values()]).numpy()
    return dict(zip(logs, values.tolist(), strict=True))
