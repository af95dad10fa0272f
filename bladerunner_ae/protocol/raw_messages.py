"""Messages of the same bytes as TensorFlow Serving's, whose tensors are left as they are.

A `TensorProto` within a message is a run of bytes; declared as such it is neither taken apart nor
put together, which for a picture's 30,000 numbers would take a good part of a millisecond.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, message_factory

from bladerunner_ae.protocol.messages import POOL

_FIELD = descriptor_pb2.FieldDescriptorProto
_VARINT, _BYTES, _FIXED = 0, 2, {1: 8, 5: 4}
_PACKAGE = "bladerunner_ae.serving"
_SPEC = ".tensorflow.serving.ModelSpec"


def _file() -> Any:
    known = [POOL.FindMessageTypeByName(name).file.name
             for name in (_SPEC[1:], "tensorflow.TensorShapeProto")]  # fmt: skip
    file = descriptor_pb2.FileDescriptorProto(
        name="bladerunner_ae/serving/raw.proto", package=_PACKAGE, syntax="proto3", dependency=known
    )
    request = file.message_type.add(name="RawPredictRequest")
    _add_message_field(request, "model_spec", 1, _SPEC)
    _add_tensors(request, "inputs", 2)
    request.field.add(name="output_filter", number=3, label=_FIELD.LABEL_REPEATED,
                      type=_FIELD.TYPE_STRING)  # fmt: skip
    response = file.message_type.add(name="RawPredictResponse")
    _add_tensors(response, "outputs", 1)
    _add_message_field(response, "model_spec", 2, _SPEC)
    head = file.message_type.add(name="TensorHead")
    head.field.add(name="dtype", number=1, label=_FIELD.LABEL_OPTIONAL, type=_FIELD.TYPE_INT32)
    _add_message_field(head, "tensor_shape", 2, ".tensorflow.TensorShapeProto")
    return file


def _add_message_field(message: Any, name: str, number: int, kind: str) -> None:
    message.field.add(name=name, number=number, label=_FIELD.LABEL_OPTIONAL,
                      type=_FIELD.TYPE_MESSAGE, type_name=kind)  # fmt: skip


def _add_tensors(message: Any, name: str, number: int) -> None:
    """A map of names to bytes."""
    entry = message.nested_type.add(name=f"{name.title()}Entry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=_FIELD.LABEL_OPTIONAL, type=_FIELD.TYPE_STRING)
    entry.field.add(name="value", number=2, label=_FIELD.LABEL_OPTIONAL, type=_FIELD.TYPE_BYTES)
    message.field.add(name=name, number=number, label=_FIELD.LABEL_REPEATED,
                      type=_FIELD.TYPE_MESSAGE,
                      type_name=f".{_PACKAGE}.{message.name}.{entry.name}")  # fmt: skip


def refuse_many_fields(data: bytes, most: int) -> None:
    """Counts a message's fields, without looking into them, before anything is made of them.

    Raises:
        ValueError: there are more than `most`, or the bytes are no message.
    """
    place = count = 0
    while place < len(data):
        count += 1
        if count > most:
            raise ValueError(f"a message of more than {most} fields")
        key, place = read_varint(data, place)
        kind = key & 7
        if kind == _VARINT:
            place = read_varint(data, place)[1]
        elif kind == _BYTES:
            length, place = read_varint(data, place)
            place += length
        elif kind in _FIXED:
            place += _FIXED[kind]
        else:
            raise ValueError("bytes that are no message")
    if place > len(data):
        raise ValueError("a message that is cut short")


def read_varint(data: bytes, place: int) -> tuple[int, int]:
    """A varint, and the place behind it, which is beyond the end where the data ends within it."""
    value = 0
    for shift, byte in enumerate(data[place : place + 10]):
        value |= (byte & 127) << 7 * shift
        if byte < 128:
            return value, place + shift + 1
    return 0, len(data) + 1


POOL.AddSerializedFile(_file().SerializeToString())


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


RawPredictRequest = _message("RawPredictRequest")
"""`PredictRequest`: `inputs` are serialised tensors by name."""
RawPredictResponse = _message("RawPredictResponse")
"""`PredictResponse`: `outputs` are serialised tensors by name."""
TensorHead = _message("TensorHead")
"""What comes first in a `TensorProto`: `dtype`, here a number, and `tensor_shape`."""
