"""Messages of TensorFlow Serving, declared without TensorFlow and without its API package.

`tensorflow-serving-api` requires the whole of `tensorflow` and would be installed over
`tensorflow-cpu`. Field numbers never change, so the few messages needed are declared here, in a
descriptor pool of their own: both packages can be loaded in one process. Fields that are not
declared are carried along.

Bytes are those of the official classes; `SerializeToString` and `FromString` convert between the
two. (Field numbers: tensorflow_serving/apis/*.proto, tensorflow/core/{framework,protobuf}/*.proto.)
"""

from __future__ import annotations

from typing import Any, NamedTuple

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2

PREDICTION_SERVICE = "tensorflow.serving.PredictionService"
MODEL_SERVICE = "tensorflow.serving.ModelService"
PREDICT_METHOD = "tensorflow/serving/predict"

_FIELD = descriptor_pb2.FieldDescriptorProto
_SCALARS = {
    name: getattr(_FIELD, f"TYPE_{name.upper()}")
    for name in ("string", "bytes", "int32", "int64", "uint32", "uint64", "float", "double", "bool")
}


class Field(NamedTuple):
    """Field of a message, of a protobuf scalar or an enum's or message's full name.

    `label` is "repeated"; "map", from strings to `type`; or "oneof", of the only one of a message.
    """

    number: int
    name: str
    type: str
    label: str = ""


def _from_0(*names: str) -> dict[str, int]:
    return {name: number for number, name in enumerate(names)}


# Package -> enum (of a message, where there is a dot) -> values.
ENUMS = {
    "tensorflow": {
        "DataType": _from_0(
            "DT_INVALID", "DT_FLOAT", "DT_DOUBLE", "DT_INT32", "DT_UINT8", "DT_INT16", "DT_INT8",
            "DT_STRING", "DT_COMPLEX64", "DT_INT64", "DT_BOOL", "DT_QINT8", "DT_QUINT8",
            "DT_QINT32", "DT_BFLOAT16", "DT_QINT16", "DT_QUINT16", "DT_UINT16", "DT_COMPLEX128",
            "DT_HALF", "DT_RESOURCE", "DT_VARIANT", "DT_UINT32", "DT_UINT64",
        ),
    },
    "tensorflow.error": {
        "Code": _from_0(
            "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND",
            "ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION",
            "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
            "UNAUTHENTICATED",
        ),
    },
    "tensorflow.serving": {
        "ModelVersionStatus.State": {
            "UNKNOWN": 0, "START": 10, "LOADING": 20, "AVAILABLE": 30, "UNLOADING": 40, "END": 50,
        },
    },
}  # fmt: skip
_DTYPE = Field(1, "dtype", "tensorflow.DataType")
_SHAPE = Field(2, "tensor_shape", "tensorflow.TensorShapeProto")
_CONTENT = Field(4, "tensor_content", "bytes")
_STRINGS = Field(8, "string_val", "bytes", "repeated")
# Fields that hold the values of a tensor one by one.
_VALUES = {
    5: ("float_val", "float"), 6: ("double_val", "double"), 7: ("int_val", "int32"),
    9: ("scomplex_val", "float"), 10: ("int64_val", "int64"), 11: ("bool_val", "bool"),
    12: ("dcomplex_val", "double"), 13: ("half_val", "int32"), 16: ("uint32_val", "uint32"),
    17: ("uint64_val", "uint64"),
}  # fmt: skip
_SPEC = Field(1, "model_spec", "tensorflow.serving.ModelSpec")
_FILTER = Field(3, "output_filter", "string", "repeated")

