"""SavedModels: doors, equality with the networks, versions, and nothing half written."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from bladerunner_ae import pixels, saved_models
from bladerunner_ae.linear_path import initialise_linear_path
from bladerunner_ae.networks import Networks
from tests.commands import environment
from tests.tiny_training import HEIGHT, WIDTH, film_images, tiny_model, tiny_networks

IMAGE = (None, HEIGHT, WIDTH, 3)
CARD = {"step": 4, "film": {"name": "ümlaut.mp4"}}


@pytest.fixture(scope="module")
def networks() -> Networks:
    networks = tiny_networks("vae")
    initialise_linear_path(networks, tiny_model(), film_images(24))
    return networks


@pytest.fixture(scope="module")
def export(networks: Networks, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "export"
    written = saved_models.export_models(networks, CARD, folder)
    assert written == [folder / name / "1" for name in saved_models.MODELS]
    return folder


@functools.cache
def load(export: Path, name: str) -> Any:
    return tf.saved_model.load(str(export / name / "1"))


@pytest.mark.parametrize(
    ("model", "signature", "takes", "gives"),
    [
        ("autoencoder", "serving_default", ("image", tf.uint8, IMAGE),
         {"reconstruction": (tf.uint8, IMAGE)}),
        ("autoencoder", "reconstruct", ("image", tf.uint8, IMAGE),
         {"reconstruction": (tf.uint8, IMAGE)}),
        ("encoder", "serving_default", ("image", tf.uint8, IMAGE),
         {"latent": (tf.float32, (None, 200)), "log_var": (tf.float32, (None, 200))}),
        ("encoder", "encode", ("image", tf.uint8, IMAGE),
         {"latent": (tf.float32, (None, 200)), "log_var": (tf.float32, (None, 200))}),
        ("decoder", "serving_default", ("latent", tf.float32, (None, 200)),
         {"image_bytes": (tf.string, (None,))}),
        ("decoder", "decode", ("latent", tf.float32, (None, 200)), {"image": (tf.uint8, IMAGE)}),
    ],
)  # fmt: skip
def test_signatures(
    export: Path, model: str, signature: str, takes: tuple[Any, ...], gives: dict[str, Any]
) -> None:
    function = load(export, model).signatures[signature]
    (name, spec), *others = function.structured_input_signature[1].items()
    assert not others and (name, spec.dtype, tuple(spec.shape)) == takes
    found = {key: (v.dtype, tuple(v.shape)) for key, v in function.structured_outputs.items()}
    assert found == gives


def test_there_are_no_other_signatures(export: Path) -> None:
    found = {name: set(load(export, name).signatures) for name in saved_models.MODELS}
    assert found == {
        "autoencoder": {"serving_default", "reconstruct"},
        "encoder": {"serving_default", "encode"},
        "decoder": {"serving_default", "decode"},
    }


@pytest.mark.parametrize("size", [1, 3, 8])
def test_models_equal_the_networks_in_process(export: Path, networks: Networks, size: int) -> None:
    images = film_images(8)[:size]
    mean, log_var = networks.encoder(pixels.to_float(images))
    dreams = pixels.to_pixels(networks.decoder(mean)).numpy()
    encoded = load(export, "encoder").signatures["encode"](image=tf.constant(images))
    np.testing.assert_allclose(encoded["latent"], mean, atol=1e-4)
    np.testing.assert_allclose(encoded["log_var"], log_var, atol=1e-4)
    decoded = load(export, "decoder").signatures["decode"](latent=encoded["latent"])["image"]
    whole = load(export, "autoencoder").signatures["reconstruct"](image=tf.constant(images))
    for found in (decoded.numpy(), whole["reconstruction"].numpy()):
        assert np.abs(found.astype(int) - dreams).max() <= 1
    assert np.ptp(dreams) > 50


def test_jpeg_bytes_decode_to_the_picture(export: Path) -> None:
    decoder = load(export, "decoder")
    latent = tf.random.stateless_normal([3, 200], [0, 1])
    files = decoder.signatures["serving_default"](latent=latent)["image_bytes"].numpy()
    pictures: NDArray[np.uint8] = decoder.signatures["decode"](latent=latent)["image"].numpy()
    for file, picture in zip(files, pictures, strict=True):
        assert file.startswith(b"\xff\xd8\xff")
        found = tf.io.decode_jpeg(file, dct_method="INTEGER_ACCURATE").numpy()
        assert found.shape == picture.shape
        assert np.abs(found.astype(float) - picture).mean() < 6


def test_nothing_becomes_nothing(export: Path) -> None:
    image, latent = tf.zeros([0, HEIGHT, WIDTH, 3], tf.uint8), tf.zeros([0, 200])
    decoder, encoder = load(export, "decoder").signatures, load(export, "encoder").signatures
    assert decoder["serving_default"](latent=latent)["image_bytes"].shape == (0,)
    assert decoder["decode"](latent=latent)["image"].shape == (0, HEIGHT, WIDTH, 3)
    assert encoder["encode"](image=image)["latent"].shape == (0, 200)
    whole = load(export, "autoencoder").signatures["reconstruct"](image=image)
    assert whole["reconstruction"].shape == (0, HEIGHT, WIDTH, 3)


def test_a_process_without_our_code_can_use_them(export: Path) -> None:
    code = f"""
