"""TensorBoard's event files of a run, with unbroken curves over restarts.

TensorFlow (2.16 to 2.21 at least) has no public way to write a `SessionLog`, so the first event
goes to the writer's private `_resource`.
"""

import struct
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.plugins.image.metadata import create_summary_metadata

from tfrecords.storage import Location

FOLDER = "tensorboard"
"""In the run folder; holds event files and what the projector reads."""


class Summaries:
    """Writes event files to RUN/tensorboard.

    The first event of every start says at which step it begins. TensorBoard then drops what an
    interrupted run had written beyond the checkpoint that this one resumes from, as metrics.jsonl
    does, so that no curve runs back over itself. `in_pieces` begins another file with every
    checkpoint, because the folder is sent then.
    """

    def __init__(self, run: Location, start: int, in_pieces: bool = False) -> None:
        self._folder = run / FOLDER
        self._local = isinstance(run, Path)
        self._in_pieces = in_pieces or not self._local
        self._open()
        # What was written at the step resumed from stays; a new run has nothing to keep.
        first = start + 1 if start else 0
        log = SessionLog(status=SessionLog.START)
        event = Event(wall_time=time.time(), step=first, session_log=log)
        tf.raw_ops.ImportEvent(writer=self._writer._resource, event=event.SerializeToString())
        self.flush()

    def _open(self) -> None:
        self._writer = tf.summary.create_file_writer(str(self._folder))

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Add a point to each curve; a local disk has it at once."""
        with self._writer.as_default(step=step):
            for name, value in values.items():
                tf.summary.scalar(name, value)
        if self._local:
            self.flush()

    def picture(self, name: str, png: bytes, step: int) -> None:
        """Add a PNG file's content; the encoder of `tf.summary.image` is five times slower."""
        width, height = struct.unpack(">II", png[16:24])
        with self._writer.as_default(step=step):
            tf.summary.write(
                name,
                [str(width).encode(), str(height).encode(), png],
                metadata=create_summary_metadata(display_name=None, description=None),
            )

    def histogram(self, name: str, values: NDArray[np.float32], step: int) -> None:
        """Add a distribution, without numbers that are not finite."""
        finite = values[np.isfinite(values)]
        if finite.size:
            with self._writer.as_default(step=step):
                tf.summary.histogram(name, finite)

    def text(self, name: str, markdown: str, step: int) -> None:
        with self._writer.as_default(step=step):
            tf.summary.text(name, markdown)

    def graph(self, graph: tf.Graph) -> None:
        with self._writer.as_default(step=0):
            tf.summary.graph(graph)

    def raw(self, summary: bytes, step: int) -> None:
        """Add a serialized Summary of one of TensorBoard's plugins."""
        with self._writer.as_default(step=step):
            tf.summary.experimental.write_raw_pb(summary, step=step)

    def flush(self) -> None:
        self._writer.flush()

    def synchronise(self) -> None:
        """Complete the file of a folder that is sent now."""
        if self._in_pieces:
            # An events file that grows would be sent whole at every flush: begin another.
            self._writer.close()
            self._open()

    def close(self) -> None:
        """Write the rest; nothing can be added after."""
        self._writer.close()
