"""Messages of TensorFlow Serving: the bytes of the official classes, and arrays to and from them.

Golden bytes are put together from field numbers, as in the wire format: a field's key is 8 * number
+ kind (0 an integer, 2 something with a length).
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bladerunner_ae.protocol import messages, tensors
from tests.helpers.commands import ROOT, environment


def field(number: int, value: bytes | int) -> bytes:
    """Return one field on the wire; lengths and numbers below 128."""
    if isinstance(value, int):
        return bytes([8 * number, value])
    assert len(value) < 128
    return bytes([8 * number + 2, len(value)]) + value


FLOATS = np.array([[1.0, -2.0]], np.float32)
SHAPE = field(2, field(1, 1)) + field(2, field(1, 2))
TENSOR = field(1, 1) + field(2, SHAPE) + field(4, FLOATS.tobytes())
SPEC = field(1, b"decoder") + field(2, field(1, 3)) + field(3, b"decode")
REQUEST = field(1, SPEC) + field(2, field(1, b"latent") + field(2, TENSOR)) + field(3, b"image")
RESPONSE = field(1, field(1, b"image") + field(2, TENSOR)) + field(2, SPEC)


def spec() -> Any:
    made = messages.ModelSpec(name="decoder", signature_name="decode")
    made.version.value = 3
    return made


def request() -> Any:
    made = messages.PredictRequest(model_spec=spec(), output_filter=["image"])
    made.inputs["latent"].CopyFrom(tensors.to_tensor(FLOATS))
    return made


def response() -> Any:
    made = messages.PredictResponse(model_spec=spec())
    made.outputs["image"].CopyFrom(tensors.to_tensor(FLOATS))
    return made


def labelled() -> Any:
    made = spec()
    made.version_label = "stable"  # takes the place of the version
    return made


def signatures() -> Any:
    made = messages.SignatureDefMap()
    signature = made.signature_def["d"]
    signature.method_name = messages.PREDICT_METHOD
    signature.inputs["z"].name = "z:0"
    signature.inputs["z"].dtype = 1
    signature.inputs["z"].tensor_shape.dim.add(size=2)
    return made


def status() -> Any:
    state = messages.ModelVersionStatus(version=3, state="AVAILABLE")
    state.status.error_message = "x"
    return messages.GetModelStatusResponse(model_version_status=[state])


INFO = field(1, b"z:0") + field(2, 1) + field(3, field(2, field(1, 2)))
SIGNATURE = field(1, field(1, b"z") + field(2, INFO)) + field(3, b"tensorflow/serving/predict")


@pytest.mark.parametrize(
    ("made", "golden"),
    [
        (request(), REQUEST),
        (response(), RESPONSE),
        (labelled(), field(1, b"decoder") + field(3, b"decode") + field(4, b"stable")),
        (messages.PredictionLog(predict_log=messages.PredictLog(request=request())),
         field(6, field(1, REQUEST))),
        (messages.GetModelMetadataRequest(model_spec=spec(), metadata_field=["signature_def"]),
         field(1, SPEC) + field(2, b"signature_def")),
        (signatures(), field(1, field(1, b"d") + field(2, SIGNATURE))),
        (status(), field(1, field(1, 3) + field(2, 30) + field(3, field(2, b"x")))),
        (messages.GetModelStatusRequest(model_spec=spec()), field(1, SPEC)),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_messages_have_the_official_bytes(made: Any, golden: bytes) -> None:
    assert made.SerializeToString() == golden
    assert type(made).FromString(golden) == made


def test_versions_and_labels_exclude_each_other() -> None:
    assert (spec().WhichOneof("choice"), labelled().WhichOneof("choice")) == (
        "version", "version_label"
    )  # fmt: skip


def test_metadata_is_packed_under_its_official_name() -> None:
    answer = messages.GetModelMetadataResponse(model_spec=spec())
    answer.metadata["signature_def"].Pack(messages.SignatureDefMap())
    url = answer.metadata["signature_def"].type_url
    assert url == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    unpacked = messages.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(unpacked)


def test_undeclared_fields_are_kept() -> None:
    newer = REQUEST + field(6, b"who asks")
    assert messages.PredictRequest.FromString(newer).SerializeToString() == newer


ARRAYS = [
    np.arange(6).reshape(2, 3).astype(dtype)
    for dtype in ("f4", "f8", "i4", "u1", "i2", "i1", "u2", "i8", "u4", "u8", "?")
] + [
    np.array([b"a\0b", b"", b"\xff"], object),
    np.array(7, np.int64),
    np.zeros((0, 200), np.float32),
    np.zeros((0,), object),
    np.arange(12, dtype=">f4").reshape(3, 4)[:, ::2],
]


@pytest.mark.parametrize("values", ARRAYS, ids=lambda v: f"{v.dtype}{v.shape}")
def test_arrays_come_back(values: NDArray[Any]) -> None:
    tensor = messages.TensorProto.FromString(tensors.to_tensor(values).SerializeToString())
    back = tensors.to_array(tensor)
    assert back.dtype == values.dtype.newbyteorder("=") and back.shape == values.shape
    np.testing.assert_array_equal(back, values)
    back[...] = back  # may be written to


@pytest.mark.parametrize("values", ARRAYS, ids=lambda v: f"{v.dtype}{v.shape}")
def test_tensorflow_reads_and_writes_the_same(values: NDArray[Any]) -> None:
    import tensorflow as tf
    from tensorflow.core.framework import tensor_pb2

    values = values.astype(values.dtype.newbyteorder("="))
    official = tensor_pb2.TensorProto.FromString(tensors.to_tensor(values).SerializeToString())
    found = tf.make_ndarray(official)
    np.testing.assert_array_equal(found, values)
    assert found.shape == values.shape
    theirs = tf.make_tensor_proto(values).SerializeToString()
    np.testing.assert_array_equal(tensors.to_array(messages.TensorProto.FromString(theirs)), values)


def test_missing_values_repeat_the_last_one() -> None:
    tensor = messages.TensorProto(dtype="DT_FLOAT", float_val=[1.0, 2.0])
    tensor.tensor_shape.dim.add(size=4)
    assert tensors.to_array(tensor).tolist() == [1, 2, 2, 2]
    del tensor.float_val[:]
    assert tensors.to_array(tensor).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("dtype", "sizes", "values", "message"),
    [
        ("DT_HALF", [1], {"half_val": [1]}, "data type 19 is not supported"),
        ("DT_INVALID", [1], {}, "data type 0"),
        ("DT_FLOAT", [-1], {"float_val": [1.0]}, "known shape"),
        ("DT_FLOAT", [1], {"float_val": [1.0, 2.0]}, "2 values are no float32 of shape"),
        ("DT_FLOAT", [2], {"tensor_content": b"1234"}, "4 bytes are no float32"),
        ("DT_STRING", [1], {"tensor_content": b"1234"}, "4 bytes are no object"),
        ("DT_STRING", [1], {}, "without values"),
        ("DT_UINT8", [1], {"int_val": [300]}, "300"),
        ("DT_FLOAT", [1 << 20, 1 << 20], {}, "more than 268435456 values"),
        ("DT_FLOAT", [0, 1 << 62, 1 << 62], {"float_val": [1.0]}, "1 values"),
    ],
)  # fmt: skip
def test_invalid_tensors_are_refused(
    dtype: str, sizes: list[int], values: dict[str, Any], message: str
) -> None:
    tensor = messages.TensorProto(dtype=dtype, **values)
    for size in sizes:
        tensor.tensor_shape.dim.add(size=size)
    with pytest.raises(ValueError, match=message):
        tensors.to_array(tensor)


def test_half_precision_cannot_be_sent() -> None:
    with pytest.raises(ValueError, match="float16 cannot be sent"):
        tensors.to_tensor(np.zeros(2, np.float16))


def test_tensorflow_is_not_needed() -> None:
    code = """
