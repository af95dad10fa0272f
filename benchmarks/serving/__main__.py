"""Latency and throughput of the server.

Pictures as JPEG over REST and as numbers (uint8) over gRPC, one row a request, from 1, 8 and 32
clients in processes of their own, with batching on and off; and the overhead of a request over a call
of the SavedModel in one's own process. Everything is bounded: --seconds for each cell, and --limit
for any answer. Measure on a machine that does nothing else.

Examples:
  python -m benchmarks.serving --model=out/my_film/run/export/decoder --output=docs/measured/serving.md
  python -m benchmarks.serving --model=out/my_film/run/export/decoder --quick
"""  # noqa: E501

import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from absl import flags

from benchmarks.markdown import publish, table
from benchmarks.runs import Json, Worker, WorkerError, cores_of_processor, say
from bladerunner_ae.command_line.app import run as run_command
from bladerunner_ae.errors import InputError
from bladerunner_ae.server.model_folders import ModelFolder, find_models
from tests.helpers.running_server import running_server

# Way -> scheme of its URL, signature.
WAYS = {
    "REST, JPEG": ("http", "serving_default"),
    "gRPC, JPEG": ("grpc", "serving_default"),
    "gRPC, uint8": ("grpc", "decode"),
    "gRPC, uint8, tensor_content": ("grpc", "decode"),
}
# Without this flag answers are as TensorFlow Serving gives them by default; it has the flag, too.
CONTENT = "--prefer_tensor_content"
LOADED = ("REST, JPEG", "gRPC, uint8")
GOALS = {"REST, JPEG": 2.0, "gRPC, uint8": 1.0, "gRPC, uint8, tensor_content": 1.0}


@contextlib.contextmanager
def server(model: ModelFolder, *arguments: str) -> Iterator[dict[str, str]]:
    """Run a server at free ports and yield its URLs by scheme."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        options = ("--poll_seconds=0", *arguments)
        try:
            found = stack.enter_context(running_server(Path(str(model.path)), folder, *options))
        except AssertionError as error:
            raise InputError(f"{model.path}: {' '.join(str(error).split())}") from error
        yield {"http": f"http://{found.rest}", "grpc": f"grpc://{found.grpc}"}


def client(way: str, model: ModelFolder, urls: dict[str, str], limit: float) -> Worker:
    scheme, signature = WAYS[way]
    config = {"url": urls[scheme], "model": model.name, "signature": signature}
    return Worker(sys.executable, "serving.client", config, limit)


def measure_overhead(values: Any, model: ModelFolder, folder: str) -> Json:
    """Return seconds of calls in a process and through the server, in turns, for each way."""
    found: Json = {}
    question = {"seconds": values.seconds, "calls": values.calls}
    with server(model) as plain, server(model, CONTENT) as content:
        for way, (_, signature) in WAYS.items():
            urls = content if "content" in way else plain
            config = {"folder": folder, "signature": signature}
            with (
                Worker(sys.executable, "serving.client", config, values.limit) as inside,
                client(way, model, urls, values.limit) as outside,
            ):
                found[way] = [
                    [inside.ask(question), outside.ask(question)] for _ in range(values.rounds)
                ]
    return found


def measure_load(values: Any, model: ModelFolder) -> list[Json]:
    """Return seconds of requests from several clients at once."""
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


def main() -> None:
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
            "machine": cores_of_processor(),
            "raster": raster(folder),
            "overhead": measure_overhead(values, model, folder),
            "load": measure_load(values, model),
        }
    except WorkerError as error:
        raise InputError(f"{values.model}: {error}") from error
    publish(page(found), values.output)


def raster(folder: str) -> str:
    """Return height and width of a decoder's pictures, such as 72x128."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    saved = SavedModel.FromString(Path(folder, "saved_model.pb").read_bytes())
    signatures = saved.meta_graphs[0].signature_def
    if "decode" not in signatures or "image" not in signatures["decode"].outputs:
        raise InputError(f"{folder}: not a decoder; give RUN/export/decoder")
    sizes = [dim.size for dim in signatures["decode"].outputs["image"].tensor_shape.dim]
    return f"{sizes[1]}x{sizes[2]}"


def percentile(values: list[float], share: float) -> float:
    """Return the value below which a share of all values is."""
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def page(found: Json) -> str:
    return "\n".join([
        "# Serving\n",
        f"Written by `{found['command']}` on {found['machine']}. Clients and server are processes "
        "of their own on one machine and share its cores. Every request is one row; the model is "
        f"a decoder of {found['raster']}.\n",
        *_overhead(found["overhead"]),
        "",
        *_load(found["load"]),
        "",
    ])  # fmt: skip


def _overhead(found: Json) -> list[str]:
    rows = []
    for way, rounds in found.items():
        ours = [statistics.median(inside) * 1e3 for inside, _ in rounds]
        served = [statistics.median(outside) * 1e3 for _, outside in rounds]
        overhead = [b - a for a, b in zip(ours, served, strict=True)]
        figures = [f"{statistics.median(values):.2f}" for values in (ours, served, overhead)]
        rows.append([way, *figures, f"{GOALS[way]:g}" if way in GOALS else "", len(rounds)])
    heads = [
        "way",
        "in process, p50 ms",
        "served, p50 ms",
        "overhead, p50 ms",
        "goal, ms",
        "rounds",
    ]
    return [
        "## What the way through the server costs\n\nOne client. Each round measures the call of "
        "the SavedModel within a process (`tf.saved_model.load`, its signature, `.numpy()`) and "
        "then the request to the server; from a client's call to its numpy array. Overhead is the "
        "difference of the two medians, the median of all rounds. Numbers come in fields of their "
        "own (`int_val`), as TensorFlow Serving sends them, or with `--prefer_tensor_content` as "
        "one block.\n",
        *table(heads, rows),
    ]


def _load(found: list[Json]) -> list[str]:
    rows = []
    for cell in found:
        values = [value * 1e3 for value in cell["seconds_each"]]
        figures = [f"{percentile(values, share):.1f}" for share in (0.5, 0.95, 0.99)]
        rate = f"{len(values) / cell['seconds']:.0f}"
        rows.append(
            [cell["way"], "on" if cell["batching"] else "off", cell["clients"], *figures, rate]
        )
    return [
        "## Many clients\n\nEach sends its next request when it has the answer to the last.\n",
        *table(["way", "batching", "clients", "p50 ms", "p95 ms", "p99 ms", "requests/s"], rows),
    ]


def cli() -> None:
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
