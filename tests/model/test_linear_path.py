"""The linear path starts as the principal components, as numpy computes them."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from bladerunner_ae.errors import UsageError
from bladerunner_ae.model import pixels
from bladerunner_ae.model.linear_path import linear_size
from bladerunner_ae.training.fit_linear_path import initialise_linear_path, principal_components
from tests.helpers.tiny_training import film_images, tiny_model, tiny_networks


def samples_of_known_spread(count: int) -> NDArray[np.float32]:
    """Numbers that vary by 8, 4, 2, 1 along four directions of a space of 30."""
    random = np.random.default_rng(0)
    directions = np.linalg.qr(random.normal(size=(30, 4)))[0]
    numbers = random.normal(size=(count, 4)) * [8, 4, 2, 1]
    return (numbers @ directions.T + random.normal(size=30)).astype(np.float32)


@pytest.mark.parametrize(("samples", "wanted"), [(50, 3), (50, 10), (5, 4), (3, 10)])
def test_components_equal_a_singular_value_decomposition(samples: int, wanted: int) -> None:
    x = samples_of_known_spread(samples)
    mean, components, std = principal_components(x, wanted)
    np.testing.assert_allclose(mean, x.mean(0), rtol=1e-5)
    centred = x.astype(np.float64) - x.mean(0, dtype=np.float64)
    _, singular, rows = np.linalg.svd(centred, full_matrices=False)
    there = min(wanted, samples - 1, 4)
    np.testing.assert_allclose(std[:there], singular[:there] / np.sqrt(samples), rtol=1e-4)
    assert not std[there:].any() and not components[:, there:].any()
    np.testing.assert_allclose(
        components.T @ components, np.diag(np.arange(wanted) < there).astype(float), atol=1e-4
    )
    # A component's sign is free; the projection on all of them is not.
    expected = centred @ rows[:there].T @ rows[:there]
    np.testing.assert_allclose(
        centred @ components @ components.T, expected, atol=1e-3 * singular[0]
    )


def test_equal_samples_have_no_components() -> None:
    mean, components, std = principal_components(np.full((4, 6), 0.5, np.float32), 3)
    np.testing.assert_allclose(mean, 0.5)
    assert not components.any() and not std.any()
    assert np.isfinite(components).all() and np.isfinite(std).all()


def linear_dream(images: NDArray[np.uint8], count: int, pool: int) -> NDArray[np.float32]:
    """Return the pictures of the best linear autoencoder of the shrunk pictures, by numpy alone."""
    floats = images.astype(np.float64) / 127.5 - 1
    n, height, width, _ = floats.shape
    small = floats.reshape(n, height // pool, pool, width // pool, pool, 3).mean((2, 4))
    flat = small.reshape(n, -1)
    mean = flat.mean(0)
    rows = np.linalg.svd(flat - mean, full_matrices=False)[2][:count]
    dream = mean + (flat - mean) @ rows.T @ rows
    return dream.reshape(small.shape).astype(np.float32)


@pytest.mark.parametrize("pool", [1, 2])
@pytest.mark.parametrize("latent_size", [5, 200])
def test_networks_start_as_the_best_linear_autoencoder(latent_size: int, pool: int) -> None:
    config = tiny_model(latent_size=latent_size, linear_pool=pool)
    networks = tiny_networks(latent_size=latent_size, linear_pool=pool)
    images = film_images(24)
    initialise_linear_path(networks, config, images)
    mean, _ = networks.encoder(pixels.to_float(images))
    expected = linear_dream(images, latent_size, pool)
    small = networks.decoder.get_layer("linear_picture")(mean).numpy()
    np.testing.assert_allclose(small.reshape(-1, *linear_size(config), 3), expected, atol=2e-3)
    enlarged = keras.ops.image.resize(expected, (config.height, config.width), "bilinear")
    np.testing.assert_allclose(networks.decoder(mean).numpy(), enlarged, atol=2e-3)


def test_latents_start_with_the_spread_of_the_prior() -> None:
    networks = tiny_networks()
    images = film_images(24)
    initialise_linear_path(networks, tiny_model(), images)
    mean = networks.encoder(pixels.to_float(images))[0].numpy()
    np.testing.assert_allclose(mean.mean(0), 0.0, atol=1e-3)
    std = mean.std(0)
    # 24 frames span 23 dimensions; directions of hardly any spread are not blown up to 1.
    assert (std[:10] == pytest.approx(1.0, abs=1e-2)) and (std < 1.01).all()
    np.testing.assert_allclose(std[23:], 0.0, atol=1e-3)


def test_linear_picture_is_refined_at_a_quarter_of_its_size() -> None:
    """A map looks at the picture, and of another picture something else is added."""
    decoder = tiny_networks(refinement_blocks=2).decoder
    names = [layer.name for layer in decoder.layers]
    assert [name for name in names if name.startswith("refine_") and name.endswith("_in")] == [
        "refine_0_in", "refine_1_in"]  # fmt: skip
    seen = decoder.get_layer("see").output.shape
    assert tuple(seen[1:3]) == (24 // 4, 32 // 4)
    latent = np.random.default_rng(0).normal(size=(1, 200)).astype(np.float32)
    added = []
    for brightness in (0.0, 0.5):
        picture = decoder.get_layer("linear_picture")
        picture.set_weights([np.zeros_like(picture.get_weights()[0]),
                             np.full(24 * 32 * 3, brightness, np.float32)])  # fmt: skip
        added.append(decoder(latent).numpy() - brightness)
    assert np.abs(added[1] - added[0]).max() > 1e-3


def test_gradient_through_linear_picture_is_a_dense_layers() -> None:
    """Two ways to the same sums: ours while training, Keras' own in what is exported."""
    layer = tiny_networks().decoder.get_layer("linear_picture")
    assert not layer.trainable
    random = np.random.default_rng(0)
    weights = [random.normal(size=w.shape).astype(np.float32) for w in layer.get_weights()]
    layer.set_weights(weights)
    latent = tf.constant(random.normal(size=(7, 200)), tf.float32)
    upstream = random.normal(size=(7, weights[1].size)).astype(np.float32)
    kernels = {}
    for training in (True, False):

        @tf.function
        def slope(training: bool = training) -> tuple[tf.Tensor, tf.Tensor]:
            with tf.GradientTape() as tape:
                tape.watch(latent)
                y = layer(latent, training=training)
            return y, tape.gradient(y, latent, output_gradients=upstream)

        y, gradient = slope()
        np.testing.assert_allclose(y, latent @ weights[0] + weights[1], rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(gradient, upstream @ weights[0].T, rtol=1e-3, atol=1e-2)
        products = [op for op in slope.get_concrete_function().graph.get_operations()
                    if op.type == "MatMul"]  # fmt: skip
        kernels[training] = [tuple(op.inputs[0].shape) for op in products]
    # The kernel is the first factor of a product, as the quick way has it, in training alone.
    assert (weights[0].shape in kernels[True], weights[0].shape in kernels[False]) == (True, False)


def test_without_refinement_the_picture_is_not_seen() -> None:
    decoder = tiny_networks(refinement_blocks=0).decoder
    assert "see" not in [layer.name for layer in decoder.layers]
    assert tiny_model(linear_path=False).refinement_blocks == 0


def test_refinement_that_cannot_be_is_refused() -> None:
    with pytest.raises(UsageError, match="--refinement_blocks=-1: give 0 or more"):
        tiny_model(refinement_blocks=-1)
    with pytest.raises(UsageError, match="--refinement_blocks=3 needs at least two halvings"):
        tiny_model(filters=(8,), linear_pool=1)


def test_black_frames_only_are_no_trouble() -> None:
    networks = tiny_networks()
    black = np.zeros((4, 24, 32, 3), np.uint8)
    initialise_linear_path(networks, tiny_model(), black)
    mean, _ = networks.encoder(pixels.to_float(black))
    np.testing.assert_array_equal(pixels.to_pixels(networks.decoder(mean)).numpy(), black)


def test_a_pool_that_does_not_divide_the_maps_is_refused() -> None:
    with pytest.raises(UsageError, match="linear_pool must be a power of 2 up to 8, not 3"):
        tiny_model(linear_pool=3)
