"""Codewords name key moments, and what is between two of them names no third."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from bladerunner_ae.model.memory_codes import MOST, NUMBERS, WHOLE, codewords, mixture

COUNT = 300
WORDS = codewords(COUNT)


def weights_of(codes: NDArray[np.floating], words: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the weight of every moment, float64 [n, moments]."""
    moments, weights = mixture(tf.constant(codes, tf.float32), tf.constant(words))
    found = np.zeros((len(codes), len(words)))
    for row, (numbers, values) in enumerate(zip(moments.numpy(), weights.numpy(), strict=True)):
        np.add.at(found[row], numbers, values)
    return found


def simplex_projection(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the nearest point of the simplex, by bisection for the threshold."""
    low, high = values.max() - 1.0, values.max()
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if np.maximum(values - middle, 0).sum() > 1 else (low, middle)
    return np.maximum(values - low, 0.0)


def test_words_differ_in_12_16_or_20_places_or_in_all() -> None:
    every = codewords(MOST)
    products = every @ every.T
    np.testing.assert_array_equal(np.diag(products), NUMBERS)
    others = Counter(products[~np.eye(MOST, dtype=bool)].astype(int).tolist())
    assert set(others) <= {8, 0, -8}
    assert (every[0] == WHOLE).all()
    with pytest.raises(ValueError, match="1024 moments, not 1025"):
        codewords(MOST + 1)


@pytest.mark.parametrize("order", [None, list(range(COUNT - 1, -1, -1))])
def test_moments_that_follow_each_other_have_words_that_are_alike(
    order: Sequence[int] | None,
) -> None:
    words = codewords(COUNT, order)
    ordered = words if order is None else words[list(order)]
    alike = (ordered[1:] * ordered[:-1]).sum(axis=1)
    assert (alike == 8).all()


def test_a_word_names_its_moment_alone() -> None:
    np.testing.assert_allclose(weights_of(WORDS, WORDS), np.eye(COUNT), atol=1e-6)
    noisy = WORDS + 0.05 * np.random.default_rng(0).standard_normal(WORDS.shape)
    np.testing.assert_allclose(weights_of(noisy, WORDS), np.eye(COUNT), atol=1e-6)


@pytest.mark.parametrize("product", [8, 0, -8])
def test_only_two_moments_mix_on_the_straight_way_between_their_words(product: int) -> None:
    products = WORDS @ WORDS.T
    first, second = next(zip(*np.nonzero(products == product), strict=True))
    ways = np.linspace(0.0, 1.0, 65)[:, None]
    found = weights_of((1 - ways) * WORDS[first] + ways * WORDS[second], WORDS)
    np.testing.assert_allclose(found[:, first] + found[:, second], 1.0, atol=1e-5)
    np.testing.assert_allclose(found[32, [first, second]], 0.5, atol=1e-5)
    rising = np.diff(found[:, second])
    assert rising.min() > -1e-6 and rising.max() < 0.08


def test_weights_are_the_projection_to_the_simplex_where_few_moments_mix() -> None:
    random = np.random.default_rng(1)
    # Points between two words, a little off: up to four moments mix there.
    pairs = random.integers(0, COUNT, (200, 2))
    codes = 0.5 * WORDS[pairs[:, 0]] + 0.5 * WORDS[pairs[:, 1]]
    codes += 0.1 * random.standard_normal(codes.shape)
    expected = np.stack([simplex_projection(row) for row in codes @ WORDS.T * (2.5 / NUMBERS)])
    few = (expected > 0).sum(axis=1) <= 4
    expected[:, 0] += 1.0 - expected.sum(axis=1)
    assert few.sum() > 150
    np.testing.assert_allclose(weights_of(codes, WORDS)[few], expected[few], atol=1e-4)


def test_weights_never_jump_wherever_the_latent_goes() -> None:
    random = np.random.default_rng(2)
    ends = random.standard_normal((40, 2, NUMBERS))
    ways = np.linspace(0.0, 1.0, 2001)[:, None]
    for start, end in ends:
        found = weights_of((1 - ways) * start + ways * end, WORDS)
        np.testing.assert_allclose(found.sum(axis=1), 1.0, atol=1e-5)
        assert found.min() >= 0.0
        # A step changes an inner product by at most 2.5 / 32 * |step|_1, and a weight by that of
        # a few moments, twice where they are divided by a half.
        step = 2.5 / NUMBERS * np.abs(end - start).sum() / 2000
        assert np.abs(np.diff(found, axis=0)).max() < 6 * step


def test_a_latent_that_names_no_moment_is_drawn_by_the_film_as_a_whole() -> None:
    found = weights_of(np.zeros((1, NUMBERS)), WORDS)
    np.testing.assert_allclose(found[0], np.eye(COUNT)[0], atol=1e-6)


def test_one_moment_has_all_the_weight() -> None:
    one = codewords(1)
    found = weights_of(np.random.default_rng(3).standard_normal((5, NUMBERS)), one)
    np.testing.assert_allclose(found, 1.0)
