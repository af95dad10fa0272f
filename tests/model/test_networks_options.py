"""Other ways to build the networks: `--resize` and `--latent`."""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from bladerunner_ae.errors import UsageError
from bladerunner_ae.exports.loading import load_autoencoder
from bladerunner_ae.model import pixels
from bladerunner_ae.runs.config import ModelConfig
from bladerunner_ae.runs.fields import from_json, to_json
from bladerunner_ae.training.fit_linear_path import initialise_linear_path
from tests.helpers import training_checks
from tests.helpers.commands import Commands
from tests.helpers.tiny_training import (
    HEIGHT,
    WIDTH,
    arguments,
    film_images,
    forget_after,
    take_steps,
    tiny_flags,
    tiny_model,
    tiny_networks,
    tiny_trainer,
    train_here,
)

OTHER = {"resize": "upsample", "latent": "spatial", "latent_channels": 6}
NUMBERS = HEIGHT // 8 * WIDTH // 8 * 6


def checkerboard_energy(pictures: NDArray[np.float32]) -> float:
    """The part of the energy of pictures, less their mean, that repeats every two pixels.

    Of each picture the four kinds of pixels (even and odd rows and columns) are averaged apart; a
    picture without a checkerboard has four equal means.
    """
    kinds = [pictures[:, i::2, j::2].mean((1, 2)) for i in (0, 1) for j in (0, 1)]
    return float(np.stack(kinds).var(0).sum() / np.square(pictures).mean((1, 2)).sum())


def test_a_checkerboard_is_energy_and_wider_stripes_are_none() -> None:
    rows, columns = np.mgrid[:32, :40].astype(np.float32)
    board, stripes = (rows + columns) % 2 - 0.5, columns // 2 % 2
    assert checkerboard_energy(board[None, :, :, None]) == pytest.approx(1.0)
    assert checkerboard_energy(stripes[None, :, :, None]) == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("kernel_size", [4, 5])
def test_upsampling_leaves_no_checkerboard(kernel_size: int) -> None:
    """An untrained decoder makes an even picture of an even map, away from the edges."""
    found: dict[str, list[float]] = {"transposed": [], "upsample": []}
    for resize, seed in itertools.product(found, range(4)):
        decoder = tiny_networks(
            seed=seed, height=64, width=64, resize=resize, kernel_size=kernel_size,
            linear_path=False, bottleneck_channels=0, residual_blocks=0,
        ).decoder  # fmt: skip
        unflat = decoder.get_layer("unflat")
        kernel, bias = unflat.get_weights()
        of_a_place = np.random.default_rng(seed).normal(size=96)
        unflat.set_weights([kernel * 0, np.tile(of_a_place, 64).reshape(bias.shape)])
        pictures = decoder(np.zeros((1, 200), np.float32)).numpy()
        assert pictures.shape == (1, 64, 64, 3) and np.ptp(pictures) > 0
        found[resize].append(checkerboard_energy(pictures[:, 20:-20, 20:-20]))
    assert max(found["upsample"]) < 1e-6, found
    assert min(found["transposed"]) > 0.02, found


def test_an_unknown_resize_is_refused() -> None:
    with pytest.raises(UsageError, match="--resize=bicubic: choose transposed or upsample"):
        tiny_model(resize="bicubic")


def test_a_spatial_latent_is_as_long_as_its_grid() -> None:
    model = tiny_model(latent="spatial")
    assert (model.smallest, model.latent_channels, model.latent_size) == ((3, 4), 4, 48)
    assert tiny_model(**OTHER).latent_size == NUMBERS == 72
    assert tiny_model().latent_size == 200 and tiny_model().latent_channels == 0
    assert from_json(ModelConfig, to_json(model)) == model == model.resolve()
    # config.json of runs that knew of no grid.
    old = {"height": 32, "width": 48, "latent_size": 200}
    assert from_json(ModelConfig, old).latent == "vector"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"latent": "grid"}, "--latent=grid: choose vector or spatial"),
        ({"latent_channels": 4}, "--latent_channels=4 belongs to --latent=spatial"),
        ({"latent": "spatial", "latent_channels": -1}, "--latent_channels=-1: give 1 or more"),
        ({"latent": "spatial", "latent_size": 200}, "3x4x4 has latent_size 48, not 200"),
        ({"latent_size": -1}, "--latent_size=-1: give 1 or more"),
    ],
)
def test_latents_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        tiny_model(**changes)


@pytest.mark.parametrize("linear_path", [False, True])
def test_spatial_networks_take_and_give_flat_latents(linear_path: bool) -> None:
    networks = tiny_networks("vae_gan", linear_path=linear_path, **OTHER)
    images = pixels.to_float(film_images(3))
    mean, log_var = networks.encoder(images)
    assert mean.shape == log_var.shape == (3, NUMBERS)
    np.testing.assert_allclose(log_var, -4.0, atol=0.2)
    assert networks.decoder(mean).shape == (3, HEIGHT, WIDTH, 3)
    assert not any("unflat" in v.path for v in networks.decoder.variables), "no dense layer"


