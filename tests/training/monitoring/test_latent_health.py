"""Samples of latent space: densities, distances between sets, and the pictures."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from bladerunner_ae.evaluation import perceptual, prior_samples, set_distances, sheets
from bladerunner_ae.model.autoencoder import Autoencoder, Halves
from bladerunner_ae.model.latent_density import SHRINKAGE, fit_density
from bladerunner_ae.pictures.thumbnails import small
from tests.helpers.tiny_training import film_images, tiny_networks

Pictures = NDArray[np.uint8]


def flat_model() -> Autoencoder:
    """Remembers a frame by the mean of each channel, in units of 100 grey levels: (1, 3)."""

    def encode(images: Pictures) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        mean = images.astype(np.float32).mean(axis=(1, 2))[:, None] / 100.0
        return mean, np.zeros_like(mean)

    def decode(latents: NDArray[np.float32]) -> Pictures:
        levels = np.clip(np.rint(latents * 100.0), 0, 255).astype(np.uint8)
        return np.broadcast_to(levels[:, None], (len(latents), 8, 12, 3))

    return Autoencoder((8, 12), lambda: Halves((1, 3), encode, decode))


def even(levels: NDArray[np.integer]) -> Pictures:
    return np.broadcast_to(levels[:, None, None, None], (len(levels), 8, 12, 3)).astype(np.uint8)


def test_frechet_distance_in_closed_form() -> None:
    # Sets with exactly these moments, and diagonal covariances: |m|^2 + sum (s1 - s2)^2.
    corners = np.array([[1, 1], [1, -1], [-1, 1], [-1, -1]]) * math.sqrt(3 / 4)
    first, second = corners * [1.0, 2.0], corners * [4.0, 3.0] + [5.0, -1.0]
    assert set_distances.frechet_distance(first, second) == pytest.approx(25 + 1 + 9 + 1)
    assert set_distances.frechet_distance(second, first) == pytest.approx(36)
    assert set_distances.frechet_distance(first, first) == pytest.approx(0.0, abs=1e-9)


def test_frechet_distance_does_not_depend_on_the_axes() -> None:
    random = np.random.default_rng(1)
    first, second = random.normal(0, 1, (50, 4)), random.normal(1, 2, (60, 4))
    turned, _ = np.linalg.qr(random.normal(0, 1, (4, 4)))
    expected = set_distances.frechet_distance(first, second)
    found = set_distances.frechet_distance(first @ turned, second @ turned)
    assert found == pytest.approx(expected)
    # Two one-dimensional Gaussians in one, as a check of the sample covariance's divisor.
    a, b = random.normal(0, 1, (30, 1)), random.normal(0, 3, (30, 1))
    by_hand = (a.mean() - b.mean()) ** 2 + (a.std(ddof=1) - b.std(ddof=1)) ** 2
    assert set_distances.frechet_distance(np.hstack([a, a * 0]), np.hstack([b, b * 0])) == (
        pytest.approx(by_hand)
    )


def test_frechet_distance_of_a_single_picture() -> None:
    assert set_distances.frechet_distance(np.zeros((1, 3)), np.zeros((9, 3))) is None


def test_nearest_distances() -> None:
    others = small(even(np.array([0, 100, 200])))
    found = set_distances.nearest_distances(small(even(np.array([10, 149, 255]))), others)
    np.testing.assert_allclose(found, [10.0, 49.0, 55.0], atol=1e-3)


def test_frechet_distance_of_more_features_than_pictures() -> None:
    """As of features of full rank: the others are 0, and the axes are turned."""
    random = np.random.default_rng(2)
    first, second = random.normal(0, 1, (30, 5)), random.normal(1, 2, (30, 5))
    turned, _ = np.linalg.qr(random.normal(0, 1, (200, 200)))
    wide = [np.pad(values, [(0, 0), (0, 195)]) @ turned for values in (first, second)]
    expected = set_distances.frechet_distance(first, second)
    assert set_distances.frechet_distance(*wide) == pytest.approx(expected)


def test_a_density_has_the_moments_of_its_shots() -> None:
    random = np.random.default_rng(0)
    long, short = random.normal([5, 0], [1, 2], (400, 2)), random.normal([-50, 9], 1, (100, 2))
    latents = np.concatenate([long, short]).astype(np.float32)
    order = random.permutation(500)
    shots = np.repeat([7, 3], [400, 100])
    density = fit_density(latents[order], shots[order])
    drawn = density.sample(6000, seed=1)
    assert drawn.shape == (6000, 2) and drawn.dtype == np.float32
    of_long = drawn[:, 0] > -20
    assert of_long.mean() == pytest.approx(0.8, abs=0.02)  # its share of the frames
    share = SHRINKAGE / (SHRINKAGE + 400)
    pooled = (400 * long.var(axis=0) + 100 * short.var(axis=0)) / 500
    expected = (1 - share) * long.var(axis=0) + share * pooled
    np.testing.assert_allclose(drawn[of_long].mean(axis=0), long.mean(axis=0), atol=0.1)
    np.testing.assert_allclose(drawn[of_long].var(axis=0), expected, rtol=0.08)
    np.testing.assert_array_equal(density.sample(5, seed=1), density.sample(5, seed=1))
    assert not np.array_equal(density.sample(5, seed=1), density.sample(5, seed=2))


def test_a_density_of_one_frame_is_that_frame() -> None:
    density = fit_density(np.array([[1.0, 2.0]], np.float32), np.array([0]))
    np.testing.assert_array_equal(density.sample(3, 0), [[1.0, 2.0]] * 3)
    with pytest.raises(ValueError, match="at least one frame"):
        fit_density(np.zeros((0, 2), np.float32), np.zeros(0, int))


def test_scores_know_what_looks_like_the_film() -> None:
    levels = np.array([100, 101, 102, 200, 201, 202])
    film = prior_samples.FilmFrames(even(levels), np.repeat([1, 2], 3), even(np.array([150, 152])))
    model = flat_model()
    drawn = prior_samples.draw(model, film, count=64)
    assert drawn.fitted is not None and drawn.normal.shape == drawn.fitted.shape == (64, 8, 12, 3)
    scores = prior_samples.prior_scores(model, film, drawn)
    assert list(scores) == [
        "frames held out", "dreams of training frames", prior_samples.NORMAL, prior_samples.FITTED
    ]  # fmt: skip
    assert [row["pictures"] for row in scores.values()] == [2, 6, 64, 64]
    assert scores["frames held out"]["nearest_film"] == pytest.approx((48 + 48) / 2, abs=0.01)
    assert scores["frames held out"]["nearest_sample"] == pytest.approx(49.0, abs=0.01)
    assert scores["dreams of training frames"]["nearest_film"] == pytest.approx(0, abs=0.01)
    # The fitted density stays at its two shots; N(0, 1) is 0 to 300 grey levels.
    assert (
        scores[prior_samples.FITTED]["nearest_film"]
        < 2
        < 20
        < scores[prior_samples.NORMAL]["nearest_film"]
    )
    assert not any("perceptual_frechet" in row for row in scores.values())


@pytest.mark.skipif(not perceptual.available(), reason="[perceptual] is not installed")
def test_frechet_distances_are_of_equally_many_pictures() -> None:
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (60, 24, 32, 3)).astype(np.uint8)
    film = prior_samples.FilmFrames(images[:40], np.arange(40) // 4, images[40:], 16)
    sets = {"itself": images[:40], "others": images[40:], "few": images[:15]}
    scores = prior_samples.compare(sets, film, perceptual=True)
    assert scores["itself"]["perceptual_frechet"] == pytest.approx(0, abs=1e-4)
    features = [
        perceptual.pooled_features(prior_samples.some(pictures, 16))
        for pictures in (images[:40], images[40:])
    ]
    expected = set_distances.frechet_distance(*features)
    assert scores["others"]["perceptual_frechet"] == pytest.approx(expected, abs=1e-3)
    counts = [row["perceptual_frechet_pictures"] for row in scores.values()]
    assert counts == [16, 16, None] and scores["few"]["perceptual_frechet"] is None
    one = prior_samples.FilmFrames(images[:1], np.array([0]), images[:0])
    assert prior_samples.compare(sets, one, True)["others"]["perceptual_frechet"] is None


def test_samples_of_real_networks_repeat() -> None:
    model = tiny_networks().autoencoder
    assert (model.latent_size, model.raster) == (200, (24, 32))
    images = film_images()
    film = prior_samples.FilmFrames(images, np.arange(8) // 4, images[:0])
    first, second = prior_samples.draw(model, film, 5), prior_samples.draw(model, film, 5)
    np.testing.assert_array_equal(first.normal, second.normal)
    assert first.fitted is not None and second.fitted is not None
    np.testing.assert_array_equal(first.fitted, second.fitted)
    assert "frames held out" not in prior_samples.prior_scores(model, film, first)
    whole, part = model.reconstruct(images)[:3].astype(int), model.reconstruct(images[:3])
    assert np.abs(whole - part).max() <= 1  # sums in another order


def test_a_straight_line_with_both_ends() -> None:
    points = sheets.line(np.array([0.0, 4.0], np.float32), np.array([2.0, 0.0], np.float32), 5)
    np.testing.assert_allclose(points, [[0, 4], [0.5, 3], [1, 2], [1.5, 1], [2, 0]])


def test_interpolation_goes_from_the_first_half_to_the_second() -> None:
    frames = even(np.array([0, 60, 120, 240]))
    sheet = np.asarray(sheets.interpolation_sheet(flat_model(), frames, ["a", "b", "c", "d"]))
    # Two rows: 0 to 120 in steps of 20, and 60 to 240 in steps of 30; film at both ends.
    cell_height, cell_width = 128 + 4, 192 + 4
    columns = [24 + 96 + number * cell_width for number in range(9)]
    rows = [24 + 28 + 64 + number * (cell_height + 28) for number in range(2)]
    assert sheet[rows[0], columns, 0].tolist() == [0, 0, 20, 40, 60, 80, 100, 120, 120]
    assert sheet[rows[1], columns, 1].tolist() == [60, 60, 90, 120, 150, 180, 210, 240, 240]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_interpolation_of_few_frames(count: int) -> None:
    frames = even(np.array([10, 20, 30])[:count])
    sheet = sheets.interpolation_sheet(flat_model(), frames, ["x"] * count)
    assert sheet.height < 250 and sheet.width > 9 * 192


def test_the_prior_sheet_has_both_kinds() -> None:
    normal, fitted = even(np.full(40, 50)), even(np.full(40, 250))
    sheet = np.asarray(sheets.prior_sheet(prior_samples.Drawn(normal, fitted)))
    alone = np.asarray(sheets.prior_sheet(prior_samples.Drawn(normal)))
    cell = 128 * 192

    def cells(picture: Pictures, level: int) -> float:
        return round(float((picture == level).all(axis=-1).sum() / cell), 1)

    assert (cells(sheet, 50), cells(sheet, 250)) == (sheets.SHOWN, sheets.SHOWN)
    assert (cells(alone, 50), cells(alone, 250)) == (sheets.SHOWN, 0)
