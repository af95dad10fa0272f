"""`TensorProto`s as numpy arrays and back, without TensorFlow."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from bladerunner_ae.protocol.messages import ENUMS, PackedTensor, TensorProto

Array = NDArray[Any]

_DATA_TYPES = ENUMS["tensorflow"]["DataType"]
_NAMES = {number: name for name, number in _DATA_TYPES.items()}
STRING = _DATA_TYPES["DT_STRING"]
# DataType -> numpy's type, field of single values.
_KINDS = {
    _DATA_TYPES[f"DT_{name}"]: (np.dtype(kind), field)
    for name, kind, field in (
        ("FLOAT", "f4", "float_val"), ("DOUBLE", "f8", "double_val"), ("INT32", "i4", "int_val"),
        ("UINT8", "u1", "int_val"), ("INT16", "i2", "int_val"), ("INT8", "i1", "int_val"),
        ("UINT16", "u2", "int_val"), ("STRING", "O", "string_val"), ("INT64", "i8", "int64_val"),
        ("BOOL", "?", "bool_val"), ("UINT32", "u4", "uint32_val"), ("UINT64", "u8", "uint64_val"),
    )
}  # fmt: skip
_NUMBERS = {kind: number for number, (kind, _) in _KINDS.items()}
_MOST = 1 << 28
_MOST_STRINGS = 1 << 20
_MOST_FIELDS = 4096  # of a tensor, besides its strings
_TWO_BYTES = 1 << 14  # the first number that a varint of two bytes cannot hold
_VARINT, _BYTES, _FIXED = 0, 2, {1: 8, 5: 4}


@cache
def type_name(number: int) -> str:
    return _NAMES.get(number, f"DT_of unknown number {number}").removeprefix("DT_").lower()


def numpy_type(number: int) -> np.dtype[Any]:
    """Return the numpy type of a DataType, object for strings; ValueError if there is none."""
    if number not in _KINDS:
        raise ValueError(f"a tensor of data type {number} is not supported")
    return _KINDS[number][0]


def to_tensor(values: Array) -> Any:
    """Return a `TensorProto`, numbers as one block of bytes; ValueError for other dtypes."""
    values = np.asarray(values)
    if values.dtype.kind == "S":
        values = values.astype(object)
    kind = values.dtype.newbyteorder("=")
    if kind not in _NUMBERS:
        raise ValueError(f"a tensor of {values.dtype.name} cannot be sent")
    tensor = TensorProto(dtype=_NUMBERS[kind])
    tensor.tensor_shape.SetInParent()  # a scalar has a shape too
    for size in values.shape:
        tensor.tensor_shape.dim.add(size=size)
    if kind.kind == "O":
        tensor.string_val.extend(values.ravel().tolist())
    else:
        tensor.tensor_content = values.astype(values.dtype.newbyteorder("<"), copy=False).tobytes()
    return tensor


def write(values: Array, content: bool = False) -> bytes:
    """Return an array as a serialised `TensorProto`; see `to_tensor`.

    With `content` numbers are one block of bytes; else value by value (`float_val`, `int_val`),
    where clients of TensorFlow Serving look for them.
    """
    tensor = to_tensor(values)
    kind, field = _KINDS[tensor.dtype]
    if content or kind.kind == "O" or not values.size:
        return tensor.SerializeToString()
    packed = PackedTensor(dtype=tensor.dtype, tensor_shape=tensor.tensor_shape)
    if kind.kind in "fb":  # a packed list of these is their bytes
        setattr(packed, field, tensor.tensor_content)
    elif values.min() >= 0 and values.max() < _TWO_BYTES:
        # Varints: seven bits a byte, the lowest first; all bytes but the last have 128 added.
        wide = values.ravel().astype(np.uint16)
        more = wide > 127
        pairs = np.stack([wide & 127 | more * np.uint16(128), wide >> 7], axis=1).astype(np.uint8)
        setattr(packed, field, pairs[np.stack([np.ones_like(more), more], axis=1)].tobytes())
    else:
        getattr(tensor, field).extend(values.ravel().tolist())
        tensor.ClearField("tensor_content")
        return tensor.SerializeToString()
    return packed.SerializeToString()


def read(data: bytes, most: int) -> Array:
    """Return a serialised `TensorProto` as an array.

    ValueError if it makes no sense or has more than `most` values; a few bytes can ask for any
    number.
    """
    fields = count_fields(data, min(most, _MOST_STRINGS) + _MOST_FIELDS)
    try:
        tensor = TensorProto.FromString(data)
    except DecodeError as error:
        raise ValueError(str(error)) from None
    if tensor.dtype != STRING and fields > _MOST_FIELDS:  # a list of numbers is one field
        raise ValueError(f"a tensor of numbers in {fields} fields")
    return to_array(tensor, most)


def to_array(tensor: Any, most: int = _MOST) -> Array:
    """Return a `TensorProto`, ours or an official one, as an array that may be written to.

    Strings become bytes in an array of dtype object. As in TensorFlow, single values that are
    fewer than the shape asks for are filled up with the last one, or with zeros. ValueError for a
    dtype that has no such array, an unknown shape, more values than `most`, too many or too few of
    them, or one that its dtype cannot hold.
    """
    kind = numpy_type(tensor.dtype)
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.tensor_shape.unknown_rank or min(shape, default=0) < 0:
        raise ValueError(f"a tensor needs a known shape, not {shape}")
    count = math.prod(shape)
    if count > most:
        raise ValueError(f"a tensor of shape {tuple(shape)} has more than {most} values")
    content = tensor.tensor_content
    if content:
        if kind.kind == "O" or len(content) != count * kind.itemsize:
            raise ValueError(f"{len(content)} bytes are no {kind} of shape {tuple(shape)}")
        return np.frombuffer(content, kind.newbyteorder("<")).astype(kind).reshape(shape)
    given = getattr(tensor, _KINDS[tensor.dtype][1])
    if len(given) > count:
        raise ValueError(f"{len(given)} values are no {kind} of shape {tuple(shape)}")
    return _filled(given, count, kind).reshape(shape)


def _filled(given: Any, count: int, kind: np.dtype[Any]) -> Array:
    values = np.zeros(count, kind)
    found = np.array(given, object if kind.kind == "O" else None)
    if count and kind.kind == "O" and not given:
        raise ValueError("a tensor of strings without values")
    if found.size and kind.kind in "iu" and kind.itemsize < 4:  # the message holds 32 bits
        least, largest, limits = found.min(), found.max(), np.iinfo(kind)
        if least < limits.min or largest > limits.max:
            raise ValueError(f"values from {least} to {largest} do not fit {kind}")
    values[: len(found)] = found
    values[len(found) :] = found[-1] if len(found) else 0
    return values


def count_fields(data: bytes, most: int) -> int:
    """Count a message's fields, unparsed; ValueError for more than `most` or no message."""
    place = count = 0
    while place < len(data):
        count += 1
        if count > most:
            raise ValueError(f"a message of more than {most} fields")
        key, place = _read_varint(data, place)
        kind = key & 7
        if kind == _VARINT:
            place = _read_varint(data, place)[1]
        elif kind == _BYTES:
            length, place = _read_varint(data, place)
            place += length
        elif kind in _FIXED:
            place += _FIXED[kind]
        else:
            raise ValueError("bytes that are no message")
    if place > len(data):
        raise ValueError("a message that is cut short")
    return count


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    """Return a varint and the place after it, beyond the end if the data is cut short."""
    value = 0
    for shift, byte in enumerate(data[place : place + 10]):
        value |= (byte & 127) << 7 * shift
        if byte < 128:
            return value, place + shift + 1
    return 0, len(data) + 1
