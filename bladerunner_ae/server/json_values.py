"""Values of JSON as those of tensors, and the other way round in messages."""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bladerunner_ae.protocol.tensors import STRING, numpy_type, type_name
from bladerunner_ae.server.errors import Code, ServingError, invalid

Array = NDArray[Any]

# TensorFlow Serving repeats the whole value, however long.
_MOST_SHOWN = 400
# The largest whole number, and the largest number at all, that a type holds.
_LARGEST = {np.dtype(np.float32): (2**24 - 1, float(np.finfo(np.float32).max)),
            np.dtype(np.float64): (2**53 - 1, math.inf)}  # fmt: skip


def quick(value: Any, number: int) -> Array | None:
    """A list of numbers as an array; None where anything is not as it should be."""
    if number == STRING or _has_bool(value):  # numpy would take them for 1 and 0
        return None
    try:
        wanted = numpy_type(number)
        found = np.asarray(value)
    except (ValueError, OverflowError):  # lists of different lengths; unknown type
        return None
    if found.dtype.kind not in "if" or wanted.kind not in "iuf" or not found.size:
        return None
    if wanted.kind == "f":
        if wanted not in _LARGEST:
            return None
        # Whole numbers beyond these are refused, floats beyond them are not.
        largest = np.nanmax(np.abs(found)) if found.dtype.kind == "i" else _finite(found)
        return found.astype(wanted) if largest <= _LARGEST[wanted][0] else None
    limits = np.iinfo(np.int32 if wanted.itemsize < 4 else wanted)
    inside = found.dtype.kind == "i" and limits.min <= found.min() and found.max() <= limits.max
    return found.astype(wanted) if inside else None


def _has_bool(value: Any) -> bool:
    """Whether there is true or false in a list, or in the lists in it."""
    if not isinstance(value, list):
        return isinstance(value, bool)
    if value and isinstance(value[0], list):
        return any(map(_has_bool, value))
    return bool in set(map(type, value))


def _finite(values: Array) -> float:
    """The largest magnitude among those that are finite."""
    return float(np.max(np.abs(values), where=np.isfinite(values), initial=0.0))


def walk(value: Any, level: int, shape: tuple[int, ...], number: int, out: list[Any]) -> None:
    """Appends all values within a value, which must have the shape of its first elements."""
    if not isinstance(value, list):
        if level != len(shape):
            raise invalid(
                f"JSON Value: {shown(value)} found at incorrect level: {level + 1} in the JSON "
                f"DOM. Expected at level: {len(shape)}"
            )
        out.append(_single(value, number))
        return
    if level >= len(shape):
        raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        raise invalid(
            f"Encountered list at unexpected size: {len(value)} at level: {level} expected size: "
            f"{shape[level]}"
        )
    for element in value:
        walk(element, level + 1, shape, number, out)


def _single(value: Any, number: int) -> Any:
    """One value of a tensor's type."""
    if isinstance(value, dict):
        if number != STRING:
            raise _wrong_type(value, number)
        return _bytes(value)
    if number == STRING:
        if not isinstance(value, str):
            raise _wrong_type(value, number)
        return value.encode("utf-8", "surrogateescape")
    try:
        wanted = numpy_type(number)
    except ValueError:
        raise ServingError(
            Code.UNIMPLEMENTED,
            f"Conversion of JSON Value: {shown(value)} to type: {type_name(number)}",
        ) from None
    if wanted.kind == "b":
        fits = isinstance(value, bool)
    elif wanted.kind == "f":
        fits = isinstance(value, int | float) and not isinstance(value, bool)
        if fits and not _lossless(value, wanted):
            raise invalid(
                f"Cannot convert JSON value: {shown(value)} to {type_name(number)} without loss "
                "of precision."
            )
    else:  # small integers are parsed as int32, and wrap
        least, most = _range(wanted)
        fits = isinstance(value, int) and not isinstance(value, bool)
        fits = fits and least <= value <= most
    if not fits:
        raise _wrong_type(value, number)
    return value


@cache
def _range(wanted: np.dtype[Any]) -> tuple[int, int]:
    limits = np.iinfo(np.int32 if wanted.itemsize < 4 else wanted)
    return int(limits.min), int(limits.max)


def _lossless(value: float, wanted: np.dtype[Any]) -> bool:
    whole, largest = _LARGEST[wanted]
    if isinstance(value, int) and -(2**63) <= value < 2**64:
        return abs(value) <= whole
    try:
        return not math.isfinite(value) or abs(float(value)) <= largest
    except OverflowError:
        return False


def _bytes(value: dict[str, Any]) -> bytes:
    if not _is_base64(value):
        raise invalid(f"JSON Value: {shown(value)} not formatted correctly for base64 data")
    text = re.sub(r"\s", "", value["b64"]).rstrip("=")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise invalid("Unable to base64 decode") from None


def to_array(values: list[Any], shape: tuple[int, ...], number: int) -> Array:
    """Values as an array of a DataType."""
    wanted = numpy_type(number)
    if wanted == np.object_:
        found = np.empty(len(values), object)
        found[:] = values
    elif wanted.kind in "iu" and wanted.itemsize < 4:
        found = np.array(values, np.int64).astype(wanted)  # wraps
    else:
        found = np.array(values, wanted)
    try:
        return found.reshape(shape)
    except ValueError as error:  # more dimensions than numpy has
        raise invalid(f"tensor parsing error: {error}") from None


def _is_base64(value: Any) -> bool:
    return isinstance(value, dict) and len(value) == 1 and isinstance(value.get("b64"), str)


def is_named(value: Any) -> bool:
    """Whether a value is an object of named inputs, and not bytes in base64."""
    return isinstance(value, dict) and not _is_base64(value)


def shape_of(value: Any) -> tuple[int, ...]:
    """The shape of the first elements; the others must have it too."""
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        if not value:
            break
        value = value[0]
    return tuple(shape)


def _wrong_type(value: Any, number: int) -> ServingError:
    kind = {bool: str(value), dict: "Object", list: "Array", str: "String", type(None): "Null"}
    return invalid(
        f"JSON Value: {shown(value)} Type: {kind.get(type(value), 'Number')} is not of expected "
        f"type: {type_name(number)}"
    )


def shown(value: Any) -> str:
    """A value as JSON, for a message; cut off where it gets long."""
    text = ""
    for piece in json.JSONEncoder(indent=4, ensure_ascii=False).iterencode(value):
        text += piece
        if len(text) > _MOST_SHOWN:
            return text[:_MOST_SHOWN] + "..."
    return text