# Package -> message (the outer one before that in it) -> fields.
MESSAGES: dict[str, dict[str, list[Field]]] = {
    "tensorflow": {
        "TensorShapeProto": [
            Field(2, "dim", "tensorflow.TensorShapeProto.Dim", "repeated"),
            Field(3, "unknown_rank", "bool"),
        ],
        "TensorShapeProto.Dim": [Field(1, "size", "int64"), Field(2, "name", "string")],
        "TensorProto": [
            _DTYPE, _SHAPE, Field(3, "version_number", "int32"), _CONTENT, _STRINGS,
            *(Field(number, name, kind, "repeated") for number, (name, kind) in _VALUES.items()),
        ],
        "TensorInfo": [
            Field(1, "name", "string", "oneof"),
            Field(2, "dtype", "tensorflow.DataType"),
            Field(3, "tensor_shape", "tensorflow.TensorShapeProto"),
        ],
        "SignatureDef": [
            Field(1, "inputs", "tensorflow.TensorInfo", "map"),
            Field(2, "outputs", "tensorflow.TensorInfo", "map"),
            Field(3, "method_name", "string"),
            Field(4, "defaults", "tensorflow.TensorProto", "map"),
        ],
    },
    "tensorflow.error": {},
    "tensorflow.serving": {
        "ModelSpec": [
            Field(1, "name", "string"),
            Field(2, "version", "google.protobuf.Int64Value", "oneof"),
            Field(3, "signature_name", "string"),
            Field(4, "version_label", "string", "oneof"),
        ],
        "PredictRequest": [_SPEC, Field(2, "inputs", "tensorflow.TensorProto", "map"), _FILTER],
        "PredictResponse": [
            Field(1, "outputs", "tensorflow.TensorProto", "map"), _SPEC._replace(number=2)
        ],
        "PredictLog": [
            Field(1, "request", "tensorflow.serving.PredictRequest"),
            Field(2, "response", "tensorflow.serving.PredictResponse"),
        ],
        "PredictionLog": [Field(6, "predict_log", "tensorflow.serving.PredictLog", "oneof")],
        "SignatureDefMap": [Field(1, "signature_def", "tensorflow.SignatureDef", "map")],
        "GetModelMetadataRequest": [_SPEC, Field(2, "metadata_field", "string", "repeated")],
        "GetModelMetadataResponse": [_SPEC, Field(2, "metadata", "google.protobuf.Any", "map")],
        "StatusProto": [
            Field(1, "error_code", "tensorflow.error.Code"), Field(2, "error_message", "string")
        ],
        "GetModelStatusRequest": [_SPEC],
        "ModelVersionStatus": [
            Field(1, "version", "int64"),
            Field(2, "state", "tensorflow.serving.ModelVersionStatus.State"),
            Field(3, "status", "tensorflow.serving.StatusProto"),
        ],
        "GetModelStatusResponse": [
            Field(1, "model_version_status", "tensorflow.serving.ModelVersionStatus", "repeated")
        ],
    },
    # The same bytes, whose parts stay bytes: a picture's 30,000 numbers need not become Python's.
    "bladerunner_ae": {
        "PackedTensor": [
            _DTYPE, _SHAPE, _CONTENT,
            *(Field(number, name, "bytes") for number, (name, _) in _VALUES.items()),
        ],
        "RawPredictRequest": [_SPEC, Field(2, "inputs", "bytes", "map"), _FILTER],
        "RawPredictResponse": [Field(1, "outputs", "bytes", "map"), _SPEC._replace(number=2)],
    },
}  # fmt: skip


def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    dependencies = []
    for known in (any_pb2, wrappers_pb2):
        pool.AddSerializedFile(known.DESCRIPTOR.serialized_pb)
        dependencies.append(known.DESCRIPTOR.name)
    for package, declared in MESSAGES.items():
        file = descriptor_pb2.FileDescriptorProto(
            name=f"bladerunner_ae/serving/{package}.proto",
            package=package,
            syntax="proto3",
            dependency=dependencies,
        )
        owners: dict[str, Any] = {"": file}
        for path, fields in declared.items():
            outer, _, name = path.rpartition(".")
            owners[path] = (owners[outer].nested_type if outer else file.message_type).add(
                name=name
            )
            for field in fields:
                _add_field(owners[path], f".{package}.{path}", field)
        for path, values in ENUMS.get(package, {}).items():
            outer, _, name = path.rpartition(".")
            enum = owners[outer].enum_type.add(name=name)
            for key, number in values.items():
                enum.value.add(name=key, number=number)
        pool.AddSerializedFile(file.SerializeToString())
        dependencies.append(file.name)
    return pool


def _add_field(message: Any, path: str, field: Field) -> None:
    is_list = field.label in ("repeated", "map")
    label = _FIELD.LABEL_REPEATED if is_list else _FIELD.LABEL_OPTIONAL
    added = message.field.add(name=field.name, number=field.number, label=label)
    kind = field.type
    if field.label == "map":  # a list of keys and values
        entry = message.nested_type.add(name=f"{field.name.title().replace('_', '')}Entry")
        entry.options.map_entry = True
        _add_field(entry, path, Field(1, "key", "string"))
        _add_field(entry, path, Field(2, "value", kind))
        kind = f"{path[1:]}.{entry.name}"
    if field.label == "oneof":
        if not message.oneof_decl:
            message.oneof_decl.add(name="choice")
        added.oneof_index = 0
    if kind in _SCALARS:
        added.type = _SCALARS[kind]
    else:
        is_enum = any(kind == f"{p}.{name}" for p, enums in ENUMS.items() for name in enums)
        added.type = _FIELD.TYPE_ENUM if is_enum else _FIELD.TYPE_MESSAGE
        added.type_name = f".{kind}"


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
PackedTensor = _message("bladerunner_ae.PackedTensor")
"""A `TensorProto` whose lists of numbers are the bytes of these lists."""
RawPredictRequest = _message("bladerunner_ae.RawPredictRequest")
"""A `PredictRequest` whose `inputs` are serialised tensors."""
RawPredictResponse = _message("bladerunner_ae.RawPredictResponse")
"""A `PredictResponse` whose `outputs` are serialised tensors."""