import sys
sys.modules["bladerunner_ae"] = None  # importing it would fail
import tensorflow as tf
image = tf.fill([5, {HEIGHT}, {WIDTH}, 3], tf.constant(90, tf.uint8))
model = tf.saved_model.load({str(export / "autoencoder" / "1")!r})
encoder = tf.saved_model.load({str(export / "encoder" / "1")!r})
decoder = tf.saved_model.load({str(export / "decoder" / "1")!r})
latent = encoder.signatures["serving_default"](image)["latent"]
print(model.signatures["reconstruct"](image=image)["reconstruction"].shape,
      decoder.signatures["decode"](latent=latent)["image"].shape)
assert not any(name.startswith("bladerunner_ae.") for name in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=export, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == " ".join([f"(5, {HEIGHT}, {WIDTH}, 3)"] * 2)


def test_where_a_model_comes_from_is_stored_beside_it(export: Path) -> None:
    for name in saved_models.MODELS:
        assert saved_models.load_model_card(export / name / "1") == CARD
    assert saved_models.load_model_card(export) == {}


def pretend(monkeypatch: pytest.MonkeyPatch, fails_at: int = -1) -> None:
    """Makes exports quick: a SavedModel is one file. That number `fails_at` breaks off half way."""
    written: list[Path] = []

    def write(folder: Path, networks: Networks, name: str, signatures: Any) -> None:
        folder.mkdir()
        (folder / "saved_model.pb").write_text(name)
        written.append(folder)
        if len(written) - 1 == fails_at:
            raise OSError(28, "No space left on device", str(folder))

    monkeypatch.setattr(saved_models, "_write_saved_model", write)


def test_versions_count_up_past_what_is_there(
    networks: Networks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch)
    saved_models.export_models(networks, {}, tmp_path)
    (tmp_path / "decoder" / "9").mkdir()
    (tmp_path / "decoder" / "best").mkdir()
    written = saved_models.export_models(networks, {}, tmp_path)
    assert [path.name for path in written] == ["2", "2", "10"]
    assert saved_models.newest_versions(tmp_path) == written
    assert (tmp_path / "autoencoder" / "1").is_dir()


@pytest.mark.parametrize("fails_at", [0, 1, 2])
def test_an_export_that_fails_leaves_nothing_half_written(
    fails_at: int, networks: Networks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        pretend(patch, fails_at)
        with pytest.raises(OSError, match="No space left"):
            saved_models.export_models(networks, CARD, tmp_path)
    for name in saved_models.MODELS:
        for path in (tmp_path / name).glob("[0-9]*"):
            assert saved_models.load_model_card(path) == CARD, "only whole ones have their name"
    assert len(saved_models.newest_versions(tmp_path)) == fails_at
    pretend(monkeypatch)
    saved_models.export_models(networks, CARD, tmp_path)
    assert len(saved_models.newest_versions(tmp_path)) == 3
    assert not list(tmp_path.glob("*/.partial*")), "what was left over is gone"


def test_keras_says_nothing(
    networks: Networks, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    signatures = saved_models._signatures(networks)["encoder"][:1]
    saved_models._write_saved_model(tmp_path / "encoder", networks, "encoder", signatures)
    assert capfd.readouterr().out == ""