import sys
from bladerunner_ae.protocol import messages, tensors
assert not [name for name in sys.modules if name.startswith(("tensorflow", "keras"))]
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


_OFFICIAL = """
import sys
from google.protobuf import descriptor_pb2
from tensorflow_serving.apis import (get_model_metadata_pb2, get_model_status_pb2, model_pb2,
                                     predict_pb2, prediction_log_pb2)
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow.core.framework import tensor_pb2, types_pb2
from tensorflow.core.protobuf import error_codes_pb2
from bladerunner_ae.protocol import messages, tensors

official = {}
def collect(descriptor):
    official[descriptor.full_name] = descriptor
    for nested in descriptor.nested_types:
        collect(nested)
modules = (get_model_metadata_pb2, get_model_status_pb2, model_pb2, predict_pb2,
           prediction_log_pb2, meta_graph_pb2, tensor_pb2)
from tensorflow.core.framework import tensor_shape_pb2
from tensorflow_serving.apis import status_pb2
for module in (*modules, tensor_shape_pb2, status_pb2):
    for descriptor in module.DESCRIPTOR.message_types_by_name.values():
        collect(descriptor)

def facts(field):
    kind = field.message_type or field.enum_type
    return (field.number, field.type, field.is_repeated, kind and kind.full_name,
            field.containing_oneof is not None)

def check(descriptor):
    theirs = official[descriptor.full_name].fields_by_name
    for field in descriptor.fields:
        assert facts(field) == facts(theirs[field.name]), (field.full_name, facts(field))
    for nested in descriptor.nested_types:
        check(nested)

find = messages.POOL.FindMessageTypeByName
checked = [name for package in ("tensorflow", "tensorflow.serving")
           for name in messages.MESSAGES[package] if not check(find(f"{package}.{name}"))]
for package, name, enum in (("tensorflow", "DataType", types_pb2.DataType),
                            ("tensorflow.error", "Code", error_codes_pb2.Code)):
    for key, number in messages.ENUMS[package][name].items():
        assert enum.Value(key) == number, key
golden = {predict_pb2.PredictRequest: sys.argv[1], predict_pb2.PredictResponse: sys.argv[2]}
for kind, text in golden.items():
    message = kind.FromString(bytes.fromhex(text))
    assert message.SerializeToString().hex() == text and message.model_spec.version.value == 3
print(len(checked))
"""


@pytest.mark.slow
def test_declarations_equal_the_official_package(tmp_path: Path) -> None:
    """Field by field, in an environment of its own: the package wants another TensorFlow."""
    folder = tmp_path / "api"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps",
               f"--target={folder}", "tensorflow-serving-api"]  # fmt: skip
    subprocess.run(command, check=True)
    done = subprocess.run(
        [sys.executable, "-c", _OFFICIAL, REQUEST.hex(), RESPONSE.hex()],
        env={**environment(), "PYTHONPATH": f"{ROOT}:{folder}"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 17
