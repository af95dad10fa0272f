"""An S3 server of our own on this machine (moto's), and commands that are told of it."""

import logging
import os
import re
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.helpers.commands import ROOT, Result

BUCKET = "films"
_SETTINGS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class S3Server(logging.Handler):
    """A running server with one empty bucket; `folder` is home and caches of the commands.

    `requests` has method, path and status of every request, such as "PUT /films/a 200".
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        import boto3
        from moto.server import ThreadedMotoServer

        self._log = logging.getLogger("werkzeug")
        self._log.handlers[:] = [self]
        self._log.setLevel(logging.INFO)
        self._log.propagate = False
        self._server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
        self._server.start()
        self.endpoint = "http://{}:{}".format(*self._server.get_host_and_port())
        self.requests: list[str] = []
        self.home = folder
        self.client = boto3.client(
            "s3", endpoint_url=self.endpoint, region_name="us-east-1",
            aws_access_key_id="test", aws_secret_access_key="test",
        )  # fmt: skip
        self.client.create_bucket(Bucket=BUCKET)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep what the server says of a request."""
        text = re.sub(r"\x1b\[[\d;]*m", "", record.getMessage())
        if found := re.search(r'"([A-Z]+ \S+) HTTP/[\d.]+" (\d+)', text):
            self.requests.append(f"{found[1]} {found[2]}")

    def close(self) -> None:
        self._server.stop()
        self._log.handlers.clear()

    def variables(self) -> dict[str, str]:
        """Return the environment of a process that is to use the server."""
        return {
            **_SETTINGS,
            "AWS_ENDPOINT_URL": self.endpoint,
            "XDG_CACHE_HOME": str(self.home / "cache"),
            "HOME": str(self.home),
        }

    @contextmanager
    def asking_for_permission(self) -> Iterator[None]:
        """Have the server refuse everybody, for a while."""
        self._post("/moto-api/reset-auth", b"0")
        try:
            yield
        finally:
            self._post("/moto-api/reset-auth", b"inf")

    def _post(self, path: str, data: bytes) -> None:
        kind = {"Content-Type": "text/plain"}
        urllib.request.urlopen(urllib.request.Request(f"{self.endpoint}{path}", data, kind)).close()

    def objects(self, prefix: str) -> dict[str, bytes]:
        """Return what is under `prefix`: content by the rest of its name."""
        found = self.client.list_objects_v2(Bucket=BUCKET, Prefix=prefix).get("Contents", [])
        return {entry["Key"].removeprefix(prefix): self.content(entry["Key"]) for entry in found}

    def content(self, key: str) -> bytes:
        return bytes(self.client.get_object(Bucket=BUCKET, Key=key)["Body"].read())

    def put(self, key: str, data: bytes = b"precious") -> None:
        self.client.put_object(Bucket=BUCKET, Key=key, Body=data)

    def written(self, prefix: str) -> list[str]:
        """Return the names under `prefix` that were written, in the order of writing."""
        pattern = rf"(?:PUT|POST) /{BUCKET}/{prefix}([^ ?]*)\S* 200"
        return [found[1] for text in self.requests if (found := re.fullmatch(pattern, text))]

    def start(self, *command: object, **changes: str | None) -> subprocess.Popen[str]:
        """Start `python <command>` with this server as its S3; None removes a variable."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "S3_"))}
        wanted = {**kept, **self.variables(), **changes}
        return subprocess.Popen(
            [sys.executable, *map(str, command)],
            cwd=ROOT,
            env={name: value for name, value in wanted.items() if value is not None},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *command: object, **changes: str | None) -> Result:
        """Run `python <command>` to its end; see `start`."""
        process = self.start(*command, **changes)
        out, err = process.communicate(timeout=200)
        return Result(process.returncode, out, err)


class Stalled:
    """A proxy of the server that closes for good after `writes` requests to write."""

    def __init__(self, server: S3Server, writes: int) -> None:
        import http.client
        from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

        door = self
        self.left, self.closed = writes, threading.Event()
        host = server.endpoint.removeprefix("http://")

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.command in ("PUT", "POST"):
                    door.left -= 1
                if door.left < 0:
                    door.closed.set()
                if door.closed.is_set():
                    self.close_connection = True
                    return
                connection = http.client.HTTPConnection(host)
                headers = {k: v for k, v in self.headers.items() if k.lower() != "connection"}
                connection.request(self.command, self.path, body, headers)
                response = connection.getresponse()
                data = response.read()
                self.send_response(response.status)
                for name, value in response.getheaders():
                    if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                        self.send_header(name, value)
                length = response.getheader("Content-Length") if self.command == "HEAD" else None
                self.send_header("Content-Length", length or str(len(data)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)
                connection.close()

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer  # noqa: N815

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
