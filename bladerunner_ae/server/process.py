"""The server process: ports, both APIs, watching for versions, stopping.

Asked to stop (SIGTERM, Ctrl-C) it takes no more requests, answers those that it has, and exits with
0. Asked again at least a second later, it ends at once; two signals together count as one, since
`timeout` and terminals send two.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn

from bladerunner_ae.command_line.signals import StopRequest
from bladerunner_ae.errors import InputError
from bladerunner_ae.server import browsers, connections, explorer, rest, rpc
from bladerunner_ae.server.json_process import JsonProcess
from bladerunner_ae.server.limits import Holdings, Limits
from bladerunner_ae.server.metrics import Metrics
from bladerunner_ae.server.model_folders import ModelFolder
from bladerunner_ae.server.running import Runner
from bladerunner_ae.server.services import Services
from bladerunner_ae.server.versions import NEWEST, Catalogue, ServedModel

Ready = Callable[[list[str], str, str | None, bool], None]
_KEEP_ALIVE_SECONDS = 75


@dataclass(frozen=True)
class Options:
    """Options of a server; each is a flag of `serve`.

    `batch_timeout` is the seconds that a request waits for others, None: each runs by itself;
    `tensor_content` sends tensors as bytes in gRPC's answers.
    """

    models: Sequence[ModelFolder]
    host: str = "127.0.0.1"
    allowed_hosts: Sequence[str] = ()
    grpc_port: int = 8500
    versions: str | tuple[int, ...] = NEWEST
    labels: dict[str, int] = field(default_factory=dict)
    threads: int = 2
    batch_timeout: float | None = None
    poll_seconds: float = 2.0
    tensor_content: bool = False
    limits: Limits = field(default_factory=Limits)


def say(line: str) -> None:
    """Write a line to the log, which is stderr."""
    with contextlib.suppress(OSError):  # the terminal is gone
        print(line, file=sys.stderr, flush=True)


class _Http(uvicorn.Server):
    """Uvicorn without its own signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Server:
    def __init__(self, options: Options) -> None:
        self._options = options
        self._metrics = Metrics()
        self._loaders = ThreadPoolExecutor(1, thread_name_prefix="load")
        models = [
            ServedModel(folder, options.versions, options.labels, self._loaders, self._metrics,
                        options.limits.body_bytes, say)
            for folder in options.models
        ]  # fmt: skip
        self.catalogue = Catalogue(models)
        self._runner = Runner(options.limits, options.threads, self._metrics, options.batch_timeout)
        self.services = Services(self.catalogue, self._runner)
        self._holdings = Holdings(options.limits.held_bytes)
        self._parser = JsonProcess()
        self._stop = asyncio.Event()
        self._request = StopRequest()

    async def load(self) -> None:
        """Load the present versions; InputError if no model has one that can be served."""
        models = self.catalogue.models.values()
        for model in models:
            await model.poll()
        if not any(model.loaded for model in models):
            paths = ", ".join(str(folder.path) for folder in self._options.models)
            tried = any(model.states for model in models)
            fix = "export again" if tried else "choose others with --versions"
            raise InputError(f"{paths}: no version can be served; {fix}")
        for model in models:
            for number in model.absent():
                say(f"{model.folder.path}: has no version {number}; it is served once it is there")

    def application(self) -> Any:
        """Return REST, metrics and the explorer as one ASGI application."""
        api = rest.RestApi(
            self.services, self._options.limits, self._metrics, self._holdings, self._parser
        )
        guards = browsers.middleware(self._options.host, self._options.allowed_hosts)
        return rest.application(api, self._metrics, explorer.routes(self.current), guards)

    def current(self) -> tuple[str, int, Path] | None:
        """Return name, version and folder of the newest decoder, for the explorer."""
        for name in sorted(self.catalogue.models, key=lambda name: (name != "decoder", name)):
            version = self.catalogue.models[name].newest
            if version is not None and "latent" in _default_inputs(version):
                return name, version.number, Path(str(version.saved_model.folder))
        return None

    async def serve(self, listening: socket.socket, ready: Ready) -> None:
        """Serve on the bound socket of REST until asked to stop.

        `ready` is called once it answers, with the names of its models, the addresses of REST and
        of gRPC, if any, and whether there is a decoder to explore.

        Raises:
            InputError: no model can be served, or a port is in use.
        """
        asyncio.get_running_loop().set_exception_handler(_report)
        limits = self._options.limits
        with _signals(self.ask_to_stop):
            stopping = asyncio.create_task(self._stop.wait())
            loading = asyncio.create_task(self.load())
            await asyncio.wait({loading, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not loading.done():
                return  # asked to stop before anything was served
            loading.result()
            grpc_server, grpc_port = await self._start_grpc()
            connections.drop_stalled_clients(listening, limits.read_seconds)
            http = _Http(self._http_config())
            serving = asyncio.create_task(http.serve([listening]))
            hanging_up = connections.hang_up_on_late_requests(http, limits.read_seconds)
            watching = [asyncio.create_task(one) for one in (self._poll(), hanging_up)]
            while not http.started and not serving.done():
                await asyncio.sleep(0.005)
            port = listening.getsockname()[1]
            names = [name for name, model in self.catalogue.models.items() if model.loaded]
            ready(names, self._address(port), self._address(grpc_port) if grpc_server else None,
                  self.current() is not None)  # fmt: skip
            await asyncio.wait({stopping, serving}, return_when=asyncio.FIRST_COMPLETED)
            for task in watching:
                task.cancel()
            http.should_exit = True
            if grpc_server:
                await asyncio.gather(serving, grpc_server.stop(limits.stop_seconds))
            await serving
            await self._parser.close()
        self._close()

    def ask_to_stop(self, number: int) -> None:
        """Stop once all requests are answered; asked again, at once."""
        repeated = self._request.repeats(number)
        if not self._stop.is_set():
            say(f"stopping; {self._runner.waiting} requests are still to be answered")
            self._stop.set()
        elif repeated:
            say("stopped at once")
            os._exit(128 + number)

    async def _start_grpc(self) -> tuple[Any, int]:
        options = self._options
        if options.grpc_port < 0:
            return None, -1
        api = rpc.GrpcApi(
            self.services, options.limits, self._metrics, self._holdings, options.tensor_content
        )
        server = rpc.make_server(api, options.limits)
        try:
            port = server.add_insecure_port(self._address(options.grpc_port))
        except RuntimeError:
            raise InputError(
                connections.in_use(options.host, options.grpc_port, "grpc_port")
            ) from None
        await server.start()
        return server, port

    def _address(self, port: int) -> str:
        host = self._options.host
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def _http_config(self) -> uvicorn.Config:
        limits = self._options.limits
        return uvicorn.Config(
            self.application(),
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            date_header=True,
            proxy_headers=False,
            backlog=2048,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=int(limits.stop_seconds),
        )

    async def _poll(self) -> None:
        while self._options.poll_seconds:
            await asyncio.sleep(self._options.poll_seconds)
            for model in self.catalogue.models.values():
                try:
                    await model.poll()
                except Exception as error:  # a folder that cannot be read now
                    say(f"{model.folder.path}: cannot be inspected ({error})")

    def _close(self) -> None:
        self._runner.close()
        self._loaders.shutdown(wait=False, cancel_futures=True)
        for model in self.catalogue.models.values():
            model.close()


def _default_inputs(version: Any) -> Any:
    signature = version.saved_model.signatures.get("serving_default")
    return signature.inputs if signature else {}


def _report(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Report errors outside of requests, such as no file descriptors left, in one line."""
    error = context.get("exception")
    say(f"{context.get('message', 'unexpected')}: {error}" if error else str(context["message"]))


@contextlib.contextmanager
def _signals(ask: Callable[[int], None]) -> Iterator[None]:
    """Call `ask` at SIGTERM and Ctrl-C until the block ends."""
    loop = asyncio.get_running_loop()
    before = {}
    for number in (signal.SIGTERM, signal.SIGINT):
        handler = signal.getsignal(number)
        if handler != signal.SIG_IGN:  # as nohup wants it
            loop.add_signal_handler(number, ask, number)
            before[number] = handler
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
