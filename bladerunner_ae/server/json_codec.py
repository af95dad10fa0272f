"""Bodies in JSON: requests to tensors, outputs to answers, by TensorFlow Serving's rules.

A request has either `instances`, a list of rows, or `inputs`, columns; strings may be
`{"b64": "..."}`. An answer has `predictions` or `outputs`: a single output goes without its name,
and strings of outputs whose names end in `_bytes` go as base64. The rules are those of that
server's `json_tensor.cc`; messages are our own.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import reprlib
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bladerunner_ae.protocol.tensors import numpy_type, type_name
from bladerunner_ae.server.serving_errors import Code, ServingError, invalid

Array = NDArray[Any]
Types = Mapping[str, int]
"""The inputs of a signature, name to DataType."""

DEFAULT_SIGNATURE = "serving_default"
_AT_ONCE = 1 << 14
# Every escape of JSON, pairs of surrogates as one; a surrogate by itself is named.
_ESCAPES = re.compile(
    r"\\(?:u[dD][89abAB]..\\u[dD][c-fC-F]..|(?P<lone>u[dD][89a-fA-F])|.)", re.DOTALL
)
# The largest integer that is accepted for a float, and the largest finite number.
_LARGEST = {
    np.dtype(np.float32): (2**24 - 1, float(np.finfo(np.float32).max)),
    np.dtype(np.float64): (2**53 - 1, sys.float_info.max),
}


@dataclass(frozen=True)
class Document:
    """Request in JSON, its values not yet read; `signature` "" means the default one."""

    signature: str
    values: dict[str, Any]


@dataclass(frozen=True)
class PredictBody:
    """Request to `predict`; `in_rows`: it came as `instances`, answered with `predictions`."""

    signature: str
    in_rows: bool
    inputs: dict[str, Array]


def parse(body: bytes) -> Document:
    """Parse a body; ServingError if it is no JSON object."""
    # Strings may be any bytes, also those that are no UTF-8.
    text = body.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    try:
        found = json.loads(text)
    except (RecursionError, ValueError) as error:
        raise invalid(f"The body is not JSON: {error}") from None
    if "\\ud" in text or "\\uD" in text:
        for escape in _ESCAPES.finditer(text):
            if escape["lone"]:  # half a character, which no answer could repeat
                raise invalid(f"The body is not JSON: lone surrogate at char {escape.start()}")
    if not isinstance(found, dict):
        raise invalid(f"The body must be a JSON object, not {reprlib.repr(found)}")
    signature = found.get("signature_name", "")
    if not isinstance(signature, str):
        raise invalid(f"signature_name must be a string, not {reprlib.repr(signature)}")
    return Document(signature, found)


def read_predict(document: Document, signatures: Mapping[str, Types]) -> PredictBody:
    """Read the inputs of `predict`; ServingError for an unknown signature or unfitting values."""
    name = document.signature or DEFAULT_SIGNATURE
    if name not in signatures:
        raise invalid(f'The model has no signature "{name}"')
    types, values = signatures[name], document.values
    if not types:
        raise invalid(f'Signature "{name}" has no inputs')
    if ("instances" in values) == ("inputs" in values):
        raise invalid("The body needs either 'instances' or 'inputs'")
    if "instances" in values:
        return PredictBody(document.signature, True, _rows(values["instances"], types))
    return PredictBody(document.signature, False, _columns(values["inputs"], types))


def _rows(instances: Any, types: Types) -> dict[str, Array]:
    if not isinstance(instances, list) or not instances:
        raise invalid(f"'instances' must be a list of rows, not {reprlib.repr(instances)}")
    named = _is_named(instances[0])
    if not named:
        if len(types) > 1:
            raise invalid(f"Each row of 'instances' needs the inputs {_listed(types)} by name")
        ((name, number),) = types.items()
        return {name: _array(instances, number, "instances")}
    for place, row in enumerate(instances):
        if not isinstance(row, dict) or row.keys() != types.keys():
            raise invalid(
                f"instances[{place}]: needs the inputs {_listed(types)} by name, not "
                f"{reprlib.repr(row)}"
            )
    return {
        name: _array([row[name] for row in instances], number, "instances", f".{name}")
        for name, number in types.items()
    }


def _columns(inputs: Any, types: Types) -> dict[str, Array]:
    if not _is_named(inputs):
        if len(types) > 1:
            raise invalid(f"'inputs' needs the inputs {_listed(types)} by name")
        inputs = dict.fromkeys(types, inputs)
    for name in types:
        if name not in inputs:
            raise invalid(f"inputs.{name}: is missing")
    return {name: _array(inputs[name], number, f"inputs.{name}") for name, number in types.items()}


def _array(value: Any, number: int, where: str, field: str = "") -> Array:
    """Return nested lists as an array; messages name a row of them `where[row]field`."""
    flat: list[Any] = [value]
    shape: list[int] = []

    def refuse(fits: Callable[[Any], bool], problem: str) -> None:
        place = next(place for place, one in enumerate(flat) if not fits(one))
        row = f"[{place * shape[0] // len(flat)}]" if shape else ""
        raise invalid(f"{where}{row}{field}: {reprlib.repr(flat[place])} {problem}")

    while flat and isinstance(flat[0], list):
        size = len(flat[0])
        if set(map(type, flat)) != {list} or set(map(len, flat)) != {size}:
            refuse(partial(_is_list_of, size), f"is not a list of {size} values like the first")
        shape.append(size)
        flat = list(chain.from_iterable(flat))
    try:
        kind = numpy_type(number)
    except ValueError:
        raise ServingError(
            Code.UNIMPLEMENTED, f"{where}{field}: JSON holds no {type_name(number)}"
        ) from None
    found = _values(flat, kind, refuse, type_name(number))
    try:
        return found.reshape(shape)
    except ValueError as error:  # more dimensions than numpy has
        raise invalid(f"{where}{field}: {error}") from None


def _is_list_of(size: int, value: Any) -> bool:
    return isinstance(value, list) and len(value) == size


def _values(flat: list[Any], kind: np.dtype[Any], refuse: Callable[..., None], name: str) -> Array:
    """Return values as an array of their type, unless one would change by it."""
    if kind == np.object_:
        found = np.empty(len(flat), object)
        found[:] = texts = list(map(_bytes, flat))
        if None in texts:
            refuse(lambda one: _bytes(one) is not None, "is neither a string nor base64")
        return found
    allowed: set[type] = {int}
    if kind.kind in "bf":
        allowed = {bool} if kind.kind == "b" else {int, float}
    if not allowed.issuperset(map(type, flat)):
        refuse(lambda one: type(one) in allowed, f"is no {name}")
    if kind.kind == "b":
        return np.array(flat, bool)
    if kind.kind == "f":
        whole, largest = _LARGEST[kind]

        def fits(value: float) -> bool:
            if type(value) is int and -(2**63) <= value < 2**64:
                return abs(value) <= whole
            return not largest < abs(value) < math.inf

        lossy = f"loses precision as {name}"
        try:
            wide = np.array(flat, np.float64)
        except OverflowError:  # an integer of hundreds of digits
            refuse(fits, lossy)
        if (np.abs(wide) > whole).any() and not all(map(fits, flat)):
            refuse(fits, lossy)
        return wide.astype(kind)
    # Small integers are read as int32, and wrap.
    limits = np.iinfo(np.int32 if kind.itemsize < 4 else kind)
    if flat and not (limits.min <= min(flat) and max(flat) <= limits.max):
        refuse(lambda one: limits.min <= one <= limits.max, f"does not fit {name}")
    return np.array(flat, np.int64 if kind.itemsize < 4 else kind).astype(kind)


def _bytes(value: Any) -> bytes | None:
    """Return a string, or bytes in base64; None for anything else."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if not _is_base64(value):
        return None
    text = re.sub(r"\s", "", value["b64"]).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def _is_named(value: Any) -> bool:
    return isinstance(value, dict) and not _is_base64(value)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def predictions(outputs: Mapping[str, Array]) -> bytes:
    """Answer a request that came in rows; ServingError unless all outputs have as many rows."""
    sizes = {len(array) if array.ndim else None for array in outputs.values()}
    if len(sizes) != 1 or None in sizes:
        raise invalid(f"The outputs {_listed(outputs)} have no rows; ask with 'inputs'")
    columns = {
        name: [_text(name, array[row, ...]) for row in range(len(array))]
        for name, array in outputs.items()
    }
    rows = zip(*columns.values(), strict=True)
    texts = (_object(dict(zip(columns, row, strict=True))) for row in rows)
    return _encoded("predictions", _joined("[]", texts))


