"""Options of a run's steps: averages, clipping, rates, several steps at once, XLA."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from bladerunner_ae.errors import UsageError
from bladerunner_ae.exports import from_run
from bladerunner_ae.exports.loading import load_autoencoder
from bladerunner_ae.model.networks import build_networks
from bladerunner_ae.runs.config import ModelConfig
from bladerunner_ae.runs.presets import PRESETS
from bladerunner_ae.training import fit
from bladerunner_ae.training.checkpoints import restore
from bladerunner_ae.training.trainer import make_schedule
from bladerunner_ae.training.weight_averages import WeightAverages
from tests.helpers import training_checks
from tests.helpers.tiny_training import (
    film_images,
    take_steps,
    tiny_flags,
    tiny_networks,
    tiny_run,
    tiny_train,
    tiny_trainer,
    train_here,
    weights_of,
)

FRAMES = 48  # of `small_records`


def test_average_forgets_its_beginning_ever_more_slowly() -> None:
    averages = WeightAverages(tiny_networks(), 0.999)
    found = [float(averages.decay(tf.constant(step, tf.int64))) for step in (1, 2, 10, 10_000)]
    np.testing.assert_allclose(found, [0.0, 0.1, 0.5, 0.999], rtol=1e-6)


@pytest.mark.parametrize("devices", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_averages_follow_the_weights_by_the_formula(devices: int) -> None:
    """d = 0, 1/10, 2/11 in the first three steps, on every device."""
    strategy = training_checks.two_devices() if devices == 2 else tf.distribute.get_strategy()
    with strategy.scope():
        trainer = tiny_trainer(
            "vae", run_eagerly=devices == 1, ema=0.999, constant_learning_rate=True
        )
    assert trainer.averages is not None and trainer.dreaming is trainer.averages.networks
    expected: dict[str, np.ndarray] = {}
    for keep in (0.0, 1 / 10, 2 / 11):
        take_steps(trainer, film_images(8))
        for path, value in weights_of(trainer.networks.decoder).items():
            expected[path] = keep * expected.get(path, value) + (1 - keep) * value
    averages = weights_of(trainer.dreaming.decoder)
    moved = weights_of(trainer.networks.decoder)
    assert len(averages) == len(expected)
    for (path, value), average in zip(expected.items(), averages.values(), strict=True):
        np.testing.assert_allclose(average, value, rtol=1e-5, atol=1e-7)
        if "linear" not in path:
            assert np.abs(average - moved[path]).max() > 1e-5, "it is the weight itself"
    if devices == 2:
        for variable in trainer.dreaming.encoder.variables:
            first, second = (copy.numpy() for copy in variable.value.values)
            np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_the_averages_of_every_preset_begin_as_its_networks(preset: str) -> None:
    size = 2 ** len(PRESETS[preset].model.get("filters", ModelConfig(16, 16).filters))
    config = ModelConfig(size, size, **PRESETS[preset].model).resolve()
    networks = build_networks(config, precision="float32", seed=3, discriminator=False)
    copy = WeightAverages(networks, 0.9).networks
    image = tf.random.stateless_uniform((2, size, size, 3), (1, 2), -1.0, 1.0)
    mean, log_var = networks.encoder(image)
    for ours, theirs in zip(copy.encoder(image), (mean, log_var), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(copy.decoder(mean), networks.decoder(mean))


@pytest.mark.slow
def test_averages_are_resumed_shown_and_exported(small_records: Path, tmp_path: Path) -> None:
    flags = tiny_flags(small_records, tmp_path / "run", ema=0.99, learning_rate=0.02)
    trainer = train_here(flags)
    images = film_images(8)
    averaged = training_checks.reconstruct(trainer, images, trainer.dreaming)
    raw = training_checks.reconstruct(trainer, images)
    assert np.abs(averaged.astype(int) - raw).max() > 2
    config = tiny_run(flags)
    from_run.export(trainer.dreaming, trainer.steps_done, config, tmp_path / "run")
    exported = load_autoencoder(tmp_path / "run").reconstruct(images)
    assert np.abs(exported.astype(int) - averaged).max() <= 1
    again = fit.build_trainer(config)
    assert restore(again, tmp_path / "run") == 4
    np.testing.assert_array_equal(
        training_checks.reconstruct(again, images, again.dreaming), averaged
    )


def test_a_long_gradient_is_shortened_and_keeps_its_direction() -> None:
    images = film_images(8)
    trainer = tiny_trainer("vae_gan", clip_norm=1e-3, run_eagerly=True)
    gradients = training_checks.own_gradients(trainer, images)
    logs = take_steps(trainer, images)
    for player, gradient in gradients.items():
        norm = np.sqrt(sum(np.square(value).sum() for value in gradient))
        assert norm > 1e-3, "or nothing is clipped"
        assert logs[f"gradient_norm/{player}"] == pytest.approx(norm, rel=1e-3)
        shortened = [value * (1e-3 / norm) for value in gradient]
        found = training_checks.first_moments(trainer, player)
        assert training_checks.distance(found, shortened) < 5e-3


def test_a_short_gradient_is_left_alone() -> None:
    plain, clipped = (tiny_trainer("vae", clip_norm=norm, run_eagerly=True) for norm in (0.0, 1e6))
    for trainer in (plain, clipped):
        take_steps(trainer, film_images(8))
    for ours, theirs in zip(
        plain.networks.encoder.variables, clipped.networks.encoder.variables, strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_gradients_are_clipped_after_the_sum_over_devices() -> None:
    training_checks.check_replica_equality(
        lambda: tiny_trainer("vae_gan", clip_norm=1e-2), film_images(8)
    )


def test_the_discriminator_has_a_learning_rate_of_its_own() -> None:
    trainer = tiny_trainer("vae_gan", learning_rate=1e-3, discriminator_learning_rate=4e-3)
    rates = {
        name: float(trainer.optimizer_of(name).learning_rate) for name in trainer.networks.players()
    }
    assert rates == pytest.approx({"encoder": 1e-3, "decoder": 1e-3, "discriminator": 4e-3})
    config = tiny_train(
        steps=100, warmup_steps=20, learning_rate=1.0, discriminator_learning_rate=3.0,
        constant_learning_rate=False,
    )  # fmt: skip
    rate = make_schedule(config, "discriminator")
    np.testing.assert_allclose([rate(0), rate(20), rate(100)], [0.03, 3.0, 0.03], atol=1e-3)


@pytest.mark.slow
def test_several_steps_at_once_are_the_same_steps(small_records: Path, tmp_path: Path) -> None:
    """Eight steps, three at a time, the last time two: logs, checkpoints, weights to the bit."""
    asked = {"steps": 8, "checkpoint_every": 4, "log_every": 2, "ema": 0.9, "clip_norm": 0.1}
    for name, at_once in (("one", 1), ("three", 3)):
        flags = tiny_flags(small_records, tmp_path / name, steps_per_execution=at_once, **asked)
        assert train_here(flags).steps_done == 8
    one, three = (tmp_path / name / "checkpoints" for name in ("one", "three"))
    training_checks.check_same_checkpoint(one / "step-8", three / "step-8")
    assert sorted(path.stem for path in three.glob("*.index")) == ["step-6", "step-8"]
    # Another number from here on: it is the same run.
    for name, at_once in (("one", 2), ("three", 1)):
        changed = {**asked, "steps": 12, "steps_per_execution": at_once}
        assert train_here(tiny_flags(small_records, tmp_path / name, **changed)).steps_done == 12
    training_checks.check_same_checkpoint(one / "step-12", three / "step-12")


@pytest.mark.slow
def test_xla_takes_the_same_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given the same noise: its own normal numbers are others."""

    def noise(shape: Any, seed: Any) -> tf.Tensor:
        del seed
        return 1.4 * tf.sin(
            1.7 * tf.reshape(tf.range(tf.reduce_prod(shape), dtype=tf.float32), shape)
        )

    plain, compiled = (tiny_trainer("vae_gan", ema=0.9, clip_norm=0.1) for _ in range(2))
    monkeypatch.setattr(tf.random, "stateless_normal", noise)
    compiled.compile(optimizer=None, jit_compile=True)
    images = film_images(8)
    ours, theirs = (take_steps(trainer, images) for trainer in (plain, compiled))
    for name, value in ours.items():
        assert theirs[name] == pytest.approx(value, rel=1e-4, abs=1e-6), name


