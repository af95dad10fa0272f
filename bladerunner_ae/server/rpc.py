"""The gRPC API: `PredictionService` and `ModelService` of TensorFlow Serving."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from bladerunner_ae import serving_protos
from bladerunner_ae.server import tensors
from bladerunner_ae.server.metrics import Metrics
from bladerunner_ae.server.raw_messages import RawPredictRequest, RawPredictResponse
from bladerunner_ae.server.running import Limits
from bladerunner_ae.server.services import DEFAULT_SIGNATURE, Services
from bladerunner_ae.server.statuses import Code, ServingError, from_exception, invalid
from bladerunner_ae.server.versions import Version

_STATUS = {code.value[0]: code for code in grpc.StatusCode}
_Answer = Callable[[Any], Awaitable[Any]]


class GrpcApi:
    """Answers calls; use it in the event loop's thread."""

    def __init__(
        self, services: Services, limits: Limits, metrics: Metrics, content: bool = False
    ) -> None:
        """Makes it.

        Args:
            services: what answers.
            limits: what a request may hold.
            metrics: where requests are counted.
            content: tensors in answers as bytes (TensorFlow Serving's `--prefer_tensor_content`).
        """
        self._services, self._limits, self._metrics = services, limits, metrics
        self._content = content

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        """The services, for a server."""
        protos = serving_protos
        status = protos.GetModelStatusRequest  # reads the model's name out of the others, too
        predictions = {
            "Predict": self._handler(RawPredictRequest, self._predict, "Predict"),
            "GetModelMetadata": self._handler(protos.GetModelMetadataRequest, self._metadata),
            "Classify": self._handler(status, self._refusing("classify"), "Classify"),
            "Regress": self._handler(status, self._refusing("regress"), "Regress"),
        }
        models = {"GetModelStatus": self._handler(status, self._status)}
        return [
            grpc.method_handlers_generic_handler(protos.PREDICTION_SERVICE, predictions),
            grpc.method_handlers_generic_handler(protos.MODEL_SERVICE, models),
        ]

    def _handler(self, request_class: Any, answer: _Answer, api: str = "") -> Any:
        async def handle(request: bytes, context: Any) -> Any:
            start = time.perf_counter()
            code, message = Code.CANCELLED, None
            try:
                message = request_class.FromString(request)
                response = await answer(message)
                code = Code.OK
                return response
            except Exception as error:
                fault = from_exception(error)
                if message is None:
                    fault = ServingError(Code.INTERNAL, "Error parsing the request message")
                code = fault.code
                await context.abort(_STATUS[code], fault.message)
            finally:
                if api:
                    name = message.model_spec.name if message is not None else ""
                    known = name if name in self._services.catalogue.models else ""
                    seconds = time.perf_counter() - start
                    self._metrics.request(known, api, "GRPC", code.name, seconds)

        return grpc.unary_unary_rpc_method_handler(
            handle, response_serializer=lambda response: response.SerializeToString()
        )

    def _find(self, message: Any) -> Version:
        number, label = _which(message)
        return self._services.catalogue.find(message.model_spec.name, number, label)

    async def _predict(self, message: Any) -> Any:
        version = self._find(message)
        inputs = {}
        for alias, tensor in message.inputs.items():
            try:
                inputs[alias] = tensors.read(tensor, self._limits.values)
            except ValueError as error:
                raise invalid(f"tensor parsing error: {alias} ({error})") from None
        name = message.model_spec.signature_name
        outputs = await self._services.predict(version, name, inputs, list(message.output_filter))
        response = RawPredictResponse()
        response.model_spec.name = version.model
        response.model_spec.version.value = version.number
        response.model_spec.signature_name = name or DEFAULT_SIGNATURE
        for alias, array in outputs.items():
            response.outputs[alias] = tensors.write(array, self._content)
        return response

    async def _metadata(self, message: Any) -> Any:
        _need_spec(message)
        return self._services.metadata(self._find(message), message.metadata_field)

    async def _status(self, message: Any) -> Any:
        _need_spec(message)
        return self._services.status(message.model_spec.name, _which(message)[0])

    def _refusing(self, method: str) -> _Answer:
        async def refuse(message: Any) -> Any:
            raise self._services.refuse(
                self._find(message), message.model_spec.signature_name, method
            )

        return refuse


def _need_spec(message: Any) -> None:
    if not message.HasField("model_spec"):
        raise invalid("Missing ModelSpec")


def _which(message: Any) -> tuple[int | None, str | None]:
    """Number and label of the version that a request names."""
    _need_spec(message)
    spec = message.model_spec
    number = spec.version.value if spec.HasField("version") else None
    return number, spec.version_label if spec.HasField("version_label") else None


def make_server(api: GrpcApi, limits: Limits) -> grpc.aio.Server:
    """Returns a server that has the services, but no port yet."""
    server = grpc.aio.server(
        options=[
            ("grpc.so_reuseport", 0),  # or a port that is in use would be shared in silence
            ("grpc.max_receive_message_length", limits.body_bytes),
            ("grpc.max_send_message_length", -1),
        ],
        maximum_concurrent_rpcs=limits.waiting,
    )
    server.add_generic_rpc_handlers(tuple(api.handlers()))
    return server
