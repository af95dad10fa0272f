"""Processes that a benchmark asks one thing at a time: a JSON object a line in, one out."""

import json
import os
import select
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from bladerunner_ae.errors import InputError

_BENCHMARKS = Path(__file__).resolve().parent.parent
Json = dict[str, Any]


class WorkerError(InputError):
    """A process ended, or took too long; says what it said last."""


class Worker:
    """A process that is built by its first line and answers every other one.

    Args:
        python: interpreter.
        script: file of a benchmark, e.g. "training/ours.py".
        config: the first line.
        limit: seconds that any answer may take.
    """

    def __init__(self, python: str, script: str, config: Json, limit: float) -> None:
        self._limit = limit
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  closed with the process
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        self._process = subprocess.Popen(
            [python, str(_BENCHMARKS / script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            env=environment,
        )
        try:
            self.about = self.ask(config)
        except WorkerError:
            self.close()
            raise

    def ask(self, question: Json) -> Json:
        """Sends one object and returns the answer.

        Raises:
            WorkerError: there is none.
        """
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        try:
            stdin.write((json.dumps(question) + "\n").encode())
            stdin.flush()
        except BrokenPipeError:
            raise WorkerError(self._last_words()) from None
        end = time.monotonic() + self._limit
        while not select.select([stdout], [], [], 1.0)[0]:
            if time.monotonic() > end:
                raise WorkerError(f"no answer in {self._limit:.0f} s")
        line = stdout.readline()
        if not line:
            raise WorkerError(self._last_words())
        return json.loads(line)

    def _last_words(self) -> str:
        self._process.wait(10)
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {self._process.returncode}"

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()
        self._said.close()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
