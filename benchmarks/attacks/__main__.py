"""The effect of hostile requests on other clients: the server under one attack after the other.

Meanwhile a good client asks for one picture (`sample`, one seed) every tenth of a second. For each
attack: the good client's median and worst latency and failures, the server's peak memory, and the
answers to the attackers. All of it stays on this machine, and every attack is bounded in number,
size and time.

Examples:
  python -m benchmarks.attacks --model=out/my_film/run --output=docs/measured/attacks.md
  python -m benchmarks.attacks --model=out/my_film/run --only=pictures,stalled
"""

import base64
import contextlib
import gzip
import http.client
import io
import json
import socket
import struct
import tempfile
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags

from benchmarks.markdown import median, publish, table
from benchmarks.runs import cores_of_processor, say
from bladerunner_ae.command_line.app import run as run_command
from tests.helpers.running_server import RunningServer, running_server

_MIB = 1 << 20
_LARGE = 62 * _MIB
_HEAD = "POST /v1/models/{}:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n"
_GOOD = json.dumps({"signature_name": "sample", "instances": [1]}).encode()
Attack = Callable[[RunningServer, float], str]


def large_png(side: int = 5792, kind: int = 0, depth: int = 1) -> bytes:
    """Return a black square PNG of few bytes; `kind` is PNG's colour type, `depth` in bits."""
    channels = {0: 1, 2: 3, 6: 4}[kind]
    packer, packed = zlib.compressobj(9), io.BytesIO()
    row = bytes(1 + (side * depth * channels + 7) // 8)
    for _ in range(side):
        packed.write(packer.compress(row))
    packed.write(packer.flush())
    head = struct.pack(">IIBBBBB", side, side, depth, kind, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", packed.getvalue()), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


def post(server: RunningServer, model: str, body: bytes, seconds: float, **headers: str) -> str:
    """Return the status of a request to `predict`, or the name of the failure."""
    connection = http.client.HTTPConnection(server.rest, timeout=seconds)
    with contextlib.closing(connection):
        try:
            connection.request("POST", f"/v1/models/{model}:predict", body, headers)
            response = connection.getresponse()
            response.read()
            return str(response.status)
        except (OSError, http.client.HTTPException) as error:
            return type(error).__name__


def pictures(count: int, **kind: int) -> Attack:
    """Return a request with some large pictures."""
    rows = [{"b64": base64.b64encode(large_png(**kind)).decode()}] * count
    body = json.dumps({"signature_name": "encode_bytes", "instances": rows}).encode()
    return lambda server, seconds: post(server, "encoder", body, seconds)


def values(model: str, value: bytes, packed: bool = False) -> Attack:
    """Return a request with as many values as go into one."""
    start, end = b'{"instances":[', b"]}"
    count = (_LARGE - len(start) - len(end)) // (len(value) + 1)
    body = start + b",".join([value] * count) + end
    headers = {"Content-Encoding": "gzip"} if packed else {}
    body = gzip.compress(body) if packed else body
    return lambda server, seconds: post(server, model, body, seconds, **headers)


def stalled(model: str) -> Attack:
    """Return a request whose body is never complete."""
    part = b" " * (64 * _MIB - 1)

    def attack(server: RunningServer, seconds: float) -> str:
        host, _, port = server.rest.rpartition(":")
        with socket.create_connection((host, int(port)), timeout=seconds) as client:
            try:
                client.sendall(_HEAD.format(model, len(part) + 1).encode() + part)
                return client.recv(12).decode()[9:] or "hung up"
            except OSError as error:
                return type(error).__name__

    return attack


def messages(size: int) -> Attack:
    """Return a large message over gRPC, with a file that is not a picture."""
    from bladerunner_ae.protocol.messages import RawPredictRequest
    from bladerunner_ae.protocol.tensors import write

    request = RawPredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "encoder", "encode_bytes"
    request.inputs["image_bytes"] = write(np.array([b"x" * size], object))
    body = request.SerializeToString()

    def attack(server: RunningServer, seconds: float) -> str:
        import grpc

        with grpc.insecure_channel(server.grpc) as channel:
            call = channel.unary_unary("/tensorflow.serving.PredictionService/Predict")
            try:
                call(body, timeout=seconds)
            except grpc.RpcError as error:
                return str(error.code().name)  # type: ignore[attr-defined]
        return "OK"

    return attack


def many_pictures_out() -> Attack:
    """Return a request for as many pictures as allowed, as JSON numbers."""
    body = json.dumps({"signature_name": "sample", "instances": list(range(128))}).encode()
    return lambda server, seconds: post(server, "decoder", body, seconds)


# Name -> (description, number at once, maker).
ATTACKS: dict[str, tuple[str, int, Callable[[], Attack]]] = {
    "none": ("nothing", 0, lambda: pictures(1)),
    "pictures": ("128 pictures of 33 megapixels a request", 3, lambda: pictures(128)),
    "alpha": ("2 pictures with alpha of 33 megapixels a request", 6,
              lambda: pictures(2, kind=6, depth=8)),
    "lists": ("`[[],[],...` of 62 MiB", 2, lambda: values("decoder", b"[]")),
    "floats": ("`[1.5,1.5,...` of 62 MiB", 2, lambda: values("decoder", b"1.5")),
    "objects": ("`[{},{},...` of 62 MiB", 2, lambda: values("encoder", b"{}")),
    "packed": ("`[[],[],...` of 62 MiB as gzip", 4, lambda: values("encoder", b"[]", True)),
    "stalled": ("uploads of 64 MiB that stop before the end", 8, lambda: stalled("encoder")),
    "messages": ("messages of 60 MB over gRPC", 24, lambda: messages(60_000_000)),
    "answers": ("128 pictures as JSON numbers a request", 12, many_pictures_out),
}  # fmt: skip


class GoodClient(threading.Thread):
    """Asks for a picture every tenth of a second until it is stopped."""

    def __init__(self, server: RunningServer) -> None:
        super().__init__(daemon=True)
        self._server, self._stopped = server, threading.Event()
        self.seconds: list[float] = []
        self.failures: Counter[str] = Counter()

    def run(self) -> None:
        while not self._stopped.wait(0.1):
            start = time.perf_counter()
            status = post(self._server, "decoder", _GOOD, 60.0)
            self.seconds.append(time.perf_counter() - start)
            if status != "200":
                self.failures[status] += 1

    def stop(self) -> None:
        self._stopped.set()
        self.join(90.0)


@contextlib.contextmanager
def watched_memory(process: int) -> Iterator[list[int]]:
    """Yield a list that keeps getting the bytes that a process and its children hold."""
    found: list[int] = []
    stopped = threading.Event()

    def watch() -> None:
        while not stopped.wait(0.05):
            found.append(_resident(process))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        stopped.set()
        thread.join()


def _resident(process: int) -> int:
    total = 0
    with contextlib.suppress(OSError, ValueError):
        total = int(Path(f"/proc/{process}/statm").read_text().split()[1]) * 4096
        for task in Path(f"/proc/{process}/task").iterdir():
            total += sum(map(_resident, map(int, (task / "children").read_text().split())))
    return total


def measure(server: RunningServer, name: str, seconds: float) -> dict[str, Any]:
    """Run one of `ATTACKS`, whose attackers wait `seconds` for answers at most."""
    what, count, make = ATTACKS[name]
    attack = make()
    answers: Counter[str] = Counter()

    def run() -> None:
        answers[attack(server, seconds)] += 1

    good = GoodClient(server)
    with watched_memory(server.process.pid) as memory:
        good.start()
        time.sleep(1.0)
        attackers = [threading.Thread(target=run, daemon=True) for _ in range(count)]
        for thread in attackers:
            thread.start()
        end = time.monotonic() + seconds
        for thread in attackers:
            thread.join(max(end - time.monotonic(), 0.0) + 5.0)
        time.sleep(3.0)  # what they leave in memory counts, too
        good.stop()
    return {
        "attack": f"{count} x {what}" if count else what,
        "good": good.seconds,
        "failures": dict(good.failures),
        "memory": max(memory),
        "answers": dict(answers),
    }


def page(command: str, found: list[dict[str, Any]]) -> str:
    rows = [
        [
            one["attack"], len(one["good"]), median((1e3 * value for value in one["good"]), 0),
            f"{max(one['good']):.2f}", sum(one["failures"].values()),
            f"{one['memory'] / (1 << 30):.2f}",
            ", ".join(f"{n} x {status}" for status, n in sorted(one["answers"].items())),
        ]
        for one in found
    ]  # fmt: skip
    heads = ["attack", "good: requests", "median ms", "worst s", "failed", "memory, GiB",
             "attackers got"]  # fmt: skip
    return "\n".join([
        "# Attacks\n",
        f"Written by `{command}` on {cores_of_processor()}, which other "
        "work may have shared, each attack on a server of its own. A good client asks for one "
        "picture every tenth of a second; memory is the server's with its processes, at its "
        "highest.\n",
        *table(heads, rows),
        "",
    ])  # fmt: skip


def main() -> None:
    options = flags.FLAGS
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name in options.only or ATTACKS:
            say(name)
            with running_server(Path(options.model), Path(folder)) as server:
                found.append(measure(server, name, options.seconds))
    publish(page("python -m benchmarks.attacks --model=RUN", found), options.output)


def cli() -> None:
    flags.DEFINE_string("model", None, "RUN or RUN/export of all three models.", required=True)
    flags.DEFINE_list("only", [], f"Attacks: {', '.join(ATTACKS)}; all by default.")
    flags.DEFINE_float("seconds", 40.0, "Seconds that attackers wait at most.", lower_bound=1.0)
    flags.DEFINE_string("output", "", "Markdown file for the table.")
    run_command(main)


if __name__ == "__main__":
    cli()
