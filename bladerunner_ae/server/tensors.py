"""`TensorProto` messages as numpy arrays and back, quickly, without TensorFlow.

TensorFlow Serving answers with fields of numbers (`float_val`, `int_val`), which clients may read,
and not with one block of bytes. Putting 30,000 numbers into a field one by one takes as long as
drawing the picture that they are, so packed fields are written and read as a whole. All the rest is
`serving_protos`.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bladerunner_ae import serving_protos

Array = NDArray[Any]

_DATA_TYPE = serving_protos.TensorProto.DESCRIPTOR.fields_by_name["dtype"].enum_type
STRING = _DATA_TYPE.values_by_name["DT_STRING"].number
# numpy's type -> field that holds single values, and its number in the message.
_FIELDS = {
    np.dtype(kind): (name, serving_protos.TensorProto.DESCRIPTOR.fields_by_name[name].number)
    for name, kinds in {
        "float_val": "f", "double_val": "d", "int_val": "bBhHi", "bool_val": "?",
        "int64_val": "q", "uint32_val": "I", "uint64_val": "Q",
    }.items()
    for kind in kinds
}  # fmt: skip
_TWO_BYTES = 1 << 14  # what fits into a varint of two bytes
_FEW = 64


@cache
def type_name(number: int) -> str:
    """The name of a DataType as TensorFlow's messages write it, such as `float`."""
    value = _DATA_TYPE.values_by_number.get(number)
    return value.name.removeprefix("DT_").lower() if value else f"unknown dtype enum ({number})"


@cache
def numpy_type(number: int) -> np.dtype[Any]:
    """The numpy type of a DataType; objects, which are bytes, for strings.

    Raises:
        ValueError: such tensors cannot be sent.
    """
    empty = serving_protos.TensorProto(dtype=number)
    empty.tensor_shape.dim.add(size=0)
    return serving_protos.to_array(empty).dtype


def write(array: Array, content: bool = False) -> Any:
    """Returns an array as a `TensorProto`.

    Args:
        array: of any shape; strings as objects of bytes.
        content: numbers as one block of bytes, quicker still for who reads it.

    Raises:
        ValueError: there is no such type of tensors.
    """
    if content or array.dtype not in _FIELDS:
        return serving_protos.to_tensor(array)
    message = serving_protos.to_tensor(array.reshape(-1)[:0])  # type, and a shape to be changed
    message.ClearField("tensor_shape")
    message.tensor_shape.SetInParent()
    for size in array.shape:
        message.tensor_shape.dim.add(size=size)
    field, number = _FIELDS[array.dtype]
    packed = _pack(array) if array.size else None
    if packed is None:
        getattr(message, field).extend(array.ravel().tolist())
    else:
        message.MergeFromString(_varint(number << 3 | 2) + _varint(len(packed)) + packed)
    return message


def _pack(array: Array) -> bytes | None:
    """The payload of a packed field; None where there is no short way to it."""
    if array.dtype.kind == "f":
        return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    values = array.ravel()
    if values.min() < 0 or values.max() >= _TWO_BYTES:
        return None
    values = values.astype(np.uint16)
    long = values >= 128
    places = np.arange(values.size) + np.cumsum(long) - long
    packed = np.empty(values.size + int(long.sum()), np.uint8)
    packed[places] = (values & 127) | (long.astype(np.uint16) << 7)
    packed[places[long] + 1] = values[long] >> 7
    return packed.tobytes()


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    """Where the bytes after a varint begin, and its value."""
    value, shift = 0, 0
    while data[place] > 127:
        value, place, shift = value | (data[place] & 127) << shift, place + 1, shift + 7
    return place + 1, value | data[place] << shift


def read(message: Any, most: int) -> Array:
    """Returns a `TensorProto` as an array.

    Args:
        message: one of `serving_protos`.
        most: values that it may have; a few bytes can ask for any number of them.

    Raises:
        ValueError: the message makes no sense, or has more than `most` values.
    """
    kind = numpy_type(message.dtype)
    if kind in _FIELDS and not message.tensor_content and kind.kind in "fiub":
        count = len(getattr(message, _FIELDS[kind][0]))
        shape = [dim.size for dim in message.tensor_shape.dim]
        if _FEW < count <= most and count == math.prod(shape):
            values = _unpack(message, count, kind)
            if values is not None:
                return values.reshape(shape)
    return serving_protos.to_array(message, most)


def _unpack(message: Any, count: int, kind: np.dtype[Any]) -> Array | None:
    """The numbers of a packed field that is the last of its message; None if it is not so."""
    head = serving_protos.TensorProto(dtype=message.dtype, tensor_shape=message.tensor_shape)
    data = message.SerializeToString(deterministic=True)
    field = _varint(_FIELDS[kind][1] << 3 | 2)
    start = head.ByteSize()
    if data[start : start + len(field)] != field:
        return None
    begin, length = _read_varint(data, start + len(field))
    if begin + length != len(data):
        return None
    payload = np.frombuffer(data, np.uint8, offset=begin)
    if kind.kind == "f":
        little = kind.newbyteorder("<")
        fits = length == count * kind.itemsize
        return payload.view(little).astype(kind) if fits else None
    return _numbers(payload, count, kind)


def _numbers(payload: Array, count: int, kind: np.dtype[Any]) -> Array | None:
    """Varints of one or two bytes; None if there are longer ones."""
    ends = np.flatnonzero(payload < 128)
    lengths = np.diff(ends, prepend=-1)
    if len(ends) != count or lengths.max() > 2:
        return None
    low = payload[ends - (lengths - 1)].astype(np.uint16) & 127
    high = np.where(lengths == 2, payload[ends].astype(np.uint16) << 7, 0)
    return (low | high).astype(kind)
