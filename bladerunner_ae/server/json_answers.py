"""The body of a REST answer: tensors to JSON, by TensorFlow Serving's rules.

A single output goes without its name. Outputs of strings whose names end in `_bytes` go as
`{"b64": "..."}`. Numbers are written digit by digit as that server does (`WriteDecimal` in its
`json_tensor.cc`); white space differs.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.responses import Response

from bladerunner_ae.server.errors import ServingError, invalid

Array = NDArray[Any]
_BYTES = [str(value) for value in range(256)]
_AT_ONCE = 1 << 14
_DIGITS = {np.dtype(np.float32): 9, np.dtype(np.float64): 17}


def predictions(outputs: Mapping[str, Array]) -> bytes:
    """Answers a request that came in rows.

    Raises:
        ServingError: the outputs have no rows, or not the same number of them.
    """
    if not outputs:
        raise invalid("Cannot convert empty tensor map to JSON")
    size = -1
    for name, array in outputs.items():
        if not array.ndim:
            raise invalid(f"Tensor name: {name} has no shape information ")
        if size >= 0 and len(array) != size:
            raise invalid(
                f"Tensor name: {name} has inconsistent batch size: {len(array)} expecting: {size}"
            )
        size = len(array)
    columns = {name: _rows(name, array) for name, array in outputs.items()}
    if len(columns) == 1:
        (rows,) = columns.values()
    else:
        keys = [json.dumps(name) + ": " for name in columns]
        rows = [
            "{" + ", ".join(map(str.__add__, keys, row)) + "}"
            for row in zip(*columns.values(), strict=True)
        ]
    return _encoded('{\n    "predictions": [' + ", ".join(rows) + "\n    ]\n}")


def columns(outputs: Mapping[str, Array]) -> bytes:
    """Answers a request that came in columns."""
    if not outputs:
        raise invalid("Cannot convert empty tensor map to JSON")
    written = {name: _whole(name, array) for name, array in outputs.items()}
    if len(written) == 1:
        (text,) = written.values()
    else:
        text = "{" + ", ".join(f"{json.dumps(name)}: {v}" for name, v in written.items()) + "}"
    return _encoded(f'{{\n    "outputs": {text}\n}}')


def error(fault: ServingError) -> bytes:
    """The body that goes with an error."""
    return _encoded('{\n    "error": ' + json.dumps(fault.message, ensure_ascii=False) + "\n}")


def refusal(fault: ServingError, close: bool) -> Response:
    """An error as an HTTP response.

    Args:
        fault: what is wrong.
        close: hangs up after it, since the rest of the request is not wanted.
    """
    headers = {"connection": "close"} if close else {}
    return Response(error(fault), fault.http, headers, "application/json")


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _whole(name: str, array: Array) -> str:
    if not array.ndim:
        return _values(name, array)[0]
    return "[" + ", ".join(_rows(name, array)) + "]"


def _rows(name: str, array: Array) -> list[str]:
    """What each element of the first dimension is in JSON."""
    if array.ndim > 1 and array.size > _AT_ONCE:  # in small steps, so that others get their turn
        return [_whole(name, part) for part in array]
    items = _values(name, array)
    for depth in range(array.ndim - 1, 0, -1):
        size = array.shape[depth]
        count = math.prod(array.shape[:depth])
        items = [
            "[" + ", ".join(items[place * size : (place + 1) * size]) + "]"
            for place in range(count)
        ]
    return items


def _values(name: str, array: Array) -> list[str]:
    """Each value in JSON."""
    flat = array.ravel()
    if array.dtype in _DIGITS:
        return _decimals(flat)
    if array.dtype == np.uint8:  # pictures, of which a hundred have millions of values
        return list(map(_BYTES.__getitem__, flat.tolist()))
    if array.dtype.kind in "iu":
        return list(map(str, flat.tolist()))
    if array.dtype.kind == "b":
        return ["true" if value else "false" for value in flat.tolist()]
    if array.dtype != np.object_:
        raise invalid(f"Failed to write JSON value for tensor type: {array.dtype.name}")
    if name.endswith("_bytes"):
        return ['{"b64": "' + base64.b64encode(value).decode() + '"}' for value in flat.tolist()]
    texts = (value.decode("utf-8", "surrogateescape") for value in flat.tolist())
    return [json.dumps(text, ensure_ascii=False) for text in texts]


def _decimals(flat: Array) -> list[str]:
    """Six digits where they give the value back, else as many as every value needs."""
    numbers = flat.tolist()
    short = [f"{number:.6g}" for number in numbers]
    exact = np.array(short, dtype=np.float64).astype(flat.dtype) == flat if numbers else []
    digits = _DIGITS[flat.dtype]
    return [
        _with_point(text) if same else _long(number, digits)
        for number, text, same in zip(numbers, short, exact, strict=True)
    ]


def _long(number: float, digits: int) -> str:
    if math.isnan(number):
        return "NaN"
    return _with_point(f"{number:.{digits}g}")


def _with_point(text: str) -> str:
    if "n" in text:
        return "-Infinity" if text.startswith("-") else "Infinity"
    return text if "." in text or "e" in text else text + ".0"
