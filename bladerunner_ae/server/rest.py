"""The REST API: URLs, statuses and JSON of TensorFlow Serving.

As there, every path below /v1/ is answered in JSON, a method that a path does not have is a
malformed request (400, not 405), and the query belongs to the path.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from google.protobuf import json_format
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from bladerunner_ae.server import bodies, json_codec
from bladerunner_ae.server.json_codec import PredictBody
from bladerunner_ae.server.json_process import JsonProcess
from bladerunner_ae.server.limits import SMALL, Holdings, Limits, Share, Sizes, too_much
from bladerunner_ae.server.metrics import Metrics
from bladerunner_ae.server.services import SIGNATURE_DEF, Services
from bladerunner_ae.server.serving_errors import (
    Code,
    ServingError,
    TooLargeError,
    error_response,
    from_exception,
    invalid,
)
from bladerunner_ae.server.versions import Version

METRICS_PATH = "/monitoring/prometheus/metrics"
_WHICH = r"(?:(?:/versions/(?P<version>\d+))|(?:/labels/(?P<label>[^/:]+)))?"
_PREDICT = re.compile(
    rf"(?i)/v1/models/(?P<model>[^/:]+){_WHICH}:(?P<method>classify|regress|predict)", re.ASCII
)
_STATUS = re.compile(
    rf"(?i)/v1/models(?:/(?P<model>[^/:]+))?{_WHICH}(?:/(?P<metadata>metadata))?", re.ASCII
)
_MANY_VALUES = 1 << 14
_PIECE = 256 << 10


@dataclass(frozen=True)
class _Target:
    model: str
    version: int | None
    label: str | None
    method: str


class RestApi:
    """ASGI application of everything below /v1/."""

    def __init__(
        self,
        services: Services,
        limits: Limits,
        metrics: Metrics,
        holdings: Holdings,
        parser: JsonProcess,
    ) -> None:
        self._services, self._limits, self._metrics = services, limits, metrics
        self._holdings, self._parser = holdings, parser
        self._writers = ThreadPoolExecutor(1, thread_name_prefix="write")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        start = time.perf_counter()
        target = None
        code = Code.OK
        with self._holdings.share() as share:
            try:
                target = _target(scope["method"], _path(scope))
                if scope["method"] == "GET":
                    body = self._get(target)
                else:
                    body = await self._post(target, Request(scope, receive), share)
                    share.resize(len(body))
                response = Response(body, media_type="application/json")
            except ClientDisconnect:
                return
            except Exception as error:
                fault = from_exception(error)
                code = fault.code
                # The rest of its body may not be wanted.
                close = fault.http in (408, 413) or code is Code.UNAVAILABLE
                response = error_response(fault, close)
            if target and scope["method"] == "POST":
                seconds = time.perf_counter() - start
                known = target.model if target.model in self._services.catalogue.models else ""
                self._metrics.request(known, target.method, "REST", code.name, seconds)
            await _send(response, share, send)

    def _get(self, target: _Target) -> bytes:
        if not target.model:
            raise invalid("The path names no model")
        if target.method == "metadata":
            return _metadata(self._find(target))
        # As in TensorFlow Serving a label does not count here.
        return _json(self._services.status(target.model, target.version)).encode()

    def _find(self, target: _Target) -> Version:
        return self._services.catalogue.find(target.model, target.version, target.label)

    async def _post(self, target: _Target, request: Request, share: Share) -> bytes:
        if target.method != "predict":
            body = await bodies.receive(request, share, SMALL, self._limits.read_seconds)
            if bodies.is_compressed(request):
                body = bodies.decompress(body, SMALL)
            raise self._refusal(target, json_codec.parse(body))
        parsed = await self._parse(target, request, share)
        version = self._find(target)
        outputs = await self._services.predict(version, parsed.signature, parsed.inputs)
        write = json_codec.predictions if parsed.in_rows else json_codec.columns
        if sum(array.size for array in outputs.values()) > _MANY_VALUES:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._writers, write, outputs)
        return write(outputs)

    async def _parse(self, target: _Target, request: Request, share: Share) -> PredictBody:
        """Read a request's inputs, large bodies in another process."""
        try:
            sizes, types = self._services.sizes(version := self._find(target)), version.types
        except ServingError:  # it is not served; a small body is parsed before that is told
            sizes, types = Sizes(SMALL, SMALL, SMALL), None
        body = await bodies.receive(request, share, sizes.bytes, self._limits.read_seconds)
        compressed = bodies.is_compressed(request)
        if compressed:
            with contextlib.suppress(TooLargeError):
                body, compressed = bodies.decompress(body, SMALL), False
        if types is not None and (compressed or len(body) > SMALL):
            seconds = self._limits.run_seconds
            return await self._parser.parse(body, compressed, types, sizes, seconds)
        document = json_codec.parse(body)
        return json_codec.read_predict(document, self._find(target).types)

    def _refusal(self, target: _Target, document: json_codec.Document) -> ServingError:
        examples = document.values.get("examples")
        if not isinstance(examples, list) or not examples:
            return invalid("The body needs 'examples', a list")
        return self._services.refuse(self._find(target), document.signature, target.method)


