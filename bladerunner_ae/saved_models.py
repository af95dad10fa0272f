"""A run's networks as SavedModels: raw pixels in and out, published by rename.

| model | signature | in | out |
|---|---|---|---|
| autoencoder | reconstruct, serving_default | image uint8 [B,H,W,3] | reconstruction, the same |
| encoder | encode, serving_default | image uint8 [B,H,W,3] | latent, log_var float32 [B,latent] |
| decoder | serving_default | latent float32 [B,latent] | image_bytes JPEG [B] |
| decoder | decode | latent float32 [B,latent] | image uint8 [B,H,W,3] |

B is any number. The latent is the posterior's mean: exports are deterministic.
"""

import contextlib
import io
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from bladerunner_ae import pixels
from bladerunner_ae.networks import Networks
from bladerunner_ae.run_folder import write_json
from tfrecords import storage
from tfrecords.storage import Location

MODELS = ("autoencoder", "encoder", "decoder")
MODEL_CARD = "assets.extra/model_card.json"
_JPEG_QUALITY = 95
_LAST_FILE = "saved_model.pb"


@dataclass(frozen=True)
class Signature:
    """One door of a SavedModel: its names, what it takes and what it does."""

    names: tuple[str, ...]
    inputs: tuple[Any, ...]
    function: Callable[..., dict[str, Any]]


def export_models(
    networks: Networks, card: dict[str, Any], destination: Location
) -> list[Location]:
    """Writes the next version of every model under `destination`.

    Args:
        networks: the trained `Networks`.
        card: plain JSON values about where the model comes from, stored beside each.
        destination: RUN/export.

    Returns:
        The folders written, one a model. Each appears under its name when it is whole.
    """
    written: list[Location] = []
    for name, signatures in _signatures(networks).items():
        base = destination / name
        version = max(_versions(base), default=0) + 1
        with _new_folder(base, str(version)) as partial:
            _write_saved_model(partial, networks, name, signatures)
            (partial / MODEL_CARD).parent.mkdir()
            write_json(partial / MODEL_CARD, card)
        written.append(base / str(version))
    return written


def _versions(base: Location) -> list[int]:
    return [int(name) for name in storage.names(base) if name.isdigit()]


@contextlib.contextmanager
def _new_folder(base: Location, version: str) -> Iterator[Path]:
    """Gives a local folder to fill, which is then made into `base`/`version`."""
    if isinstance(base, Path):
        base.mkdir(parents=True, exist_ok=True)
        for stale in base.glob(".partial*"):
            shutil.rmtree(stale)
        partial = base / f".partial-{version}"
        yield partial
        partial.rename(base / version)
        return
    with tempfile.TemporaryDirectory() as temporary:
        partial = Path(temporary) / version
        yield partial
        files = [path for path in sorted(partial.rglob("*")) if path.is_file()]
        # A folder is a SavedModel as soon as it holds saved_model.pb.
        for path in sorted(files, key=lambda path: path.name == _LAST_FILE):
            storage.copy_to_remote(path, base / version / path.relative_to(partial).as_posix())


def newest_versions(destination: Location) -> list[Location]:
    """Returns the newest version's folder of each model that RUN/export holds."""
    found: list[Location] = []
    for name in MODELS:
        versions = _versions(destination / name)
        if versions:
            found.append(destination / name / str(max(versions)))
    return found


def load_model_card(version: Location) -> dict[str, Any]:
    """Returns where a SavedModel comes from; empty for one that is not ours."""
    path = version / MODEL_CARD
    return json.loads(storage.read_text(path)) if storage.is_file(path) else {}


def _write_saved_model(
    folder: Path, networks: Networks, name: str, signatures: list[Signature]
) -> None:
    archive = keras.export.ExportArchive()
    for player in ("encoder", "decoder"):
        if name in ("autoencoder", player):
            archive.track(getattr(networks, player))
    for signature in signatures:
        for alias in signature.names:
            archive.add_endpoint(alias, signature.function, input_signature=signature.inputs)
    with contextlib.redirect_stdout(io.StringIO()):  # Keras prints every endpoint
        archive.write_out(str(folder), verbose=False)


def _not_empty(batch: tf.Tensor) -> tf.Tensor:
    """Returns the batch, or one element of zeros for an empty one.

    With oneDNN, which is on by default on most processors of today, TensorFlow 2.21 refuses an
    empty batch at the second convolution in a row ("input depth must be evenly divisible").
    """
    missing = tf.cast(tf.equal(tf.shape(batch)[0], 0), tf.int32)
    return tf.pad(batch, [[0, missing]] + [[0, 0]] * (batch.shape.rank - 1))


def _signatures(networks: Networks) -> dict[str, list[Signature]]:
    encoder, decoder = networks.encoder, networks.decoder
    image = tf.TensorSpec((None, *encoder.input_shape[1:]), tf.uint8, name="image")
    latent = tf.TensorSpec((None, decoder.input_shape[-1]), tf.float32, name="latent")

    def reconstruct(image: tf.Tensor) -> dict[str, tf.Tensor]:
        mean, _ = encoder(pixels.to_float(_not_empty(image)), training=False)
        dream = pixels.to_pixels(decoder(mean, training=False))
        return {"reconstruction": dream[: tf.shape(image)[0]]}

    def encode(image: tf.Tensor) -> dict[str, tf.Tensor]:
        mean, log_var = encoder(pixels.to_float(_not_empty(image)), training=False)
        size = tf.shape(image)[0]
        return {"latent": mean[:size], "log_var": log_var[:size]}

    def decode(latent: tf.Tensor) -> dict[str, tf.Tensor]:
        pictures = pixels.to_pixels(decoder(_not_empty(latent), training=False))
        return {"image": pictures[: tf.shape(latent)[0]]}

    def decode_jpeg(latent: tf.Tensor) -> dict[str, tf.Tensor]:
        def compress(picture: tf.Tensor) -> tf.Tensor:
            return tf.io.encode_jpeg(picture, quality=_JPEG_QUALITY, chroma_downsampling=False)

        pictures = decode(latent)["image"]
        # REST clients get an output whose name ends in _bytes as base64.
        return {"image_bytes": tf.map_fn(compress, pictures, fn_output_signature=tf.string)}

    return {
        "autoencoder": [Signature(("serving_default", "reconstruct"), (image,), reconstruct)],
        "encoder": [Signature(("serving_default", "encode"), (image,), encode)],
        "decoder": [
            Signature(("serving_default",), (latent,), decode_jpeg),
            Signature(("decode",), (latent,), decode),
        ],
    }
