"""Losses against numbers worked out by hand, and laws that hold for any input."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import tensorflow as tf

from bladerunner_ae.objectives import losses

LN2 = math.log(2.0)


@pytest.mark.parametrize(
    ("mean", "log_var", "expected"),
    [
        ([[0.0, 0.0]], [[0.0, 0.0]], 0.0),
        ([[1.0, -2.0]], [[0.0, 0.0]], 0.5 * (1 + 4)),
        ([[0.0]], [[2 * LN2]], 0.5 * (4 - 1 - 2 * LN2)),
        ([[3.0]], [[-2 * LN2]], 0.5 * (9 + 0.25 - 1 + 2 * LN2)),
    ],
)
def test_kl_divergence(
    mean: list[list[float]], log_var: list[list[float]], expected: float
) -> None:
    found = losses.kl_divergence(tf.constant(mean), tf.constant(log_var)).numpy()
    assert found.shape == (1,)
    assert found[0] == pytest.approx(expected, rel=1e-6, abs=1e-7)


def test_kl_divergence_equals_its_integral() -> None:
    """Numerically: the integral over z of q(z) * log(q(z) / p(z)), in nats."""
    mean, sigma = 0.7, 0.4
    z, step = np.linspace(-12, 12, 200_001, retstep=True)
    log_q = -0.5 * ((z - mean) / sigma) ** 2 - math.log(sigma)
    log_p = -0.5 * z**2
    integral = np.sum(np.exp(log_q) / math.sqrt(2 * math.pi) * (log_q - log_p)) * step
    found = losses.kl_divergence(tf.constant([[mean]]), tf.constant([[2 * math.log(sigma)]]))
    assert float(found[0]) == pytest.approx(integral, rel=1e-5)


def test_squared_error_is_a_mean_over_each_frame() -> None:
    target = np.zeros((3, 2, 2, 3), np.float32)
    output = target.copy()
    output[1] = 0.5
    output[2, 0, 0, 0] = -2.0
    found = losses.squared_error(tf.constant(target), tf.constant(output)).numpy()
    np.testing.assert_allclose(found, [0.0, 0.25, 4.0 / 12], rtol=1e-6)


def test_squared_error_of_black_and_white_is_four() -> None:
    black, white = tf.fill([1, 4, 4, 3], -1.0), tf.fill([1, 4, 4, 3], 1.0)
    assert losses.squared_error(black, white).numpy().tolist() == [4.0]


def test_feature_distance_weighs_layers_equally() -> None:
    target = [tf.zeros([2, 8, 8, 4]), tf.zeros([2, 2, 2, 16]), tf.zeros([2, 5])]
    output = [tf.fill([2, 8, 8, 4], 1.0), tf.fill([2, 2, 2, 16], 2.0), tf.fill([2, 5], 3.0)]
    every = losses.feature_distance(target, output).numpy()
    np.testing.assert_allclose(every, [(1 + 4 + 9) / 3] * 2, rtol=1e-6)
    chosen = losses.feature_distance(target, output, layers=(0, 2)).numpy()
    np.testing.assert_allclose(chosen, [(1 + 9) / 2] * 2, rtol=1e-6)


def test_feature_distance_is_float32_for_bfloat16_features() -> None:
    features = [tf.fill([1, 3], tf.cast(0.5, tf.bfloat16))]
    found = losses.feature_distance(features, [tf.zeros([1, 3], tf.bfloat16)])
    assert found.dtype == tf.float32
    assert found.numpy().tolist() == [0.25]


@pytest.mark.parametrize("logit", [-30.0, -1.5, 0.0, 2.0, 30.0])
def test_cross_entropies_of_a_logit(logit: float) -> None:
    value = tf.constant([[logit]])
    real = float(losses.real_cross_entropy(value)[0])
    fake = float(losses.fake_cross_entropy(value)[0])
    assert real == pytest.approx(math.log1p(math.exp(-logit)), rel=1e-5, abs=1e-12)
    assert fake == pytest.approx(math.log1p(math.exp(logit)), rel=1e-5, abs=1e-12)
    assert fake - real == pytest.approx(logit, rel=1e-5, abs=1e-6)


def test_certain_discriminator_neither_overflows_nor_stops() -> None:
    logits = tf.Variable([[-200.0], [200.0]])
    with tf.GradientTape() as tape:
        cost = losses.real_cross_entropy(logits)
    np.testing.assert_allclose(cost.numpy(), [200.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(tape.gradient(cost, logits).numpy(), [[-1.0], [0.0]], atol=1e-6)


def test_discriminator_cross_entropy_adds_three() -> None:
    zero = tf.zeros([4, 1])
    found = losses.discriminator_cross_entropy(zero, zero, zero).numpy()
    np.testing.assert_allclose(found, [3 * LN2] * 4, rtol=1e-6)
    sure = losses.discriminator_cross_entropy(zero + 2.0, zero - 1.0, zero - 3.0).numpy()
    expected = math.log1p(math.exp(-2)) + math.log1p(math.exp(-1)) + math.log1p(math.exp(-3))
    np.testing.assert_allclose(sure, [expected] * 4, rtol=1e-6)


@pytest.mark.parametrize("loss", [losses.real_cross_entropy, losses.fake_cross_entropy])
def test_patch_logits_cost_the_mean_of_their_patches(
    loss: Callable[[tf.Tensor], tf.Tensor],
) -> None:
    patches = np.random.default_rng(0).normal(0, 3, (2, 3, 4, 1)).astype(np.float32)
    each = loss(tf.constant(patches.reshape(24, 1))).numpy().reshape(2, 12).mean(1)
    np.testing.assert_allclose(loss(tf.constant(patches)).numpy(), each, rtol=1e-5)
    # Equal patches cost what one logit costs, so objectives need no other weights for patches.
    even = tf.fill([5, 6, 7, 1], 0.8)
    np.testing.assert_allclose(loss(even).numpy(), loss(tf.fill([5, 1], 0.8)).numpy(), rtol=1e-5)


def test_an_example_does_not_see_its_neighbours() -> None:
    random = np.random.default_rng(1)
    a, b = (tf.constant(random.normal(size=(6, 4, 4, 3)).astype(np.float32)) for _ in range(2))
    for loss in (losses.squared_error, lambda x, y: losses.feature_distance([x], [y])):
        whole = loss(a, b).numpy()
        alone = [float(loss(a[i : i + 1], b[i : i + 1])[0]) for i in range(6)]
        np.testing.assert_allclose(whole, alone, rtol=1e-6)


def test_free_nats_cost_nothing_and_teach_nothing() -> None:
    mean = tf.Variable([[0.5, 2.0]])
    with tf.GradientTape() as tape:
        found = losses.kl_divergence(mean, tf.zeros([1, 2]), free=1.0)
    assert found.numpy().tolist() == [1.0 + 2.0]  # 0.125 nats count as the free one
    np.testing.assert_allclose(tape.gradient(found, mean).numpy(), [[0.0, 2.0]])


def test_absolute_error_is_a_mean_over_each_frame() -> None:
    target = np.zeros((2, 2, 2, 3), np.float32)
    output = target.copy()
    output[1, 0, 0] = [-1.0, 1.0, 0.5]
    found = losses.absolute_error(tf.constant(target), tf.constant(output)).numpy()
    np.testing.assert_allclose(found, [0.0, 2.5 / 12])


def test_band_distance_counts_every_octave_alike() -> None:
    """A pattern that alternates every 2^k pixels lies in band k alone, with its full height."""
    rows = np.arange(16)
    black = tf.zeros([1, 16, 16, 3])
    for octave in range(3):
        stripes = np.where((rows >> octave) % 2, 0.5, -0.5).astype(np.float32)
        picture = tf.constant(np.broadcast_to(stripes[None, :, None, None], (1, 16, 16, 3)).copy())
        assert float(losses.band_distance(black, picture)[0]) == pytest.approx(0.5 / 3)
    grey = tf.fill([1, 16, 16, 3], 0.5)
    assert float(losses.band_distance(black, grey)[0]) == 0.0, "the mean is no band's"


def test_hinge_loss_stops_at_a_margin_of_one() -> None:
    real = tf.constant([[0.0], [2.0], [-1.0]])
    fake = tf.constant([[0.0], [-2.0], [0.5]])
    assert losses.hinge_loss(real, fake).numpy().tolist() == [2.0, 0.0, 3.5]


def test_gradient_penalty_of_a_known_slope() -> None:
    """For logits = a * sum(x) the slope is a everywhere; for sum(x^2) it is 2x."""
    images = tf.constant(np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 2, 2, 3))

    def linear(x: tf.Tensor, training: bool) -> tuple[tf.Tensor, None]:
        return 3.0 * tf.reduce_sum(x, axis=[1, 2, 3])[:, None], None

    def square(x: tf.Tensor, training: bool) -> tuple[tf.Tensor, None]:
        return tf.reduce_sum(x**2, axis=[1, 2, 3])[:, None], None

    np.testing.assert_allclose(losses.gradient_penalty(linear, images), [108.0, 108.0])
    expected = (4 * images.numpy() ** 2).sum((1, 2, 3))
    np.testing.assert_allclose(losses.gradient_penalty(square, images), expected, rtol=1e-5)


def test_gradient_penalty_averages_maps_of_logits() -> None:
    def patches(x: tf.Tensor, training: bool) -> tuple[tf.Tensor, None]:
        return 4.0 * x, None  # 12 logits, each with a slope of 4 at its own number

    found = losses.gradient_penalty(patches, tf.zeros([1, 2, 2, 3]))
    assert float(found[0]) == pytest.approx(12 * (4 / 12) ** 2)
