"""Several devices do what one does: noise, logs, clipping, ends of passes, checkpoints."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from bladerunner_ae.runs.folder import open_run
from bladerunner_ae.training import fit
from bladerunner_ae.training.checkpoints import checkpoint_manager, restore
from bladerunner_ae.training.trainer import Trainer
from tests.helpers.tiny_training import (
    FEW_LAYERS,
    OBJECTIVES,
    film_images,
    take_steps,
    tiny_flags,
    tiny_run,
    tiny_trainer,
)
from tests.helpers.training_checks import (
    check_nearly_same_checkpoint,
    check_same_checkpoint,
    distance,
    first_moments,
    two_devices,
)


def strategy_of(devices: int) -> tf.distribute.Strategy:
    """Return the strategy for one or two devices."""
    return two_devices() if devices == 2 else tf.distribute.get_strategy()


def test_each_replica_takes_its_own_part_of_the_noise() -> None:
    images = film_images(8)
    single, strategy = tiny_trainer("vae"), two_devices()
    with strategy.scope():
        double = tiny_trainer("vae")
    whole = single._batch(tf.constant(images))
    shares = strategy.experimental_distribute_values_from_function(
        lambda context: tf.constant(images[4 * context.replica_id_in_sync_group :][:4])
    )

    @tf.function  # type: ignore[untyped-decorator]
    def noise(images: tf.Tensor) -> Any:
        batch = double._batch(images)
        return batch.epsilon, batch.prior

    for name, found in zip(("epsilon", "prior"), strategy.run(noise, (shares,)), strict=True):
        first, second = (part.numpy() for part in strategy.experimental_local_results(found))
        assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 0.15
        np.testing.assert_array_equal(np.concatenate([first, second]), getattr(whole, name))


@pytest.mark.slow
@pytest.mark.parametrize("clip_norm", [0.0, pytest.param(1e-3, marks=pytest.mark.slow)])
def test_logs_and_gradients_of_two_devices_are_those_of_one(clip_norm: float) -> None:
    """Lengths of gradients are measured after the sum only where they are needed for clipping."""
    images = film_images(8)
    single = tiny_trainer("vae", model=FEW_LAYERS, clip_norm=clip_norm)
    with two_devices().scope():
        double = tiny_trainer("vae", model=FEW_LAYERS, clip_norm=clip_norm)
    ours, theirs = take_steps(single, images), take_steps(double, images)
    assert ours.keys() == theirs.keys()
    assert ours["latent/active_units"] > 0 and ours["latent/mean_std"] > 0.0
    for name, value in ours.items():
        if clip_norm or not name.startswith("gradient_norm/"):
            assert theirs[name] == pytest.approx(value, rel=1e-3), name
    for player in ("encoder", "decoder"):
        found = first_moments(double, player)
        assert distance(found, first_moments(single, player)) < 5e-3
        length = float(np.sqrt(sum(np.square(value).sum() for value in found)))
        norm = ours[f"gradient_norm/{player}"]
        assert norm > 2e-3, "nothing was there to clip"
        assert length == pytest.approx(clip_norm or norm, rel=1e-3)


@pytest.mark.slow
def test_a_frame_a_device_is_enough_to_see_latents_differ() -> None:
    with two_devices().scope():
        trainer = tiny_trainer("vae", model=FEW_LAYERS, batch_size=2)
    logs = take_steps(trainer, film_images(2))
    assert logs["latent/active_units"] > 0 and logs["latent/mean_std"] > 0.01


def train_on(devices: int, flags: Mapping[str, Any]) -> Trainer:
    """Train as the command does: only what is built is built in the strategy's scope."""
    config, run = tiny_run(flags), flags["model_dir"]
    open_run(run, config, overwrite=False)
    with strategy_of(devices).scope():
        trainer = fit.build_trainer(config)
        start = restore(trainer, run)
    fit.fit(trainer, config, [flags["data"]], run, start)
    return trainer


@pytest.mark.slow
def test_no_device_lacks_frames_where_a_pass_ends_in_a_batch(
    small_records: Path, tmp_path: Path
) -> None:
    """40 frames in batches of 24: the second batch holds the end of a pass and the next one's."""
    options: dict[str, Any] = {"holdout": 0.17, "batch_size": 24, "steps": 5, "checkpoint_every": 2}
    for devices in (1, 2):
        train_on(devices, tiny_flags(small_records, tmp_path / str(devices), **options))
    one, two = tmp_path / "1/checkpoints", tmp_path / "2/checkpoints"
    check_nearly_same_checkpoint(two / "step-5", one / "step-5", before=one / "step-2")
    assert "null" not in (tmp_path / "2/metrics.jsonl").read_text(), "a log was not finite"


@pytest.mark.slow
@pytest.mark.parametrize(("devices", "others"), [(2, 1), (1, 2)])
def test_a_checkpoint_of_some_devices_goes_on_with_others(
    devices: int, others: int, small_records: Path, tmp_path: Path
) -> None:
    """Every number arrives, and the run ends as one that kept its devices."""
    run, kept = tmp_path / "run", tmp_path / "kept"
    flags = tiny_flags(small_records, run, ema=0.9)
    train_on(devices, flags)
    config = tiny_run(flags)
    with strategy_of(others).scope():
        trainer = fit.build_trainer(config)
        assert restore(trainer, run) == 4
    checkpoint_manager(trainer, tmp_path / "copy").save(checkpoint_number=4)
    check_same_checkpoint(tmp_path / "copy/checkpoints/step-4", run / "checkpoints/step-4")
    shutil.copytree(run, kept)
    longer = {**flags, "steps": 6}
    assert train_on(others, longer).steps_done == 6
    train_on(devices, {**longer, "model_dir": kept})
    ends = (run / "checkpoints/step-6", kept / "checkpoints/step-6")
    check_nearly_same_checkpoint(*ends, before=run / "checkpoints/step-4")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("objective", "devices", "others"), [*((name, 2, 1) for name in OBJECTIVES), ("vae_gan", 1, 2)]
)
def test_every_checkpoint_value_loads_on_other_devices(
    objective: str, devices: int, others: int, small_records: Path, tmp_path: Path
) -> None:
    """Averages of the weights, the watchdog's memory and the halved weight too."""
    run, copy = tmp_path / "run", tmp_path / "copy"
    flags = tiny_flags(small_records, run, objective, ema=0.9, clip_norm=1.0, steps=2)
    trained = train_on(devices, flags)
    trained.state.adversarial_scale.assign(0.25)
    memory = np.arange(48).reshape(trained.state.watchdog.shape)
    trained.state.watchdog.assign(memory)
    checkpoint_manager(trained, run).save(checkpoint_number=2)
    with strategy_of(others).scope():
        trainer = fit.build_trainer(tiny_run(flags))
        assert restore(trainer, run) == 2
    assert float(trainer.state.adversarial_scale.numpy()) == 0.25
    np.testing.assert_array_equal(trainer.state.watchdog.numpy(), memory)
    checkpoint_manager(trainer, copy).save(checkpoint_number=2)
    check_same_checkpoint(copy / "checkpoints/step-2", run / "checkpoints/step-2")
