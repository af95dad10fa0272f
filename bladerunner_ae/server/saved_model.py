"""SavedModel in a session: its signatures, running them, its warm-up requests.

It is loaded into a `Session` by its tags, not as Python objects: a closed session frees its memory
at once, and a run ends when its time is up, unlike a function of `tf.saved_model.load`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.python.client import pywrap_tf_session

from bladerunner_ae.protocol import messages, tensors
from bladerunner_ae.server.serving_errors import Code, ServingError, invalid
from tfrecords import local_copies, storage
from tfrecords.framing import read_records
from tfrecords.record_errors import DamagedError
from tfrecords.storage import Location
from tfrecords.wording import first_line

Arrays = dict[str, NDArray[Any]]
PREDICT = "tensorflow/serving/predict"
CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"
_INIT_OPERATION = "__saved_model_init_op"
REQUESTS, PICTURES = 0, 1
"""Threads within TensorFlow: as many as there are cores, and a single one, for all models."""


@dataclass(frozen=True)
class Signature:
    """Signature of a SavedModel, with the DataType of each input and output."""

    name: str
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]
    definition: Any


class SavedModel:
    """Loaded SavedModel; see `load`. Any thread may run it."""

    def __init__(self, folder: Location, session: Any, definitions: Mapping[str, Any]) -> None:
        self.folder = folder
        self._session = session
        self._ends_of: dict[str, tuple[dict[str, Any], list[Any]]] = {}
        self.signatures = {
            name: Signature(
                name,
                {alias: info.dtype for alias, info in sorted(definition.inputs.items())},
                {alias: info.dtype for alias, info in sorted(definition.outputs.items())},
                definition,
            )
            for name, definition in definitions.items()
        }

    def run(
        self,
        signature: Signature,
        inputs: Arrays,
        seconds: float = math.inf,
        threads: int = REQUESTS,
    ) -> Arrays:
        """Run a signature, on TensorFlow's threads for `REQUESTS` or `PICTURES`.

        After so many seconds no further operation of the graph is begun. Raises tf.errors.OpError
        if the graph cannot do it, ServingError if the signature has no outputs.
        """
        feeds, fetches = self._ends(signature)
        options = tf.compat.v1.RunOptions(inter_op_thread_pool=threads)
        if seconds < math.inf:
            options.timeout_in_ms = max(int(seconds * 1000), 1)
        # `Session.run` would check shapes in Python, and fail without TensorFlow's codes.
        with _buffer(options) as buffer:
            found = self._session._call_tf_sessionrun(
                buffer, {feeds[alias]: inputs[alias] for alias in feeds}, fetches, [], None
            )
        return dict(zip(signature.outputs, found, strict=True))

    def _ends(self, signature: Signature) -> tuple[dict[str, Any], list[Any]]:
        """Return the graph's ends of a signature: of its inputs by name, and of its outputs."""
        if (found := self._ends_of.get(signature.name)) is not None:
            return found
        if signature.name == _INIT_OPERATION or not signature.outputs:
            raise invalid(f'Signature "{signature.name}" has no outputs')

        def end(info: Any) -> Any:
            return self._session.graph.get_tensor_by_name(info.name)._as_tf_output()

        definition = signature.definition
        return self._ends_of.setdefault(
            signature.name,
            (
                {alias: end(definition.inputs[alias]) for alias in signature.inputs},
                [end(definition.outputs[alias]) for alias in signature.outputs],
            ),
        )

    def close(self) -> None:
        """Free the memory; nothing may be running."""
        self._ends_of.clear()
        self._session.close()


