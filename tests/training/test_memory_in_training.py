"""Runs of networks with a memory: every objective, resumed, on several devices, taken over."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from bladerunner_ae import load_autoencoder
from bladerunner_ae.errors import InputError, UsageError
from bladerunner_ae.exports.film_latents import load_film_latents
from bladerunner_ae.exports.from_run import export
from bladerunner_ae.model import pixels
from bladerunner_ae.model.networks import Networks
from bladerunner_ae.objectives import Batch
from bladerunner_ae.objectives.adversarial_pass import run_players
from bladerunner_ae.runs.config import CODE_NUMBERS
from bladerunner_ae.runs.files import MEMORY_FIT, is_run_file
from bladerunner_ae.runs.folder import open_run
from bladerunner_ae.training import fit, fit_memory
from bladerunner_ae.training.checkpoints import restore
from bladerunner_ae.training.fine_tuning import check_source, fine_tuned, load_source
from bladerunner_ae.training.trainer import Trainer
from tests.helpers.memories import film_part, scenes, stop_after
from tests.helpers.small_records import write_pictures
from tests.helpers.tiny_training import (
    AT_ONCE,
    FEW_LAYERS,
    OBJECTIVES,
    tiny_flags,
    tiny_run,
    train_here,
)
from tests.helpers.training_checks import (
    check_same_checkpoint,
    mean_psnr,
    two_devices,
)

MEMORY = {"latent_size": 64, "moments": 6, "components": 90, "augment": None, "keep": "last",
          **FEW_LAYERS}  # fmt: skip


@pytest.fixture(scope="module")
def film() -> NDArray[np.uint8]:
    return scenes()


@pytest.fixture(scope="module")
def records(film: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes") / "film"
    write_pictures(folder, list(film), image_format="png")
    return folder


def memory_flags(records: Path, run: Path, **changes: Any) -> dict[str, Any]:
    return tiny_flags(records, run, **{**MEMORY, **changes})


def remembered(networks: Networks) -> list[NDArray[Any]]:
    assert networks.memory is not None
    return [weight.numpy() for weight in networks.memory.weights]


@pytest.fixture(scope="module")
def run(records: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trainer]:
    folder = tmp_path_factory.mktemp("runs") / "run"
    return folder, train_here(memory_flags(records, folder, objective="dream"))


@pytest.mark.parametrize(
    "objective",
    [
        name if name == "vae_gan" else pytest.param(name, marks=pytest.mark.slow)
        for name in OBJECTIVES
    ],
)
def test_every_objective_begins_with_the_memory_and_never_changes_it(
    objective: str,
    records: Path,
    film: NDArray[np.uint8],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    began: dict[str, Any] = {}
    initialise = fit_memory.initialise_memory

    def note(networks: Networks, *arguments: Any) -> None:
        initialise(networks, *arguments)
        began["weights"] = remembered(networks)
        began["psnr"] = mean_psnr(film, networks.autoencoder.reconstruct(film))

    monkeypatch.setattr(fit, "initialise_memory", note)
    flags = memory_flags(records, tmp_path / "run", objective=objective, steps=2)
    trainer = train_here({**flags, **AT_ONCE.get(objective, {})})
    for before, after in zip(began["weights"], remembered(trainer.networks), strict=True):
        np.testing.assert_array_equal(before, after)
    assert began["psnr"] > 25.0
    assert not (tmp_path / "run" / MEMORY_FIT).exists()


def test_a_run_that_was_stopped_in_its_fit_ends_as_the_unbroken_one(
    run: tuple[Path, Trainer], records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitting = fit_memory.fit_memory
    with monkeypatch.context() as patch:
        check = stop_after(3)
        patch.setattr(fit, "fit_memory", lambda *given: fitting(*given[:3], check))
        with pytest.raises(KeyboardInterrupt):
            train_here(memory_flags(records, tmp_path / "run", objective="dream"))
    left = list((tmp_path / "run" / MEMORY_FIT).iterdir())
    assert left and all(is_run_file(f"{MEMORY_FIT}/{path.name}") for path in left)
    train_here(memory_flags(records, tmp_path / "run", objective="dream"))
    name = "checkpoints/step-4"
    check_same_checkpoint(tmp_path / "run" / name, run[0] / name)


def test_two_devices_remember_what_one_does(
    run: tuple[Path, Trainer], records: Path, tmp_path: Path
) -> None:
    flags = memory_flags(records, tmp_path / "run", objective="dream")
    with two_devices().scope():
        trainer = fit.build_trainer(tiny_run(flags))
    open_run(tmp_path / "run", tiny_run(flags), overwrite=False)
    fit.fit(trainer, tiny_run(flags), [records], tmp_path / "run", 0)
    for ours, theirs in zip(remembered(trainer.networks), remembered(run[1].networks), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_exported_models_draw_what_the_networks_do(
    run: tuple[Path, Trainer], records: Path, film: NDArray[np.uint8], tmp_path: Path
) -> None:
    networks = run[1].dreaming
    config = tiny_run(memory_flags(records, run[0], objective="dream"))
    autoencoder, _, decoder = export(networks, 4, config, tmp_path, [records])
    model = load_autoencoder(autoencoder)
    np.testing.assert_array_equal(
        model.reconstruct(film[::10]), networks.autoencoder.reconstruct(film[::10])
    )
    assert model.code_numbers == networks.autoencoder.code_numbers == CODE_NUMBERS
    stored = load_film_latents(decoder)
    assert stored is not None
    codes = stored.latents[:, -CODE_NUMBERS:]
    np.testing.assert_array_equal(np.abs(codes), 1.0)
    # One Gaussian a key moment: samples name one of the film's, exactly.
    drawn = stored.density().sample(200, seed=0)
    named = {tuple(code) for code in np.sign(codes)}
    assert {tuple(code) for code in drawn[:, -CODE_NUMBERS:]} <= named and len(named) > 3
    assert len(np.unique(stored.groups)) == len(named)
    np.testing.assert_array_equal(stored.mean[-CODE_NUMBERS:], 1.0)
    assert not stored.directions[:, -CODE_NUMBERS:].any()


def test_the_prior_of_an_adversary_is_one_gaussian_a_key_moment(
    run: tuple[Path, Trainer], film: NDArray[np.uint8]
) -> None:
    """Its samples are those of the batch's moments, of other local numbers."""
    networks = run[1].networks
    assert networks.memory is not None
    images = pixels.to_float(tf.constant(film[::10]))
    mean = networks.encoder(images, training=True)[0].numpy()
    normal = np.random.default_rng(0).normal(size=mean.shape).astype(np.float32)
    batch = Batch(images, tf.zeros_like(normal), tf.constant(normal), tf.constant(0, tf.int64))
    asked: list[NDArray[np.float32]] = []

    def decoder(latent: tf.Tensor, training: bool) -> tf.Tensor:
        asked.append(latent.numpy())
        return networks.decoder(latent, training=training)

    spied = dataclasses.replace(networks, decoder=decoder, discriminator=critic)
    run_players(spied, batch, noise=0.0, feature_layers=None)
    first, last = networks.memory.global_numbers, mean.shape[1] - CODE_NUMBERS
    assert 0 < first < last
    np.testing.assert_array_equal(asked[0], mean)
    np.testing.assert_array_equal(asked[1][:, :first], mean[:, :first])
    np.testing.assert_array_equal(asked[1][:, first:last], normal[:, first:last])
    np.testing.assert_array_equal(asked[1][:, last:], mean[:, last:])
    without = dataclasses.replace(spied, memory=None)
    run_players(without, batch, noise=0.0, feature_layers=None)
    np.testing.assert_array_equal(asked[3], normal)


