"""Codewords that name key moments in the latent, and the mixture of moments that a vector names.

A moment's codeword is a vector of +1 and -1. Encoders write that of the frame's moment; on the
straight way from one codeword to another the weights move from the one moment to the other, and no
third one appears. Where a latent is not on such a way, its weights are still a continuous function
of it: walks through the latent space never jump.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from bladerunner_ae.runs.config import CODE_NUMBERS

NUMBERS = CODE_NUMBERS

MOST = 1024
"""Codewords that there are."""

WHOLE = 1.0
"""Every number of the first codeword."""

# Generator polynomial of the binary BCH code of 31 bits, 11 of them free, that corrects five errors
# (Lin & Costello, Error Control Coding, appendix C). With a parity bit its words differ in 12, 16
# or 20 places, or in all 32: inner products are 1/4, 0, -1/4 (or -1) of a word's with itself.
_GENERATOR = 0o5423325
_FREE_BITS = 11
_SHARPNESS = 2.5
"""Below 2 more than two moments would mix on the way between words of inner product 0."""

_MIXED = 4
"""Moments that are mixed at most, besides the film as a whole."""

_MEANT = 0.5


def codewords(count: int, order: Sequence[int] | None = None) -> NDArray[np.float32]:
    """Return one codeword for each of `count` <= `MOST` moments, float32 [count, NUMBERS], +-1.

    Those of moments that follow each other in `order` (all of them, by default 0, 1, ...) are
    alike, inner product 1/4, where there are such words left: from the one to the other is the
    shortest way.
    """
    if count > MOST:
        raise ValueError(f"there are codewords for {MOST} moments, not {count}")
    bits = np.zeros((_FREE_BITS, NUMBERS), np.int64)
    for shift in range(_FREE_BITS):
        word = _GENERATOR << shift
        bits[shift, :-1] = [(word >> place) & 1 for place in range(NUMBERS - 1)]
        bits[shift, -1] = bits[shift].sum() % 2
    numbers = np.arange(2**_FREE_BITS)[:, None] >> np.arange(_FREE_BITS) & 1
    words = 1 - 2 * (numbers @ bits % 2)
    left = words[words[:, 0] > 0].astype(np.float32)  # of each word and its opposite, one
    found = np.zeros((count, NUMBERS), np.float32)
    last = left[0]
    for moment in range(count) if order is None else order:
        alike = int(np.argmax(left @ last))
        found[moment] = last = left[alike]
        left = np.delete(left, alike, axis=0)
    return found


def mixture(code: tf.Tensor, words: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the moments that `code` names and their weights: int32 and float32 [B, n].

    `code` is float32 [B, NUMBERS], `words` float32 [moments, NUMBERS]. The weights, 0 or above with
    sum 1, are the projection of the inner products to the simplex (Martins & Astudillo 2016,
    arXiv:1602.02068, algorithm 1). Where that has more than four moments, none clearly meant, the
    four that are most alike share the weight by how much more alike they are than the fifth; if
    that is less than `_MEANT` in all, the first moment, the film as a whole, has the rest. So no
    weight jumps.
    """
    likeness = tf.matmul(code, words, transpose_b=True) * (_SHARPNESS / NUMBERS)
    count = min(_MIXED + 1, words.shape[0])
    top, moments = tf.math.top_k(likeness, count)
    ranks = tf.range(1, count + 1, dtype=tf.float32)
    sums = tf.cumsum(top, axis=1)
    # (Sum of the first n, less 1) / n rises with n while the n-th has a weight, and then falls.
    threshold = tf.reduce_max((sums - 1.0) / ranks, axis=1, keepdims=True)
    if count > _MIXED:
        threshold = tf.maximum(threshold, top[:, -1:])
        top, moments = top[:, :_MIXED], moments[:, :_MIXED]
    weights = tf.nn.relu(top - threshold)
    weights /= tf.maximum(tf.reduce_sum(weights, axis=1, keepdims=True), _MEANT)
    rest = tf.nn.relu(1.0 - tf.reduce_sum(weights, axis=1, keepdims=True))
    whole = tf.zeros_like(moments[:, :1])
    return tf.concat([whole, moments], axis=1), tf.concat([rest, weights], axis=1)
