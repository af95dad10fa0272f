"""TensorFlow Serving's messages, without TensorFlow and without its API package.

`tensorflow-serving-api` requires the whole of `tensorflow` and would be installed over
`tensorflow-cpu`. Its messages are few and their field numbers are fixed for ever, so those that
prediction needs are declared here. They lie in a descriptor pool of their own: both packages can be
loaded in one process. What a message holds beyond the fields declared here is carried along.

Bytes are those of the official classes; a message goes from one kind to the other by
`SerializeToString` and `FromString`. (Field numbers: tensorflow_serving/apis/*.proto and
tensorflow/core/{framework,protobuf}/*.proto.)
"""

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2
from numpy.typing import NDArray

PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
MODEL_SERVICE = "tensorflow.serving.ModelService"
PREDICT_METHOD = "tensorflow/serving/predict"

_FILE = "bladerunner_ae/serving"
_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    name: getattr(_FIELD, f"TYPE_{name.upper()}")
    for name in ("string", "bytes", "int32", "int64", "uint32", "uint64", "float", "double", "bool")
}
_DATA_TYPES = (
    "DT_INVALID DT_FLOAT DT_DOUBLE DT_INT32 DT_UINT8 DT_INT16 DT_INT8 DT_STRING DT_COMPLEX64 "
    "DT_INT64 DT_BOOL DT_QINT8 DT_QUINT8 DT_QINT32 DT_BFLOAT16 DT_QINT16 DT_QUINT16 DT_UINT16 "
    "DT_COMPLEX128 DT_HALF DT_RESOURCE DT_VARIANT DT_UINT32 DT_UINT64"
)
_CODES = (
    "OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS "
    "PERMISSION_DENIED RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED "
    "INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED"
)
_ENUMS = {
    "tensorflow.DataType": {name: i for i, name in enumerate(_DATA_TYPES.split())},
    "tensorflow.error.Code": {name: i for i, name in enumerate(_CODES.split())},
    "tensorflow.serving.ModelVersionStatus.State": {
        "UNKNOWN": 0, "START": 10, "LOADING": 20, "AVAILABLE": 30, "UNLOADING": 40, "END": 50,
    },
}  # fmt: skip
# Each field: number, name, type; a type in brackets repeats, one with a key is a map, and "|" puts
# the field into the message's oneof.
_MESSAGES = {
    "tensorflow.TensorShapeProto": "2 dim [.tensorflow.TensorShapeProto.Dim], 3 unknown_rank bool",
    "tensorflow.TensorShapeProto.Dim": "1 size int64, 2 name string",
    "tensorflow.TensorProto": (
        "1 dtype .tensorflow.DataType, 2 tensor_shape .tensorflow.TensorShapeProto, "
        "3 version_number int32, 4 tensor_content bytes, 5 float_val [float], "
        "6 double_val [double], 7 int_val [int32], 8 string_val [bytes], 9 scomplex_val [float], "
        "10 int64_val [int64], 11 bool_val [bool], 12 dcomplex_val [double], 13 half_val [int32], "
        "16 uint32_val [uint32], 17 uint64_val [uint64]"
    ),
    "tensorflow.TensorInfo": (
        "1 name |string, 2 dtype .tensorflow.DataType, 3 tensor_shape .tensorflow.TensorShapeProto"
    ),
    "tensorflow.SignatureDef": (
        "1 inputs string:.tensorflow.TensorInfo, 2 outputs string:.tensorflow.TensorInfo, "
        "3 method_name string, 4 defaults string:.tensorflow.TensorProto"
    ),
    "tensorflow.serving.ModelSpec": (
        "1 name string, 2 version |.google.protobuf.Int64Value, 3 signature_name string, "
        "4 version_label |string"
    ),
    "tensorflow.serving.PredictRequest": (
        "1 model_spec .tensorflow.serving.ModelSpec, 2 inputs string:.tensorflow.TensorProto, "
        "3 output_filter [string]"
    ),
    "tensorflow.serving.PredictResponse": (
        "1 outputs string:.tensorflow.TensorProto, 2 model_spec .tensorflow.serving.ModelSpec"
    ),
    "tensorflow.serving.PredictLog": (
        "1 request .tensorflow.serving.PredictRequest, "
        "2 response .tensorflow.serving.PredictResponse"
    ),
    "tensorflow.serving.PredictionLog": "6 predict_log |.tensorflow.serving.PredictLog",
    "tensorflow.serving.SignatureDefMap": "1 signature_def string:.tensorflow.SignatureDef",
    "tensorflow.serving.GetModelMetadataRequest": (
        "1 model_spec .tensorflow.serving.ModelSpec, 2 metadata_field [string]"
    ),
    "tensorflow.serving.GetModelMetadataResponse": (
        "1 model_spec .tensorflow.serving.ModelSpec, 2 metadata string:.google.protobuf.Any"
    ),
    "tensorflow.serving.StatusProto": "1 error_code .tensorflow.error.Code, 2 error_message string",
    "tensorflow.serving.GetModelStatusRequest": "1 model_spec .tensorflow.serving.ModelSpec",
    "tensorflow.serving.ModelVersionStatus": (
        "1 version int64, 2 state .tensorflow.serving.ModelVersionStatus.State, "
        "3 status .tensorflow.serving.StatusProto"
    ),
    "tensorflow.serving.GetModelStatusResponse": (
        "1 model_version_status [.tensorflow.serving.ModelVersionStatus]"
    ),
}


