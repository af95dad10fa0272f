"""Replays the warm-up requests that lie beside a SavedModel, before it is served.

As in TensorFlow Serving they are `PredictionLog`s in a TFRecord file, and one that fails means that
the model does not get loaded.
"""

from __future__ import annotations

from typing import Any

from bladerunner_ae.protocol import messages as serving_protos
from bladerunner_ae.server.errors import Code, ServingError, invalid
from bladerunner_ae.server.saved_model import SavedModel
from tfrecords import storage
from tfrecords.errors import RecordsError
from tfrecords.framing import read_records

WARM_UP_REQUESTS = "assets.extra/tf_serving_warmup_requests"
_MOST = 1000


def warm_up(model: SavedModel, most_values: int) -> int:
    """Runs the requests that lie beside a model.

    Args:
        model: the model, loaded.
        most_values: the most values that a tensor may have.

    Returns:
        How many there were.

    Raises:
        ServingError: a request cannot be read or is none that the model takes.
        tf.errors.OpError: the graph failed.
    """
    path = model.folder / WARM_UP_REQUESTS
    if not storage.is_file(path):
        return 0
    count = 0
    try:
        for record in read_records(path):
            count += 1
            if count > _MOST:
                raise invalid(f"Number of warmup records exceeds the maximum ({_MOST}) at {path}")
            _replay(model, serving_protos.PredictionLog.FromString(record), most_values)
    except RecordsError as error:
        what = str(error).partition(";")[0]  # its cure is that of a film's records
        raise ServingError(Code.DATA_LOSS, f"{what}; export again") from error
    return count


def _replay(model: SavedModel, log: Any, most_values: int) -> None:
    request = log.predict_log.request
    name = request.model_spec.signature_name or "serving_default"
    signature = model.signatures.get(name)
    if signature is None:
        raise ServingError(Code.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
    if set(request.inputs) != set(signature.inputs):
        raise invalid(f"a warm-up request for {name} has other inputs than it takes")
    inputs = {
        alias: serving_protos.to_array(tensor, most_values)
        for alias, tensor in request.inputs.items()
    }
    model.run(signature, inputs)
