"""The use of an export by TensorFlow Serving, without the server.

It loads the graph into a session, without our code; feeds and fetches the tensors that each
signature names; batches requests; and writes the outputs as JSON.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from bladerunner_ae.exports.export_folders import MODELS
from bladerunner_ae.protocol import messages
from tests.exports.test_signatures import SIGNATURES, call, inputs_for
from tests.helpers.commands import ROOT, environment
from tests.helpers.serving_configs import read_config
from tests.helpers.tiny_exports import LATENT
from tests.helpers.tiny_training import HEIGHT, WIDTH


@pytest.mark.parametrize("model", MODELS)
def test_a_session_loads_and_runs_every_signature(tiny_export: Path, model: str) -> None:
    """The server's own path; results are those of `tf.saved_model.load`."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        folder = str(tiny_export / model / "1")
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], folder)
        signatures = {
            name: definition
            for name, definition in loaded.signature_def.items()
            if definition.method_name == messages.PREDICT_METHOD
        }
        assert set(signatures) == {name for owner, name in SIGNATURES if owner == model}
        answers = {}
        for name, definition in signatures.items():
            given = inputs_for(model, name, 4)
            feed = {definition.inputs[key].name: values for key, values in given.items()}
            fetch = {key: info.name for key, info in definition.outputs.items()}
            answers[name] = session.run(fetch, feed)
    for name, answer in answers.items():
        eager = call(tiny_export, model, name, **inputs_for(model, name, 4))
        assert answer.keys() == eager.keys()
        for key, values in answer.items():
            assert len(values) == 4
            if values.dtype != object:
                np.testing.assert_allclose(values, eager[key], atol=1 + 1e-4 * (values.ndim == 2))


@pytest.mark.parametrize("model", MODELS)
def test_the_graph_needs_tensorflow_alone(tiny_export: Path, model: str) -> None:
    """It has no Python, and nothing that JSON or a batching server could not handle."""
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        folder = str(tiny_export / model / "1")
        meta = tf.compat.v1.saved_model.load(session, ["serve"], folder)
    functions = meta.graph_def.library.function
    operations = {node.op for function in functions for node in function.node_def}
    assert {"Conv2D", "Conv2DBackpropInput"} & operations
    assert not {op for op in operations if "PyFunc" in op or op.startswith("Custom")}
    for name in {name for owner, name in SIGNATURES if owner == model}:
        definition = meta.signature_def[name]
        for infos in (definition.inputs, definition.outputs):
            for key, info in infos.items():
                sizes = [dim.size for dim in info.tensor_shape.dim]
                assert sizes[0] == -1 and min(sizes[1:], default=1) > 0, "only the batch varies"
                kind = tf.as_dtype(info.dtype)
                assert kind in (tf.float32, tf.uint8, tf.int64, tf.string)
                assert (kind == tf.string) == key.endswith("_bytes"), "base64 or plain in JSON"


def to_json(values: Any) -> Any:
    """Return a tensor as the server's JSON writer does."""
    if values.dtype == object:
        return [{"b64": base64.b64encode(value).decode()} for value in values]
    return [to_json(row) for row in values] if values.ndim else values.item()


