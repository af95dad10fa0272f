"""SavedModels with the signature of an exported autoencoder that need no training.

They return what they get, so that frame numbers survive, or something as simple.
"""

from pathlib import Path
from typing import Any

import tensorflow as tf


def save_autoencoder(folder: Path, raster: tuple[int, int], kind: str = "identity") -> Path:
    """Save a model of (height, width) `raster` into folder/1; return `folder`.

    "identity"; "dim", which gives 70 % of the brightness; "slow", which takes its time for each
    batch.
    """

    def reconstruct(image: Any) -> dict[str, Any]:
        if kind == "dim":
            image = tf.cast(tf.cast(image, tf.float32) * 0.7, tf.uint8)
        if kind == "slow":
            work = tf.ones((600, 600)) * tf.cast(image[0, 0, 0, 0], tf.float32)
            for _ in range(12):
                work = tf.linalg.matmul(work, work) * 1e-3
            image = image + tf.cast(tf.clip_by_value(work[0, 0], 0, 0), tf.uint8)
        return {"reconstruction": image}

    _save(folder / "1", reconstruct, tf.TensorSpec((None, *raster, 3), tf.uint8, name="image"))
    return folder


def save_stranger(folder: Path) -> Path:
    """Save a SavedModel into folder/1 that is no autoencoder; return `folder`."""

    def double(number: Any) -> dict[str, Any]:
        return {"twice": 2 * number}

    _save(folder / "1", double, tf.TensorSpec((None,), tf.float32, name="number"), ("double",))
    return folder


def _save(
    folder: Path,
    function: Any,
    spec: Any,
    names: tuple[str, ...] = ("reconstruct", "serving_default"),
) -> None:
    module = tf.Module()
    module.function = tf.function(function, input_signature=[spec])
    tf.saved_model.save(module, str(folder), signatures=dict.fromkeys(names, module.function))
