from __future__ import annotations

import base64
import http.client
import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bladerunner_ae.client.base import (
    DEFAULT_SIGNATURE,
    Arrays,
    Client,
    RequestError,
    Signature,
    Tensor,
    UnreachableError,
    as_array,
    signatures_of,
)
from bladerunner_ae.errors import UsageError


class RestClient(Client):
    """Served model over REST, with one connection that is kept."""

    def __init__(
        self,
        address: str,
        model: str,
        version: int | None = None,
        label: str | None = None,
        timeout: float = 30.0,
        tls: bool = False,
    ) -> None:
        """Prepare a client, over https with `tls`; see `Client`."""
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
        """Run a signature, see `Client`; JSON cannot hold an empty batch."""
        known = self.signature(signature)
        for name in outputs:
            if name not in known.outputs:
                told = f"{name}; {signature} has {', '.join(known.outputs)}"
                raise RequestError("unknown output", told)
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
        found = self._ask("GET", "")["model_version_status"]
        return {int(entry["version"]): entry["state"] for entry in found}

    def _fetch_signatures(self) -> dict[str, Signature]:
        definitions = self._ask("GET", "/metadata")["metadata"]["signature_def"]["signature_def"]
        return signatures_of(definitions)

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
                if isinstance(error, http.client.BadStatusLine | http.client.LineTooLong):
                    reason = "no HTTP; is this the port of gRPC?"
                if isinstance(error, http.client.RemoteDisconnected):
                    reason = "hung up"
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
            return self._send_once(method, path, body, headers)
        except (http.client.RemoteDisconnected, ConnectionError):
            if not kept:
                raise
            # The server closed an idle connection; that is no failure yet.
            self._connection.close()
            return self._send_once(method, path, body, headers)

    def _send_once(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        try:
            self._connection.request(method, path, body, headers)
        except ConnectionError as failed:
            if self._connection.sock is None:  # there was no connection
                raise
            # A server that does not want a body that large says so and hangs up.
            try:
                return self._receive()
            except (OSError, http.client.HTTPException):
                raise failed from None
        return self._receive()

    def _receive(self) -> tuple[int, bytes]:
        response = self._connection.getresponse()
        return response.status, response.read()

    def close(self) -> None:
        self._connection.close()


def _rows(inputs: Mapping[str, ArrayLike], known: Signature) -> list[Any]:
    """Return a batch as a list of its rows, each by itself or as an object of named values."""
    columns = {}
    for name, values in inputs.items():
        array = as_array(values, known.inputs.get(name))
        if not array.ndim or not len(array):
            raise UsageError(f"{name}: JSON holds batches of at least one; use gRPC")
        columns[name] = [_plain(row) for row in array] if array.dtype == object else array.tolist()
    if len({len(rows) for rows in columns.values()}) > 1:
        sizes = ", ".join(f"{name} {len(rows)}" for name, rows in columns.items())
        raise UsageError(f"inputs have batches of different sizes: {sizes}")
    if set(columns) == set(known.inputs) and len(columns) == 1:
        return columns.popitem()[1]
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _plain(value: Any) -> Any:
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