def from_json(value: Any) -> Any:
    if isinstance(value, dict):
        return base64.b64decode(value["b64"])
    return [from_json(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(("model", "signature"), SIGNATURES)
def test_json_keeps_every_tensor_exact(tiny_export: Path, model: str, signature: str) -> None:
    given = inputs_for(model, signature, 2)
    if "seed" in given:
        given["seed"] = np.array([5, 2**53 - 1])  # beyond that, a client's JSON may round
    sent = json.loads(json.dumps({name: to_json(values) for name, values in given.items()}))
    received = {
        name: np.array(from_json(values), object if name.endswith("_bytes") else given[name].dtype)
        for name, values in sent.items()
    }
    straight = call(tiny_export, model, signature, **given)
    over_json = call(tiny_export, model, signature, **received)
    for name, values in straight.items():
        np.testing.assert_array_equal(over_json[name], values)
        answer = from_json(json.loads(json.dumps(to_json(values))))
        np.testing.assert_array_equal(np.array(answer, values.dtype), values)


def test_a_process_without_our_code_can_use_them(tiny_export: Path) -> None:
    code = f"""
import sys
sys.modules["bladerunner_ae"] = sys.modules["tfrecords"] = None  # importing them would fail
sys.modules["keras"] = None
import tensorflow as tf
models = {{name: tf.saved_model.load({str(tiny_export)!r} + "/" + name + "/1").signatures
          for name in {MODELS!r}}}
image = tf.fill([5, {HEIGHT}, {WIDTH}, 3], tf.constant(90, tf.uint8))
given = {{"image": image, "latent": models["encoder"]["encode"](image=image)["latent"],
         "seed": tf.range(5, dtype=tf.int64)}}
given["image_bytes"] = models["decoder"]["serving_default"](latent=given["latent"])["image_bytes"]
for name, signatures in models.items():
    for signature, function in sorted(signatures.items()):
        (key,) = function.structured_input_signature[1]
        answers = function(**{{key: given[key]}})
        print(name, signature, *(f"{{k}} {{v.shape}}" for k, v in sorted(answers.items())))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tiny_export, env=environment(), capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    wanted = {
        " ".join([model, name, *(f"{key} {(5, *shape[1:])}" for key, (_, shape) in outs.items())])
        for (model, name), (_, outs) in SIGNATURES.items()
    }
    assert set(done.stdout.splitlines()) == wanted


def cli(*arguments: str) -> str:
    """Run TensorFlow's `saved_model_cli`; return its output."""
    tool = [sys.executable, "-m", "tensorflow.python.tools.saved_model_cli"]
    done = subprocess.run([*tool, *arguments], env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_saved_model_cli_shows_them(tiny_export: Path) -> None:
    shown = cli("show", f"--dir={tiny_export / 'decoder' / '1'}", "--tag_set=serve",
                "--signature_def=sample")  # fmt: skip
    lines = [line.strip() for line in shown.splitlines()]
    for line in (
        "inputs['seed'] tensor_info:", "dtype: DT_INT64", "shape: (-1)",
        "outputs['image'] tensor_info:", "dtype: DT_UINT8", f"shape: (-1, {HEIGHT}, {WIDTH}, 3)",
        "Method name is: tensorflow/serving/predict",
    ):  # fmt: skip
        assert line in lines


@pytest.mark.slow
def test_saved_model_cli_runs_them(tiny_export: Path, tmp_path: Path) -> None:
    ones = np.ones((3, LATENT), np.float32)
    np.save(tmp_path / "latent.npy", ones)
    folder = str(tiny_export / "decoder" / "1")
    shown = cli("show", f"--dir={folder}", "--all")
    for name in (name for owner, name in SIGNATURES if owner == "decoder"):
        assert f"signature_def['{name}']" in shown
    cli("run", f"--dir={folder}", "--tag_set=serve", "--signature_def=decode",
        f"--inputs=latent={tmp_path / 'latent.npy'}", f"--outdir={tmp_path}")  # fmt: skip
    image = call(tiny_export, "decoder", "decode", latent=ones)["image"]
    assert np.abs(np.load(tmp_path / "image.npy").astype(int) - image).max() <= 1


def test_the_configs_serve_the_three_models() -> None:
    models = read_config("models.config", "ModelServerConfig").model_config_list.config
    assert {model.name: model.base_path for model in models} == {
        name: f"/models/{name}" for name in MODELS
    }
    assert {model.model_platform for model in models} == {"tensorflow"}
    assert {model.model_version_policy.latest.num_versions for model in models} == {1}
    prometheus = read_config("monitoring.config", "MonitoringConfig").prometheus_config
    assert prometheus.enable and prometheus.path == "/monitoring/prometheus/metrics"
    scraped = (ROOT / "serving" / "prometheus.yml").read_text("utf-8")
    assert f"metrics_path: {prometheus.path}" in scraped


_COMPOSE = """
import json, sys, yaml
print(json.dumps([yaml.safe_load(open(path)) for path in sys.argv[1:]]))
"""

_OFFICIAL = """
import sys
from google.protobuf import text_format
from tensorflow_serving.config import model_server_config_pb2
config = text_format.Parse(open(sys.argv[1]).read(), model_server_config_pb2.ModelServerConfig())
print(*[model.name for model in config.model_config_list.config])
"""


def install(folder: Path, *packages: str) -> dict[str, str]:
    """Install packages without dependencies into a folder; return an environment to use them."""
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", f"--target={folder}"]
    subprocess.run([*pip, *packages], check=True)
    return {**environment(), "PYTHONPATH": str(folder)}


@pytest.mark.slow
def test_the_compose_file_refers_to_what_exists(tmp_path: Path) -> None:
    packages = install(tmp_path / "packages", "pyyaml")
    serving = ROOT / "serving"
    files = [str(serving / "docker-compose.yml"), str(serving / "prometheus.yml")]
    out = subprocess.run([sys.executable, "-c", _COMPOSE, *files], env=packages, check=True,
                         capture_output=True, text=True).stdout  # fmt: skip
    compose, prometheus = json.loads(out)
    server, watcher = compose["services"]["serving"], compose["services"]["prometheus"]
    mounted = dict(volume.removesuffix(":ro").rsplit(":", 1) for volume in server["volumes"])
    inside = {target for source, target in mounted.items() if source.startswith("./")}
    flags = dict(flag.removeprefix("--").split("=") for flag in server["command"])
    assert {value for value in flags.values() if value.startswith("/config/")} == inside
    for source in mounted:
        assert not source.startswith("./") or (serving / source).is_file()
    assert mounted["${EXPORT:?set EXPORT to the absolute path of RUN/export}"] == "/models"
    ports = [*server["ports"], *watcher["ports"]]
    assert ports and all(port.startswith("127.0.0.1:") for port in ports)
    (job,) = prometheus["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["serving:8501"]}], "the service's name and port"
    assert flags["monitoring_config_file"] == "/config/monitoring.config"
    assert watcher["depends_on"] == ["serving"]


@pytest.mark.slow
def test_the_official_messages_read_the_models_file(tmp_path: Path) -> None:
    packages = install(tmp_path / "packages", "tensorflow-serving-api")
    command = [sys.executable, "-c", _OFFICIAL, str(ROOT / "serving" / "models.config")]
    done = subprocess.run(command, env=packages, capture_output=True, text=True)
    assert done.stdout.split() == ["decoder", "encoder", "autoencoder"], done.stderr
