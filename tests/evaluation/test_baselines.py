"""The mean frame and principal components: exact, and bounded in memory."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bladerunner_ae.evaluation import baselines
from tests.helpers.synthetic_film import film_pictures


def rank_three(frames: int = 40) -> NDArray[np.uint8]:
    """Frames that are integer mixes of three pictures: of rank 3 about any mean."""
    random = np.random.default_rng(0)
    basis = random.integers(0, 4, (3, 6, 10, 3))
    mix = random.integers(0, 21, (frames, 3))
    return np.einsum("nk,khwc->nhwc", mix, basis).astype(np.uint8)


def test_three_components_are_exact_for_rank_three() -> None:
    images = rank_three()
    mean_frame, components = baselines.fit_baselines(images[:30], [3])
    assert (mean_frame.name, components.name) == ("mean frame", "PCA-3")
    # Frames that were not fitted are in the same space.
    np.testing.assert_array_equal(components.reconstruct(images), images)
    rounded = np.rint(images[:30].astype(np.float64).mean(axis=0))
    np.testing.assert_array_equal(mean_frame.reconstruct(images[:2]), [rounded, rounded])


def test_the_error_of_fewer_components_is_that_of_the_svd() -> None:
    images = rank_three()
    flat = images.reshape(len(images), -1).astype(np.float64)
    mean, components = baselines.principal_components(images, 2)
    np.testing.assert_allclose(components.T @ components, np.eye(2), atol=1e-5)
    centred = flat - mean
    left = centred - centred @ components @ components.T
    singular = np.linalg.svd(flat - flat.mean(axis=0), compute_uv=False)
    assert np.square(left).sum() == pytest.approx(singular[2] ** 2, rel=1e-4)


def test_components_beyond_the_span_are_zero() -> None:
    images = rank_three(8)
    _, components = baselines.fit_baselines(images, [200])
    assert components.name == "PCA-7"  # eight frames span no more
    np.testing.assert_array_equal(components.reconstruct(images), images)
    lengths = np.linalg.norm(components.components, axis=0)
    np.testing.assert_allclose(lengths[:3], 1.0, atol=1e-5)
    np.testing.assert_array_equal(lengths[3:], 0.0)


@pytest.mark.parametrize("value", [0, 93])
def test_one_plain_frame_is_remembered(value: int) -> None:
    image = np.full((1, 6, 10, 3), value, np.uint8)
    for baseline in baselines.fit_baselines(image, [5]):
        np.testing.assert_array_equal(baseline.reconstruct(image), image)


def test_without_a_latent_size_only_the_mean_frame() -> None:
    assert [found.name for found in baselines.fit_baselines(rank_three(), [])] == ["mean frame"]


def test_blocks_of_pixels_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.stack(list(film_pictures(20, 24, 32)))
    whole = baselines.fit_baselines(images, [6])[1].reconstruct(images)
    monkeypatch.setattr(baselines, "_BLOCK", 100)
    parts = baselines.fit_baselines(images, [6])[1].reconstruct(images)
    assert np.abs(whole.astype(int) - parts).max() <= 1


def test_there_are_as_many_components_as_memory_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "_BYTES", 2 * 4 * 6 * 10 * 3)
    assert baselines.fit_baselines(rank_three(), [3])[1].name == "PCA-2"


def test_several_sizes_are_the_same_as_each_alone() -> None:
    images = np.stack(list(film_pictures(20, 24, 32)))
    _, two, six = baselines.fit_baselines(images, [6, 2, 6])
    assert (two.name, six.name) == ("PCA-2", "PCA-6")
    for found in (two, six):
        (_, alone) = baselines.fit_baselines(images, [found.components.shape[1]])
        np.testing.assert_allclose(found.components, alone.components, atol=1e-5)


def test_training_frames_are_evenly_spread() -> None:
    training = np.ones(10_000, bool)
    training[4000:6000] = False
    chosen = np.array(baselines.training_frames(training, 72 * 128 * 3))
    assert len(chosen) == baselines.FRAMES == len(set(chosen.tolist()))
    assert training[chosen].all() and chosen[0] < 4 and chosen[-1] > 9995
    assert baselines.training_frames(training, 1 << 29) == [2000, 8000]
    assert baselines.training_frames(np.array([False, True, True]), 100) == [1, 2]
    assert baselines.training_frames(np.zeros(3, bool), 100) == []