def load(folder: Location) -> SavedModel:
    """Load a SavedModel for serving; ServingError, in one line, if that fails."""
    session = None
    try:
        graph = tf.Graph()
        with graph.as_default(), _without_advice():
            config = tf.compat.v1.ConfigProto()
            config.gpu_options.allow_growth = True  # training may want the GPU as well
            config.session_inter_op_thread_pool.add(global_name="requests")
            config.session_inter_op_thread_pool.add(global_name="pictures", num_threads=1)
            session = tf.compat.v1.Session(graph=graph, config=config)
            path = str(local_copies.local_folder(folder))
            meta_graph = tf.compat.v1.saved_model.load(session, ["serve"], path)
    except Exception as error:  # TensorFlow raises almost anything for a damaged file
        if session is not None:
            session.close()
        raise ServingError(_code(error), first_line(error, 300)) from error
    return SavedModel(folder, session, meta_graph.signature_def)


def _code(error: Exception) -> Code:
    number = getattr(error, "error_code", None)
    return Code(number) if isinstance(number, int) and 0 < number <= 16 else Code.UNKNOWN


@contextmanager
def _without_advice() -> Iterator[None]:
    logger = logging.getLogger("tensorflow")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _buffer(message: Any) -> Iterator[Any]:
    """Yield a message as the session takes it."""
    buffer = pywrap_tf_session.TF_NewBufferFromString(message.SerializeToString())
    try:
        yield buffer
    finally:
        pywrap_tf_session.TF_DeleteBuffer(buffer)


def rows(inputs: Arrays) -> int | None:
    """Return the size of the batch, the first dimension of all inputs; None if they differ."""
    sizes = {array.shape[0] if array.ndim else None for array in inputs.values()}
    return sizes.pop() if len(sizes) == 1 else None


def join(parts: list[Arrays]) -> Arrays:
    return {alias: np.concatenate([part[alias] for part in parts]) for alias in parts[0]}


def check_shapes(signature: Signature, inputs: Arrays) -> None:
    """Raise ServingError if an input does not have the shape that the signature gives it.

    The graph would refuse it too, with the names of its own nodes. An input of another dtype is
    left to the graph, which names both dtypes.
    """
    for alias, array in inputs.items():
        definition = signature.definition.inputs[alias]
        expected = definition.tensor_shape
        if expected.unknown_rank or tf.as_dtype(array.dtype) != tf.as_dtype(definition.dtype):
            continue
        sizes = [dim.size for dim in expected.dim]
        fits = len(sizes) == array.ndim and all(
            wanted in (-1, size) for wanted, size in zip(sizes, array.shape, strict=True)
        )
        if not fits:
            takes = ", ".join("?" if size < 0 else str(size) for size in sizes)
            raise invalid(
                f'Input "{alias}" of signature "{signature.name}" has the shape '
                f"{list(array.shape)}, expected is [{takes}]"
            )


WARM_UP_REQUESTS = "assets.extra/tf_serving_warmup_requests"
_MOST = 1000


def warm_up(model: SavedModel, most_values: int) -> int:
    """Run the warm-up requests of a model; return their number.

    No tensor may have more than `most_values`. Raises ServingError if a request cannot be read, or
    the model does not take it, tf.errors.OpError if the graph failed.
    """
    path = model.folder / WARM_UP_REQUESTS
    if not storage.is_file(path):
        return 0
    count = 0
    try:
        for record in read_records(path):
            count += 1
            if count > _MOST:
                raise invalid(f"{path}: has more than {_MOST} warm-up requests")
            _replay(model, messages.PredictionLog.FromString(record), most_values)
    except DamagedError as error:
        problem = f"{error.path}: {error.problem}"  # without the fix, that for a film's records
        raise ServingError(Code.DATA_LOSS, f"{problem}; export again") from error
    return count


def _replay(model: SavedModel, log: Any, most_values: int) -> None:
    request = log.predict_log.request
    name = request.model_spec.signature_name or "serving_default"
    signature = model.signatures.get(name)
    if signature is None:
        raise ServingError(Code.FAILED_PRECONDITION, f'The model has no signature "{name}"')
    if set(request.inputs) != set(signature.inputs):
        raise invalid(f"a warm-up request for {name} has other inputs than it takes")
    inputs = {
        alias: tensors.to_array(tensor, most_values) for alias, tensor in request.inputs.items()
    }
    check_shapes(signature, inputs)
    model.run(signature, inputs)
