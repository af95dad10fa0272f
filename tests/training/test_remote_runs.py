"""Runs, exports and their readers where paths are remote: fsspec's file system in memory."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bladerunner_ae.conversion.upload import publish
from bladerunner_ae.errors import InputError, OutputError
from bladerunner_ae.evaluation.evaluate_film import EvaluationOptions, evaluate_film
from bladerunner_ae.export import export_run
from bladerunner_ae.exports import from_run
from bladerunner_ae.exports.loading import find_saved_model, load_autoencoder
from bladerunner_ae.exports.model_card import load_model_card
from bladerunner_ae.exports.saved_models import MODELS, newest_versions
from bladerunner_ae.runs.folder import load_config, open_run, writing
from bladerunner_ae.runs.working_copy import WorkingCopy
from bladerunner_ae.training import logs
from bladerunner_ae.training.fine_tuning import check_source, fine_tuned, load_source
from bladerunner_ae.training.fit import build_trainer
from bladerunner_ae.training.logs import LogFile
from tests.helpers.small_records import write_numbered_film
from tests.helpers.tiny_training import (
    FEW_LAYERS,
    checkpoint_values,
    film_images,
    tiny_flags,
    tiny_run,
    train_here,
)
from tfrecords import storage
from tfrecords.storage import RemotePath

_numbers = itertools.count()


@pytest.fixture
def folder() -> RemotePath:
    return RemotePath(f"memory://runs{next(_numbers)}/folder")


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RemotePath]:
    """Return the same 48 frames of 24x32, local and remote."""
    local, spool = tmp_path_factory.mktemp("local") / "film", tmp_path_factory.mktemp("spool")
    remote = RemotePath("memory://records/data/film")
    for directory in (local, spool / "film"):
        write_numbered_film(directory, 48, 24, 32, image_format="png")
    publish(spool / "film", remote)
    return local, remote


@pytest.fixture(scope="module")
def trained(records: tuple[Path, RemotePath]) -> tuple[dict[str, Any], RemotePath]:
    """Return the flags of a finished run in a remote folder, exported, and that folder."""
    run = RemotePath("memory://runs/a")
    changes = {"sample_every": 4, "holdout": 0.17, "keep": "last", **FEW_LAYERS}
    flags = tiny_flags(records[1], run, **changes)  # type: ignore[arg-type]
    with WorkingCopy(run).opened() as folder:
        trainer = train_here({**flags, "model_dir": folder})
        from_run.export_trained(
            trainer.dreaming, trainer.steps_done, tiny_run(flags), folder, [flags["data"]]
        )
    return flags, run


def without_speed(line: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in line.items() if not name.startswith("speed/")}


def logged(run: Any) -> list[dict[str, float]]:
    return [json.loads(line) for line in storage.read_text(run / "metrics.jsonl").splitlines()]


def values_at_the_end(run: Any, scratch: Path) -> dict[str, Any]:
    """Return every number of the checkpoint of step 4, which is brought here first."""
    for suffix in ("index", "data-00000-of-00001"):
        data = storage.read_bytes(run / "checkpoints" / f"step-4.{suffix}")
        (scratch / f"step-4.{suffix}").write_bytes(data)
    return checkpoint_values(scratch / "step-4")


def test_a_remote_run_holds_what_a_local_one_does(
    records: tuple[Path, RemotePath], trained: tuple[dict[str, Any], RemotePath], tmp_path: Path
) -> None:
    flags, remote = trained
    local = tmp_path / "run"
    train_here({**flags, "data": records[0], "model_dir": local})
    for folder in (".", "samples", "checkpoints"):
        names = storage.names(local / folder)
        there = remote if folder == "." else remote / folder
        assert [name for name in storage.names(there) if name != "export"] == names
    assert len(storage.names(remote / "tensorboard")) >= 1
    ours, theirs = values_at_the_end(remote, tmp_path), values_at_the_end(local, tmp_path)
    assert ours.keys() == theirs.keys()
    for name, values in theirs.items():
        np.testing.assert_array_equal(ours[name], values, name)
    for ours, theirs in zip(logged(remote), logged(local), strict=True):
        assert without_speed(ours) == without_speed(theirs)


def test_a_remote_run_is_resumed_from_its_last_checkpoint(
    trained: tuple[dict[str, Any], RemotePath], folder: RemotePath, tmp_path: Path
) -> None:
    flags, unbroken = trained
    copy = WorkingCopy(folder)
    sent: list[int] = []

    def killed() -> None:
        copy.send()
        sent.append(len(storage.names(folder / "checkpoints")))
        raise KeyboardInterrupt  # another machine goes on with what was sent

    with pytest.raises(KeyboardInterrupt), copy.opened() as local:
        train_here({**flags, "model_dir": local}, after_checkpoint=killed)
    assert sent == [3], "step 2 and the list"
    with WorkingCopy(folder).opened() as local:
        train_here({**flags, "model_dir": local})
    assert "training from step 2 to 4" in storage.read_text(folder / "log.txt")
    steps = [line["step"] for line in logged(folder) if "loss/decoder" in line]
    assert steps == [1, 2, 3, 4], "lines beyond the checkpoint were dropped, not doubled"
    ours, theirs = values_at_the_end(folder, tmp_path), values_at_the_end(unbroken, tmp_path)
    for name, values in theirs.items():
        np.testing.assert_array_equal(ours[name], values, name)


def test_a_remote_export_is_found_and_dreams(trained: tuple[dict[str, Any], RemotePath]) -> None:
    run = trained[1]
    assert [str(path) for path in newest_versions(run / "export")] == [
        f"{run}/export/{name}/1" for name in MODELS
    ]
    assert find_saved_model(run) == run / "export" / "autoencoder" / "1"
    assert load_model_card(find_saved_model(run))["step"] == 4
    dreams = load_autoencoder(str(run)).reconstruct(film_images(3))
    assert dreams.shape == (3, 24, 32, 3) and dreams.std() > 0


@pytest.mark.slow
def test_a_remote_model_is_evaluated_on_remote_records(
    records: tuple[Path, RemotePath],
    trained: tuple[dict[str, Any], RemotePath],
    folder: RemotePath,
) -> None:
    run = trained[1]
    options = EvaluationOptions(contact_sheet=folder / "sheet.png")
    ours, theirs = evaluate_film(run, records[1], options), evaluate_film(run, records[0])
    assert ours["film"] == theirs["film"] and ours["groups"].keys() == theirs["groups"].keys()
    for label, figures in ours["groups"].items():
        # Threads add in any order: a rounded pixel here and there may differ.
        assert figures["psnr"] == pytest.approx(theirs["groups"][label]["psnr"], abs=2e-3)
        assert figures["frames"] == theirs["groups"][label]["frames"]
    assert storage.read_bytes(folder / "sheet.png").startswith(b"\x89PNG")


def test_a_remote_run_is_told_from_other_things(
    trained: tuple[dict[str, Any], RemotePath], folder: RemotePath
) -> None:
    config, other = tiny_run(trained[0]), tiny_run({**trained[0], "seed": 7})
    with pytest.raises(InputError, match="not a run folder"):
        load_config(folder)
    with WorkingCopy(folder).opened() as local:
        open_run(local, config, overwrite=False)
    assert load_config(folder) == config
    with (
        pytest.raises(InputError, match=rf"^{folder}: holds another run \(seed: 1 -> 7\)"),
        WorkingCopy(folder).opened() as local,
    ):
        open_run(local, other, overwrite=False)
    storage.write_text(folder / "log.txt", "old")
    with WorkingCopy(folder).opened(overwrite=True) as local:
        open_run(local, other, overwrite=True)
    assert storage.names(folder) == ["config.json"] and load_config(folder) == other


def test_a_store_that_fails_is_one_line(folder: RemotePath) -> None:
    import tensorflow as tf

    with (
        pytest.raises(OutputError, match=r"failed \(UnavailableError: gone\); run the same"),
        writing(folder),
    ):
        raise tf.errors.UnavailableError(None, None, "gone")
    with pytest.raises(tf.errors.InvalidArgumentError), writing(folder):
        raise tf.errors.InvalidArgumentError(None, None, "a fault of ours")


@pytest.mark.parametrize("remote", [False, True])
def test_a_log_goes_on_and_keeps_what_it_is_told(
    tmp_path: Path, folder: RemotePath, remote: bool
) -> None:
    path = folder / "log" if remote else tmp_path / "log"
    with LogFile(path) as log:
        log.write("1 ümlaut")
        log.write("2")
    with LogFile(path, keep=lambda line: line != "2") as log:
        log.write("3")
    assert storage.read_text(path) == "1 ümlaut\n3\n"


def test_a_remote_log_is_written_when_asked_and_now_and_then(
    folder: RemotePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = LogFile(folder / "log")
    log.write("1")
    assert not storage.exists(folder / "log")
    log.synchronise()
    assert storage.read_text(folder / "log") == "1\n"
    monkeypatch.setattr(logs, "_REMOTE_EVERY_SECONDS", 0.0)
    log.write("2")
    assert storage.read_text(folder / "log") == "1\n2\n"
    log.close()
    log.close()


@pytest.mark.slow
def test_a_remote_run_is_fine_tuned_and_exported(
    trained: tuple[dict[str, Any], RemotePath], records: tuple[Path, RemotePath], tmp_path: Path
) -> None:
    run = trained[1]
    local = tiny_run({**trained[0], "fine_tune_from": str(run)})
    config = fine_tuned(local, run)
    check_source(config, tmp_path / "new")
    networks = build_trainer(config)
    assert load_source(networks, config).fine_tune.step == 4
    assert str(export_run(run, [records[1]])[0]) == f"{run}/export/autoencoder/2"
