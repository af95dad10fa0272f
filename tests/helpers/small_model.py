"""A small SavedModel with many kinds of signatures."""

import shutil
from pathlib import Path
from typing import Any

import tensorflow as tf


def save_model(folder: Path, version: int = 1, factor: float = 2.0) -> Path:
    """Save folder/<version> and return it; `serving_default` multiplies with `factor`."""
    module = tf.Module()
    module.matrix = tf.Variable(factor * tf.eye(3))
    spec = tf.TensorSpec

    @tf.function(input_signature=[spec([None, 3], tf.float32, "latent")])
    def scale(latent: Any) -> dict[str, Any]:
        return {"scaled": tf.matmul(latent, module.matrix)}

    @tf.function(input_signature=[spec([None], tf.int32, "a"), spec([None, 2], tf.float32, "b")])
    def mix(a: Any, b: Any) -> dict[str, Any]:
        return {"sum": tf.cast(a, tf.float32) + b[:, 0], "b": b}

    @tf.function(input_signature=[spec([None], tf.string, "text")])
    def strings(text: Any) -> dict[str, Any]:
        return {"back_bytes": text, "length": tf.strings.length(text), "shout": text + b"!"}

    @tf.function(
        input_signature=[
            spec([None, None, None, 3], tf.uint8, "image"),
            spec([None], tf.int64, "seed"),
            spec([None], tf.bool, "flag"),
        ]
    )
    def kinds(image: Any, seed: Any, flag: Any) -> dict[str, Any]:
        return {"image": image, "seed": seed, "flag": flag}

    @tf.function(input_signature=[spec([None], tf.int32, "turns")])
    def work(turns: Any) -> dict[str, Any]:
        matrix = tf.ones((64, 64)) / 64.0
        result = tf.while_loop(
            lambda turn, _: turn < turns[0],
            lambda turn, found: (turn + 1, tf.matmul(found, matrix)),
            [0, matrix],
        )[1]
        return {"done": tf.cast(result[0, :1] * 64.0, tf.int32) + 0 * turns}

    @tf.function(input_signature=[spec([], tf.float32, "x")])
    def scalar(x: Any) -> dict[str, Any]:
        return {"y": 2.0 * x}

    signatures = {"serving_default": scale, "mix": mix, "strings": strings, "kinds": kinds,
                  "work": work, "scalar": scalar}  # fmt: skip
    partial = folder / f".partial-{version}"
    tf.saved_model.save(module, str(partial), signatures=signatures)
    return partial.rename(folder / str(version))


def copy_version(model: Path, source: int, target: int) -> Path:
    """Publish a copy of a version under another number, by rename as an export does."""
    partial = model / f".partial-{target}"
    shutil.copytree(model / str(source), partial)
    return partial.rename(model / str(target))
