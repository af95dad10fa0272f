"""Serialised `TensorProto`s as numpy arrays and back, quickly, without TensorFlow.

TensorFlow Serving answers with fields of numbers (`float_val`, `int_val`), which clients may read,
and not with one block of bytes. Putting the numbers of a picture into such a field one by one takes
longer than drawing it, so their bytes are made and read here at once. `serving_protos` does what is
out of the ordinary.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from bladerunner_ae.protocol import messages as serving_protos
from bladerunner_ae.protocol.raw_messages import TensorHead, read_varint, refuse_many_fields

Array = NDArray[Any]

_DATA_TYPE = serving_protos.TensorProto.DESCRIPTOR.fields_by_name["dtype"].enum_type
STRING = _DATA_TYPE.values_by_name["DT_STRING"].number
# numpy's type -> number of the field that holds its values one by one.
_FIELDS = {
    np.dtype(kind): serving_protos.TensorProto.DESCRIPTOR.fields_by_name[name].number
    for name, kinds in {
        "float_val": "f", "double_val": "d", "int_val": "bBhHi", "bool_val": "?",
        "int64_val": "q", "uint32_val": "I", "uint64_val": "Q",
    }.items()
    for kind in kinds
}  # fmt: skip
_CONTENT = serving_protos.TensorProto.DESCRIPTOR.fields_by_name["tensor_content"].number
_MOST_STRINGS = 1 << 20
_FEW = 4096  # fields of a tensor beside its strings
_LONGEST = 10  # bytes of a varint
_TWO_BYTES = 1 << 14  # what fits into a varint of two bytes


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


def write(array: Array, content: bool = False) -> bytes:
    """Returns an array as a serialised `TensorProto`.

    Args:
        array: of any shape; strings as objects of bytes.
        content: numbers as one block of bytes, quicker still for who reads it.

    Raises:
        ValueError: there is no such type of tensors.
    """
    if array.dtype not in _FIELDS or not array.size:
        return serving_protos.to_tensor(array).SerializeToString()
    values = array.ravel()
    head = serving_protos.to_tensor(values[:0])
    head.tensor_shape.Clear()
    for size in array.shape:
        head.tensor_shape.dim.add(size=size)
    head.tensor_shape.SetInParent()
    payload = _little(values).tobytes() if content else _pack(values)
    number = _CONTENT if content else _FIELDS[array.dtype]
    return head.SerializeToString() + _varint(number << 3 | 2) + _varint(len(payload)) + payload


def _pack(values: Array) -> bytes:
    """The payload of a packed field."""
    if values.dtype.kind == "f":
        return _little(values).tobytes()
    if values.dtype != np.uint8 and (values.min() < 0 or values.max() >= _TWO_BYTES):
        return b"".join(_varint(value % (1 << 64)) for value in values.tolist())
    long = values >= 128
    first = values.astype(np.uint8) | (long.astype(np.uint8) << 7)
    packed = np.repeat(first, long.astype(np.int8) + 1)
    which = np.flatnonzero(long)
    packed[which + np.arange(1, which.size + 1)] = values[which] >> 7
    return packed.tobytes()


def _little(values: Array) -> Array:
    return values.astype(values.dtype.newbyteorder("<"), copy=False)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def read(data: bytes, most: int) -> Array:
    """Returns a serialised `TensorProto` as an array.

    Args:
        data: the message.
        most: values that it may have; a few bytes can ask for any number of them.

    Raises:
        ValueError: the message makes no sense, or has more than `most` values.
    """
    try:
        # Strings are fields each, numbers come many in one.
        refuse_many_fields(data, min(most, _MOST_STRINGS) + _FEW)
        head = TensorHead.FromString(data)
        kind = numpy_type(head.dtype)
        found = _quick(data, head, kind, most)
        if found is not None:
            return found
        if kind != np.object_:
            refuse_many_fields(data, _FEW)
        if len(data) > most * _LONGEST and kind != np.object_:
            raise ValueError(f"{len(data)} bytes for at most {most} values")
        return serving_protos.to_array(serving_protos.TensorProto.FromString(data), most)
    except DecodeError as error:
        raise ValueError(str(error)) from None


def _quick(data: bytes, head: Any, kind: np.dtype[Any], most: int) -> Array | None:
    """The array, if the message is type, shape and one block or field, as nearly all are."""
    head.DiscardUnknownFields()
    start = head.SerializeToString()
    shape = [dim.size for dim in head.tensor_shape.dim]
    count = math.prod(shape)
    if kind not in _FIELDS or not 0 < count <= most or min(shape, default=0) < 0:
        return None
    if not data.startswith(start):
        return None
    number, place = read_varint(data, len(start))
    length, place = read_varint(data, place)
    if place + length != len(data):
        return None
    payload = np.frombuffer(data[place:], np.uint8)  # a copy, at an even address
    if number == _CONTENT << 3 | 2 or (number == _FIELDS[kind] << 3 | 2 and kind.kind == "f"):
        if length != count * kind.itemsize:
            return None
        return payload.view(kind.newbyteorder("<")).astype(kind, copy=False).reshape(shape)
    if number != _FIELDS[kind] << 3 | 2:
        return None
    values = _unpack(payload, kind)
    return values.reshape(shape) if values is not None and len(values) == count else None


def _unpack(payload: Array, kind: np.dtype[Any]) -> Array | None:
    """Varints of one or two bytes; None if there are longer ones."""
    more = payload >= 128
    first = np.ones(payload.size, np.bool_)
    np.logical_not(more[:-1], out=first[1:])
    if kind.itemsize == 1:  # a byte from 128 on is what it is, and 1 comes behind it
        fits = not more[-1] and (first[1:] | (payload[1:] == 1)).all()
        return payload[first].view(kind) if fits else None
    if more[-1] or (more[1:] & more[:-1]).any():
        return None
    values = payload[first].astype(kind)
    values[more[first]] += (payload[~first].astype(kind) - 1) << 7
    return values
