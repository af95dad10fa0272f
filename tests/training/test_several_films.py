"""Training on several films: what the run remembers, refuses, and where it reads from."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from bladerunner_ae.errors import InputError, UsageError
from bladerunner_ae.evaluation.labels import frame_labels
from bladerunner_ae.exports.model_card import load_model_card
from bladerunner_ae.runs.folder import load_config
from bladerunner_ae.runs.run_config import Reading
from bladerunner_ae.training.batches import check_service
from tests.helpers.commands import Commands
from tests.helpers.small_records import write_numbered_film
from tests.helpers.tiny_training import (
    arguments,
    forget_after,
    tiny_flags,
    train_here,
    untrained_run,
)
from tests.helpers.training_checks import check_same_checkpoint
from tfrecords.card import load_card


@pytest.fixture(scope="module")
def films(small_records: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Return two films of 48 and 60 frames of 24x32."""
    folder = tmp_path_factory.mktemp("second") / "second"
    write_numbered_film(folder, 60, 24, 32, image_format="png", film_id="f" * 16)
    return [small_records, folder]


def wanted(films: list[Path], run: Path, **changes: Any) -> dict[str, Any]:
    others = {"data_weights": ["2", "1"], "holdout_seconds": 0.25, "holdout": 0.2, **changes}
    return {**tiny_flags(films[0], run), "data": films, **others}


def flags(films: list[Path], run: Path, **changes: Any) -> list[str]:
    return arguments(wanted(films, run, **{"data_weights": "2,1", **changes}))


@pytest.fixture(scope="module")
def begun(films: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("several") / "run"
    untrained_run(wanted(films, run))
    return run


def test_the_run_remembers_both_films(begun: Path) -> None:
    config = load_config(begun)
    assert config.reading == Reading("memory", "none")
    assert [(film.frames, film.weight, len(film.held_out)) for film in config.films] == [
        (48, 2.0, 1), (60, 1.0, 2)
    ]  # fmt: skip


@pytest.mark.slow
def test_the_command_s_model_remembers_both_films(
    films: list[Path], begun: Path, tmp_path: Path, commands: Commands
) -> None:
    run = tmp_path / "run"
    result = commands.run("train", *flags(films, run))
    assert result.code == 0, result.err
    assert "film.mp4, film.mp4: 108 frames (18 held out), 24x32" in result.err
    config = load_config(run)
    assert config == load_config(begun)
    model = load_model_card(run / "export" / "autoencoder" / "1")
    for film, known in zip(films, config.films, strict=True):
        labels = frame_labels(load_card(film), model)
        held = {frame for start, end in known.held_out for frame in range(start, end)}
        assert [str(label) for label in labels] == [
            "held out" if frame in held else "seen" for frame in range(known.frames)
        ]
    assert set(frame_labels(load_card(films[0]), {**model, "films": model["films"][1:]})) == {
        "unseen film"
    }


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"data_weights": "1,1"}, "(data_weights: 2.0, 1.0 -> 1.0, 1.0)"),
        ({"balance": "shots"}, "(balance: none -> shots)"),
        ({"cache_limit": 0}, "(order: memory -> streamed)"),
    ],
)
def test_another_way_of_reading_is_another_run(
    films: list[Path], begun: Path, commands: Commands, changes: dict[str, Any], named: str
) -> None:
    result = commands.run("train", *flags(films, begun, **changes))
    assert result.code == 2 and named in result.error, result.error


def test_one_film_less_is_another_run(films: list[Path], begun: Path, commands: Commands) -> None:
    result = commands.run("train", *flags(films[:1], begun, data_weights="1"))
    assert result.code == 2 and "(films: film.mp4, film.mp4 -> film.mp4)" in result.error


@pytest.mark.parametrize("weights", ["1", "1,2,3", "1,0", "1,-2", "1,x", "1,nan"])
def test_weights_that_make_no_sense(
    films: list[Path], tmp_path: Path, commands: Commands, weights: str
) -> None:
    result = commands.run("train", *flags(films, tmp_path / "run", data_weights=weights))
    assert result.code == 1 and f"--data_weights={weights}: give one number above 0 for each " \
        "--data (2)" in result.error  # fmt: skip
    assert not (tmp_path / "run").exists()


