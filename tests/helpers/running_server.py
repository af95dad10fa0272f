"""A server of a model in a process of its own."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.helpers.commands import ROOT, environment

READY_SECONDS = 300


@dataclass
class RunningServer:
    """A server in a process of its own: host:port of its APIs, printed URLs, stderr's file."""

    process: subprocess.Popen[str]
    rest: str
    grpc: str
    models: list[str]
    log: Path

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to stop; return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(60)

    def wait_for_line(self, text: str, seconds: float = 60.0) -> str:
        """Wait for a line of its log that holds a text, and return it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for line in self.log.read_text("utf-8").splitlines():
                if text in line:
                    return line
            time.sleep(0.05)
        raise AssertionError(f"no {text!r} in {self.log.read_text('utf-8')}")


@contextlib.contextmanager
def running_server(model: Path, folder: Path, *arguments: str) -> Iterator[RunningServer]:
    """Start `python -m bladerunner_ae.serve` at free ports; kill it at the end if it still runs.

    `model` is the folder of one model or of several, `folder` that of its log.
    """
    log = folder / "server.log"
    command = [sys.executable, "-m", "bladerunner_ae.serve", f"--model={model}", "--port=0",
               "--grpc_port=0", *arguments]  # fmt: skip
    with log.open("w") as errors:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**environment(), "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE, stderr=errors, text=True,
        )  # fmt: skip
    late = threading.Timer(READY_SECONDS, process.kill)
    late.start()
    try:
        addresses = _addresses(process, log)
        late.cancel()
        yield RunningServer(process, *addresses, log)
    finally:
        late.cancel()
        if process.poll() is None:
            process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def _addresses(process: subprocess.Popen[str], log: Path) -> tuple[str, str, list[str]]:
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), True)
    rest = grpc = ""
    models = []
    for line in process.stdout:
        if line.startswith("http://"):
            rest = line.removeprefix("http://").partition("/")[0]
            models.append(line.strip())
        if line.startswith("grpc://"):
            grpc = line.removeprefix("grpc://").strip()
        if "explorer" in line:
            return rest, grpc, models
    raise AssertionError(f"the server did not start: {log.read_text('utf-8')}")