def critic(pictures: tf.Tensor, training: bool) -> tuple[tf.Tensor, list[tf.Tensor]]:
    return tf.reduce_mean(pictures, [1, 2, 3])[:, None], [pictures]


def test_a_run_taken_over_gets_a_memory_of_its_own_film(
    run: tuple[Path, Trainer], film: NDArray[np.uint8], tmp_path: Path
) -> None:
    other = film_part(tmp_path / "other", film[:140, ::-1].copy(), film_id="b" * 16).directory
    flags = memory_flags(other, tmp_path / "b", objective="dream", moments=3, components=70)
    config = fine_tuned(tiny_run(flags), run[0])
    check_source(config)
    trainer = fit.build_trainer(config)
    load_source(trainer, config)
    first = trainer.networks.encoder.get_layer("conv_0").get_weights()[0]
    theirs = run[1].networks.encoder.get_layer("conv_0").get_weights()[0]
    np.testing.assert_array_equal(first, theirs)
    assert trainer.networks.memory is not None
    assert trainer.networks.memory.components_weight.shape == (70, 24 * 32 * 3)
    kept = fine_tuned(tiny_run(flags), run[0], refit_linear_path=False)
    assert (kept.model.moments, kept.model.components) == (6, 90)
    trainer = fit.build_trainer(kept)
    load_source(trainer, kept)
    for ours, earlier in zip(
        remembered(trainer.networks), remembered(run[1].networks), strict=True
    ):
        np.testing.assert_array_equal(ours, earlier)


@pytest.mark.slow
def test_a_film_without_memory_is_taken_over_by_one_with(records: Path, tmp_path: Path) -> None:
    plain = memory_flags(
        records, tmp_path / "plain", memory=0.0, moments=None, components=None, steps=2
    )
    train_here(plain)
    config = fine_tuned(tiny_run(memory_flags(records, tmp_path / "b")), tmp_path / "plain")
    check_source(config)
    trainer = fit.build_trainer(config)
    load_source(trainer, config)
    assert trainer.networks.memory is not None
    with pytest.raises(InputError, match="latent_size"):
        smaller = memory_flags(records, tmp_path / "c", latent_size=70)
        check_source(fine_tuned(tiny_run(smaller), tmp_path / "plain"))


def test_networks_without_a_linear_path_have_no_memory(records: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--moments=6 --components=90: .* no linear path"):
        tiny_run(memory_flags(records, tmp_path, linear_path=False))
    flags = memory_flags(records, tmp_path, moments=None, components=None, linear_path=False)
    assert tiny_run(flags).model.moments == 0


def test_frames_are_moved_by_the_fit_and_not_by_training(records: Path, tmp_path: Path) -> None:
    assert tiny_run(memory_flags(records, tmp_path)).train.augment == 0.0
    assert tiny_run(memory_flags(records, tmp_path, augment=0.5)).train.augment == 0.5
    plain = memory_flags(records, tmp_path, memory=0.0, moments=None, components=None)
    assert tiny_run(plain).train.augment == 0.25


@pytest.mark.slow
def test_averages_of_the_weights_share_the_memory(records: Path, tmp_path: Path) -> None:
    trainer = train_here(memory_flags(records, tmp_path / "run", ema=0.9, steps=2))
    assert trainer.dreaming.memory is trainer.networks.memory
    restored = fit.build_trainer(tiny_run(memory_flags(records, tmp_path / "run", ema=0.9)))
    restore(restored, tmp_path / "run")
    pictures = tf.zeros((1, 24, 32, 3))
    np.testing.assert_array_equal(
        restored.dreaming.encoder(pictures)[0], trainer.dreaming.encoder(pictures)[0]
    )