def _split(full: str) -> tuple[str, str]:
    """Package and name within it, whose words begin with a capital."""
    package = re.match(r"[a-z._]*(?=\.)", full)
    assert package is not None
    return package[0], full[len(package[0]) + 1 :]


def _pool() -> descriptor_pool.DescriptorPool:
    """Returns a pool with one file for each package."""
    pool = descriptor_pool.DescriptorPool()
    dependencies = []
    for known in (any_pb2, wrappers_pb2):
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
        dependencies.append(known.DESCRIPTOR.name)
    for package in ("tensorflow", "tensorflow.error", "tensorflow.serving"):
        name = f"{_FILE}/{package}.proto"
        file = descriptor_pb2.FileDescriptorProto(
            name=name, package=package, syntax="proto3", dependency=dependencies
        )
        places: dict[str, Any] = {}
        for full, fields in _MESSAGES.items():
            if _split(full)[0] == package:
                _add_message(file, places, full, fields)
        for full, values in _ENUMS.items():
            if _split(full)[0] == package:
                outer, _, enum_name = _split(full)[1].rpartition(".")
                enum = (places[outer] if outer else file).enum_type.add(name=enum_name)
                for key, number in values.items():
                    enum.value.add(name=key, number=number)
        pool.AddSerializedFile(file.SerializeToString())
        dependencies.append(name)
    return pool


def _add_message(file: Any, places: dict[str, Any], full: str, fields: str) -> None:
    outer, _, name = _split(full)[1].rpartition(".")
    message = places[outer].nested_type.add(name=name) if outer else file.message_type.add()
    message.name = name
    places[_split(full)[1]] = message
    for field in fields.split(", "):
        number, field_name, kind = field.split()
        _add_field(message, full, int(number), field_name, kind)


def _add_field(message: Any, full: str, number: int, name: str, kind: str) -> None:
    field = message.field.add(name=name, number=number, label=_FIELD.LABEL_OPTIONAL)
    if kind.startswith("|"):
        if not message.oneof_decl:
            message.oneof_decl.add(name="choice")
        field.oneof_index, kind = 0, kind[1:]
    if kind.startswith("["):
        field.label, kind = _FIELD.LABEL_REPEATED, kind[1:-1]
    elif ":" in kind:
        key, value = kind.split(":")
        entry = message.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
        entry.options.map_entry = True
        _add_field(entry, full, 1, "key", key)
        _add_field(entry, full, 2, "value", value)
        field.label, kind = _FIELD.LABEL_REPEATED, f".{full}.{entry.name}"
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type = _FIELD.TYPE_ENUM if kind[1:] in _ENUMS else _FIELD.TYPE_MESSAGE
        field.type_name = kind


POOL = _pool()


def _message(name: str) -> Any:
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(name))


TensorProto = _message("tensorflow.TensorProto")
SignatureDef = _message("tensorflow.SignatureDef")
ModelSpec = _message("tensorflow.serving.ModelSpec")
PredictRequest = _message("tensorflow.serving.PredictRequest")
PredictResponse = _message("tensorflow.serving.PredictResponse")
PredictLog = _message("tensorflow.serving.PredictLog")
PredictionLog = _message("tensorflow.serving.PredictionLog")
SignatureDefMap = _message("tensorflow.serving.SignatureDefMap")
GetModelMetadataRequest = _message("tensorflow.serving.GetModelMetadataRequest")
GetModelMetadataResponse = _message("tensorflow.serving.GetModelMetadataResponse")
StatusProto = _message("tensorflow.serving.StatusProto")
GetModelStatusRequest = _message("tensorflow.serving.GetModelStatusRequest")
GetModelStatusResponse = _message("tensorflow.serving.GetModelStatusResponse")
ModelVersionStatus = _message("tensorflow.serving.ModelVersionStatus")

