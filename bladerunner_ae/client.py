"""A client for models that are served, here or by TensorFlow Serving, over REST or gRPC.

    with connect("http://127.0.0.1:8501", "decoder") as client:
        encoded = client.predict({"latent": latents})["image_bytes"]
        pictures = decode_images(encoded)

REST needs nothing beside Python and numpy, gRPC needs grpcio; neither imports TensorFlow.
"""

from __future__ import annotations

import abc
import base64
import http.client
import io
import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import quote, urlsplit

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bladerunner_ae.errors import BladerunnerError, UsageError

Arrays = dict[str, NDArray[Any]]
DEFAULT_SIGNATURE = "serving_default"
_DTYPES = {
    "DT_FLOAT": np.float32, "DT_DOUBLE": np.float64, "DT_INT8": np.int8, "DT_UINT8": np.uint8,
    "DT_INT16": np.int16, "DT_UINT16": np.uint16, "DT_INT32": np.int32, "DT_UINT32": np.uint32,
    "DT_INT64": np.int64, "DT_UINT64": np.uint64, "DT_BOOL": np.bool_, "DT_STRING": np.object_,
}  # fmt: skip


class RequestError(BladerunnerError):
    """The server refused a request.

    Attributes:
        status: HTTP's number (404) or gRPC's code (`NOT_FOUND`).
        message: the server's words.
    """

    def __init__(self, status: int | str, message: str) -> None:
        words = " ".join(message.split())
        super().__init__(f"the server refused the request ({status}): {words}")
        self.status, self.message = status, message


class UnreachableError(BladerunnerError):
    """Nobody answered, or not in time."""

    exit_code = 3


@dataclass(frozen=True)
class Tensor:
    """An input or output of a signature.

    Attributes:
        dtype: numpy's type; object, which holds bytes, for strings.
        shape: None where any size goes; None for a shape that is not known at all.
    """

    dtype: np.dtype[Any]
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class Signature:
    """What a signature takes and gives."""

    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]


