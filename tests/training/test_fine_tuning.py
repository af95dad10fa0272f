"""Runs that begin with the weights of another one."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from bladerunner_ae.errors import InputError, UsageError
from bladerunner_ae.runs.folder import load_config, open_run, write_json
from bladerunner_ae.runs.run_config import FineTuning, RunConfig
from bladerunner_ae.training import fit
from bladerunner_ae.training.best_weights import networks_to_show
from bladerunner_ae.training.checkpoints import checkpoint_steps, restore
from bladerunner_ae.training.fine_tuning import check_source, fine_tuned, load_source
from bladerunner_ae.training.trainer import Trainer
from tests.helpers.commands import Commands, Result
from tests.helpers.small_records import write_numbered_film
from tests.helpers.tiny_training import (
    arguments,
    film_images,
    tiny_flags,
    tiny_run,
    train_here,
    untrained_run,
    weights_of,
)
from tests.helpers.training_checks import mean_psnr, reconstruct


@pytest.fixture(scope="module")
def other_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the first 30 frames of the film, which no record knows to be the same one."""
    folder = tmp_path_factory.mktemp("other") / "film"
    write_numbered_film(folder, 30, 24, 32, image_format="png", film_id="fedcba9876543210")
    return folder


def without_linear_path(config: RunConfig) -> RunConfig:
    model = dataclasses.replace(config.model, linear_path=False).resolve()
    return dataclasses.replace(config, model=model)


def begin(
    records: Path, run: Path, source: Path | None = None, refit: bool = False,
    linear_path: bool = True, **flags: Any,
) -> tuple[RunConfig, Trainer]:  # fmt: skip
    """Open a run as the command does; return it with its trainer at the first step."""
    config = tiny_run(tiny_flags(records, run, **flags))
    config = config if linear_path else without_linear_path(config)
    config = config if source is None else fine_tuned(config, source, refit)
    open_run(run, config, overwrite=False)
    trainer = fit.build_trainer(config)
    if source is not None:
        check_source(config)
        config = load_source(trainer, config)
        write_json(run / "config.json", config.to_json())
    return config, trainer


