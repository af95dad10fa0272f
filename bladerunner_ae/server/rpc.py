"""The gRPC API: `PredictionService` and `ModelService` of TensorFlow Serving.

Calls of one request and one answer are handled as streams of one message each, which is the same to
a client: so the server can stop waiting for a request to arrive, or for an answer to be taken.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from bladerunner_ae.protocol import messages, tensors
from bladerunner_ae.protocol.messages import RawPredictRequest, RawPredictResponse
from bladerunner_ae.server.json_codec import DEFAULT_SIGNATURE
from bladerunner_ae.server.limits import SMALL, Holdings, Limits, Share, too_much
from bladerunner_ae.server.metrics import Metrics
from bladerunner_ae.server.services import Services
from bladerunner_ae.server.serving_errors import (
    Code,
    ServingError,
    TooLargeError,
    from_exception,
    invalid,
)
from bladerunner_ae.server.versions import Version

_STATUS = {code.value[0]: code for code in grpc.StatusCode}
_AGES = 3  # times --read_seconds that a connection lasts
_AT_ONCE = 4  # messages that are received at once
_AT_ONCE_SECONDS, _MOST_LATE = 0.4, 4
_MOST_FIELDS = 4096
_MOST_DETAILS = 2000  # clients take no more than 8 KiB
_LARGE_TENSOR = 256 << 10
_Answer = Callable[[Any, int], Awaitable[Any]]
"""Answers a message, which has so many bytes."""


class GrpcApi:
    """Handlers of calls; for the thread of the event loop."""

    def __init__(
        self,
        services: Services,
        limits: Limits,
        metrics: Metrics,
        holdings: Holdings,
        content: bool = False,
    ) -> None:
        """Prepare the API; `content` sends tensors as one block of bytes each."""
        self._services, self._limits, self._metrics = services, limits, metrics
        self._holdings, self._content = holdings, content
        self._turns = _Turns(_AT_ONCE)
        self._readers = ThreadPoolExecutor(1, thread_name_prefix="read")

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        status = messages.GetModelStatusRequest  # reads the model's name out of the others, too
        predictions = {
            "Predict": self._handler(RawPredictRequest, self._predict, "Predict"),
            "GetModelMetadata": self._handler(messages.GetModelMetadataRequest, self._metadata),
            "Classify": self._handler(status, self._refusing("classify"), "Classify"),
            "Regress": self._handler(status, self._refusing("regress"), "Regress"),
        }
        models = {"GetModelStatus": self._handler(status, self._status)}
        return [
            grpc.method_handlers_generic_handler(messages.PREDICTION_SERVICE, predictions),
            grpc.method_handlers_generic_handler(messages.MODEL_SERVICE, models),
        ]

    def _handler(self, request_class: Any, answer: _Answer, api: str = "") -> Any:
        async def handle(_: Any, context: Any) -> None:
            start = time.perf_counter()
            code, message, details = Code.CANCELLED, None, ""
            with self._holdings.share() as share:
                try:
                    request = await self._receive(context, share)
                    start = time.perf_counter()
                    message, size = _parsed(request_class, request), len(request)
                    del request
                    response = (await answer(message, size)).SerializeToString()
                    share.resize(len(response))
                    code = Code.OK
                except Exception as error:
                    fault = from_exception(error)
                    code, details = fault.code, fault.message[:_MOST_DETAILS]
                    del fault  # or its traceback's frames would be kept with the call
                finally:
                    if api:
                        name = message.model_spec.name if message is not None else ""
                        known = name if name in self._services.catalogue.models else ""
                        seconds = time.perf_counter() - start
                        self._metrics.request(known, api, "GRPC", code.name, seconds)
                    del message
                if code is not Code.OK:
                    await context.abort(_STATUS[code], details)
                await context.write(response)  # until the client has taken it, or has gone

        return grpc.stream_stream_rpc_method_handler(handle)

    async def _receive(self, context: Any, share: Share) -> bytes:
        """Return the request's message.

        gRPC does not tell how much of it has arrived. So few are received at once; one that is not
        complete soon is large, or its client is slow: it counts as the largest that may come, and
        others get their turn.
        """
        expecting = None
        try:
            async with share.waiting(self._limits.read_seconds):
                await self._turns.begin()
                expecting = asyncio.ensure_future(self._expect(share))
                request = await context.read()
        except TimeoutError:
            if share.dropped:
                raise too_much() from None
            raise ServingError(
                Code.DEADLINE_EXCEEDED,
                f"The request was not complete after {self._limits.read_seconds:g} s",
            ) from None
        finally:
            if expecting is not None and expecting.cancel():  # it has not ended the turn
                self._turns.end()
        if request is grpc.aio.EOF:
            raise ServingError(Code.INTERNAL, "There is no request message")
        share.resize(len(request))
        return request

    async def _expect(self, share: Share) -> None:
        """End the turn of a message that is late, and count it as a large one."""
        loop = asyncio.get_running_loop()
        for _ in range(_MOST_LATE):
            due = loop.time() + _AT_ONCE_SECONDS
            await asyncio.sleep(_AT_ONCE_SECONDS)
            if loop.time() - due < _AT_ONCE_SECONDS / 4:  # else it is the event loop that is late
                break
        self._turns.end()
        try:
            share.resize(self._limits.body_bytes)
        except ServingError:  # others hold all that there is
            share.drop()

    def _find(self, message: Any) -> Version:
        number, label = _which(message)
        return self._services.catalogue.find(message.model_spec.name, number, label)

    async def _predict(self, message: Any, size: int) -> Any:
        version = self._find(message)
        sizes = self._services.sizes(version)
        if size > sizes.bytes:
            raise TooLargeError(sizes.bytes)
        most = sizes.values
        inputs, tensor = {}, b""
        loop = asyncio.get_running_loop()
        for alias in sorted(message.inputs):
            tensor = message.inputs[alias]
            try:
                if len(tensor) > _LARGE_TENSOR:  # one at a time, since it takes several times that
                    inputs[alias] = await loop.run_in_executor(
                        self._readers, tensors.read, tensor, most
                    )
                else:
                    inputs[alias] = tensors.read(tensor, most)
            except ValueError as error:
                raise invalid(f"inputs.{alias[:100]}: {error}") from None
        del tensor
        message.inputs.clear()
        version = self._find(message)  # the one before may be closed by now
        name = message.model_spec.signature_name
        outputs = await self._services.predict(version, name, inputs, list(message.output_filter))
        response = RawPredictResponse()
        response.model_spec.name = version.model
        response.model_spec.version.value = version.number
        response.model_spec.signature_name = name or DEFAULT_SIGNATURE
        for alias, array in outputs.items():
            response.outputs[alias] = tensors.write(array, self._content)
        return response

    async def _metadata(self, message: Any, _: int) -> Any:
        _need_spec(message)
        return self._services.metadata(self._find(message), message.metadata_field)

    async def _status(self, message: Any, _: int) -> Any:
        _need_spec(message)
        return self._services.status(message.model_spec.name, _which(message)[0])

    def _refusing(self, method: str) -> _Answer:
        async def refuse(message: Any, _: int) -> Any:
            raise self._services.refuse(
                self._find(message), message.model_spec.signature_name, method
            )

        return refuse


def _parsed(request_class: Any, request: bytes) -> Any:
    """Return the message, unless it has so many parts that parsing it would take long."""
    try:
        if request_class is not RawPredictRequest and len(request) > SMALL:
            raise ValueError
        tensors.count_fields(request, _MOST_FIELDS)
        message = request_class.FromString(request)
        if request_class is RawPredictRequest:  # all is small but the inputs
            names = sum(map(len, message.output_filter)) + message.model_spec.ByteSize()
            if names + sum(map(len, message.inputs)) > SMALL:
                raise ValueError
    except (ValueError, DecodeError):
        raise ServingError(Code.INTERNAL, "Error parsing the request message") from None
    return message


class _Turns:
    """Turns of a few requests to be received, of those that wait the last one first.

    A client that stalls looks like one that has just come, but the longer one waits, the likelier
    it stalls.
    """

    def __init__(self, most: int) -> None:
        self._free = most
        self._waiting: list[asyncio.Future[None]] = []

    async def begin(self) -> None:
        if self._free:
            self._free -= 1
            return
        called = asyncio.get_running_loop().create_future()
        self._waiting.append(called)
        try:
            await called
        except asyncio.CancelledError:
            if called.done() and not called.cancelled():
                self.end()
            raise

    def end(self) -> None:
        while self._waiting:
            called = self._waiting.pop()
            if not called.done():
                called.set_result(None)
                return
        self._free += 1


def _need_spec(message: Any) -> None:
    if not message.HasField("model_spec"):
        raise invalid("The request has no model_spec")


def _which(message: Any) -> tuple[int | None, str | None]:
    """Return number and label of the version that a request names."""
    _need_spec(message)
    spec = message.model_spec
    number = spec.version.value if spec.HasField("version") else None
    return number, spec.version_label if spec.HasField("version_label") else None


def make_server(api: GrpcApi, limits: Limits) -> grpc.aio.Server:
    """Return a server that has the services, but no port yet."""
    server = grpc.aio.server(
        options=[
            ("grpc.so_reuseport", 0),  # or a port that is in use would be shared silently
            ("grpc.max_receive_message_length", limits.body_bytes),
            ("grpc.max_send_message_length", -1),
            # Else megabytes of each message would be received before it is read.
            ("grpc.http2.bdp_probe", 0),
            # A client that does not take its answers loses its connection; others open a new one
            # unnoticed.
            ("grpc.max_connection_age_ms", int(1000 * _AGES * limits.read_seconds)),
            (
                "grpc.max_connection_age_grace_ms",
                int(1000 * (limits.read_seconds + limits.run_seconds)),
            ),
        ],
        maximum_concurrent_rpcs=limits.waiting,
    )
    server.add_generic_rpc_handlers(tuple(api.handlers()))
    return server
