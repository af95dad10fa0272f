"""The film's latents: which frames, their facts, directions, density, and damaged files."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from bladerunner_ae.errors import InputError
from bladerunner_ae.exports import film_latents, from_run
from bladerunner_ae.exports.film_latents import FILE_NAME, FilmLatents, load_film_latents
from bladerunner_ae.model import pixels
from bladerunner_ae.runs.films import FilmUse
from tests.helpers.commands import Commands, Result
from tests.helpers.small_records import FILM_ID, PTS_STEP, write_numbered_film
from tests.helpers.tiny_exports import small_networks
from tests.helpers.tiny_training import film_images
from tfrecords.card import load_card
from tfrecords.mixture import FilmPart


@pytest.fixture(scope="module")
def film(tiny_export: Path) -> FilmLatents:
    found = load_film_latents(tiny_export / "decoder" / "1")
    assert found is not None
    return found


def test_the_facts_of_each_frame(film: FilmLatents, small_records: Path) -> None:
    card = load_card(small_records)
    assert film.frames.tolist() == list(range(48)), "all of a short film"
    assert set(film.films) == {0}
    np.testing.assert_allclose(film.seconds, np.arange(48) * PTS_STEP * float(card.time_base))
    assert [(film.shots == shot).sum() for shot in range(len(card.shot_starts))] == [
        end - start for start, end in card.shots()
    ]
    assert film.held_out.tolist() == [False] * 40 + [True] * 8
    kinds = {field.name: getattr(film, field.name).dtype for field in dataclasses.fields(film)}
    assert kinds == {
        "latents": np.float32, "frames": np.int64, "films": np.int64, "seconds": np.float64,
        "shots": np.int64, "held_out": np.bool_, "mean": np.float32, "directions": np.float32,
        "deviations": np.float32, "groups": np.int64,
    }  # fmt: skip


def test_latents_are_the_means_of_posteriors(film: FilmLatents) -> None:
    # `film_images` are every tenth frame of the same film.
    images = film_images(5)
    mean, _ = small_networks().encoder(pixels.to_float(images))
    np.testing.assert_allclose(film.latents[:41:10], mean, atol=1e-4)


def test_directions_are_orthonormal_with_their_deviations(film: FilmLatents) -> None:
    count = len(film.directions)
    assert 3 <= count <= film_latents.MOST_DIRECTIONS
    np.testing.assert_allclose(film.directions @ film.directions.T, np.eye(count), atol=1e-5)
    np.testing.assert_allclose(film.mean, film.latents.mean(axis=0), atol=1e-5)
    along = (film.latents - film.mean) @ film.directions.T
    np.testing.assert_allclose(along.std(axis=0), film.deviations, rtol=1e-3)
    assert (np.abs(film.directions).max(axis=1) == film.directions.max(axis=1)).all()


def test_the_first_direction_is_the_one_that_shows() -> None:
    """Latents vary most along axis 0, pictures along axis 2 and, half as much, along axis 1."""
    latents = np.random.default_rng(0).standard_normal((4000, 4)).astype("f4") * [3, 1, 1, 1]
    pictures = latents[:, [2, 2, 1]] * np.array([100, 100, 50], np.float32)
    _, directions, deviations = film_latents._spans(latents, pictures)
    np.testing.assert_allclose(directions[:2], np.eye(4)[[2, 1]], atol=0.2)
    np.testing.assert_allclose(deviations[:2], 1, atol=0.2)


def test_the_density_is_that_of_frames_training_saw(film: FilmLatents) -> None:
    density = film.density()
    assert len(density.latents) == 40
    assert len(density.shots) == len(np.unique(film.shots[~film.held_out]))
    unseen = dataclasses.replace(film, held_out=np.ones(48, bool))
    assert len(unseen.density().latents) == 48


class Ramp(keras.layers.Layer):
    """An encoder whose only latent is the mean of the picture."""

    def call(self, images: Any, training: bool = False) -> Any:
        return keras.ops.mean(images, axis=(1, 2, 3))[:, None], None


def part_of(folder: Path, frames: int) -> FilmPart:
    write_numbered_film(folder, frames, 8, 16, image_format="png")
    return FilmPart(folder, load_card(folder))


def test_several_films_share_in_proportion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(film_latents, "MOST_FRAMES", 20)
    parts = [part_of(tmp_path / "long", 60), part_of(tmp_path / "short", 20)]
    film = film_latents.collect_film_latents(Ramp(), parts)
    assert film.films.tolist() == [0] * 15 + [1] * 5
    assert film.frames.tolist() == [*range(2, 60, 4), *range(2, 20, 4)]
    assert film.directions.shape == (1, 1) and film.directions[0, 0] == 1
    placed = film_latents.collect_film_latents(Ramp(), parts[:1], [3])
    assert set(placed.films) == {3} and len(placed.frames) == 20


@pytest.mark.parametrize(
    ("frames", "shares"),
    [
        ([10], [10]),
        ([600], [512]),
        ([1000, 1], [511, 1]),
        ([512, 512], [256, 256]),
        ([100_000, *[1] * 300], [212, *[1] * 300]),
    ],
)
def test_every_film_has_a_frame(frames: list[int], shares: list[int]) -> None:
    assert film_latents._shares(frames) == shares


def test_a_film_of_one_frame_has_no_directions(tmp_path: Path) -> None:
    film = film_latents.collect_film_latents(Ramp(), [part_of(tmp_path / "film", 1)])
    assert film.directions.shape == (0, 1) and film.deviations.shape == (0,)
    path = tmp_path / "1" / FILE_NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(film_latents.to_bytes(film))
    again = load_film_latents(tmp_path / "1")
    assert again is not None and again.latents.tolist() == film.latents.tolist()


def test_latents_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    def diverged(images: Any, training: bool) -> Any:
        return images[:, 0, 0] * np.nan, None

    with pytest.raises(InputError, match="training has diverged"):
        film_latents.collect_film_latents(diverged, [part_of(tmp_path / "film", 4)])


def test_a_damaged_file_is_one_line(tiny_export: Path, tmp_path: Path) -> None:
    whole = (tiny_export / "decoder" / "1" / FILE_NAME).read_bytes()
    film = load_film_latents(tiny_export / "decoder" / "1")
    assert film is not None
    odd = film_latents.to_bytes(dataclasses.replace(film, shots=film.shots[1:]))
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    path = tmp_path / "1" / FILE_NAME
    path.parent.mkdir(parents=True)
    assert load_film_latents(tmp_path / "1") is None
    for content in (b"", b"no archive", whole[:-400], bytes(flipped), odd):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"damaged .*; export the run again") as caught:
            load_film_latents(tmp_path / "1")
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_training_exports_them(trained_run: tuple[Path, Result]) -> None:
    film = load_film_latents(trained_run[0] / "export" / "decoder" / "1")
    assert film is not None and len(film.latents) == 48 and film.held_out.sum() == 8


@pytest.mark.slow
def test_the_command_adds_latents_if_it_is_given_records(
    trained_run: tuple[Path, Result], small_records: Path, tmp_path: Path, commands: Commands
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained_run[0], run)
    plain = commands.run("export", f"--model_dir={run}")
    assert plain.code == 0, plain.err
    assert plain.out.splitlines() == [
        str(run / "export" / name / "2") for name in ("autoencoder", "encoder", "decoder")
    ]
    assert load_film_latents(run / "export" / "decoder" / "2") is None
    given = commands.run("export", f"--model_dir={run}", f"--data={small_records}")
    assert given.code == 0, given.err
    found = load_film_latents(run / "export" / "decoder" / "3")
    first = load_film_latents(run / "export" / "decoder" / "1")
    assert found is not None and first is not None
    np.testing.assert_allclose(found.latents, first.latents, atol=1e-5)


def test_the_command_refuses_records_of_other_films(
    trained_run: tuple[Path, Result], tmp_path: Path, commands: Commands
) -> None:
    run = Path(shutil.copytree(trained_run[0], tmp_path / "run"))
    write_numbered_film(tmp_path / "shorter", 12, 24, 32, image_format="png")
    write_numbered_film(tmp_path / "other", 48, 24, 32, film_id="f" * 16)
    for folder, message in (
        ("shorter", "holds 12 frames of 24x32, but the run was trained on 48 of 24x32"),
        ("other", f"holds film.mp4 ({'f' * 16}), but the run was trained on film.mp4 ({FILM_ID})"),
        ("missing", "there is no such folder"),
    ):
        refused = commands.run("export", f"--model_dir={run}", f"--data={tmp_path / folder}")
        assert refused.code == 2 and f"{tmp_path / folder}: {message}" in refused.error
    assert not (run / "export" / "decoder" / "2").exists()


def test_a_training_is_exported_without_its_records(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    written: list[Any] = []
    monkeypatch.setattr(from_run, "_write", lambda *arguments: written.append(arguments) or [])
    networks, config = object(), SimpleConfig()
    from_run.export_trained(networks, 4, config, tmp_path, [tmp_path / "gone"])  # type: ignore[arg-type]
    assert written == [(networks, 4, config, tmp_path, [], None, None)]
    said = capsys.readouterr().err
    assert said.startswith(f"exported without the film's latents: {tmp_path / 'gone'}: there is no")


class SimpleConfig:
    films = (FilmUse("film.mp4", FILM_ID, 48),)
