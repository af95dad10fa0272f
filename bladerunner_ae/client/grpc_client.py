from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.json_format import MessageToDict
from numpy.typing import ArrayLike

from bladerunner_ae.client.base import (
    DEFAULT_SIGNATURE,
    Arrays,
    Client,
    RequestError,
    Signature,
    UnreachableError,
    as_array,
    signatures_of,
)
from bladerunner_ae.errors import UsageError
from bladerunner_ae.protocol import messages, tensors
from bladerunner_ae.protocol.messages import RawPredictRequest, RawPredictResponse

# Messages of gRPC itself, not of a server: not connected, hung up, or no such name.
_NO_SERVER = ("connect", "Socket closed", "resolv", "DNS")


class GrpcClient(Client):
    """Served model over gRPC: the lighter way for pictures and other large arrays."""

    def __init__(
        self,
        address: str,
        model: str,
        version: int | None = None,
        label: str | None = None,
        timeout: float = 30.0,
    ) -> None:
        """Prepare a client, see `Client`; UsageError if grpcio is not installed."""
        super().__init__(address, model, version, label, timeout)
        try:
            import grpc
        except ImportError:
            raise UsageError(
                'gRPC needs grpcio, which is not installed; pip install "bladerunner_ae[serve]", '
                "or use REST"
            ) from None
        # A dozen pictures are more than the 4 MB that a client takes by default.
        sizes = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self._channel = grpc.insecure_channel(address, options=sizes)
        self._error = grpc.RpcError
        self._calls = {
            name: self._channel.unary_unary(
                f"/{service}/{name}",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=answer.FromString,
            )
            for service, name, answer in (
                (messages.PREDICTION_SERVICE, "Predict", RawPredictResponse),
                (
                    messages.PREDICTION_SERVICE,
                    "GetModelMetadata",
                    messages.GetModelMetadataResponse,
                ),
                (messages.MODEL_SERVICE, "GetModelStatus", messages.GetModelStatusResponse),
            )
        }

    def predict(
        self,
        inputs: Mapping[str, ArrayLike],
        signature: str = DEFAULT_SIGNATURE,
        outputs: Sequence[str] = (),
    ) -> Arrays:
        known = self.signature(signature)
        request = self._request(RawPredictRequest)
        request.model_spec.signature_name = signature
        request.output_filter.extend(outputs)
        for name, values in inputs.items():
            array = as_array(values, known.inputs.get(name))
            request.inputs[name] = tensors.write(array, content=True)
        answer = self._call("Predict", request)
        return {name: tensors.read(tensor, 1 << 31) for name, tensor in answer.outputs.items()}

    def states(self) -> dict[int, str]:
        answer = self._call("GetModelStatus", self._request(messages.GetModelStatusRequest))
        names = messages.ModelVersionStatus.State
        return {entry.version: names.Name(entry.state) for entry in answer.model_version_status}

    def _fetch_signatures(self) -> dict[str, Signature]:
        request = self._request(messages.GetModelMetadataRequest)
        request.metadata_field.append("signature_def")
        found = messages.SignatureDefMap()
        self._call("GetModelMetadata", request).metadata["signature_def"].Unpack(found)
        definitions = MessageToDict(found, preserving_proto_field_name=True)
        return signatures_of(definitions["signature_def"])

    def _request(self, kind: Any) -> Any:
        request = kind()
        request.model_spec.name = self.model
        if self._version is not None:
            request.model_spec.version.value = self._version
        if self._label is not None:
            request.model_spec.version_label = self._label
        return request

    def _call(self, name: str, request: Any) -> Any:
        try:
            return self._calls[name](request, timeout=self.timeout)
        except self._error as error:
            failed: Any = error
            code, details = failed.code().name, failed.details()
            if code == "DEADLINE_EXCEEDED":
                raise UnreachableError(f"{self.address}: no answer in {self.timeout:g} s") from None
            if code == "UNAVAILABLE" and any(words in details for words in _NO_SERVER):
                raise UnreachableError(f"{self.address}: no answer ({details[:200]})") from None
            raise RequestError(code, details) from None

    def close(self) -> None:
        self._channel.close()
