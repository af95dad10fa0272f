"""TensorFlow Serving's own client package against our server, in a throw-away environment.

It requires all of `tensorflow`, so it is installed without dependencies next to the packages of
this environment.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.commands import ROOT, environment
from tests.helpers.running_server import running_server
from tests.helpers.small_model import save_model

_PROGRAM = """
import json, sys
import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    classification_pb2, get_model_metadata_pb2, get_model_status_pb2, model_service_pb2_grpc,
    predict_pb2, prediction_service_pb2_grpc,
)

channel = grpc.insecure_channel(sys.argv[1])
service = prediction_service_pb2_grpc.PredictionServiceStub(channel)
models = model_service_pb2_grpc.ModelServiceStub(channel)
found = {}

request = predict_pb2.PredictRequest()
request.model_spec.name = "small"
request.inputs["latent"].CopyFrom(tf.make_tensor_proto(np.eye(3, dtype=np.float32)))
answer = service.Predict(request, timeout=30)
found["scaled"] = tf.make_ndarray(answer.outputs["scaled"]).tolist()
found["float_val"] = list(answer.outputs["scaled"].float_val)
found["spec"] = [answer.model_spec.name, answer.model_spec.version.value,
                 answer.model_spec.signature_name]

request = predict_pb2.PredictRequest()
request.model_spec.name = "small"
request.model_spec.signature_name = "kinds"
request.model_spec.version.value = 1
image = np.arange(2 * 30 * 40 * 3).reshape(2, 30, 40, 3).astype(np.uint8)
request.inputs["image"].CopyFrom(tf.make_tensor_proto(image))
request.inputs["seed"].CopyFrom(tf.make_tensor_proto(np.array([1, 2**62])))
request.inputs["flag"].CopyFrom(tf.make_tensor_proto(np.array([True, False])))
request.output_filter.extend(["image", "seed"])
answer = service.Predict(request, timeout=30)
found["kinds"] = sorted(answer.outputs)
found["image"] = bool((tf.make_ndarray(answer.outputs["image"]) == image).all())
found["seed"] = tf.make_ndarray(answer.outputs["seed"]).tolist()

metadata = get_model_metadata_pb2.GetModelMetadataRequest()
metadata.model_spec.name = "small"
metadata.metadata_field.append("signature_def")
answer = service.GetModelMetadata(metadata, timeout=30)
signatures = get_model_metadata_pb2.SignatureDefMap()
assert answer.metadata["signature_def"].Unpack(signatures)
signature = signatures.signature_def["mix"]
found["mix"] = [sorted(signature.inputs), sorted(signature.outputs), signature.method_name,
                signature.inputs["a"].dtype == tf.int32.as_datatype_enum]

status = get_model_status_pb2.GetModelStatusRequest()
status.model_spec.name = "small"
(version,) = models.GetModelStatus(status, timeout=30).model_version_status
found["status"] = [version.version, version.state, version.status.error_code]

def refused(call, request):
    try:
        call(request, timeout=30)
    except grpc.RpcError as error:
        return [error.code().name, error.details()]

request.model_spec.signature_name = "nope"
found["nope"] = refused(service.Predict, request)
request.model_spec.name = "other"
found["other"] = refused(service.Predict, request)
classify = classification_pb2.ClassificationRequest()
classify.model_spec.name = "small"
classify.input.example_list.examples.add().features.feature["x"].float_list.value.append(1)
found["classify"] = refused(service.Classify, classify)
print(json.dumps(found))
"""


def official_environment(folder: Path) -> Path:
    """Make a virtual environment with the official package; return its Python."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
               "--no-deps", "tensorflow-serving-api"]  # fmt: skip
    subprocess.run(install, check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "ours.pth").write_text(sysconfig.get_paths()["purelib"] + "\n", "utf-8")
    return python


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Answers that the official client got from our server."""
    python = official_environment(tmp_path_factory.mktemp("official") / "venv")
    model = tmp_path_factory.mktemp("models") / "small"
    model.mkdir()
    save_model(model, 1)
    with running_server(model, tmp_path_factory.mktemp("server")) as server:
        result = subprocess.run(
            [str(python), "-c", _PROGRAM, server.grpc], cwd=ROOT, env=environment(),
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.slow
def test_predictions(found: dict[str, Any]) -> None:
    assert found["scaled"] == [[2, 0, 0], [0, 2, 0], [0, 0, 2]]
    assert found["float_val"] == [2, 0, 0, 0, 2, 0, 0, 0, 2]
    assert found["spec"] == ["small", 1, "serving_default"]
    assert found["kinds"] == ["image", "seed"] and found["image"] and found["seed"] == [1, 2**62]


@pytest.mark.slow
def test_metadata_and_status(found: dict[str, Any]) -> None:
    assert found["mix"] == [["a", "b"], ["b", "sum"], "tensorflow/serving/predict", True]
    assert found["status"] == [1, 30, 0]


@pytest.mark.slow
def test_refusals(found: dict[str, Any]) -> None:
    assert found["nope"] == ["FAILED_PRECONDITION", 'The model has no signature "nope"']
    assert found["other"] == ["NOT_FOUND", "Model other is not served in version 1"]
    assert found["classify"] == [
        "INVALID_ARGUMENT",
        'Signature "serving_default" is not for classify; use predict',
    ]
