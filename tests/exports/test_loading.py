"""Exported autoencoders: found wherever people point, and told from everything else."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from bladerunner_ae.errors import InputError
from bladerunner_ae.exports.loading import find_saved_model, load_autoencoder
from tests.helpers.tiny_networks import save_autoencoder, save_stranger


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with versions 1, 2 and 10 of an exported autoencoder, and one half written."""
    run = tmp_path_factory.mktemp("run")
    versions = save_autoencoder(run / "export" / "autoencoder", (16, 32), "dim")
    for number in ("2", "10"):
        shutil.copytree(versions / "1", versions / number)
    (versions / ".partial-11").mkdir()
    (versions / "12").mkdir()
    return run


def test_the_newest_version_is_found_from_everywhere(run: Path) -> None:
    versions = run / "export" / "autoencoder"
    for path in (run, run / "export", versions, versions / "10"):
        assert find_saved_model(path) == versions / "10"
    assert find_saved_model(versions / "2") == versions / "2"


def test_it_knows_its_raster_and_takes_any_batch(run: Path) -> None:
    autoencoder = load_autoencoder(run)
    assert autoencoder.raster == (16, 32)
    for batch in (1, 3, 7):
        images = np.random.default_rng(batch).integers(0, 256, (batch, 16, 32, 3), np.uint8)
        dreams = autoencoder.reconstruct(images)
        assert dreams.dtype == np.uint8
        assert np.array_equal(dreams, (images * np.float32(0.7)).astype(np.uint8))


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    (tmp_path / "running").mkdir()
    (tmp_path / "running" / "config.json").touch()
    damaged = tmp_path / "damaged" / "1"
    damaged.mkdir(parents=True)
    (damaged / "saved_model.pb").write_bytes(b"no model")
    save_stranger(tmp_path / "stranger")
    for name, words in (
        ("none", "no such model folder"),
        ("file", "is a file"),
        ("empty", "holds no SavedModel"),
        ("running", "a run without exported models, .* bladerunner_ae.export --model_dir="),
        ("damaged", "cannot be loaded"),
        ("stranger", "no signature 'reconstruct' .it has: double."),
    ):
        with pytest.raises(InputError, match=words) as caught:
            load_autoencoder(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "spec",
    [
        tf.TensorSpec((None, 16, 32, 3), tf.float32, name="image"),
        tf.TensorSpec((None, None, None, 3), tf.uint8, name="image"),
        tf.TensorSpec((4, 16, 32, 3), tf.uint8, name="image"),
        tf.TensorSpec((None, 16, 32, 1), tf.uint8, name="image"),
        tf.TensorSpec((None, 16, 32, 3), tf.uint8, name="picture"),
    ],
)
def test_another_signature_is_refused(tmp_path: Path, spec: tf.TensorSpec) -> None:
    module = tf.Module()
    module.function = tf.function(lambda x: {"reconstruction": x}, input_signature=[spec])
    call = module.function.get_concrete_function(spec)
    tf.saved_model.save(module, str(tmp_path / "1"), signatures={"reconstruct": call})
    with pytest.raises(InputError, match="it must be uint8 'image'"):
        load_autoencoder(tmp_path)