def test_what_several_devices_cannot_do_is_refused() -> None:
    for changes, named in (
        ({"batch_size": 9}, "--batch_size=9 does not divide by 2 devices; give a multiple of 2"),
        ({"steps_per_execution": 4}, "--steps_per_execution=4 works on one device only, not on 2"),
        ({"jit": "on"}, "--jit=on works on one device only, not on 2"),
    ):
        config = dataclasses.replace(tiny_train(), **changes)
        fit.check_replicas(config, 1)
        with pytest.raises(UsageError, match=named):
            fit.check_replicas(config, 2)


@pytest.mark.parametrize("objective", ["dream", "vae"])
def test_a_rate_for_a_discriminator_that_is_not_there_is_refused(
    objective: str, small_records: Path, tmp_path: Path
) -> None:
    flags = tiny_flags(small_records, tmp_path / "run", objective, discriminator_learning_rate=1e-3)
    line = f"--discriminator_learning_rate=0.001: objective {objective} has no discriminator"
    with pytest.raises(UsageError, match=line):
        tiny_run(flags)
    if objective == "dream":
        assert tiny_run({**flags, "adversarial_weight": 0.1}).train.discriminator_learning_rate


@pytest.mark.parametrize(
    ("flags", "augment"),
    [({}, 0.0), ({"augment": 0.1}, 0.1), ({"latent_size": FRAMES // 2}, 0.25),
     ({"latent_size": FRAMES // 2 + 1}, 0.0), ({"linear_path": False}, 0.25),
     ({"latent_size": FRAMES // 2, "holdout": 0.17}, 0.0), ({"latent": "spatial"}, 0.25),
     ({"fine_tune_from": "RUN", "refit_linear_path": False}, 0.25),
     ({"fine_tune_from": "RUN"}, 0.0)],
)  # fmt: skip
def test_film_that_components_remember_is_not_moved(
    flags: dict[str, Any], augment: float, small_records: Path, tmp_path: Path
) -> None:
    """One of fewer frames than two for each latent number, unless it is asked for."""
    wanted = {**tiny_flags(small_records, tmp_path / "run"), "augment": None, **flags}
    assert tiny_run(wanted).train.augment == augment