def test_films_of_different_size_are_refused_in_one_line(
    films: list[Path], tmp_path: Path, commands: Commands
) -> None:
    write_numbered_film(tmp_path / "large", 4, 72, 128, film_id="0" * 16)
    result = commands.run("train", *flags([films[0], tmp_path / "large"], tmp_path / "run"))
    assert result.code == 2
    assert f"{tmp_path}/large: frames are 72x128 but those of {films[0]} are 24x32" in result.error


@pytest.mark.slow
@pytest.mark.parametrize("reading", [{}, {"cache_limit": 0, "balance": "shots"}])
def test_run_on_several_films_resumes_exactly(
    films: list[Path], tmp_path: Path, reading: dict[str, Any]
) -> None:
    """From memory and from shards, weighted and balanced."""

    def run_flags(name: str, steps: int) -> dict[str, Any]:
        return {
            **tiny_flags(films[0], tmp_path / name, steps=steps),
            "data": films, "data_weights": ["1.5", "1"], **reading,
        }  # fmt: skip

    train_here(run_flags("unbroken", 6))
    train_here(run_flags("broken", 6))
    forget_after(tmp_path / "broken", 2)
    train_here(run_flags("broken", 6))
    ends = [tmp_path / name / "checkpoints" / "step-6" for name in ("broken", "unbroken")]
    check_same_checkpoint(*ends)


@pytest.mark.slow
def test_training_from_a_service_is_training_from_the_shards(
    films: list[Path], tmp_path: Path, commands: Commands
) -> None:
    service = tf.data.experimental.service
    dispatcher = service.DispatchServer(service.DispatcherConfig(port=0))
    address = dispatcher.target.removeprefix("grpc://")
    worker = service.WorkerServer(service.WorkerConfig(dispatcher_address=address))
    run, here = tmp_path / "run", tmp_path / "here"
    result = commands.run("train", *flags(films, run, data_service=dispatcher.target))
    assert result.code == 0, result.err
    assert commands.run("train", *flags(films, here, cache_limit=0)).code == 0
    check_same_checkpoint(run / "checkpoints/step-4", here / "checkpoints/step-4")

    forget_after(run, 2)
    result = commands.run("train", *flags(films, run, data_service=dispatcher.target))
    assert result.code == 1 and "is at step 2" in result.error
    assert "leave out --data_service and add --cache_limit=0" in result.error
    result = commands.run("train", *flags(films, run, cache_limit=0))
    assert result.code == 0 and "resuming from step 2" in result.err
    check_same_checkpoint(run / "checkpoints/step-4", here / "checkpoints/step-4")
    worker._stop()
    dispatcher._stop()


def test_a_service_that_is_not_there(tmp_path: Path, films: list[Path], commands: Commands) -> None:
    result = commands.run("train", *flags(films, tmp_path / "run", data_service="grpc://[::1]:9"))
    assert result.code == 2 and "grpc://[::1]:9: no tf.data service answers there" in result.error
    assert not (tmp_path / "run").exists()
    with pytest.raises(InputError, match="start its dispatcher first"):
        check_service("grpc://localhost:1")
    for address in ("localhost:5000", "http://localhost:1", "grpc://localhost", "grpc://a:b",
                    "grpc://:5", "grpc://a:1/path"):  # fmt: skip
        with pytest.raises(UsageError, match="give it as grpc://HOST:PORT"):
            check_service(address)


def test_a_film_and_its_copy_are_refused(
    films: list[Path], tmp_path: Path, commands: Commands
) -> None:
    copy = shutil.copytree(films[0], tmp_path / "copy")
    result = commands.run("train", *flags([films[0], copy], tmp_path / "run"))
    assert result.code == 2 and "is the same film as" in result.error
