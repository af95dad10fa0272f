"""Our server as a process that tests start, kill and start again at the same port."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tests.helpers import commands

_PATIENCE = 120  # seconds until it answers; TensorFlow's import takes most of them


class Serving:
    """A server of one decoder's folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._process = commands.start(
            "serve", f"--model={self._folder}", f"--port={self._port}", "--grpc_port=-1",
            "--poll_seconds=0.5",
        )  # fmt: skip
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            assert self._process.poll() is None, self._process.communicate()[1]
            try:
                self.get("/v1/models/decoder")
                return
            except OSError:
                time.sleep(0.2)
        raise AssertionError("the server does not answer")

    def kill(self) -> None:
        """End it at once, as when its machine goes down."""
        assert self._process is not None
        self._process.kill()
        self._process.communicate()

    def get(self, path: str) -> Any:
        """Return the JSON at a path."""
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return json.load(answer)

    def picture(self, latent: Any, signature: str = "serving_default") -> bytes:
        """Return what the server makes of a latent: a JPEG or PNG file."""
        body = {"signature_name": signature, "instances": [np.asarray(latent, float).tolist()]}
        request = urllib.request.Request(
            f"{self.url}/v1/models/decoder:predict", json.dumps(body).encode()
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return base64.b64decode(json.load(answer)["predictions"][0]["b64"])


@contextmanager
def serve(folder: Path) -> Iterator[Serving]:
    """Give a server that answers."""
    serving = Serving(folder)
    serving.start()
    try:
        yield serving
    finally:
        serving.kill()