def columns(outputs: Mapping[str, Array]) -> bytes:
    """Answer a request that came in columns; ServingError if JSON has no such type."""
    if not outputs:
        raise invalid("The signature has no outputs")
    return _encoded("outputs", _object({name: _text(name, a) for name, a in outputs.items()}))


def _object(texts: Mapping[str, str]) -> str:
    """Return named values in JSON; a single one goes without its name."""
    if len(texts) == 1:
        return next(iter(texts.values()))
    return _joined("{}", (f"{json.dumps(name)}: {text}" for name, text in texts.items()))


def _joined(brackets: str, texts: Iterable[str]) -> str:
    return brackets[0] + ", ".join(texts) + brackets[1]


def _encoded(key: str, text: str) -> bytes:
    return f'{{"{key}": {text}}}\n'.encode("utf-8", "surrogateescape")


def _text(name: str, array: Array) -> str:
    if array.ndim > 1 and array.size > _AT_ONCE:  # in pieces, so that other threads get their turn
        return _joined("[]", (_text(name, part) for part in array))
    if array.dtype == np.float32:  # by way of the shortest text: 0.2, not 0.20000000298023224
        array = array.astype("U").astype(np.float64)
    elif array.dtype == object:
        in_json = np.empty(array.shape, object)
        for place, value in np.ndenumerate(array):
            in_json[place] = _string(value, name.endswith("_bytes"))
        array = in_json
    elif array.dtype.kind not in "biu" and array.dtype != np.float64:
        raise invalid(f"{name}: JSON holds no {array.dtype.name}")
    return json.dumps(array.tolist(), ensure_ascii=False)


def _string(value: bytes, in_base64: bool) -> str | dict[str, str]:
    if in_base64:
        return {"b64": base64.b64encode(value).decode()}
    return value.decode("utf-8", "surrogateescape")
