"""One SavedModel in a session: what it offers, and running it.

It is loaded as TensorFlow Serving loads it, into a `Session` by its tags, not as Python objects:
errors of a graph then read the same, a closed session gives its memory back at once, and a call
takes somewhat less time than one of a function from `tf.saved_model.load`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorflow.core.protobuf.config_pb2 import CallableOptions

from bladerunner_ae.server.statuses import Code, ServingError, invalid
from tfrecords.storage import Location

Arrays = dict[str, NDArray[Any]]
PREDICT = "tensorflow/serving/predict"
CLASSIFY = "tensorflow/serving/classify"
REGRESS = "tensorflow/serving/regress"
_INIT_OPERATION = "__saved_model_init_op"


@dataclass(frozen=True)
class Signature:
    """One door of a SavedModel.

    Attributes:
        name: as clients call it.
        inputs: DataType of each input.
        outputs: DataType of each output.
        definition: the `SignatureDef`.
    """

    name: str
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]
    definition: Any


class SavedModel:
    """A SavedModel that can be run; see `load`. Any thread may run it.

    Attributes:
        folder: where it lies.
        signatures: all that it offers, by name.
    """

    def __init__(self, folder: Location, session: Any, definitions: Mapping[str, Any]) -> None:
        self.folder = folder
        self._session = session
        self._callables: dict[str, Any] = {}
        self._lock = threading.Lock()
        self.signatures = {
            name: Signature(
                name,
                {alias: info.dtype for alias, info in sorted(definition.inputs.items())},
                {alias: info.dtype for alias, info in sorted(definition.outputs.items())},
                definition,
            )
            for name, definition in definitions.items()
        }

    def run(self, signature: Signature, inputs: Arrays) -> Arrays:
        """Runs a signature.

        Args:
            signature: one of `signatures`.
            inputs: an array for each of its inputs.

        Returns:
            An array for each of its outputs.

        Raises:
            tf.errors.OpError: the graph cannot do it, with a code and a message.
            ServingError: it is no signature that can be run.
        """
        found = self._callable(signature)(*(inputs[alias] for alias in signature.inputs))
        return dict(zip(signature.outputs, found, strict=True))

    def _callable(self, signature: Signature) -> Any:
        if (found := self._callables.get(signature.name)) is not None:
            return found
        if signature.name == _INIT_OPERATION or not signature.outputs:
            raise invalid(f'Serving signature "{signature.name}" has no outputs')
        wanted = CallableOptions()
        wanted.feed.extend(signature.definition.inputs[a].name for a in signature.inputs)
        wanted.fetch.extend(signature.definition.outputs[a].name for a in signature.outputs)
        with self._lock:
            # `Session.make_callable` would check shapes in Python, with words of its own.
            made = self._session._make_callable_from_options(wanted)
            return self._callables.setdefault(signature.name, made)

    def close(self) -> None:
        """Gives the memory back; nothing may be running."""
        self._callables.clear()
        self._session.close()


def load(folder: Location) -> SavedModel:
    """Loads the SavedModel of a folder, for serving.

    Raises:
        ServingError: it cannot be loaded; the message is one line.
    """
    session = None
    try:
        graph = tf.Graph()
        with graph.as_default(), _without_advice():
            config = tf.compat.v1.ConfigProto()
            config.gpu_options.allow_growth = True  # training may want the GPU beside us
            session = tf.compat.v1.Session(graph=graph, config=config)
            meta_graph = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
    except Exception as error:  # TensorFlow raises almost anything for a damaged file
        if session is not None:
            session.close()
        raise ServingError(_code(error), first_line(error)) from error
    return SavedModel(folder, session, meta_graph.signature_def)


def first_line(error: Exception) -> str:
    """The first line of an error that says something, not too long."""
    text = getattr(error, "message", None) or str(error)
    text = text.removeprefix("Graph execution error:")  # TensorFlow's headline; the cause follows
    lines = text.strip().splitlines() or [type(error).__name__]
    return lines[0][:300].rstrip(".: ")


def _code(error: Exception) -> Code:
    number = getattr(error, "error_code", None)
    return Code(number) if isinstance(number, int) and 0 < number <= 16 else Code.UNKNOWN


@contextmanager
def _without_advice() -> Iterator[None]:
    """Holds back the advice to load with version 2 of the API."""
    logger = logging.getLogger("tensorflow")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def rows(inputs: Arrays) -> int | None:
    """The size of a batch: what all inputs have as first dimension; None if there is no such."""
    sizes = {array.shape[0] if array.ndim else None for array in inputs.values()}
    return sizes.pop() if len(sizes) == 1 else None


def join(parts: list[Arrays]) -> Arrays:
    """Batches behind each other, as one."""
    return {alias: np.concatenate([part[alias] for part in parts]) for alias in parts[0]}
