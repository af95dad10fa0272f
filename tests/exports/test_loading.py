"""Exported autoencoders: found, loaded with their halves, and told from everything else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from bladerunner_ae.errors import InputError
from bladerunner_ae.exports.loading import find_saved_model, load_autoencoder
from bladerunner_ae.exports.model_card import FILE_NAME
from tests.helpers.commands import Commands
from tests.helpers.small_records import flip_byte
from tests.helpers.tiny_exports import LATENT, small_networks
from tests.helpers.tiny_networks import save_autoencoder, save_stranger
from tests.helpers.tiny_training import film_images

DATA, INDEX = "variables/variables.data-00000-of-00001", "variables/variables.index"
Damage = Callable[[Path], object]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with versions 1, 2 and 10 of an exported autoencoder, and an incomplete one."""
    run = tmp_path_factory.mktemp("run")
    versions = save_autoencoder(run / "export" / "autoencoder", (16, 32), "dim")
    for number in ("2", "10"):
        shutil.copytree(versions / "1", versions / number)
    (versions / ".partial-11").mkdir()
    (versions / "12").mkdir()
    return run


def test_the_newest_version_is_found_from_any_folder(run: Path) -> None:
    versions = run / "export" / "autoencoder"
    for path in (run, run / "export", versions, versions / "10"):
        assert find_saved_model(path) == versions / "10"
    assert find_saved_model(versions / "2") == versions / "2"


def test_any_batch_is_reconstructed(run: Path) -> None:
    autoencoder = load_autoencoder(run)
    assert (autoencoder.raster, autoencoder.card, autoencoder.run) == ((16, 32), {}, None)
    for batch in (1, 3, 7):
        images = np.random.default_rng(batch).integers(0, 256, (batch, 16, 32, 3), np.uint8)
        dreams = autoencoder.reconstruct(images)
        assert dreams.dtype == np.uint8
        assert np.array_equal(dreams, (images * np.float32(0.7)).astype(np.uint8))


def test_an_export_and_its_networks_are_the_same(tiny_export: Path) -> None:
    loaded, made = load_autoencoder(tiny_export), small_networks().autoencoder
    images = film_images(8)
    assert loaded.latent_size == made.latent_size == LATENT
    for ours, theirs in zip(loaded.encode(images), made.encode(images), strict=True):
        assert ours.shape == (8, LATENT) and ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, atol=1e-4)
    latents = made.encode(images)[0]
    dreams = made.decode(latents).astype(int)
    for found in (loaded.decode(latents), loaded.reconstruct(images), made.reconstruct(images)):
        assert found.dtype == np.uint8 and np.abs(found - dreams).max() <= 1
    assert loaded.card["step"] == 4 and (loaded.path, made.path) == (
        tiny_export / "autoencoder" / "1", None
    )  # fmt: skip


def test_a_model_without_halves_says_which_is_missing(tiny_export: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_export, tmp_path / "export")
    shutil.rmtree(tmp_path / "export" / "decoder")
    autoencoder = load_autoencoder(tmp_path / "export")
    said = f"{tmp_path}/export/decoder/1: is missing; export the run again"
    assert autoencoder.missing_halves == said and autoencoder.latent_size is None
    with pytest.raises(InputError, match=said):
        autoencoder.encode(film_images(1))
    shutil.copytree(tiny_export / "encoder", tmp_path / "export" / "decoder")
    said = "decoder/1: has no signature 'decode'; export the run again"
    assert load_autoencoder(tmp_path / "export").missing_halves.endswith(said)


def test_another_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    for name, file in (
        ("running", "config.json"), ("checkpoints", "step-4.index"), ("keras", "model.weights.h5")
    ):  # fmt: skip
        (tmp_path / name).mkdir()
        (tmp_path / name / file).touch()
    save_stranger(tmp_path / "stranger")
    for name, words in (
        ("none", "no such model folder"),
        ("file", "is a file"),
        ("empty", "holds no SavedModel"),
        ("running", "a run without exported models, .* bladerunner_ae.export --model_dir="),
        ("checkpoints", "holds no SavedModel; give"),
        ("keras", "holds no SavedModel; give"),
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


def cut(name: str) -> Damage:
    """Return a function that cuts a file in half."""

    def damage(version: Path) -> None:
        data = (version / name).read_bytes()
        (version / name).write_bytes(data[: len(data) // 2])

    return damage


def lose(name: str) -> Damage:
    return lambda version: (version / name).unlink()


def flip(version: Path) -> None:
    flip_byte(version / DATA, 2000)


def newer(version: Path) -> None:
    card = json.loads((version / FILE_NAME).read_text("utf-8"))
    (version / FILE_NAME).write_text(json.dumps({**card, "schema_version": 2, "films": 7}))


@pytest.fixture
def export(tiny_export: Path, tmp_path: Path) -> Path:
    """A copy of the autoencoder of a complete export."""
    shutil.copytree(tiny_export / "autoencoder", tmp_path / "export" / "autoencoder")
    return tmp_path / "export"


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut("saved_model.pb"), "is a SavedModel that cannot be loaded .*; export it again"),
        (lose("saved_model.pb"), "holds no SavedModel"),
        (lose(DATA), "is a SavedModel that cannot be loaded .*; export it again"),
        (lose(INDEX), "is a SavedModel that cannot be loaded"),
        (cut(DATA), "is a SavedModel that cannot be loaded"),
        (flip, "is a SavedModel that cannot be loaded"),
        (cut(INDEX), "is a SavedModel that cannot be loaded"),
        (cut(FILE_NAME), "model_card.json: damaged .*; export the run again"),
        (newer, "was exported with schema version 2 but this program reads up to 1; update"),
    ],
    ids=["cut graph", "no graph", "no weights", "no index", "cut weights", "flipped weights",
         "cut index", "cut card", "newer"],
)  # fmt: skip
def test_damage_is_one_line(export: Path, damage: Damage, message: str) -> None:
    damage(export / "autoencoder" / "1")
    with pytest.raises(InputError, match=message) as caught:
        load_autoencoder(export)
    assert str(export) in str(caught.value) and "\n" not in str(caught.value)


def test_a_model_without_a_card_is_loaded(export: Path) -> None:
    shutil.rmtree(export / "autoencoder" / "1" / "assets.extra")
    images = np.zeros((2, 24, 32, 3), np.uint8)
    assert load_autoencoder(export).reconstruct(images).shape == images.shape


@pytest.mark.parametrize("name", ["encoder", "decoder"])
def test_the_halves_are_told_from_the_autoencoder(tiny_export: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"no signature 'reconstruct' .* give an exported auto"):
        load_autoencoder(tiny_export / name)


def test_commands_refuse_a_newer_export(
    export: Path, small_records: Path, commands: Commands
) -> None:
    newer(export / "autoencoder" / "1")
    refused = commands.run("evaluate", f"--model={export}", f"--data={small_records}")
    assert refused.code == 2
    assert f"{export}/autoencoder/1: was exported with schema version 2" in refused.error
