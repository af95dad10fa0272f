"""A memory draws what its weights say, and falls back to the film as a whole."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from bladerunner_ae.errors import UsageError
from bladerunner_ae.model import memory_codes
from bladerunner_ae.model.memory import Memory, MemoryCode, MemoryValues, every_second
from bladerunner_ae.runs.config import CODE_NUMBERS, ModelConfig
from tests.helpers.memories import memory_model, memory_networks
from tests.helpers.tiny_training import tiny_model
from tests.helpers.training_checks import two_devices

CONFIG = memory_model(components=90, moments=5)
WHOLE, LOCAL = CONFIG.global_numbers, CONFIG.local_numbers
REST, PIXELS = 90 - WHOLE, 24 * 32 * 3


def some_values(seed: int = 0) -> MemoryValues:
    """Return a memory of five moments of random places and directions, and the film as a whole."""
    random = np.random.default_rng(seed)

    def orthonormal(rows: int, size: int) -> NDArray[np.float32]:
        return np.linalg.qr(random.standard_normal((size, rows)))[0].T.astype(np.float32)

    directions = [np.eye(LOCAL, REST), *(orthonormal(LOCAL, REST) for _ in range(5))]
    drawings = random.standard_normal((6, REST)).astype(np.float32)
    drawings[0] = 0.0
    return MemoryValues(
        mean=random.standard_normal(PIXELS).astype(np.float32) * 0.1,
        components=orthonormal(90, PIXELS),
        deviations=np.linspace(9, 2, WHOLE).astype(np.float32),
        centres=random.standard_normal((5, WHOLE)).astype(np.float32) * 9,
        drawings=drawings,
        directions=np.stack(directions).astype(np.float16),
        local_deviations=random.uniform(0.5, 2, (6, LOCAL)).astype(np.float32),
        codewords=memory_codes.codewords(6),
    )


VALUES = some_values()


@pytest.fixture(scope="module")
def memory() -> Memory:
    made = Memory(CONFIG)
    made.assign(VALUES)
    return made


def directions_of(moment: int) -> NDArray[np.float32]:
    return VALUES.directions[moment].astype(np.float32)


def picture_of(
    numbers: NDArray[np.float32], local: NDArray[np.float32], moment: int
) -> NDArray[np.float32]:
    """Return the picture of one moment, by numpy, float32 [PIXELS]."""
    rest = VALUES.drawings[moment]
    rest = rest + (local * VALUES.local_deviations[moment]) @ directions_of(moment)
    coordinates = np.concatenate([numbers * VALUES.deviations, rest])
    return coordinates @ VALUES.components + VALUES.mean


def latent_of(
    numbers: NDArray[np.float32], local: NDArray[np.float32], moment: int
) -> NDArray[np.float32]:
    return np.concatenate([numbers, local, VALUES.codewords[moment]])[None]


@pytest.mark.parametrize("moment", range(6))
def test_a_latent_is_drawn_by_its_moment_and_a_picture_of_it_encoded_to_it(
    memory: Memory, moment: int
) -> None:
    random = np.random.default_rng(moment)
    # Near the moment's centre, so that it is among those that are tried.
    centre = VALUES.centres[moment - 1] if moment else VALUES.centres.mean(axis=0)
    numbers = (centre / VALUES.deviations).astype(np.float32)
    local = random.standard_normal(LOCAL).astype(np.float32)
    latent = latent_of(numbers, local, moment)
    drawn = memory.decode(tf.constant(latent)).numpy()
    np.testing.assert_allclose(drawn[0], picture_of(numbers, local, moment), atol=1e-4)
    # Directions are stored in 16 bits: their rows are not quite orthonormal.
    np.testing.assert_allclose(memory.encode(tf.constant(drawn)).numpy(), latent, atol=0.01)


def test_in_training_every_second_picture_is_encoded_as_if_its_moment_were_not_known(
    memory: Memory,
) -> None:
    """By the moment that draws it best of all others, found here by drawing it with each."""
    random = np.random.default_rng(9)
    numbers = (VALUES.centres.mean(axis=0) / VALUES.deviations).astype(np.float32)
    locals_ = random.standard_normal((6, LOCAL)).astype(np.float32) * 3
    pictures = np.stack([picture_of(numbers, locals_[m], m) for m in range(6)])
    layer = MemoryCode(memory)
    images = tf.constant(pictures.reshape(6, 24, 32, 3))
    found = layer(images, training=True).numpy()
    known = layer(images, training=False).numpy()
    np.testing.assert_array_equal(found[::2], known[::2])
    tried = memory._candidates(tf.constant(found[:, :WHOLE] * VALUES.deviations)).numpy()
    for moment in (1, 3, 5):
        others = [m for m in tried[moment] if m != moment]
        assert moment in tried[moment] and len(others) > 2
        rest = (pictures[moment] - VALUES.mean) @ VALUES.components[WHOLE:].T
        errors = []
        for other in others:
            missing = rest - VALUES.drawings[other]
            errors.append(
                np.square(missing).sum() - np.square(directions_of(other) @ missing).sum()
            )
        expected = VALUES.codewords[others[int(np.argmin(errors))]]
        np.testing.assert_array_equal(known[moment, -CODE_NUMBERS:], VALUES.codewords[moment])
        np.testing.assert_array_equal(found[moment, -CODE_NUMBERS:], expected)
        np.testing.assert_array_equal(found[moment, :WHOLE], known[moment, :WHOLE])


def test_two_devices_forget_what_one_does() -> None:
    strategy = two_devices()
    shares = strategy.experimental_local_results(strategy.run(every_second, (tf.constant(3),)))
    np.testing.assert_array_equal(np.concatenate(shares), every_second(tf.constant(6)))
    np.testing.assert_array_equal(every_second(tf.constant(3)), [False, True, False])


def test_between_two_moments_two_drawings_are_mixed(memory: Memory) -> None:
    first, second = (
        latent_of(np.full(WHOLE, value, np.float32), np.full(LOCAL, value, np.float32), moment)
        for value, moment in ((0.5, 1), (-0.5, 2))
    )
    found = memory.decode(tf.constant((first + second) / 2)).numpy()[0]
    nothing = np.zeros(WHOLE, np.float32), np.zeros(LOCAL, np.float32)
    expected = (picture_of(*nothing, 1) + picture_of(*nothing, 2)) / 2
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_pictures_that_no_moment_knows_are_drawn_no_worse_than_by_the_components(
    memory: Memory,
) -> None:
    strangers = np.random.default_rng(5).standard_normal((40, PIXELS)).astype(np.float32)
    found = memory.decode(memory.encode(tf.constant(strangers))).numpy()
    rows = VALUES.components[: WHOLE + LOCAL]
    by_components = VALUES.mean + (strangers - VALUES.mean) @ rows.T @ rows
    ours, theirs = (np.square(strangers - x).sum(axis=1) for x in (found, by_components))
    assert (ours < theirs * (1 + 1e-5)).all()
    far = np.full((1, PIXELS), 1e4, np.float32)
    assert np.isfinite(memory.decode(memory.encode(tf.constant(far))).numpy()).all()


def test_gradients_of_the_latent_are_those_of_the_drawing(memory: Memory) -> None:
    latent = tf.constant(latent_of(np.ones(WHOLE, np.float32), np.ones(LOCAL, np.float32), 3))
    target = np.random.default_rng(6).standard_normal(PIXELS).astype(np.float32)
    with tf.GradientTape() as tape:
        tape.watch(latent)
        loss = tf.reduce_sum(memory.decode(latent) * target)
    found = tape.gradient(loss, latent).numpy()[0]
    shown = VALUES.components @ target
    np.testing.assert_allclose(
        found[:WHOLE], shown[:WHOLE] * VALUES.deviations, rtol=1e-3, atol=1e-3
    )
    expected = directions_of(3) @ shown[WHOLE:] * VALUES.local_deviations[3]
    np.testing.assert_allclose(found[WHOLE : WHOLE + LOCAL], expected, rtol=1e-3, atol=1e-3)


def test_names_of_moments_are_not_learnt() -> None:
    networks = memory_networks(CONFIG)
    assert networks.memory is not None and networks.code_numbers == CODE_NUMBERS
    networks.memory.assign(VALUES)
    mean = networks.encoder.get_layer("mean")
    mean.set_weights([np.full_like(w, 0.3) for w in mean.get_weights()])
    pictures = np.random.default_rng(7).uniform(-1, 1, (3, 24, 32, 3)).astype(np.float32)
    latents, log_var = networks.encoder(pictures, training=False)
    codes = latents.numpy()[:, -CODE_NUMBERS:]
    np.testing.assert_array_equal(np.abs(codes), 1.0)
    np.testing.assert_array_equal(log_var.numpy()[:, -CODE_NUMBERS:], -6.0)
    trained = {v.path for v in networks.encoder.trainable_variables}
    assert not any("memory" in path for path in trained)


PREVIEW = ModelConfig(72, 128, latent_size=200, filters=(24, 48, 96), linear_path=True,
                      linear_pool=1, discriminator_filters=(24, 48, 96))  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "frames", "moments", "components"),
    [
        ({"memory": 1.0}, 14_437, 241, 2048),
        ({"memory": 0.5}, 14_437, 120, 1036),
        ({"memory": 1.0}, 168_480, 1000, 3072),
        ({"memory": 1.0}, 1227, 20, 1226),
        ({"memory": 0.0}, 14_437, 0, 0),
        ({"memory": 1.0}, 399, 0, 0),
        ({"moments": 7}, 14_437, 7, 2048),
        ({"components": 500}, 14_437, 241, 500),
        ({"components": 500, "moments": 9, "memory": 0.1}, 14_437, 9, 500),
    ],
)
def test_its_size_follows_the_film(
    asked: dict[str, float], frames: int, moments: int, components: int
) -> None:
    found = dataclasses.replace(PREVIEW, **asked).sized(frames)  # type: ignore[arg-type]
    assert (found.moments, found.components) == (moments, components)
    if moments:
        total = sum(np.asarray(v).nbytes for v in Memory(found).get_weights())
        assert found.memory_bytes == pytest.approx(total, rel=0.02)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"linear_path": False}, "--memory=1: these networks have no linear path"),
        ({"latent": "spatial"}, "--memory=1: a latent that is a grid has no memory"),
        ({"latent_size": 63}, "--memory=1: a memory needs 64 numbers a frame"),
    ],
)
def test_networks_that_cannot_have_one_refuse_it(changes: dict[str, object], message: str) -> None:
    config = tiny_model(memory=1.0, **changes)
    with pytest.raises(UsageError, match=f"^{message}"):
        config.sized(1000)
    unasked = config.sized(1000, asked=False)
    assert (unasked.memory, unasked.moments, unasked.components) == (0.0, 0, 0)
