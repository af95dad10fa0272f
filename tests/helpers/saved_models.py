"""A small SavedModel with many kinds of signatures, and a server of it in a process of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from tests.helpers.commands import ROOT, environment

READY_SECONDS = 120


def save_model(folder: Path, version: int = 1, factor: float = 2.0) -> Path:
    """Saves folder/<version>.

    Args:
        folder: where the versions lie.
        version: the number.
        factor: what `serving_default` multiplies with, to tell versions apart.

    Returns:
        The version's folder.
    """
    module = tf.Module()
    module.matrix = tf.Variable(factor * tf.eye(3))
    spec = tf.TensorSpec

    @tf.function(input_signature=[spec([None, 3], tf.float32, "latent")])
    def scale(latent: Any) -> dict[str, Any]:
        return {"scaled": tf.matmul(latent, module.matrix)}

    @tf.function(input_signature=[spec([None], tf.int32, "a"), spec([None, 2], tf.float32, "b")])
    def mix(a: Any, b: Any) -> dict[str, Any]:
        return {"sum": tf.cast(a, tf.float32) + b[:, 0], "b": b}

    @tf.function(input_signature=[spec([None], tf.string, "text")])
    def strings(text: Any) -> dict[str, Any]:
        return {"back_bytes": text, "length": tf.strings.length(text), "shout": text + b"!"}

    @tf.function(
        input_signature=[
            spec([None, None, None, 3], tf.uint8, "image"),
            spec([None], tf.int64, "seed"),
            spec([None], tf.bool, "flag"),
        ]
    )
    def kinds(image: Any, seed: Any, flag: Any) -> dict[str, Any]:
        return {"image": image, "seed": seed, "flag": flag}

    @tf.function(input_signature=[spec([None], tf.int32, "turns")])
    def work(turns: Any) -> dict[str, Any]:
        matrix = tf.ones((64, 64)) / 64.0
        result = tf.while_loop(
            lambda turn, _: turn < turns[0],
            lambda turn, found: (turn + 1, tf.matmul(found, matrix)),
            [0, matrix],
        )[1]
        return {"done": tf.cast(result[0, :1] * 64.0, tf.int32) + 0 * turns}

    @tf.function(input_signature=[spec([], tf.float32, "x")])
    def scalar(x: Any) -> dict[str, Any]:
        return {"y": 2.0 * x}

    signatures = {"serving_default": scale, "mix": mix, "strings": strings, "kinds": kinds,
                  "work": work, "scalar": scalar}  # fmt: skip
    partial = folder / f".partial-{version}"
    tf.saved_model.save(module, str(partial), signatures=signatures)
    return partial.rename(folder / str(version))


def copy_version(model: Path, source: int, target: int) -> Path:
    """Publishes a copy of a version under another number, by rename as an export does."""
    partial = model / f".partial-{target}"
    shutil.copytree(model / str(source), partial)
    return partial.rename(model / str(target))


@dataclass
class RunningServer:
    """A server in a process of its own.

    Attributes:
        process: it.
        rest: host:port.
        grpc: host:port.
        models: the URLs that it printed.
        log: the file that its stderr goes to.
    """

    process: subprocess.Popen[str]
    rest: str
    grpc: str
    models: list[str]
    log: Path

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Asks it to stop; returns its exit code."""
        self.process.send_signal(number)
        return self.process.wait(60)

    def wait_for_line(self, text: str, seconds: float = 60.0) -> str:
        """Waits for a line of its log that holds a text, and returns it."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for line in self.log.read_text("utf-8").splitlines():
                if text in line:
                    return line
            time.sleep(0.05)
        raise AssertionError(f"no {text!r} in {self.log.read_text('utf-8')}")


@contextlib.contextmanager
def running_server(model: Path, folder: Path, *arguments: str) -> Iterator[RunningServer]:
    """Starts `python -m bladerunner_ae.serve` at free ports; kills it at the end if it still runs.

    Args:
        model: what it is to serve.
        folder: where its log goes.
        arguments: further flags.
    """
    log = folder / "server.log"
    command = [sys.executable, "-m", "bladerunner_ae.serve", f"--model={model}", "--port=0",
               "--grpc_port=0", *arguments]  # fmt: skip
    with log.open("w") as errors:
        process = subprocess.Popen(
            command, cwd=ROOT, env={**environment(), "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE, stderr=errors, text=True,
        )  # fmt: skip
    try:
        yield RunningServer(process, *_addresses(process, log), log)
    finally:
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
