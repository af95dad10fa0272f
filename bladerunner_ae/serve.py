"""Serve exported models over REST and gRPC, as TensorFlow Serving does.

Clients of one work with the other; see docs/server.md. New versions are picked up while it runs.
With a decoder, the page at / walks through the film's latent space. Ctrl-C or SIGTERM has it answer
the requests that it has received, and ends it with exit code 0.

Examples:
  python -m bladerunner_ae.serve --model=out/my_film/run
  python -m bladerunner_ae.serve --model=out/my_film/run/export/decoder --batching --port=9000
  curl http://127.0.0.1:8501/v1/models/decoder
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
from typing import TYPE_CHECKING
from urllib.parse import quote

from absl import flags

from bladerunner_ae.command_line.app import run as run_command
from bladerunner_ae.command_line.tensorflow_import import slow_imports
from bladerunner_ae.errors import UsageError

if TYPE_CHECKING:
    from bladerunner_ae.server.model_folders import ModelFolder

_NEEDED = ("starlette", "uvicorn", "grpc", "prometheus_client")


def main() -> None:
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(
            f"serving needs packages that are not installed ({', '.join(missing)}); "
            'install them with: pip install "bladerunner_ae[serve]"'
        )
    from bladerunner_ae.server.model_folders import find_models

    values = flags.FLAGS
    models = [model for path in values.model for model in find_models(path, values.name)]
    names = [model.name for model in models]
    if len(set(names)) < len(names):
        raise UsageError(f"two models are called {max(names, key=names.count)}; serve one of them")
    labels, versions = version_labels(values.version_labels), wanted_versions(values.versions)
    _serve(values, models, labels, versions, allowed_hosts(values.allowed_hosts))


def _serve(
    values: flags.FlagValues,
    models: list[ModelFolder],
    labels: dict[str, int],
    versions: str | tuple[int, ...],
    hosts: tuple[str, ...],
) -> None:
    from bladerunner_ae.server import connections

    connections.check(values.host, values.grpc_port, "grpc_port")
    listening = connections.listen(values.host, values.port)
    connections.allow_many_connections()
    with slow_imports():
        from bladerunner_ae.server.limits import Limits
        from bladerunner_ae.server.process import Options, Server

    options = Options(
        models=models,
        host=values.host,
        allowed_hosts=hosts,
        grpc_port=values.grpc_port,
        versions=versions,
        labels=labels,
        threads=values.threads or os.cpu_count() or 1,
        batch_timeout=values.batch_timeout_micros / 1e6 if values.batching else None,
        poll_seconds=values.poll_seconds,
        tensor_content=values.prefer_tensor_content,
        limits=Limits(
            batch_rows=values.max_batch_size,
            waiting=values.max_waiting,
            pixels=values.max_pixels,
            waiting_pixels=2 * values.max_pixels,
            body_bytes=values.max_body_mb << 20,
            held_bytes=max(4 * values.max_body_mb, 256) << 20,
            read_seconds=values.read_seconds,
            run_seconds=values.run_seconds,
        ),
    )
    asyncio.run(Server(options).serve(listening, say_ready))


def say_ready(models: list[str], rest: str, grpc: str | None, explorer: bool) -> None:
    for name in models:
        print(f"http://{rest}/v1/models/{quote(name, safe='')}")
    if grpc:
        print(f"grpc://{grpc}")
    print(f"explorer: http://{rest}/" if explorer else "no explorer: no decoder", flush=True)


def wanted_versions(text: str) -> str | tuple[int, ...]:
    """Read --versions: "newest", "all", or numbers with commas between them."""
    if text in ("newest", "all"):
        return text
    if not re.fullmatch(r"\d+(,\d+)*", text, re.ASCII):
        raise UsageError(f"--versions={text}: choose newest, all, or numbers such as 3,4")
    return tuple(int(number) for number in text.split(","))


def version_labels(texts: list[str]) -> dict[str, int]:
    """Read --version_labels: LABEL:NUMBER each."""
    found = {}
    for text in texts:
        match = re.fullmatch(r"([^/:]+):(\d+)", text, re.ASCII)
        if not match:
            raise UsageError(f"--version_labels={text}: write LABEL:NUMBER, such as stable:3")
        found[match[1]] = int(match[2])
    return found


def allowed_hosts(names: list[str]) -> tuple[str, ...]:
    """Read --allowed_hosts: names and addresses without ports, *.DOMAIN, or * for any."""
    found = []
    for name in names:
        if re.fullmatch(r"\*|(\*\.)?[\w.-]+|\[[0-9a-fA-F:.]+\]", name, re.ASCII):
            found.append(name.lower())
        elif re.fullmatch(r"[0-9a-fA-F:.]*:[0-9a-fA-F:.]*:[0-9a-fA-F:.]*", name):
            found.append(f"[{name.lower()}]")
        else:
            raise UsageError(
                f"--allowed_hosts={name}: write names or addresses without http:// and port, such "
                "as films.example,*.example.org"
            )
    return tuple(found)


def cli() -> None:
    flags.DEFINE_multi_string(
        "model", None, "Folder of a model's versions (RUN/export/decoder), one of these, or RUN or "
        "RUN/export for all models in it.", required=True,
    )  # fmt: skip
    flags.DEFINE_string("name", None, "What clients call the model; by default its folder's name.")
    flags.DEFINE_string("host", "127.0.0.1", "Address to listen at; 0.0.0.0 for the network. "
                        "There is no password.")  # fmt: skip
    flags.DEFINE_list("allowed_hosts", [], "What clients may call this machine besides --host and "
                      "localhost: NAME,*.DOMAIN,...; * for anything, which is the default where "
                      "--host is not this machine alone.")  # fmt: skip
    flags.DEFINE_integer("port", 8501, "Port of REST and of the explorer; 0 takes a free one.",
                         lower_bound=0, upper_bound=65535)  # fmt: skip
    flags.DEFINE_integer("grpc_port", 8500, "Port of gRPC; 0 takes a free one, -1 none.",
                         lower_bound=-1, upper_bound=65535)  # fmt: skip
    flags.DEFINE_string("versions", "newest", "Versions to serve: newest, all, or numbers (3,4).")
    flags.DEFINE_list("version_labels", [], "LABEL:NUMBER,...: other names of versions, which are "
                      "served as well.")  # fmt: skip
    flags.DEFINE_float("poll_seconds", 2.0, "Seconds between looks for new versions; 0: never.",
                       lower_bound=0.0)  # fmt: skip
    flags.DEFINE_bool("batching", False, "Run requests of several clients together.")
    flags.DEFINE_integer("batch_timeout_micros", 0, "With --batching: microseconds that a request "
                         "waits for others while a thread is free.", lower_bound=0)  # fmt: skip
    flags.DEFINE_integer("max_batch_size", 128, "Most rows of a request, and of several together.",
                         lower_bound=1)  # fmt: skip
    flags.DEFINE_integer("max_pixels", 1 << 26, "Most pixels of a request's pictures; "
                         "twice as many may wait.", lower_bound=1)  # fmt: skip
    flags.DEFINE_integer("max_body_mb", 64, "Most MiB of a request.", lower_bound=1,
                         upper_bound=2047)  # fmt: skip
    flags.DEFINE_integer("max_waiting", 4096, "Most requests that wait or run.", lower_bound=1)
    flags.DEFINE_integer("threads", 0, "Runs of models at once; 0: as many as cores.",
                         lower_bound=0)  # fmt: skip
    flags.DEFINE_float("read_seconds", 50.0, "Seconds for a request to arrive, or for a "
                       "client to take more of an answer.", lower_bound=0.1)  # fmt: skip
    flags.DEFINE_float("run_seconds", 30.0, "Seconds for a request to be answered.",
                       lower_bound=0.1)  # fmt: skip
    flags.DEFINE_bool("prefer_tensor_content", False, "Tensors in gRPC's answers as bytes, which "
                      "is quicker, but not what every client reads.")  # fmt: skip
    run_command(main)


if __name__ == "__main__":
    cli()
