from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

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
    """Refusal by the server; `status` is HTTP's number (404) or gRPC's code (`NOT_FOUND`)."""

    def __init__(self, status: int | str, message: str) -> None:
        words = " ".join(message.split())
        super().__init__(f"the server refused the request ({status}): {words}")
        self.status, self.message = status, message


class UnreachableError(BladerunnerError):
    """No answer in time."""

    exit_code = 3


@dataclass(frozen=True)
class Tensor:
    """Input or output of a signature.

    `dtype` is object, which holds bytes, for strings; `shape` has None for dimensions of any size,
    and is None if it is unknown.
    """

    dtype: np.dtype[Any]
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class Signature:
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]


class Client(abc.ABC):
    """Served model and context manager. Any thread may use it."""

    def __init__(
        self, address: str, model: str, version: int | None, label: str | None, timeout: float
    ) -> None:
        """Prepare a client of a server at `address`, HOST:PORT; for the rest see `connect`."""
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
        """Run a signature; return arrays by name. The first dimension of each input is the batch.

        Outputs are all if none are named, of the signature's types, strings as objects of bytes.

        Raises:
            RequestError: the server refused the request.
            UnreachableError: there was no answer in time.
        """

    @abc.abstractmethod
    def states(self) -> dict[int, str]:
        """Return the state of each version that the server knows, such as `AVAILABLE`."""

    @abc.abstractmethod
    def _fetch_signatures(self) -> dict[str, Signature]: ...

    def signatures(self) -> dict[str, Signature]:
        """Return the model's signatures by name; they are asked for once."""
        if self._signatures is None:
            self._signatures = self._fetch_signatures()
        return self._signatures

    def signature(self, name: str) -> Signature:
        """Return a signature; RequestError if there is none of this name."""
        found = self.signatures()
        if name not in found:
            raise RequestError("unknown signature", f"{name}; the model has {', '.join(found)}")
        return found[name]

    @abc.abstractmethod
    def close(self) -> None:
        """Close the connection."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def signatures_of(definitions: Mapping[str, Mapping[str, Any]]) -> dict[str, Signature]:
    """Return signatures from their `SignatureDef`s in JSON, without the server's internal ones."""
    return {
        name: Signature(
            *(
                {alias: _tensor(info) for alias, info in sorted(definition.get(side, {}).items())}
                for side in ("inputs", "outputs")
            )
        )
        for name, definition in definitions.items()
        if not name.startswith("__")
    }


def _tensor(entry: Mapping[str, Any]) -> Tensor:
    shape = entry.get("tensor_shape", {})
    sizes = tuple(int(dim.get("size", 0)) for dim in shape.get("dim", ()))
    return Tensor(
        np.dtype(_DTYPES.get(entry.get("dtype", ""), np.void)),
        None if shape.get("unknown_rank") else tuple(None if s < 0 else s for s in sizes),
    )


def as_array(values: ArrayLike, known: Tensor | None) -> NDArray[Any]:
    """Return values in the type that the server wants, unless that would change them."""
    array = np.asarray(values)
    if array.dtype.kind in "SU":  # numpy drops zeros at the end of these
        array = np.asarray(values, object)
    if array.dtype.kind == "O":
        flat = [value.encode() if isinstance(value, str) else value for value in array.flat]
        array = np.fromiter(flat, object, len(flat)).reshape(array.shape)
    if array.dtype.kind not in "biufO":
        raise UsageError(f"values of type {array.dtype} cannot be sent; give numbers or strings")
    if known and np.can_cast(array.dtype, known.dtype, "same_kind"):
        array = array.astype(known.dtype, copy=False)
    return array
