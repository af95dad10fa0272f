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
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from bladerunner_ae import pixels
from bladerunner_ae.networks import Networks
from bladerunner_ae.run_folder import write_json

MODELS = ("autoencoder", "encoder", "decoder")
MODEL_CARD = "assets.extra/model_card.json"
_JPEG_QUALITY = 95


@dataclass(frozen=True)
class Signature:
    """One door of a SavedModel: its names, what it takes and what it does."""

    names: tuple[str, ...]
    inputs: tuple[Any, ...]
    function: Callable[..., dict[str, Any]]


def export_models(networks: Networks, card: dict[str, Any], destination: Path) -> list[Path]:
    """Writes the next version of every model under `destination`.

    Args:
        networks: the trained `Networks`.
        card: plain JSON values about where the model comes from, stored beside each.
        destination: RUN/export.

    Returns:
        The folders written, one a model. Each appears under its name when it is whole.
    """
    written = []
    for name, signatures in _signatures(networks).items():
        base = destination / name
        base.mkdir(parents=True, exist_ok=True)
        for stale in base.glob(".partial*"):
            shutil.rmtree(stale)
        version = max([int(p.name) for p in base.iterdir() if p.name.isdigit()], default=0) + 1
        partial = base / f".partial-{version}"
        _write_saved_model(partial, networks, name, signatures)
        (partial / MODEL_CARD).parent.mkdir()
        write_json(partial / MODEL_CARD, card)
        partial.rename(base / str(version))
        written.append(base / str(version))
    return written


def newest_versions(destination: Path) -> list[Path]:
    """Returns the newest version's folder of each model that RUN/export holds."""
    found = []
    for name in MODELS:
        versions = [p for p in (destination / name).glob("*") if p.name.isdigit()]
        if versions:
            found.append(max(versions, key=lambda path: int(path.name)))
    return found


def load_model_card(version: Path) -> dict[str, Any]:
    """Returns where a SavedModel comes from; empty for one that is not ours."""
    path = version / MODEL_CARD
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


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


def _signatures(networks: Networks) -> dict[str, list[Signature]]:
    encoder, decoder = networks.encoder, networks.decoder
    image = tf.TensorSpec((None, *encoder.input_shape[1:]), tf.uint8, name="image")
    latent = tf.TensorSpec((None, decoder.input_shape[-1]), tf.float32, name="latent")

    def reconstruct(image: tf.Tensor) -> dict[str, tf.Tensor]:
        mean, _ = encoder(pixels.to_float(image), training=False)
        return {"reconstruction": pixels.to_pixels(decoder(mean, training=False))}

    def encode(image: tf.Tensor) -> dict[str, tf.Tensor]:
        mean, log_var = encoder(pixels.to_float(image), training=False)
        return {"latent": mean, "log_var": log_var}

    def decode(latent: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"image": pixels.to_pixels(decoder(latent, training=False))}

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
