"""Messages of the same bytes as TensorFlow Serving's, whose tensors are left as they are.

A `TensorProto` within a message is a run of bytes; declared as such it is neither taken apart nor
put together, which for a picture's 30,000 numbers would take a good part of a millisecond.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, message_factory

from bladerunner_ae.serving_protos import POOL

_FIELD = descriptor_pb2.FieldDescriptorProto
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


POOL.AddSerializedFile(_file().SerializeToString())


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(f"{_PACKAGE}.{name}"))


RawPredictRequest = _message("RawPredictRequest")
"""`PredictRequest`: `inputs` are serialised tensors by name."""
RawPredictResponse = _message("RawPredictResponse")
"""`PredictResponse`: `outputs` are serialised tensors by name."""
TensorHead = _message("TensorHead")
"""What comes first in a `TensorProto`: `dtype`, here a number, and `tensor_shape`."""