async def _send(response: Response, share: Share, send: Any) -> None:
    """Send an answer piece by piece, each when the client has taken the ones before.

    So an answer that is not taken is held here, where it may be dropped for others.
    """
    headers = response.raw_headers
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    body = memoryview(bytes(response.body))
    try:
        async with share.waiting(None):
            for place in range(0, max(len(body), 1), _PIECE):
                more = place + _PIECE < len(body)
                piece = bytes(body[place : place + _PIECE])
                await send({"type": "http.response.body", "body": piece, "more_body": more})
    except TimeoutError:
        raise too_much() from None  # the connection ends in the middle of its answer


def _path(scope: Any) -> str:
    """Return the path as it was sent, with its query."""
    raw = scope.get("raw_path") or scope["path"].encode()
    path = raw.partition(b"?")[0]
    return (path + b"?" + scope["query_string"] if scope["query_string"] else path).decode("latin1")


def _target(method: str, path: str) -> _Target:
    pattern = {"POST": _PREDICT, "GET": _STATUS}.get(method)
    match = pattern.fullmatch(path) if pattern else None
    if match is None:
        raise invalid(f"Malformed request: {method} {path}")
    groups = match.groupdict()
    number = groups["version"]
    if number is not None and int(number) >= 2**63:
        raise invalid(f"Version {number} is too large")
    return _Target(
        unquote(groups["model"] or ""),
        None if number is None else int(number),
        None if groups["label"] is None else unquote(groups["label"]),
        (groups.get("method") or groups.get("metadata") or "").lower(),
    )


def _json(message: Any) -> str:
    """Return a message as JSON with all its fields."""
    options: dict[str, Any] = {"preserving_proto_field_name": True, "indent": 1}
    try:
        return json_format.MessageToJson(
            message, always_print_fields_with_no_presence=True, **options
        )
    except TypeError:  # protobuf before 5.26
        return json_format.MessageToJson(message, including_default_value_fields=True, **options)


def _metadata(version: Version) -> bytes:
    definitions = {
        name: json.loads(_json(signature.definition))
        for name, signature in version.saved_model.signatures.items()
    }
    spec = {"name": version.model, "signature_name": "", "version": str(version.number)}
    metadata = {SIGNATURE_DEF: {"signature_def": definitions}}
    return (json.dumps({"model_spec": spec, "metadata": metadata}, indent=1) + "\n").encode()


def application(
    api: RestApi,
    metrics: Metrics,
    others: Iterable[BaseRoute] = (),
    middleware: Sequence[Middleware] = (),
) -> Starlette:
    def page(request: Request) -> Response:
        return Response(metrics.page(), media_type="text/plain")

    return Starlette(
        routes=[
            Route("/v1/{rest:path}", api),
            Route("/V1/{rest:path}", api),
            Route(METRICS_PATH, page),
            *others,
        ],
        middleware=middleware,
    )
