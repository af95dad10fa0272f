"""An S3 server of our own on this machine (moto's), and commands that are told of it."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.helpers.commands import ROOT, Result

BUCKET = "films"
_START_SECONDS = 60.0


class S3Server:
    """A running server with one empty bucket; `close` ends it."""

    def __init__(self, folder: Path) -> None:
        """Starts it; its log and a home folder for commands lie in `folder`."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{port}"
        self._home = folder
        self._log = folder / "requests.log"
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            self._wait(port)
            self.client = self._make_client()
            self.client.create_bucket(Bucket=BUCKET)
        except BaseException:
            self.close()
            raise

    def _wait(self, port: int) -> None:
        end = time.monotonic() + _START_SECONDS
        while True:
            assert self._process.poll() is None, self._log.read_text()
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                assert time.monotonic() < end, f"no server after {_START_SECONDS:.0f} s"
                time.sleep(0.2)

    def _make_client(self) -> Any:
        import boto3

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    def close(self) -> None:
        """Ends the server."""
        self._process.terminate()
        self._process.wait()

    def objects(self, prefix: str) -> dict[str, bytes]:
        """Returns what lies under `prefix`: content by the rest of its name."""
        found = self.client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
        return {
            entry["Key"].removeprefix(prefix): self.client.get_object(
                Bucket=BUCKET, Key=entry["Key"]
            )["Body"].read()
            for entry in found
        }

    def written(self, prefix: str) -> list[str]:
        """Returns the names under `prefix` that were written, in the order of writing."""
        pattern = rf'"(?:\x1b\[\d+m)*(?:PUT|POST) /{BUCKET}/{prefix}([^ ?]*)[^"]*" 200'
        return re.findall(pattern, self._log.read_text("utf-8", "replace"))

    def run(self, *command: object, **changes: str | None) -> Result:
        """Runs `python <command>` with this server as its S3.

        Args:
            command: what stands behind `python`.
            changes: variables of the environment; None removes one.
        """
        variables: dict[str, str | None] = {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "XDG_CACHE_HOME": str(self._home / "cache"),
            "HOME": str(self._home),
            **changes,
        }
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AWS_", "S3_")) and name not in variables
        }
        set_ones = {name: value for name, value in variables.items() if value is not None}
        done = subprocess.run(
            [sys.executable, *map(str, command)],
            cwd=ROOT,
            env={**kept, **set_ones},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        return Result(done.returncode, done.stdout, done.stderr)