def test_a_place_of_the_grid_remembers_what_was_there() -> None:
    """Rows of the flat latent are the grid's, for encoder and decoder alike."""
    networks = tiny_networks(residual_blocks=0, **OTHER)
    initialise_linear_path(networks, tiny_model(residual_blocks=0, **OTHER), film_images(24))
    images = pixels.to_float(film_images(1)).numpy()
    changed = images.copy()
    changed[0, 8:16, 16:24] *= -1  # the block of row 1, column 2
    before, after = (networks.encoder(x)[0].numpy().reshape(3, 4, 6) for x in (images, changed))
    places = np.abs(after - before).max(-1)
    # The linear path alone speaks at first, and it sees a block only.
    assert np.argwhere(places > 1e-6).tolist() == [[1, 2]]
    latent = before.copy()
    latent[1, 2, 0] += 1
    dreams = [networks.decoder(x.reshape(1, -1)).numpy()[0] for x in (before, latent)]
    rows, columns = np.nonzero(np.abs(dreams[1] - dreams[0]).max(-1) > 1e-6)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (8, 15, 16, 23)


def test_linear_path_of_a_grid_is_the_best_for_its_blocks() -> None:
    """4 of the 192 numbers of a block: numpy's singular values say what is lost."""
    config = tiny_model(latent="spatial")
    networks = tiny_networks(latent="spatial")
    images = film_images(24)
    initialise_linear_path(networks, config, images)
    floats = images.astype(np.float64) / 127.5 - 1
    blocks = floats.reshape(24, 3, 8, 4, 8, 3).transpose(0, 1, 3, 2, 4, 5).reshape(-1, 192)
    mean = blocks.mean(0)
    rows = np.linalg.svd(blocks - mean, full_matrices=False)[2][:4]
    expected = (mean + (blocks - mean) @ rows.T @ rows).reshape(24, 3, 4, 8, 8, 3)
    expected = expected.transpose(0, 1, 3, 2, 4, 5).reshape(24, 24, 32, 3)
    code, _ = networks.encoder(pixels.to_float(images))
    np.testing.assert_allclose(code.numpy().reshape(-1, 4).mean(0), 0.0, atol=1e-3)
    np.testing.assert_allclose(code.numpy().reshape(-1, 4).std(0), 1.0, atol=1e-2)
    np.testing.assert_allclose(networks.decoder(code).numpy(), expected, atol=2e-3)


def test_more_numbers_than_a_block_has_are_no_trouble() -> None:
    changes = {"latent": "spatial", "latent_channels": 200}
    networks = tiny_networks(**changes)
    initialise_linear_path(networks, tiny_model(**changes), film_images(2))
    code, _ = networks.encoder(pixels.to_float(film_images(2)))
    code = code.numpy().reshape(-1, 200)
    assert np.isfinite(code).all() and not code[:, 192:].any()


@pytest.mark.slow
def test_1_replica_equality() -> None:
    training_checks.check_replica_equality(
        lambda: tiny_trainer("vae_gan", model=OTHER), film_images(8)
    )


def test_2_player_isolation() -> None:
    trainer = tiny_trainer("vae_gan", model=OTHER)
    training_checks.check_players_move_by_their_own_losses(trainer, film_images(8))


@pytest.mark.slow
def test_3_resume_equality_and_4_path_equality(
    small_records: Path, tmp_path: Path, commands: Commands
) -> None:
    """Two steps, a fresh process and two more; and what it exports, in batches of 1 or 32."""
    unbroken, broken = tmp_path / "unbroken", tmp_path / "broken"
    trainer = train_here(tiny_flags(small_records, unbroken, **OTHER))
    shutil.copytree(unbroken, broken)
    forget_after(broken, 2)
    result = commands.run("train", *arguments(tiny_flags(small_records, broken, **OTHER)))
    assert result.code == 0, result.err
    assert "resuming from step 2" in result.err
    training_checks.check_same_checkpoint(
        *(run / "checkpoints/step-4" for run in (unbroken, broken))
    )
    images = film_images(32)
    dreams = training_checks.reconstruct(trainer, images)
    autoencoder = load_autoencoder(broken)
    for size in (1, 32):
        straight = [autoencoder.reconstruct(images[i : i + size]) for i in range(0, 32, size)]
        assert np.abs(np.concatenate(straight).astype(int) - dreams).max() <= 1
    assert np.ptp(dreams) > 50, "an even grey would agree with anything"


def test_5_overfits_one_batch() -> None:
    trainer = tiny_trainer("vae", model={**OTHER, "linear_path": False}, beta_1=0.5)
    training_checks.check_overfits(trainer, film_images(4), steps=80, psnr=20.0)


def test_the_linear_path_of_a_grid_is_kept_in_training() -> None:
    trainer = tiny_trainer("vae", model=OTHER, run_eagerly=True)
    initialise_linear_path(trainer.networks, tiny_model(**OTHER), film_images(24))
    layer = trainer.networks.encoder.get_layer("linear_code")
    before = [values.copy() for values in layer.get_weights()]
    take_steps(trainer, film_images(4), 2)
    for values, kept in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(values, kept)