# dtype of numpy -> (DataType, field of single values).
_TENSORS = {
    "float32": ("DT_FLOAT", "float_val"),
    "float64": ("DT_DOUBLE", "double_val"),
    "int32": ("DT_INT32", "int_val"),
    "uint8": ("DT_UINT8", "int_val"),
    "int16": ("DT_INT16", "int_val"),
    "int8": ("DT_INT8", "int_val"),
    "uint16": ("DT_UINT16", "int_val"),
    "object": ("DT_STRING", "string_val"),
    "int64": ("DT_INT64", "int64_val"),
    "bool": ("DT_BOOL", "bool_val"),
    "uint32": ("DT_UINT32", "uint32_val"),
    "uint64": ("DT_UINT64", "uint64_val"),
}
_MOST = 1 << 28
_AT_ONCE = 1 << 16
_NUMPY = {_ENUMS["tensorflow.DataType"][name]: dtype for dtype, (name, _) in _TENSORS.items()}


def to_tensor(values: NDArray[Any]) -> Any:
    """Returns an array as a `TensorProto`.

    Args:
        values: any shape; floats of 32 or 64 bits, integers, bool, or bytes (dtype object or S).

    Raises:
        ValueError: a dtype that JSON and the server's clients cannot hold.
    """
    values = np.asarray(values)
    if values.dtype.kind == "S":
        values = values.astype(object)
    if values.dtype.name not in _TENSORS:
        raise ValueError(f"a tensor of {values.dtype.name} cannot be sent")
    name, field = _TENSORS[values.dtype.name]
    tensor = TensorProto(dtype=name)
    tensor.tensor_shape.SetInParent()  # a scalar has a shape too
    for size in values.shape:
        tensor.tensor_shape.dim.add(size=size)
    if field == "string_val":
        tensor.string_val.extend(values.ravel().tolist())
    else:
        little = np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<"), copy=False)
        tensor.tensor_content = little.tobytes()
    return tensor


def to_array(tensor: Any, most: int = _MOST) -> NDArray[Any]:
    """Returns a `TensorProto`, ours or an official one, as an array that may be written to.

    Strings become bytes in an array of dtype object. As in TensorFlow, single values that are
    fewer than the shape asks for are filled up with the last one, or with zeros.

    Args:
        tensor: the message.
        most: values that a tensor may have; a few bytes can ask for any number of them.

    Raises:
        ValueError: a dtype that has no such array, an unknown shape, too many or too few values,
            or one that its dtype cannot hold.
    """
    if tensor.dtype not in _NUMPY:
        raise ValueError(f"a tensor of data type {tensor.dtype} is not supported")
    dtype = np.dtype(_NUMPY[tensor.dtype])
    shape = [dim.size for dim in tensor.tensor_shape.dim]
    if tensor.tensor_shape.unknown_rank or min(shape, default=0) < 0:
        raise ValueError(f"a tensor needs a known shape, not {shape}")
    count = math.prod(shape)
    if count > most:
        raise ValueError(f"a tensor of shape {tuple(shape)} has more than {most} values")
    if tensor.tensor_content:
        if dtype.kind == "O" or len(tensor.tensor_content) != count * dtype.itemsize:
            raise ValueError(
                f"{len(tensor.tensor_content)} bytes are no {dtype} of shape {tuple(shape)}"
            )
        little = np.frombuffer(tensor.tensor_content, dtype.newbyteorder("<"))
        return little.astype(dtype).reshape(shape)
    given = getattr(tensor, _TENSORS[dtype.name][1])
    if len(given) > count:
        raise ValueError(f"{len(given)} values are no {dtype} of shape {tuple(shape)}")
    return _filled(given, count, dtype).reshape(shape)


def _filled(given: Sequence[Any], count: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind == "O" and not given and count:
        raise ValueError("a tensor of strings without values")
    values = np.zeros(count, dtype)
    for place in range(0, len(given), _AT_ONCE):  # in small steps, so that others get their turn
        part = given[place : place + _AT_ONCE]
        if dtype.kind in "iu" and dtype.itemsize < 4:  # the message holds 32 bits
            limits, wide = np.iinfo(dtype), np.array(part, np.int64)
            if wide.min() < limits.min or wide.max() > limits.max:
                raise ValueError(f"values from {wide.min()} to {wide.max()} do not fit {dtype}")
        values[place : place + len(part)] = part
    values[len(given) :] = given[-1] if given else 0
    return values