class Client(abc.ABC):
    """A served model; a context manager. Any thread may use it."""

    def __init__(
        self, address: str, model: str, version: int | None, label: str | None, timeout: float
    ) -> None:
        """Makes one; nothing is sent yet.

        Args:
            address: host:port.
            model: its name.
            version: its number; by default the server's newest.
            label: another name of the version, in place of its number.
            timeout: seconds for each answer.
        """
        if version is not None and label is not None:
            raise UsageError("a version goes by its number or by its label, not by both")
        self.address, self.model, self.timeout = address, model, timeout
        self._version, self._label = version, label
        self._signatures: dict[str, Signature] | None = None

    @abc.abstractmethod
    def predict(
        self,
        inputs: Mapping[str, ArrayLike],
        signature: str = DEFAULT_SIGNATURE,
        outputs: Sequence[str] = (),
    ) -> Arrays:
        """Runs a signature.

        Args:
            inputs: by name; the first dimension of each is the batch.
            signature: its name.
            outputs: those that are wanted; empty means all.

        Returns:
            Arrays by name, of the signature's types; strings as objects of bytes.

        Raises:
            RequestError: the server refused.
            UnreachableError: nobody answered in time.
        """

    @abc.abstractmethod
    def states(self) -> dict[int, str]:
        """The state of each version that the server knows of, such as `AVAILABLE`."""

    @abc.abstractmethod
    def _fetch_signatures(self) -> dict[str, Signature]: ...

    def signatures(self) -> dict[str, Signature]:
        """What the model offers, by name; asked for once."""
        if self._signatures is None:
            self._signatures = self._fetch_signatures()
        return self._signatures

    def _signature(self, name: str) -> Signature:
        found = self.signatures()
        if name not in found:
            raise RequestError("unknown signature", f"{name}; the model has {', '.join(found)}")
        return found[name]

    @abc.abstractmethod
    def close(self) -> None:
        """Hangs up."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class RestClient(Client):
    """A served model over REST; it keeps one connection."""

    def __init__(
        self,
        address: str,
        model: str,
        version: int | None = None,
        label: str | None = None,
        timeout: float = 30.0,
        tls: bool = False,
    ) -> None:
        """Makes one; see `Client`.

        Args:
            address: host:port.
            model: its name.
            version: its number.
            label: another name of the version.
            timeout: seconds for each answer.
            tls: over https.
        """
        super().__init__(address, model, version, label, timeout)
        kind = http.client.HTTPSConnection if tls else http.client.HTTPConnection
        self._connection = kind(address, timeout=timeout)
        self._lock = threading.Lock()
        self._base = f"/v1/models/{quote(model, safe='')}"
        if version is not None:
            self._base += f"/versions/{version}"
        if label is not None:
            self._base += f"/labels/{quote(label, safe='')}"

    def predict(
        self,
        inputs: Mapping[str, ArrayLike],
        signature: str = DEFAULT_SIGNATURE,
        outputs: Sequence[str] = (),
    ) -> Arrays:
        """See `Client`; JSON cannot hold an empty batch."""
        known = self._signature(signature)
        body = {"signature_name": signature, "instances": _rows(inputs, known)}
        answer = self._ask("POST", ":predict", json.dumps(body).encode())
        rows = answer["predictions"]
        if len(known.outputs) == 1:
            found = dict.fromkeys(known.outputs, rows)
        else:
            found = {name: [row[name] for row in rows] for name in known.outputs}
        return {
            name: _array(values, known.outputs[name])
            for name, values in found.items()
            if not outputs or name in outputs
        }

    def states(self) -> dict[int, str]:
        """See `Client`."""
        found = self._ask("GET", "")["model_version_status"]
        return {int(entry["version"]): entry["state"] for entry in found}

    def _fetch_signatures(self) -> dict[str, Signature]:
        definitions = self._ask("GET", "/metadata")["metadata"]["signature_def"]["signature_def"]
        return {
            name: Signature(*(_tensors(definition.get(side, {})) for side in ("inputs", "outputs")))
            for name, definition in definitions.items()
            if not name.startswith("__")
        }

    def _ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        with self._lock:
            try:
                status, answer = self._send(method, self._base + path, body)
            except TimeoutError:
                self._connection.close()
                raise UnreachableError(f"{self.address}: no answer in {self.timeout:g} s") from None
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
                raise UnreachableError(f"{self.address}: no answer ({reason})") from None
        try:
            found = json.loads(answer)
        except ValueError:
            text = answer[:100].decode("utf-8", "replace")
            raise RequestError(status, f"no JSON, is this a model server? ({text!r})") from None
        if status != 200:
            message = found.get("error", found) if isinstance(found, dict) else found
            raise RequestError(status, str(message))
        return found

    def _send(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        kept = self._connection.sock is not None
        headers = {"Content-Type": "application/json"} if body else {}
        try:
            self._connection.request(method, path, body, headers)
            response = self._connection.getresponse()
        except (http.client.RemoteDisconnected, ConnectionError):
            if not kept:
                raise
            # The server hung up on a connection that nobody used; that is no failure yet.
            self._connection.close()
            self._connection.request(method, path, body, headers)
            response = self._connection.getresponse()
        return response.status, response.read()

    def close(self) -> None:
        """Hangs up."""
        self._connection.close()


class GrpcClient(Client):
    """A served model over gRPC: the lighter way for pictures and other large arrays."""

    def __init__(
        self,
        address: str,
        model: str,
        version: int | None = None,
        label: str | None = None,
        timeout: float = 30.0,
    ) -> None:
        """Makes one; see `Client`.

        Raises:
            UsageError: grpcio is not installed.
        """
        super().__init__(address, model, version, label, timeout)
        try:
            import grpc
        except ImportError:
            raise UsageError(
                'gRPC needs grpcio, which is not installed; pip install "bladerunner_ae[serve]", '
                "or use REST"
            ) from None
        from bladerunner_ae import serving_protos as protos

        # A dozen pictures are more than the 4 MB that a client takes by default.
        sizes = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        self._channel = grpc.insecure_channel(address, options=sizes)
        self._error, self._protos = grpc.RpcError, protos
        self._calls = {
            name: self._channel.unary_unary(
                f"/{service}/{name}",
                request_serializer=lambda message: message.SerializeToString(),
                response_deserializer=answer.FromString,
            )
            for service, name, answer in (
                (protos.PREDICTION_SERVICE, "Predict", protos.PredictResponse),
                (protos.PREDICTION_SERVICE, "GetModelMetadata", protos.GetModelMetadataResponse),
                (protos.MODEL_SERVICE, "GetModelStatus", protos.GetModelStatusResponse),
            )
        }

    def predict(
        self,
        inputs: Mapping[str, ArrayLike],
        signature: str = DEFAULT_SIGNATURE,
        outputs: Sequence[str] = (),
    ) -> Arrays:
        """See `Client`."""
        from bladerunner_ae.server import tensors

        known = self._signature(signature)
        request = self._request(self._protos.PredictRequest)
        request.model_spec.signature_name = signature
        request.output_filter.extend(outputs)
        for name, values in inputs.items():
            array = _as_array(values, known.inputs.get(name))
            request.inputs[name].CopyFrom(tensors.write(array, content=True))
        answer = self._call("Predict", request)
        return {name: tensors.read(tensor, 1 << 31) for name, tensor in answer.outputs.items()}

    def states(self) -> dict[int, str]:
        """See `Client`."""
        answer = self._call("GetModelStatus", self._request(self._protos.GetModelStatusRequest))
        names = self._protos.ModelVersionStatus.State
        return {entry.version: names.Name(entry.state) for entry in answer.model_version_status}

    def _fetch_signatures(self) -> dict[str, Signature]:
        request = self._request(self._protos.GetModelMetadataRequest)
        request.metadata_field.append("signature_def")
        found = self._protos.SignatureDefMap()
        self._call("GetModelMetadata", request).metadata["signature_def"].Unpack(found)
        from google.protobuf.json_format import MessageToDict

        return {
            name: Signature(
                *(
                    _tensors(
                        MessageToDict(definition, preserving_proto_field_name=True).get(side, {})
                    )
                    for side in ("inputs", "outputs")
                )
            )
            for name, definition in found.signature_def.items()
            if not name.startswith("__")
        }

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
            if code == "UNAVAILABLE" and ("connect" in details or "Socket closed" in details):
                raise UnreachableError(f"{self.address}: no answer ({details[:200]})") from None
            raise RequestError(code, details) from None

    def close(self) -> None:
        """Hangs up."""
        self._channel.close()


def connect(
    url: str,
    model: str,
    version: int | None = None,
    label: str | None = None,
    timeout: float = 30.0,
) -> Client:
    """Returns a client for a model.

    Args:
        url: http://host:8501, https://host or grpc://host:8500.
        model: its name, such as "decoder".
        version: its number; by default the newest.
        label: another name of the version.
        timeout: seconds for each answer.

    Raises:
        UsageError: the URL is none of these.
    """
    parts = urlsplit(url)
    if parts.scheme == "grpc" and parts.netloc:
        return GrpcClient(parts.netloc, model, version, label, timeout)
    if parts.scheme in ("http", "https") and parts.netloc:
        tls = parts.scheme == "https"
        return RestClient(parts.netloc, model, version, label, timeout, tls)
    raise UsageError(f"{url}: give http://HOST:PORT or grpc://HOST:PORT")


def decode_images(encoded: Iterable[bytes]) -> NDArray[np.uint8]:
    """Decodes JPEG or PNG files of one size.

    Args:
        encoded: at least one file, such as the output `image_bytes`.

    Returns:
        uint8 [batch, height, width, 3], RGB.
    """
    from PIL import Image

    return np.stack([np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in encoded])


def _tensors(entries: Mapping[str, Any]) -> dict[str, Tensor]:
    return {name: _tensor(entry) for name, entry in sorted(entries.items())}


def _tensor(entry: Mapping[str, Any]) -> Tensor:
    """A `TensorInfo` in JSON."""
    shape = entry.get("tensor_shape", {})
    sizes = tuple(int(dim.get("size", 0)) for dim in shape.get("dim", ()))
    return Tensor(
        np.dtype(_DTYPES.get(entry.get("dtype", ""), np.void)),
        None if shape.get("unknown_rank") else tuple(None if s < 0 else s for s in sizes),
    )


def _as_array(values: ArrayLike, known: Tensor | None) -> NDArray[Any]:
    """Values as the server wants them, unless that would change them."""
    array = np.asarray(values)
    if array.dtype.kind in "SU":  # numpy drops zeros at the end of these
        array = np.asarray(values, object)
    if array.dtype.kind == "O":
        flat = [value.encode() if isinstance(value, str) else value for value in array.flat]
        array = np.empty(array.shape, object)
        array.flat = flat
    if known and np.can_cast(array.dtype, known.dtype, "same_kind"):
        array = array.astype(known.dtype, copy=False)
    return array


def _rows(inputs: Mapping[str, ArrayLike], known: Signature) -> list[Any]:
    """A batch as a list of its rows, each by itself or as an object of named values."""
    columns = {}
    for name, values in inputs.items():
        array = _as_array(values, known.inputs.get(name))
        if not array.ndim or not len(array):
            raise UsageError(f"{name}: JSON holds batches of at least one; use gRPC")
        columns[name] = [_plain(row) for row in array] if array.dtype == object else array.tolist()
    if set(columns) == set(known.inputs) and len(columns) == 1:
        return columns.popitem()[1]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _plain(value: Any) -> Any:
    """Strings as JSON holds them."""
    if isinstance(value, np.ndarray):
        return [_plain(element) for element in value]
    return {"b64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def _array(values: list[Any], known: Tensor) -> NDArray[Any]:
    if known.dtype != object:
        return np.array(values, known.dtype)
    flat = np.empty(len(values), object)
    flat[:] = [_bytes(value) for value in values]
    return np.array(flat.tolist(), object) if isinstance(flat[0], list) else flat


def _bytes(value: Any) -> Any:
    if isinstance(value, list):
        return [_bytes(element) for element in value]
    return base64.b64decode(value["b64"]) if isinstance(value, dict) else value.encode()
