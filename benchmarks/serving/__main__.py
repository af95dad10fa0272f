"""What the server costs and how much it can take: latency and requests a second.

Pictures as JPEG over REST and as numbers (uint8) over gRPC, one row a request, from 1, 8 and 32
clients in processes of their own, with batching on and off; and what a request takes longer than
calling the SavedModel within one's own process. Everything is bounded: --seconds for each cell, and
--limit for any answer. Measure on a machine that does nothing else.

Examples:
  python -m benchmarks.serving --model=out/my_film/run/export/decoder --output=docs/measured/serving.md
  python -m benchmarks.serving --model=out/my_film/run/export/decoder --quick
"""  # noqa: E501

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from absl import flags

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from benchmarks.serving.table import table
from benchmarks.training.__main__ import machine
from benchmarks.training.workers import Json, Worker, WorkerError
from bladerunner_ae.command_line.app import run as run_command
from bladerunner_ae.errors import InputError
from bladerunner_ae.server.model_folders import ModelFolder, find_models

# Way -> scheme of its URL, signature.
WAYS = {
    "REST, JPEG": ("http", "serving_default"),
    "gRPC, JPEG": ("grpc", "serving_default"),
    "gRPC, uint8": ("grpc", "decode"),
    "gRPC, uint8, tensor_content": ("grpc", "decode"),
}
# Answers as TensorFlow Serving gives them by default, and with this flag, which it has as well.
CONTENT = "--prefer_tensor_content"
LOADED = ("REST, JPEG", "gRPC, uint8")
_ROOT = Path(__file__).resolve().parent.parent.parent


@contextlib.contextmanager
def server(model: ModelFolder, *arguments: str) -> Iterator[dict[str, str]]:
    """Runs a server at free ports.

    Yields:
        Its URLs by scheme.

    Raises:
        InputError: it did not start; it has said why.
    """
    command = [sys.executable, "-m", "bladerunner_ae.serve", f"--model={model.path}", "--port=0",
               "--grpc_port=0", "--poll_seconds=0", *arguments]  # fmt: skip
    with subprocess.Popen(command, cwd=_ROOT, stdout=subprocess.PIPE, text=True) as process:
        watchdog = threading.Timer(300.0, process.kill)
        watchdog.start()
        try:
            assert process.stdout is not None
            urls = {}
            for line in process.stdout:
                scheme, _, rest = line.strip().partition("://")
                if scheme in ("http", "grpc"):
                    urls[scheme] = f"{scheme}://{rest.partition('/')[0]}"
                if "explorer" in line:
                    break
            if len(urls) < 2:
                raise InputError(f"{model.path}: the server did not start")
            yield urls
        finally:
            watchdog.cancel()
            process.terminate()


def client(way: str, model: ModelFolder, urls: dict[str, str], limit: float) -> Worker:
    """Starts a client of a way."""
    scheme, signature = WAYS[way]
    config = {"url": urls[scheme], "model": model.name, "signature": signature}
    return Worker(sys.executable, "serving/client.py", config, limit)


def measure_overhead(values: Any, model: ModelFolder, folder: str) -> Json:
    """Seconds of calls in a process and through the server, in turns, for each way."""
    found: Json = {}
    question = {"seconds": values.seconds, "calls": values.calls}
    with server(model) as plain, server(model, CONTENT) as content:
        for way, (_, signature) in WAYS.items():
            urls = content if "content" in way else plain
            config = {"folder": folder, "signature": signature}
            with (
                Worker(sys.executable, "serving/client.py", config, values.limit) as inside,
                client(way, model, urls, values.limit) as outside,
            ):
                found[way] = [
                    [inside.ask(question), outside.ask(question)] for _ in range(values.rounds)
                ]
    return found


def measure_load(values: Any, model: ModelFolder) -> list[Json]:
    """Seconds of requests from several clients at once."""
    found = []
    for batching in (False, True):
        with server(model, f"--{'' if batching else 'no'}batching") as urls:
            for way in LOADED:
                for count in map(int, values.clients):
                    say(f"{way}, {count} clients, batching {'on' if batching else 'off'}")
                    cell = _cell(values, way, model, urls, count)
                    found.append({"way": way, "batching": batching, "clients": count, **cell})
    return found


def _cell(values: Any, way: str, model: ModelFolder, urls: dict[str, str], count: int) -> Json:
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(count) as pool:
        clients = [
            stack.enter_context(worker)
            for worker in pool.map(lambda _: client(way, model, urls, values.limit), range(count))
        ]
        question = {"seconds": values.seconds, "calls": 1_000_000}
        start = time.perf_counter()
        answers: list[Any] = list(pool.map(lambda worker: worker.ask(question), clients))
        seconds = time.perf_counter() - start
    return {"seconds": seconds, "seconds_each": [value for answer in answers for value in answer]}


def say(text: str) -> None:
    """A line for who waits."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Measures and writes the table."""
    values = flags.FLAGS
    if values.quick:
        values.seconds, values.calls, values.rounds, values.clients = 0.5, 20, 2, ["1", "4"]
    (model, *others) = find_models(values.model)
    versions = model.versions()
    if others or not versions:
        raise InputError(f"{values.model}: give the folder of one model, such as export/decoder")
    folder = str(versions[max(versions)])
    try:
        found = {
            "command": f"python -m benchmarks.serving --model=.../{model.name}"
            + (" --quick" if values.quick else ""),
            "machine": machine(),
            "raster": raster(folder),
            "overhead": measure_overhead(values, model, folder),
            "load": measure_load(values, model),
        }
    except WorkerError as error:
        raise InputError(f"{values.model}: {error}") from error
    text = table(found)
    print(text, end="")
    if values.output:
        Path(values.output).write_text(text, "utf-8")


def raster(folder: str) -> str:
    """Height and width of a decoder's pictures, such as 72x128."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    saved = SavedModel.FromString(Path(folder, "saved_model.pb").read_bytes())
    signatures = saved.meta_graphs[0].signature_def
    if "decode" not in signatures or "image" not in signatures["decode"].outputs:
        raise InputError(f"{folder}: is no decoder; give RUN/export/decoder")
    sizes = [dim.size for dim in signatures["decode"].outputs["image"].tensor_shape.dim]
    return f"{sizes[1]}x{sizes[2]}"


def cli() -> None:
    """Runs the benchmark."""
    flags.DEFINE_string("model", None, "Folder of an exported decoder.", required=True)
    flags.DEFINE_list("clients", ["1", "8", "32"], "Numbers of clients.")
    flags.DEFINE_float("seconds", 10.0, "Length of each cell.", lower_bound=0.1)
    flags.DEFINE_integer("rounds", 7, "Turns of the overhead.", lower_bound=1)
    flags.DEFINE_integer("calls", 100, "Most calls in a turn of the overhead.", lower_bound=1)
    flags.DEFINE_float("limit", 120.0, "Seconds to wait for any answer.")
    flags.DEFINE_bool("quick", False, "Short turns: shows that it works, measures little.")
    flags.DEFINE_string("output", "", "Markdown file for the table.")
    run_command(main)


if __name__ == "__main__":
    cli()