def test_it_begins_with_the_averages_that_are_exported(
    small_records: Path, other_film: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = tiny_flags(small_records, tmp_path / "a", ema=0.9, learning_rate=0.01)
    source = train_here(flags)
    best, step = networks_to_show(source, tmp_path / "a", "best")
    assert step < 4, "such a learning rate harms"
    config, trainer = begin(other_film, tmp_path / "best", tmp_path / "a")
    assert config.fine_tune is not None and config.fine_tune.step == step
    for ours, theirs in zip(
        trainer.networks.decoder.variables, best.decoder.variables, strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    write_json(tmp_path / "a/config.json", tiny_run({**flags, "keep": "last"}).to_json())
    config, trainer = begin(other_film, tmp_path / "b", tmp_path / "a")
    assert trainer.steps_done == 0
    assert config.fine_tune == FineTuning(str(tmp_path / "a"), 4, refit_linear_path=False)
    assert load_config(tmp_path / "b").fine_tune == config.fine_tune
    assert "fine-tuning" in capsys.readouterr().err
    for name in ("encoder", "decoder"):
        ours = trainer.networks.players()[name]
        averages, weights = source.dreaming.players()[name], source.networks.players()[name]
        for our, average in zip(ours.variables, averages.variables, strict=True):
            np.testing.assert_array_equal(our, average)
        assert any(
            not np.array_equal(our, weight)
            for our, weight in zip(ours.variables, weights.variables, strict=True)
        )


def test_an_objective_with_a_discriminator_gets_a_new_one(
    trained_run: tuple[Path, Result], other_film: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    begin(other_film, tmp_path / "b", trained_run[0], objective="vae_gan")
    assert "from its step 4, with a new discriminator" in capsys.readouterr().err


@pytest.mark.slow
def test_fine_tuning_starts_better_than_from_scratch(
    small_records: Path, other_film: Path, tmp_path: Path
) -> None:
    """Without a linear path, as `base` and `large` are."""
    source_config, source = begin(small_records, tmp_path / "a", linear_path=False, steps=60)
    fit.fit(source, source_config, [small_records], tmp_path / "a", 0)
    images = film_images(3)
    found: dict[str, list[float]] = {}
    for name, whence in (("tuned", tmp_path / "a"), ("scratch", None)):
        config, trainer = begin(other_film, tmp_path / name, whence, linear_path=False, steps=10)
        found[name] = [mean_psnr(images, reconstruct(trainer, images))]
        fit.fit(trainer, config, [other_film], tmp_path / name, 0)
        found[name].append(mean_psnr(images, reconstruct(trainer, images)))
    for tuned, scratch in zip(found["tuned"], found["scratch"], strict=True):
        assert tuned > scratch + 2.0, found


@pytest.mark.slow
@pytest.mark.parametrize("refit", [False, True])
def test_linear_path_is_the_other_films_unless_fitted_again(
    refit: bool, small_records: Path, other_film: Path, tmp_path: Path
) -> None:
    flags = tiny_flags(small_records, tmp_path / "a", learning_rate=0.01, keep="last")
    source = train_here(flags)
    config, trainer = begin(
        other_film, tmp_path / "b", tmp_path / "a", refit, steps=1, learning_rate=1e-9
    )
    fit.fit(trainer, config, [other_film], tmp_path / "b", 0)
    scratch_config, scratch = begin(other_film, tmp_path / "c", steps=1, learning_rate=1e-9)
    fit.fit(scratch, scratch_config, [other_film], tmp_path / "c", 0)
    ours, theirs, new = (
        {**weights_of(t.networks.encoder), **weights_of(t.networks.decoder)}
        for t in (trainer, source, scratch)
    )
    fitted = [path for path in ours if "linear" in path]
    emptied = [path for path in ours if path.startswith(("mean/", "deconv_0/"))]
    trunk = [path for path in ours if "conv_0" in path and "deconv" not in path]
    assert len(fitted) == 4 and len(emptied) == 4 and trunk
    for paths, expected in ((fitted, new), (emptied, new)):
        for path in paths:
            like = expected if refit else theirs
            np.testing.assert_allclose(ours[path], like[path], rtol=1e-4, atol=1e-5, err_msg=path)
    for path in trunk:
        np.testing.assert_allclose(ours[path], theirs[path], atol=1e-6)
        assert np.abs(ours[path] - new[path]).max() > 1e-3


def test_the_linear_path_is_fitted_anew_where_there_is_one(
    small_records: Path, tmp_path: Path
) -> None:
    config = tiny_run(tiny_flags(small_records, tmp_path))
    for ours, fitted in ((config, True), (without_linear_path(config), False)):
        assert fine_tuned(ours, tmp_path).fine_tune.refit_linear_path is fitted
    assert fine_tuned(config, tmp_path, False).fine_tune.refit_linear_path is False


@pytest.mark.slow
def test_a_resumed_run_needs_its_source_no_more(
    small_records: Path, other_film: Path, tmp_path: Path, commands: Commands,
    trained_run: tuple[Path, Result],
) -> None:  # fmt: skip
    source = Path(shutil.copytree(trained_run[0], tmp_path / "source"))
    run = tmp_path / "run"
    flags = tiny_flags(other_film, run, fine_tune_from=source)
    first = commands.run("train", *arguments(flags))
    assert first.code == 0 and f"fine-tuning {source} from its step 4" in first.err, first.err
    shutil.rmtree(source)
    second = commands.run("train", *arguments({**flags, "steps": 6}))
    assert second.code == 0 and "resuming from step 4" in second.err, second.err
    assert "fine-tuning" not in second.err
    assert load_config(run).fine_tune.step == 4
    assert checkpoint_steps(run)[-1] == 6
    other = commands.run("train", *arguments({**flags, "fine_tune_from": tmp_path / "elsewhere"}))
    assert other.code == 2 and "holds another run (fine_tune_from: " in other.error


def test_another_architecture_is_refused_with_the_difference(
    trained_run: tuple[Path, Result], tmp_path: Path, commands: Commands
) -> None:
    write_numbered_film(tmp_path / "film", 12, 48, 64, film_id="fedcba9876543210")
    run = tmp_path / "run"
    flags = tiny_flags(tmp_path / "film", run, fine_tune_from=trained_run[0])
    result = commands.run("train", *arguments(flags))
    assert result.code == 2
    assert result.error == (
        f"error: {trained_run[0]}: its networks have another shape (height: 24 -> 48; width: 32 "
        "-> 64); choose its --preset=preview and convert the film to its 24x32"
    )
    assert not run.exists()


def test_other_widths_are_refused_except_of_absent_discriminators(
    small_records: Path, trained_run: tuple[Path, Result], tmp_path: Path
) -> None:
    config = fine_tuned(tiny_run(tiny_flags(small_records, tmp_path)), trained_run[0], False)
    fewer = dataclasses.replace(config.model, latent_size=100)
    with pytest.raises(InputError, match=r"another shape \(latent_size: 200 -> 100\)"):
        check_source(dataclasses.replace(config, model=fewer))
    wider = dataclasses.replace(config.model, discriminator_filters=(8, 16))
    check_source(dataclasses.replace(config, model=wider))


def test_flags_for_the_shape_of_the_source_are_named(
    small_records: Path, trained_run: tuple[Path, Result], tmp_path: Path
) -> None:
    """Also of runs older than a flag, which is missing in their config.json."""
    old = Path(shutil.copytree(trained_run[0], tmp_path / "old"))
    values = json.loads((old / "config.json").read_text())
    del values["model"]["refinement_blocks"]
    (old / "config.json").write_text(json.dumps(values))
    for asked, cure in (
        ({}, "give --refinement_blocks=0"),
        ({"latent": "spatial"}, "give --latent_size=200 --latent=vector --latent_channels=0 "
         "--refinement_blocks=0"),
        ({"linear_path": False}, "give --linear_path"),
    ):  # fmt: skip
        config = fine_tuned(tiny_run(tiny_flags(small_records, tmp_path, **asked)), old, None)
        with pytest.raises(InputError, match=f"; {cure}$"):
            check_source(config)


def test_a_run_cannot_begin_with_what_lies_in_its_own_folder(
    small_records: Path, trained_run: tuple[Path, Result], tmp_path: Path
) -> None:
    run = Path(shutil.copytree(trained_run[0], tmp_path / "run"))
    config = fine_tuned(tiny_run(tiny_flags(small_records, run)), run / "earlier", False)
    shutil.copytree(trained_run[0], run / "earlier")
    with pytest.raises(UsageError, match="earlier is inside --model_dir, which is written to"):
        check_source(config, run)
    beside = Path(shutil.copytree(trained_run[0], tmp_path / "run2"))
    check_source(fine_tuned(config, beside, False), run)


def test_a_run_cannot_begin_with_what_starting_over_deletes(
    small_records: Path, trained_run: tuple[Path, Result], tmp_path: Path, commands: Commands
) -> None:
    run = Path(shutil.copytree(trained_run[0], tmp_path / "run"))
    flags = arguments(tiny_flags(small_records, run, fine_tune_from=run))
    result = commands.run("train", *flags, "--overwrite")
    assert result.code == 1 and f"are the same folder, {run}; give another" in result.error
    assert checkpoint_steps(run) == [2, 4]


def test_a_damaged_source_is_found_before_the_run_is_deleted(
    small_records: Path, trained_run: tuple[Path, Result], tmp_path: Path, commands: Commands
) -> None:
    run = Path(shutil.copytree(trained_run[0], tmp_path / "run"))
    source = Path(shutil.copytree(trained_run[0], tmp_path / "source"))
    (weights,) = (source / "checkpoints").glob("step-4.data-*")
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 0xFF
    weights.write_bytes(content)
    flags = arguments(tiny_flags(small_records, run, fine_tune_from=source))
    result = commands.run("train", *flags, "--overwrite")
    assert result.code != 0 and "source/checkpoints/step-4: is damaged (" in result.error
    assert checkpoint_steps(run) == [2, 4] and (run / "export").is_dir()


def test_what_is_no_source(
    small_records: Path, trained_run: tuple[Path, Result], tmp_path: Path
) -> None:
    config = tiny_run(tiny_flags(small_records, tmp_path))
    with pytest.raises(InputError, match=r"empty: not a run folder|no such|not there|does not"):
        check_source(fine_tuned(config, tmp_path / "empty", False))
    untrained = Path(shutil.copytree(trained_run[0], tmp_path / "untrained"))
    shutil.rmtree(untrained / "checkpoints")
    with pytest.raises(InputError, match=r"untrained: has no checkpoint to fine-tune from; train"):
        check_source(fine_tuned(config, untrained, False))
    with pytest.raises(UsageError, match="networks of --preset=preview have no linear path"):
        fine_tuned(without_linear_path(config), untrained, True)


def test_runs_without_later_fields_can_be_a_source(
    small_records: Path, trained_run: tuple[Path, Result], tmp_path: Path
) -> None:
    old = Path(shutil.copytree(trained_run[0], tmp_path / "old"))
    values = json.loads((old / "config.json").read_text())
    for name in ("discriminator_learning_rate", "clip_norm", "ema", "steps_per_execution", "jit",
                 "watchdog", "keep", "epochs", "minutes", "length"):  # fmt: skip
        del values["train"][name]
    del values["fine_tune"]
    (old / "config.json").write_text(json.dumps(values))
    _, tuned = begin(small_records, tmp_path / "run", old)
    source = fit.build_trainer(load_config(old))
    assert restore(source, old) == 4
    for ours, theirs in zip(
        tuned.networks.encoder.variables, source.networks.encoder.variables, strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_checkpoint_without_the_watchdogs_state_is_refused(
    small_records: Path, tmp_path: Path
) -> None:
    """The first version wrote such checkpoints."""
    config = tiny_run(tiny_flags(small_records, tmp_path))
    first = tf.train.Checkpoint(trainer=fit.build_trainer(config))
    first.write(str(tmp_path / "checkpoints" / "step-4"))
    with pytest.raises(InputError, match=r"step-4: does not fit this run .* start over with --ov"):
        restore(fit.build_trainer(config), tmp_path)


@pytest.mark.parametrize(
    ("theirs", "ours", "weights"),
    [
        ("vae_gan", "dream", {"adversarial_weight": 0.1}),
        pytest.param("vae_gan", "patch_gan", {}, marks=pytest.mark.slow),
        pytest.param("patch_gan", "vae_gan", {}, marks=pytest.mark.slow),
    ],
)
def test_a_discriminator_of_pictures_is_none_of_patches(
    theirs: str, ours: str, weights: dict[str, float], small_records: Path, other_film: Path,
    tmp_path: Path, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    untrained_run(tiny_flags(small_records, tmp_path / "a", theirs, steps=1))
    flags = {"objective": ours, **weights}
    _, trainer = begin(other_film, tmp_path / "b", tmp_path / "a", **flags)
    assert "with a new discriminator" in capsys.readouterr().err
    fresh = fit.build_trainer(tiny_run(tiny_flags(other_film, tmp_path / "c", **flags)))
    ours_now, afresh = (t.networks.players()["discriminator"] for t in (trainer, fresh))
    for now, before in zip(ours_now.variables, afresh.variables, strict=True):
        np.testing.assert_array_equal(now, before)


def test_run_with_retired_weight_is_a_source_but_not_resumed(
    small_records: Path, other_film: Path, tmp_path: Path
) -> None:
    flags = tiny_flags(small_records, tmp_path / "a", "dream", steps=1)
    untrained_run(flags)
    file = tmp_path / "a" / "config.json"
    values = json.loads(file.read_text("utf-8"))
    values["weights"]["detail_weight"] = 0.05
    file.write_text(json.dumps(values), "utf-8")
    begin(other_film, tmp_path / "b", tmp_path / "a", objective="dream")
    fit.build_trainer(load_config(tmp_path / "a"))  # as export does
    with pytest.raises(InputError, match=r"another run \(detail_weight: 0\.05 -> gone\)"):
        open_run(tmp_path / "a", tiny_run({**flags, "steps": 2}), overwrite=False)
