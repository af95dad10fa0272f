"""Warm-up requests, stored with each SavedModel.

TensorFlow prepares a graph when it first runs it, which takes a second or more. TensorFlow Serving
replays assets.extra/tf_serving_warmup_requests while it loads a version, so that no client waits
for that. A request that fails there keeps the version from being served; so an export replays them
as the server does, before it gets its name.

Format: a TFRecord file of `PredictionLog`, at most 1000
(tensorflow.org/tfx/serving/saved_model_warmup).
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from bladerunner_ae.errors import OutputError
from bladerunner_ae.exports.signatures import Signature
from bladerunner_ae.protocol import messages, tensors
from tfrecords.framing import read_records, write_record

FILE_NAME = "assets.extra/tf_serving_warmup_requests"

BATCH_SIZES = (1, 8, 32)
"""Batch sizes of servers, to which requests are padded; as in serving/batching.config."""

_GREY = 128


def write_warmup(folder: Path, name: str, signatures: Sequence[Signature]) -> None:
    """Write one request for each signature and batch size into a SavedModel's folder."""
    (folder / FILE_NAME).parent.mkdir(exist_ok=True)
    with open(folder / FILE_NAME, "wb") as file:
        for signature in signatures:
            for alias in signature.names:
                for size in BATCH_SIZES:
                    request = _request(name, alias, signature, size)
                    log = messages.PredictionLog(predict_log=messages.PredictLog(request=request))
                    write_record(file, log.SerializeToString())


def _request(name: str, alias: str, signature: Signature, size: int) -> Any:
    spec = messages.ModelSpec(name=name, signature_name=alias)
    request = messages.PredictRequest(model_spec=spec)
    for key, wanted in signature.inputs.items():
        shape = [size, *wanted.shape[1:]]
        request.inputs[key].CopyFrom(_filled(wanted.dtype, shape))
    return request


def _filled(dtype: tf.DType, shape: Sequence[int]) -> Any:
    """Return a tensor of equal values, of which the message holds one: a few bytes."""
    tensor = messages.TensorProto()
    if dtype == tf.string:
        grey = np.full((16, 16, 3), _GREY, np.uint8)
        tensor.CopyFrom(tensors.to_tensor(np.array([tf.io.encode_jpeg(grey).numpy()], object)))
    elif dtype == tf.float32:
        tensor.float_val.append(0.0)
    elif dtype == tf.int64:
        tensor.int64_val.append(0)
    else:
        tensor.int_val.append(_GREY)
    tensor.dtype = dtype.as_datatype_enum
    del tensor.tensor_shape.dim[:]
    for size in shape:
        tensor.tensor_shape.dim.add(size=size)
    return tensor


def load_requests(folder: Path) -> list[Any]:
    """Return the `PredictRequest`s of a SavedModel, if any; RecordsError if the file is damaged."""
    if not (folder / FILE_NAME).is_file():
        return []
    logs = map(messages.PredictionLog.FromString, read_records(folder / FILE_NAME))
    return [log.predict_log.request for log in logs]


def replay(folder: Path) -> int:
    """Send a SavedModel its warm-up requests as TensorFlow Serving does; return how many.

    The graph is loaded into a session, its variables are restored, and each request is fed to the
    tensors that its signature names. Raises OutputError if the model returned something else than
    its signature says, tf.errors.OpError if a request failed.
    """
    sent = 0
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        with _silent():
            model = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
        for request in load_requests(folder):
            name = request.model_spec.signature_name
            signature = model.signature_def[name]
            inputs = {key: tensors.to_array(tensor) for key, tensor in request.inputs.items()}
            batch = {len(values) for values in inputs.values()}
            if set(inputs) != set(signature.inputs) or len(batch) != 1:
                raise OutputError(f"{folder}: warm-up request does not fit signature {name!r}")
            _send(session, signature, inputs, f"{folder}: signature {name!r}")
            sent += 1
    return sent


def _send(session: Any, signature: Any, inputs: dict[str, Any], where: str) -> None:
    feed = {signature.inputs[key].name: values for key, values in inputs.items()}
    fetch = {key: info.name for key, info in signature.outputs.items()}
    batch = len(next(iter(inputs.values())))
    for key, values in session.run(fetch, feed).items():
        if len(values) != batch or values.dtype.name in ("float16", "bfloat16"):
            raise OutputError(f"{where} returns {key} {values.dtype} of shape {values.shape}")


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Suppress TensorFlow's advice to load SavedModels in another way than the server does."""
    logger = tf.get_logger()
    before = logger.level
    logger.setLevel("ERROR")
    try:
        yield
    finally:
        logger.setLevel(before)
