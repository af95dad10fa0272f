"""The REST API: TensorFlow Serving's URLs, statuses and JSON.

As in that server every path below /v1/ is answered in JSON, a method that a path does not have is a
malformed request (400, not 405), and the query belongs to the path.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from google.protobuf import json_format
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from bladerunner_ae.server import json_answers, json_requests
from bladerunner_ae.server.connections import Bodies, ClientGoneError
from bladerunner_ae.server.metrics import Metrics
from bladerunner_ae.server.running import Limits
from bladerunner_ae.server.services import SIGNATURE_DEF, Services
from bladerunner_ae.server.statuses import Code, ServingError, from_exception, invalid
from bladerunner_ae.server.versions import Version

METRICS_PATH = "/monitoring/prometheus/metrics"
_WHICH = r"(?:(?:/versions/(?P<version>\d+))|(?:/labels/(?P<label>[^/:]+)))?"
_PREDICT = re.compile(
    rf"(?i)/v1/models/(?P<model>[^/:]+){_WHICH}:(?P<method>classify|regress|predict)", re.ASCII
)
_STATUS = re.compile(
    rf"(?i)/v1/models(?:/(?P<model>[^/:]+))?{_WHICH}(?:/(?P<metadata>metadata))?", re.ASCII
)
_LARGE_BODY = 256 << 10  # parsing more than this would keep other requests waiting
_MANY_VALUES = 1 << 14


@dataclass(frozen=True)
class _Target:
    """What a path is about."""

    model: str
    version: int | None
    label: str | None
    method: str


class RestApi:
    """Everything below /v1/, as an ASGI application."""

    def __init__(self, services: Services, limits: Limits, metrics: Metrics) -> None:
        self._services, self._metrics = services, metrics
        self._bodies = Bodies(limits)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answers a request."""
        start = time.perf_counter()
        target = None
        headers = {}
        with self._bodies.holding() as holding:
            try:
                target = _target(scope["method"], _path(scope))
                if scope["method"] == "GET":
                    body = self._get(target)
                else:
                    request = await self._bodies.receive(scope, receive, holding)
                    body = await self._post(target, request)
                status, code = 200, Code.OK
            except ClientGoneError:
                return
            except Exception as error:
                fault = from_exception(error)
                body, status, code = json_answers.error(fault), fault.http, fault.code
                if status in (408, 413):  # the rest of its body is not wanted
                    headers["connection"] = "close"
        if target and scope["method"] == "POST":
            seconds = time.perf_counter() - start
            known = target.model if target.model in self._services.catalogue.models else ""
            self._metrics.request(known, target.method, "REST", code.name, seconds)
        await Response(body, status, headers, "application/json")(scope, receive, send)

    def _get(self, target: _Target) -> bytes:
        if not target.model:
            raise invalid("Missing model name in request.")
        if target.method == "metadata":
            return _metadata(self._find(target))
        # As in TensorFlow Serving a label does not count here.
        return _json(self._services.status(target.model, target.version)).encode()

    def _find(self, target: _Target) -> Version:
        return self._services.catalogue.find(target.model, target.version, target.label)

    async def _post(self, target: _Target, body: bytes) -> bytes:
        if target.method != "predict":
            raise self._refusal(target, body)
        version: Version | None = None

        def find_inputs(signature: str) -> Any:
            nonlocal version
            version = self._find(target)
            return self._services.input_types(version, signature)

        if len(body) > _LARGE_BODY:
            parsed = await asyncio.to_thread(json_requests.parse_predict, body, find_inputs)
            version = self._find(target)  # the one before may be closed by now
        else:
            parsed = json_requests.parse_predict(body, find_inputs)
        assert version is not None
        outputs = await self._services.predict(version, parsed.signature, parsed.inputs)
        write = json_answers.predictions if parsed.in_rows else json_answers.columns
        if sum(array.size for array in outputs.values()) > _MANY_VALUES:
            return await asyncio.to_thread(write, outputs)
        return write(outputs)

    def _refusal(self, target: _Target, body: bytes) -> ServingError:
        document = json_requests.parse_object(body)
        name = json_requests.signature_name(document)
        examples = document.get("examples")
        shown = json_requests.shown(document)
        if "examples" not in document:
            return invalid(
                f"JSON Value: {shown} When method is classify, key 'examples' is expected and was "
                "not found"
            )
        if not isinstance(examples, list):
            return invalid(f"JSON Value: {shown} Expecting 'examples' value to be an list/array")
        if not examples:
            return invalid(f"JSON Value: {shown} 'examples' value is an empty array")
        return self._services.refuse(self._find(target), name, target.method)


def _path(scope: Any) -> str:
    """The path as it was sent, with its query."""
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
        raise invalid(f"Failed to convert version: {number} to numeric.")
    return _Target(
        unquote(groups["model"] or ""),
        None if number is None else int(number),
        None if groups["label"] is None else unquote(groups["label"]),
        (groups.get("method") or groups.get("metadata") or "").lower(),
    )


def _json(message: Any) -> str:
    """A message as JSON with all its fields."""
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
    services: Services, limits: Limits, metrics: Metrics, others: Iterable[BaseRoute] = ()
) -> Starlette:
    """Returns the application: the API, metrics, and other routes behind them."""
    api = RestApi(services, limits, metrics)

    def page(request: Request) -> Response:
        return Response(metrics.page(), media_type="text/plain")

    return Starlette(
        routes=[
            Route("/v1/{rest:path}", api),
            Route("/V1/{rest:path}", api),
            Route(METRICS_PATH, page),
            *others,
        ]
    )
