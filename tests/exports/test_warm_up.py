"""Warm-up requests: one for each signature and batch size, and exports that fail them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from bladerunner_ae.errors import OutputError
from bladerunner_ae.exports import saved_models, warm_up
from bladerunner_ae.exports.export_folders import MODELS
from bladerunner_ae.exports.signatures import Signature, make_signatures
from bladerunner_ae.protocol import messages, tensors
from tests.exports.test_saved_models import CARD
from tests.exports.test_signatures import SIGNATURES
from tests.helpers.serving_configs import read_config
from tests.helpers.tiny_exports import small_networks
from tfrecords.record_errors import RecordsError


@pytest.mark.parametrize("model", MODELS)
def test_every_signature_has_a_request_of_each_batch_size(tiny_export: Path, model: str) -> None:
    requests = warm_up.load_requests(tiny_export / model / "1")
    assert {request.model_spec.name for request in requests} == {model}
    asked = sorted(
        (request.model_spec.signature_name, len(tensors.to_array(tensor)))
        for request in requests
        for tensor in request.inputs.values()
    )
    names = [name for owner, name in SIGNATURES if owner == model]
    assert asked == sorted((name, size) for name in names for size in (1, 8, 32))
    for request in requests:
        wanted = SIGNATURES[model, request.model_spec.signature_name][0]
        for name, (dtype, shape) in wanted.items():
            values = tensors.to_array(request.inputs[name])
            assert tf.as_dtype(values.dtype) == dtype and values.shape[1:] == shape[1:]
            assert dtype == tf.string or (values == values.flat[0]).all()


def test_the_file_is_what_tensorflow_serving_reads(tiny_export: Path) -> None:
    """At most 1000 records, each a `PredictionLog`; small, as they hold one value for all."""
    path = tiny_export / "autoencoder" / "1" / warm_up.FILE_NAME
    records = [record.numpy() for record in tf.data.TFRecordDataset(str(path))]
    assert len(records) == 9 and path.stat().st_size < 10_000
    for record in records:
        log = messages.PredictionLog.FromString(record)
        assert log.WhichOneof("choice") == "predict_log"
        assert log.predict_log.request.model_spec.signature_name


def test_the_batching_file_has_the_same_batch_sizes() -> None:
    config = read_config("batching.config", "BatchingParameters")
    assert tuple(config.allowed_batch_sizes) == warm_up.BATCH_SIZES
    assert config.max_batch_size.value == warm_up.BATCH_SIZES[-1]
    assert list(warm_up.BATCH_SIZES) == sorted(set(warm_up.BATCH_SIZES))


def test_an_export_answers_its_own_requests(tiny_export: Path) -> None:
    assert warm_up.replay(tiny_export / "decoder" / "1") == 5 * 3


def write_model(folder: Path, function: Any, spec: tf.TensorSpec) -> Signature:
    """Save a model of one signature, f, with its warm-up requests."""
    module = tf.Module()
    module.f = tf.function(function, input_signature=[spec])
    tf.saved_model.save(module, str(folder), signatures={"f": module.f})
    signature = Signature(("f",), {"x": spec}, {}, function, "")
    warm_up.write_warmup(folder, "model", [signature])
    return signature


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: {"y": tf.reduce_sum(x, keepdims=True)}, r"returns y float32 of shape \(1,\)"),
        (lambda x: {"y": tf.cast(x, tf.bfloat16)}, "returns y bfloat16"),
        (lambda x: {"y": tf.cast(x, tf.float16)}, "returns y float16"),
    ],
)
def test_outputs_that_no_server_could_batch_are_refused(
    tmp_path: Path, function: Any, message: str
) -> None:
    write_model(tmp_path / "1", function, tf.TensorSpec((None,), tf.float32, name="x"))
    with pytest.raises(OutputError, match=rf"signature 'f' {message}"):
        warm_up.replay(tmp_path / "1")


def test_requests_of_another_model_are_refused(tmp_path: Path) -> None:
    spec = tf.TensorSpec((None,), tf.float32, name="x")
    write_model(tmp_path / "1", lambda x: {"y": x}, spec)
    other = Signature(("f",), {"z": spec}, {}, lambda z: {}, "")
    warm_up.write_warmup(tmp_path / "1", "model", [other])
    with pytest.raises(OutputError, match="does not fit signature 'f'"):
        warm_up.replay(tmp_path / "1")


def test_a_damaged_file_is_refused(tiny_export: Path, tmp_path: Path) -> None:
    folder = tmp_path / "1"
    shutil.copytree(tiny_export / "encoder" / "1", folder)
    data = np.fromfile(folder / warm_up.FILE_NAME, np.uint8)
    data[40] ^= 1
    data.tofile(folder / warm_up.FILE_NAME)
    with pytest.raises(RecordsError, match=f"{folder / warm_up.FILE_NAME}: record 0 .* is damaged"):
        warm_up.replay(folder)


@pytest.mark.slow
def test_an_export_that_fails_its_requests_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server would refuse it too, after it has unloaded the version before."""

    def broken(*arguments: Any) -> dict[str, list[Signature]]:
        signatures = make_signatures(small_networks())
        (decode,) = [s for s in signatures["decoder"] if s.names == ("decode",)]
        flat = Signature(
            decode.names, decode.inputs, decode.outputs,
            lambda latent: {"image": decode.function(latent)["image"][:1]}, decode.doc,
        )  # fmt: skip
        return {name: [flat] if name == "decoder" else found[:1] for name, found in
                signatures.items()}  # fmt: skip

    monkeypatch.setattr(saved_models, "make_signatures", broken)
    with pytest.raises(OutputError, match="signature 'decode' returns image uint8 of shape"):
        saved_models.export_models(small_networks(), CARD, tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
