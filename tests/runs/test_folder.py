"""The run folder: round trip, and what may and may not be gone on with."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from bladerunner_ae.errors import InputError, OutputError, UsageError
from bladerunner_ae.runs import folder as run_folder
from bladerunner_ae.runs.config import ModelConfig, TrainConfig
from bladerunner_ae.runs.fields import from_json, to_json
from bladerunner_ae.runs.films import FilmUse
from bladerunner_ae.runs.folder import load_config, open_run, write_json
from bladerunner_ae.runs.presets import PRESETS, preset
from bladerunner_ae.runs.run_config import Reading, RunConfig
from tfrecords import storage
from tfrecords.record_errors import RecordsError


def make_config(**changes: Any) -> RunConfig:
    values: dict[str, Any] = {
        "preset": "preview",
        "objective": "vae",
        "weights": {"kl_weight": 1e-5, "noise": 1.0},
        "model": ModelConfig(height=64, width=128, **PRESETS["preview"].model).resolve(),
        "train": TrainConfig(steps=500, **PRESETS["preview"].train),
        "films": (film(),),
        "reading": Reading(),
    }
    return RunConfig(**{**values, **changes})


def film(**changes: Any) -> FilmUse:
    use = FilmUse("film.mp4", "0123456789abcdef", 48, held_out=((0, 40),))
    return dataclasses.replace(use, **changes)


def other_film(**changes: Any) -> FilmUse:
    return film(name="b.mp4", film_id="1", **changes)


def train(**changes: Any) -> RunConfig:
    config = make_config()
    return dataclasses.replace(config, train=dataclasses.replace(config.train, **changes))


def test_a_run_round_trips_through_its_file(tmp_path: Path) -> None:
    config = make_config()
    assert open_run(tmp_path / "deep" / "run", config, overwrite=False) == config
    assert load_config(tmp_path / "deep" / "run") == config
    assert not list((tmp_path / "deep" / "run").glob(".*"))


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_presets_round_trip_through_json(name: str) -> None:
    found = preset(name)
    model = ModelConfig(height=64, width=96, **found.model)
    training = TrainConfig(steps=9, **found.train)
    for config in (model, training):
        assert from_json(type(config), json.loads(json.dumps(to_json(config)))) == config


def test_same_run_is_resumed(tmp_path: Path) -> None:
    open_run(tmp_path / "run", make_config(), overwrite=False)
    (tmp_path / "run" / "checkpoints").mkdir()
    longer = train(steps=5000, checkpoint_every=7, sample_every=8, log_every=9)
    open_run(tmp_path / "run", longer, overwrite=False)
    assert load_config(tmp_path / "run").train.steps == 5000
    assert (tmp_path / "run" / "checkpoints").is_dir()


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (
            make_config(weights={"kl_weight": 2e-5, "noise": 1.0}),
            r"kl_weight: 1e-05 -> 2e-05\)",
        ),
        (train(seed=7), "seed: 0 -> 7"),
        (train(batch_size=3, learning_rate=0.5), "batch_size: 32 -> 3; learning_rate: 0.001 ->"),
        (
            make_config(objective="vae_gan", weights={}),
            r"objective: vae -> vae_gan\)",
        ),
        (make_config(films=(film(held_out=()),)), r"held_out: \[\[0, 40\]\] -> \[\]"),
        (make_config(model=ModelConfig(height=64, width=128)), "filters: .*linear_path: True -> F"),
        (make_config(films=(other_film(),)), "film: film.mp4 -> b.mp4"),
        (make_config(films=(film(), other_film())), "films: film.mp4 -> film.mp4, b.mp4"),
        (
            make_config(reading=Reading("streamed", "shots")),
            "order: memory -> streamed; balance: none -> shots",
        ),
    ],
)
def test_another_run_is_refused_and_the_differences_named(
    tmp_path: Path, other: RunConfig, named: str
) -> None:
    open_run(tmp_path / "run", make_config(), overwrite=False)
    with pytest.raises(InputError, match=rf"run: holds another run \(.*{named}"):
        open_run(tmp_path / "run", other, overwrite=False)
    assert load_config(tmp_path / "run") == make_config()


@pytest.mark.parametrize(
    ("films", "named"),
    [
        ((other_film(), film()), "films: film.mp4, b.mp4 -> b.mp4, film.mp4"),
        ((film(weight=2.0), other_film()), r"data_weights: 1\.0, 1\.0 -> 2\.0, 1\.0"),
        ((film(), other_film(held_out=())), r"held_out of b\.mp4: \[\[0, 40\]\] -> \[\]\)"),
    ],
)
def test_differences_between_sets_of_films(
    tmp_path: Path, films: tuple[FilmUse, ...], named: str
) -> None:
    open_run(tmp_path / "run", make_config(films=(film(), other_film())), overwrite=False)
    with pytest.raises(InputError, match=rf"holds another run \({named}"):
        open_run(tmp_path / "run", make_config(films=films), overwrite=False)


def test_early_version_is_refused(tmp_path: Path) -> None:
    values = make_config().to_json()
    old = {**values, "film": values.pop("films")[0], "held_out": []}
    (tmp_path / "config.json").write_text(json.dumps(old))
    with pytest.raises(InputError, match=r"config.json: is of an early version; use the version "):
        load_config(tmp_path)


def test_overwrite_deletes_a_run_but_nothing_else(tmp_path: Path) -> None:
    run, other = tmp_path / "run", tmp_path / "other"
    open_run(run, make_config(), overwrite=False)
    (run / "checkpoints").mkdir()
    open_run(run, train(seed=7), overwrite=True)
    assert not (run / "checkpoints").exists() and load_config(run).train.seed == 7
    other.mkdir()
    (other / "holiday.txt").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(InputError, match="other: not empty and not a run"):
            open_run(other, make_config(), overwrite)
    assert (other / "holiday.txt").read_text() == "precious"


def test_a_file_is_no_run_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="file: is a file, not a folder"):
        open_run(tmp_path / "file", make_config(), overwrite=True)


def test_start_killed_while_writing_config_is_no_obstacle(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / ".config.json.partial").write_text('{"preset": "prev')
    open_run(run, make_config(), overwrite=False)
    assert load_config(run) == make_config()


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", '{"preset": "preview"}', '{"model": 3, "train": {}}',
     '{"model": {"height": 8}, "train": {}}', '{"model": {"depth": 8}, "train": {}}',
     "\udcff\udcfe"],
)  # fmt: skip
def test_a_damaged_config_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text, "utf-8", "surrogateescape")
    with pytest.raises(InputError, match=r"config\.json"):
        load_config(tmp_path)


@pytest.mark.parametrize(
    ("damaged", "named"),
    [
        ({"film_id": "1"}, "FilmUse has no name, frames"),
        ({"conversion": {"bytes": 3}}, "Conversion has no shards, sha256, pts, .*"),
        ({"held_out": [[0, 99]]}, r"frames held out are not of film\.mp4"),
        ({"weight": 0}, r"frames or weight of film\.mp4 are out of range"),
    ],
)
def test_damaged_film_is_named(tmp_path: Path, damaged: dict[str, Any], named: str) -> None:
    values = make_config().to_json()
    whole = {} if "film_id" in damaged else values["films"][0]
    (tmp_path / "config.json").write_text(json.dumps({**values, "films": [{**whole, **damaged}]}))
    with pytest.raises(InputError, match=rf"json: damaged \({named}\); put a copy"):
        load_config(tmp_path)


def test_a_cut_config_is_named_and_costs_nothing(tmp_path: Path) -> None:
    """Only --overwrite, which needs to know nothing of the old run, replaces it."""
    run = tmp_path / "run"
    open_run(run, make_config(), overwrite=False)
    (run / "checkpoints").mkdir()
    half = (run / "config.json").read_text()[:200]
    (run / "config.json").write_text(half)
    with pytest.raises(InputError, match=r"config\.json: damaged \(.*\); put a copy of it back, "
                       r"or train again with --overwrite, which deletes the run"):  # fmt: skip
        open_run(run, make_config(), overwrite=False)
    assert (run / "config.json").read_text() == half and (run / "checkpoints").is_dir()
    open_run(run, make_config(), overwrite=True)
    assert load_config(run) == make_config() and not (run / "checkpoints").exists()


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    run = tmp_path / "run"
    (run / "flags.txt").mkdir(parents=True)
    with (
        pytest.raises(InputError, match=r"run: cannot be written \(Is a directory: .*flags\.txt\); "
                      r"remove what is in the way, or choose another --model_dir"),
        run_folder.writing(run),
    ):  # fmt: skip
        storage.write_text(run / "flags.txt", "--seed=1")


def test_a_config_of_a_newer_version_is_not_called_damaged(tmp_path: Path) -> None:
    open_run(tmp_path, make_config(), overwrite=False)
    path = tmp_path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "dreams": 3, "depth": 1}))
    with pytest.raises(InputError, match="unknown depth, dreams; use the version"):
        load_config(tmp_path)


def test_a_folder_without_config_is_no_run(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InputError, match="not a run folder"):
            load_config(folder)


@pytest.mark.parametrize(
    ("changes", "named"),
    [({"steps": 0}, "--steps=0: give 1 or more"),
     ({"batch_size": -1}, "--batch_size=-1: give"),
     ({"checkpoint_every": 0}, "--checkpoint_every"),
     ({"learning_rate": 0.0}, "--learning_rate"),
     ({"learning_rate": float("nan")}, "--learning_rate"),
     ({"discriminator_learning_rate": float("inf")}, "--discriminator_learning_rate=inf: give"),
     ({"clip_norm": float("nan")}, "--clip_norm"),
     ({"ema": float("nan")}, "--ema"),
     ({"beta_1": float("nan")}, "^beta_1=nan: give 0 to below 1"),
     ({"beta_2": 1.0}, "^beta_2=1: give 0 to below 1"),
     ({"warmup_steps": -1}, "^warmup_steps=-1: give 0 or more"),
     ({"seed": -1}, "--seed"),
     ({"precision": "float8"}, "--precision=float8")],
)  # fmt: skip
def test_impossible_training_is_wrong_usage(changes: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        train(**changes)


def test_an_unknown_preset_lists_those_there_are() -> None:
    with pytest.raises(UsageError, match="--preset=huge: choose one of preview, base, large"):
        preset("huge")


def test_a_file_that_cannot_be_written_whole_keeps_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "values.json"
    write_json(path, {"a": 1})
    with pytest.raises(TypeError):
        write_json(path, {"a": 2, "b": object()})
    assert json.loads(path.read_text()) == {"a": 1}


def test_a_run_is_written_by_one_process_at_a_time(tmp_path: Path) -> None:
    run = tmp_path / "new" / "run"
    with (
        run_folder.writing(run),
        pytest.raises(RecordsError, match=r"run: process \d+ is writing it"),
        run_folder.writing(run),
    ):
        pass
    with run_folder.writing(run):
        pass
    assert list(run.parent.iterdir()) == [], "no lock stays behind"


@pytest.mark.parametrize("kind", [OSError, RuntimeError])
def test_a_full_disk_is_explained(tmp_path: Path, kind: type[Exception]) -> None:
    with (
        pytest.raises(OutputError, match=r"run: the disk is full; free some space"),
        run_folder.writing(tmp_path / "run"),
    ):
        raise kind("WriteSummary: No space left on device [Op:WriteSummary]")


def test_other_errors_pass(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="something else"), run_folder.writing(tmp_path / "run"):
        raise ValueError("something else")


def test_open_sizes_are_decided_once() -> None:
    asked = ModelConfig(height=64, width=128, refinement_blocks=3)
    resolved = asked.resolve()
    assert (asked.latent_size, asked.refinement_blocks) == (0, 3), "a new value"
    assert (resolved.latent_size, resolved.latent_channels) == (200, 0)
    assert resolved.refinement_blocks == 0, "there is no linear path to see"
    assert resolved.resolve() == resolved
