"""From pictures to figures: weights, confidence intervals, bits of latents."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from bladerunner_ae.evaluation import measurement, perceptual, summary
from bladerunner_ae.evaluation.bit_rate import LatentMoments, kl_bits
from bladerunner_ae.evaluation.choice import choose_all
from tests.helpers.small_records import card_maker
from tests.helpers.synthetic_film import film_pictures
from tfrecords.card import Shard

Pictures = NDArray[np.uint8]
GREYS = [0, 10, 20, 30, 100, 90]
PIECES = [(0, 4), (4, 6)]


@dataclass(frozen=True)
class Changed:
    """A system that applies a function to pictures."""

    reconstruct: Callable[[Pictures], Pictures]


def greys(values: list[int]) -> Pictures:
    """Even pictures of 12 x 12."""
    return np.repeat(np.array(values, np.uint8), 12 * 12 * 3).reshape(-1, 12, 12, 3)


def figures(
    images: Pictures,
    change: Callable[[Pictures], Pictures],
    pieces: list[tuple[int, int]],
    batch_size: int = 64,
    vmaf: bool = False,
    few: int = 0,
) -> dict[str, float]:
    """Return the figures of frames of one label."""
    labels = np.full(len(images), "seen")
    choice = choose_all(pieces, ["seen"] * len(pieces), len(images), max(few, 1))
    scope = measurement.Scope(
        {"dream": Changed(change)}, labels, choice,
        vmaf=vmaf, perceptual=few > 0, batch_size=batch_size,
    )  # fmt: skip
    measured = measurement.measure_pictures(scope, images)
    return summary.summarise(measured, labels, pieces)["groups"]["seen"]


@pytest.mark.parametrize("batch_size", [1, 2, 3, 64])
def test_flicker_is_the_ratio_of_changes_within_shots(batch_size: int) -> None:
    def half(images: Pictures) -> Pictures:
        return images // 2

    def frozen(images: Pictures) -> Pictures:
        return np.where(images >= 90, images, 7).astype(np.uint8)

    # Within shots the film goes 10, 10, 10 and 10, the dream 5 each; the cut of 70 counts nowhere.
    assert figures(greys(GREYS), half, PIECES, batch_size)["flicker"] == 0.5
    # Were it one shot, (15 + 35 + 5) / (30 + 70 + 10).
    assert figures(greys(GREYS), half, [(0, 6)], batch_size)["flicker"] == 0.5

    # The first shot stands still, the second is as it was: 10 of 40, without the cut.
    assert figures(greys(GREYS), frozen, PIECES, batch_size)["flicker"] == 0.25
    # As one shot: 0 + 93 + 10 of 110.
    whole = figures(greys(GREYS), frozen, [(0, 6)], batch_size)["flicker"]
    assert whole == pytest.approx(103 / 110, abs=1e-4)


def test_a_still_film_has_no_flicker_ratio() -> None:
    found = figures(greys([5, 5, 5]), lambda images: images, [(0, 3)])
    assert found["flicker"] is None and found["sharpness"] is None
    assert found["psnr"] == 58.923 and found["ssim"] == 1.0 and found["ms_ssim"] == 1.0


def test_sharpness_is_the_ratio_of_mean_gradients() -> None:
    ramp = np.repeat(np.arange(12) * 8, 3).reshape(1, 1, 12, 3) + np.zeros((2, 12, 1, 1), int)
    ramp[1] //= 4  # has a quarter of the weight
    images = ramp.astype(np.uint8)

    def blunted(pictures: Pictures) -> Pictures:
        return np.where(pictures.max(axis=(1, 2, 3), keepdims=True) > 80, pictures // 2, pictures)

    # (4 + 2) / (8 + 2), and not the mean of 1/2 and 1.
    assert figures(images, blunted, [(0, 2)])["sharpness"] == 0.6


def test_black_level_is_weighted_by_black_pixels() -> None:
    images = greys([0, 0])
    images[1, :, 6:] = 200

    def lifted(pictures: Pictures) -> Pictures:
        out = pictures.copy()
        out[0] += 3
        out[1] += 9
        return out

    # 144 pixels by 3, 72 by 9.
    assert figures(images, lifted, [(0, 2)])["black_level"] == 5.0


def test_psnr_is_a_mean_over_frames_not_shots() -> None:
    def worse(images: Pictures) -> Pictures:
        return np.where(images >= 90, images - 20, images + 2).astype(np.uint8)

    found = figures(greys(GREYS), worse, PIECES)
    expected = (4 * 20 * math.log10(255 / 2) + 2 * 20 * math.log10(255 / 20)) / 6
    assert found["psnr"] == pytest.approx(expected, abs=1e-3)


@pytest.mark.skipif(not perceptual.available(), reason="[perceptual] is not installed")
@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_the_perceptual_distance_is_a_mean_over_a_few_frames(batch_size: int) -> None:
    def mirrored(images: Pictures) -> Pictures:
        return images[:, :, ::-1]

    images = np.stack(list(film_pictures(9, 24, 32, flash_every=None)))
    few = images[[1, 4, 7]]
    found = figures(images, mirrored, [(0, 7), (7, 9)], batch_size, few=3)
    expected = perceptual.perceptual_distances(few, mirrored(few)).mean()
    assert found["perceptual"] == pytest.approx(expected, abs=1e-4)
    assert figures(images, mirrored, [(0, 9)])["perceptual"] is None


def test_the_bootstrap_of_few_shots() -> None:
    # Two draws of two: both the first (1/4), both the second (1/4), one each (1/2): the middle 95 %
    # reach from one to the other.
    assert summary.bootstrap(np.array([10.0, 20.0]), np.array([1.0, 1.0])) == (10.0, 20.0)
    # Weights: one shot of three frames, one of one; still each is drawn as a whole.
    assert summary.bootstrap(np.array([30.0, 20.0]), np.array([3.0, 1.0])) == (10.0, 20.0)
    # One shot has no interval.
    assert summary.bootstrap(np.array([10.0]), np.array([1.0])) is None
    assert summary.bootstrap(np.array([10.0, 0.0]), np.array([1.0, 0.0])) is None
    assert summary.bootstrap(np.array([]), np.array([])) is None


def test_the_bootstrap_of_many_shots_is_their_standard_error() -> None:
    values = np.random.default_rng(3).normal(30.0, 2.0, 400)
    interval = summary.bootstrap(values, np.ones(400), draws=4000)
    assert interval is not None
    error = 1.96 * values.std() / math.sqrt(400)
    assert interval[0] == pytest.approx(values.mean() - error, abs=0.03)
    assert interval[1] == pytest.approx(values.mean() + error, abs=0.03)
    assert interval == summary.bootstrap(values, np.ones(400), draws=4000)


def test_a_ratio_counts_finite_numbers_with_a_weight() -> None:
    assert summary.ratio(np.zeros(3), np.zeros(3)) is None
    assert summary.ratio(np.array([1.0, 2.0]), np.array([1.0, 3.0])) == 0.75
    numbers = measurement.Numbers.of(4)
    numbers.put("vmaf", slice(0, 4), [50.0, math.nan, 70.0, math.inf])
    values, weights = numbers.values["vmaf"], numbers.weights["vmaf"]
    assert summary.ratio(values, weights) == 60.0


def test_stretches_end_at_cuts_and_where_labels_change() -> None:
    card = card_maker()([Shard("frames-00000-of-00001.tfrecord", 90, 0, 1, "0" * 64)])
    labels = np.where((np.arange(90) >= 30) & (np.arange(90) < 50), "held out", "seen")
    assert card.shot_starts == [0, 40, 80]
    assert measurement.stretches(card, labels) == [(0, 30), (30, 40), (40, 50), (50, 80), (80, 90)]


def test_bits_of_a_gaussian() -> None:
    mean, log_var = np.array([[1.0, 0.0], [0.0, 0.0]]), np.log(np.array([[0.25, 1.0], [1.0, 1.0]]))
    # KL(N(1, 1/4) | N(0, 1)) = (1/4 + 1 - 1 - ln 1/4) / 2 nats.
    expected = (0.25 + math.log(4)) / 2 / math.log(2)
    np.testing.assert_allclose(kl_bits(mean, log_var), [expected, 0.0], atol=1e-12)
    assert kl_bits(mean.reshape(2, 1, 1, 2), log_var.reshape(2, 1, 1, 2))[0] == pytest.approx(
        expected
    )


def test_a_posterior_counts_as_often_as_its_frame() -> None:
    random = np.random.default_rng(0)
    mean, log_var = random.normal(size=(2, 6, 3))
    times = np.array([1, 2, 3, 1, 1, 4])
    weighed, repeated = LatentMoments(), LatentMoments()
    weighed.add(mean, log_var, times)
    repeated.add(np.repeat(mean, times, axis=0), np.repeat(log_var, times, axis=0))
    assert weighed.bits_to(weighed) == pytest.approx(repeated.bits_to(repeated))
    assert weighed.frames == 12


def test_bits_from_the_aggregated_posterior() -> None:
    # Two frames at -3 and 3 with variance 1: the aggregate is N(0, 10), each is
    # (ln 10 - 0 + (9 + 1) / 10 - 1) / 2 nats from it.
    moments = LatentMoments()
    moments.add(np.array([[-3.0]]), np.zeros((1, 1)))
    moments.add(np.array([[3.0]]), np.zeros((1, 1)))
    expected = math.log(10) / 2 / math.log(2)
    assert moments.bits_to(moments) == pytest.approx(expected)
    parts = []
    for place in (-3.0, 3.0):
        parts.append(LatentMoments())
        parts[-1].add(np.array([[place]]), np.zeros((1, 1)))
    whole = sum(parts, LatentMoments())
    assert [part.bits_to(whole) for part in parts] == pytest.approx([expected, expected])
    # If all frames are the same, and the posterior is the aggregate, there is no information.
    assert parts[0].bits_to(parts[0]) == pytest.approx(0.0, abs=1e-9)


def test_rounding_gives_no_negative_0() -> None:
    """A bound that is 0 is computed a little below it."""
    assert str(summary.rounded("rate_bits", -1e-9)) == "0.0"
    assert summary.rounded("rate_bits", -0.25) == -0.25
