"""The memory of a film: what it knows, of which frames, and how a fit is resumed."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from bladerunner_ae.model.memory import MemoryValues
from bladerunner_ae.model.networks import Networks
from bladerunner_ae.training import fit_memory as fitting
from bladerunner_ae.training.fit_memory import fit_memory, forget_fit, initialise_memory
from bladerunner_ae.training.moved_frames import MOVES, moved_frames
from tests.helpers.memories import (
    FRAMES,
    film_part,
    fitted,
    memory_model,
    memory_networks,
    scenes,
    stop_after,
)
from tests.helpers.training_checks import mean_psnr
from tfrecords.mixture import FilmPart

CONFIG = memory_model(moments=8, components=100)


def check_same(ours: MemoryValues, theirs: MemoryValues) -> None:
    for field in dataclasses.fields(MemoryValues):
        np.testing.assert_array_equal(
            getattr(ours, field.name), getattr(theirs, field.name), err_msg=field.name
        )


@pytest.fixture(scope="module")
def film() -> NDArray[np.uint8]:
    return scenes()


@pytest.fixture(scope="module")
def part(film: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> FilmPart:
    """Return the film without its frames 40 to 59, a half of the second shot."""
    return film_part(tmp_path_factory.mktemp("film") / "film", film, slice(40, 60))


@pytest.fixture(scope="module")
def values(part: FilmPart, tmp_path_factory: pytest.TempPathFactory) -> MemoryValues:
    return fitted(CONFIG, part, tmp_path_factory.mktemp("fit") / "fit")


@pytest.fixture(scope="module")
def networks(values: MemoryValues, film: NDArray[np.uint8]) -> Networks:
    made = memory_networks(CONFIG)
    initialise_memory(made, CONFIG, values, film[:32])
    return made


def principal_components(
    film: NDArray[np.uint8], kept: NDArray[np.bool_], count: int
) -> NDArray[np.uint8]:
    """Return what the strongest components of the kept frames draw of all frames, by numpy."""
    flat = film.reshape(len(film), -1).astype(np.float64)
    mean = flat[kept].mean(axis=0)
    rows = np.linalg.svd(flat[kept] - mean, full_matrices=False)[2][:count]
    drawn = mean + (flat - mean) @ rows.T @ rows
    return np.clip(np.rint(drawn), 0, 255).astype(np.uint8).reshape(film.shape)


def test_it_knows_more_than_as_many_components_of_seen_frames(
    networks: Networks, film: NDArray[np.uint8], part: FilmPart
) -> None:
    kept = part.kept()
    few = mean_psnr(film[kept], principal_components(film, kept, 64)[kept])
    all_of_them = mean_psnr(film[kept], principal_components(film, kept, 100)[kept])
    found = mean_psnr(film[kept], networks.autoencoder.reconstruct(film[kept]))
    assert few + 3.0 < found < all_of_them + 0.1


def test_components_span_what_principal_components_do(
    values: MemoryValues, film: NDArray[np.uint8], part: FilmPart
) -> None:
    flat = film[part.kept()].reshape(140, -1) / 127.5 - 1.0
    np.testing.assert_allclose(values.mean, flat.mean(axis=0), atol=1e-4)
    centred = flat - flat.mean(axis=0)
    singular = np.linalg.svd(centred, compute_uv=False)
    rows = values.components.astype(np.float64)
    np.testing.assert_allclose(rows @ rows.T, np.eye(100), atol=1e-3)
    whole = CONFIG.global_numbers
    along = np.linalg.norm(centred @ rows.T, axis=0)
    np.testing.assert_allclose(along[:whole], singular[:whole], rtol=2e-3)
    np.testing.assert_allclose(values.deviations, singular[:whole] / np.sqrt(140), rtol=1e-3)


def test_components_are_those_that_moments_draw() -> None:
    random = np.random.default_rng(2)
    drawings = np.zeros((3, 40), np.float32)
    drawings[1, 35], drawings[2, 20] = 3.0, 2.0
    directions = np.zeros((3, 1, 40), np.float32)
    directions[0, 0, 0] = directions[1, 0, 30] = directions[2, 0, 31] = 1.0
    spreads = np.array([[1.0], [0.5], [0.1]], np.float32)
    frames = np.array([30, 10, 20], np.float32)
    axes = fitting._drawn_axes(frames, drawings, directions, spreads, 4)
    assert axes is not None and axes.shape == (40, 4)
    # What each draws, by its energy: 90, 80, 30, 2.5 and 0.2, the last of which has no room.
    np.testing.assert_allclose(np.abs(axes).argmax(axis=0), [35, 20, 0, 30])
    np.testing.assert_allclose(np.abs(axes).max(axis=0), 1.0, atol=1e-4)
    few = fitting._drawn_axes(frames, random.normal(size=(3, 4)).astype(np.float32),
                              directions[..., :4], spreads, 4)  # fmt: skip
    assert few is None


def test_of_many_rows_the_strongest_components_are_found_without_decomposing_all() -> None:
    random = np.random.default_rng(0)
    scales = 0.99 ** np.arange(500)
    rows = (random.standard_normal((400, 500)) * scales).astype(np.float32)
    told: list[int] = []
    weights = fitting._strongest(tf.constant(rows @ rows.T), 60, told.append).numpy()
    assert sum(told) == fitting._PASSES
    found = weights.T @ rows
    np.testing.assert_allclose(found @ found.T, np.eye(60), atol=1e-3)
    best = np.linalg.svd(rows, compute_uv=False)[:60]
    energy = np.square(rows @ found.T).sum()
    assert 0.97 < energy / np.square(best).sum() <= 1.0 + 1e-5


def test_held_out_frames_are_never_looked_at(
    film: NDArray[np.uint8], values: MemoryValues, tmp_path: Path
) -> None:
    other = film.copy()
    other[40:60] = np.random.default_rng(0).integers(0, 256, other[40:60].shape)
    check_same(fitted(CONFIG, film_part(tmp_path / "b", other, slice(40, 60)), tmp_path / "fit"),
               values)  # fmt: skip
    # The same change among the frames that are kept would have been seen.
    leak = film_part(tmp_path / "c", other, slice(0, 20))
    assert not np.array_equal(fitted(CONFIG, leak, tmp_path / "fit").components, values.components)


def test_two_parts_of_a_film_are_remembered_as_the_film(
    film: NDArray[np.uint8], tmp_path: Path
) -> None:
    first = film_part(tmp_path / "a", film[:80], film_id="a" * 16)
    second = film_part(tmp_path / "b", film[80:], film_id="b" * 16)
    whole = film_part(tmp_path / "c", film)
    together = fit_memory(CONFIG, [first, second], tmp_path / "fit")
    check_same(together, fit_memory(CONFIG, [whole], tmp_path / "other"))


@pytest.mark.parametrize("calls", [1, 3, 9])
def test_a_fit_that_was_stopped_is_resumed_to_the_same_memory(
    calls: int,
    part: FilmPart,
    values: MemoryValues,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fitting, "_BATCH", 40)  # of frames; written each time
    monkeypatch.setattr(fitting, "_WRITTEN_EVERY", 1)
    with pytest.raises(KeyboardInterrupt):
        fitted(CONFIG, part, tmp_path / "fit", check=stop_after(calls))
    resumed = fitted(CONFIG, part, tmp_path / "fit")
    np.testing.assert_allclose(resumed.deviations, values.deviations, rtol=1e-3)
    unbroken = fitted(CONFIG, part, tmp_path / "unbroken")
    check_same(resumed, unbroken)


def test_what_is_done_is_not_done_again_and_other_films_fits_are_dropped(
    part: FilmPart, film: NDArray[np.uint8], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "fit"
    fitted(CONFIG, part, folder)
    names = {path.name for path in folder.iterdir()}
    assert {name.partition("-")[2] for name in names} == {
        "sample.npy", "coordinates.npy", "rows.json",
    }  # fmt: skip
    with monkeypatch.context() as patch:
        patch.setattr(fitting, "_sample_components", None)
        fitted(CONFIG, part, folder)
    fitted(CONFIG, film_part(tmp_path / "other", film, slice(0, 20)), folder)
    others = {path.name for path in folder.iterdir()}
    assert len(others) == 3 and not names & others
    (folder / "mine.txt").write_text("a person's")
    fitted(CONFIG, part, folder)
    forget_fit(folder)
    assert [path.name for path in folder.iterdir()] == ["mine.txt"]
    (folder / "mine.txt").unlink()
    forget_fit(folder)
    assert not folder.exists()
    forget_fit(folder)


def test_noise_costs_a_tenth_of_a_decibel_at_the_start(
    networks: Networks, film: NDArray[np.uint8]
) -> None:
    seen = film[:32]
    mean, log_var = networks.autoencoder.encode(seen)
    noise = np.random.default_rng(0).standard_normal(mean.shape) * np.exp(0.5 * log_var)
    exact, noisy = (
        mean_psnr(seen, networks.autoencoder.decode(latents)) for latents in (mean, mean + noise)
    )
    assert 0.01 < exact - noisy < 0.25
    # The first 32 frames are not all; over them the errors are what counts.


def test_a_walk_over_a_cut_never_jumps(networks: Networks, film: NDArray[np.uint8]) -> None:
    latents = networks.autoencoder.encode(film[::20])[0]
    ways = np.linspace(0.0, 1.0, 25)[:, None]
    for first, second in pairwise(latents):
        points = ((1 - ways) * first + ways * second).astype(np.float32)
        drawn = networks.decoder(points, training=False).numpy().reshape(25, -1)
        steps = np.linalg.norm(np.diff(drawn, axis=0), axis=1)
        assert steps.max() < 2.0 * steps.mean()


def test_the_nearest_moment_of_each_frame_is_that_of_lloyds_algorithm() -> None:
    random = np.random.default_rng(1)
    places = random.standard_normal((4, 6)) * 20
    rows = (np.repeat(places, 25, axis=0) + random.standard_normal((100, 6))).astype(np.float32)
    means, nearest = fitting.nearest_means(rows, 4)
    np.testing.assert_array_equal(nearest, np.repeat(range(4), 25))
    np.testing.assert_allclose(means, rows.reshape(4, 25, 6).mean(axis=1), atol=1e-4)
    means, nearest = fitting.nearest_means(rows[:3], 3)
    np.testing.assert_array_equal(nearest, range(3))


def test_a_film_of_equal_frames_is_remembered(tmp_path: Path) -> None:
    grey = np.full((FRAMES, 24, 32, 3), 90, np.uint8)
    values = fitted(CONFIG, film_part(tmp_path / "grey", grey), tmp_path / "fit")
    made = memory_networks(CONFIG)
    initialise_memory(made, CONFIG, values, grey[:32])
    np.testing.assert_array_equal(made.autoencoder.reconstruct(grey[:2]), grey[:2])


def test_frames_move_by_parts_of_their_size() -> None:
    ramp = np.arange(40, dtype=np.float32)
    pictures = np.stack([
        np.broadcast_to(ramp[None, :, None], (20, 40, 3)),
        np.broadcast_to(ramp[:20, None, None], (20, 40, 3)),
    ])  # fmt: skip
    found = moved_frames(pictures)
    assert found.shape == (2, MOVES, 20, 40, 3)
    inner = slice(4, 16), slice(8, 32)
    for i, shift in enumerate([-0.03, -0.015, 0.015, 0.03]):
        expected = pictures[0] - shift * 40
        np.testing.assert_allclose(found[0, i][inner], expected[inner], atol=1e-4)
        np.testing.assert_allclose(found[1, i], pictures[1], atol=1e-4)
    for i, shift in ((4, -0.03), (5, 0.03)):
        np.testing.assert_allclose(found[1, i][inner], (pictures[1] - shift * 20)[inner], atol=1e-4)
    for i, nearer in ((6, 0.95), (7, 1.05)):
        expected = 19.5 + (pictures[0] - 19.5) / nearer
        np.testing.assert_allclose(found[0, i][inner], expected[inner], atol=1e-4)
    assert found[0, 0, 0, -1, 0] == 39.0
