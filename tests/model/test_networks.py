"""Shapes, sizes and independence of the networks."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from bladerunner_ae.errors import InputError
from bladerunner_ae.model import pixels
from bladerunner_ae.model.networks import LOG_VAR_RANGE, Networks, build_networks
from bladerunner_ae.runs.config import ModelConfig
from bladerunner_ae.runs.presets import PRESETS
from tests.helpers.tiny_training import film_images, tiny_networks, weights_of

NORMALIZATIONS = ["none", "group"]
LINEAR = {"linear_code", "linear_picture"}


def networks_of(preset: str, height: int, width: int, **changes: Any) -> Networks:
    config = ModelConfig(
        height=height, width=width, **{**PRESETS[preset].model, **changes}
    ).resolve()
    return build_networks(config, precision="float32", seed=0, discriminator=True)


def dense(inputs: int, outputs: int) -> int:
    return inputs * outputs + outputs


def convolution(size: int, inputs: int, outputs: int) -> int:
    return size * size * inputs * outputs + outputs


# The preview's layers that see the linear path's picture and mend it.
REFINEMENT = convolution(8, 3, 48) + 3 * 2 * convolution(3, 48, 48)


# What base and large have beside the published networks.
BESIDE = {"linear_path": False, "refinement_blocks": 0}


def test_base_has_the_size_of_the_published_model() -> None:
    players = networks_of("base", 144, 256, **BESIDE).players()
    counts = {name: model.count_params() for name, model in players.items()}
    widths, flat = [3, 80, 160, 320, 640], 9 * 16 * 640
    pairs = list(itertools.pairwise(widths))
    norms = sum(2 * width for width in widths[2:])
    down = sum(convolution(5, a, b) for a, b in pairs) + norms
    up = sum(convolution(5, b, a) for a, b in pairs) + 2 * (640 + 320 + 160 + 80)
    assert counts == {
        "encoder": down + 2 * dense(flat, 200),
        "decoder": dense(200, flat) + up,
        "discriminator": down + dense(flat, 1),
    }
    assert sum(counts.values()) / 1e6 == pytest.approx(75.7, abs=0.05)


def test_large_has_one_halving_more_and_half_the_width() -> None:
    players = networks_of("large", 288, 512, **BESIDE).players()
    widths, flat = [3, 40, 80, 160, 320, 640], 9 * 16 * 640
    pairs = list(itertools.pairwise(widths))
    down = sum(convolution(5, a, b) + 2 * b for a, b in pairs) - 2 * 40
    up = sum(convolution(5, b, a) + 2 * b for a, b in pairs)
    counts = {name: model.count_params() for name, model in players.items()}
    assert counts == {
        "encoder": down + 2 * dense(flat, 200),
        "decoder": dense(200, flat) + up,
        "discriminator": down + dense(flat, 1),
    }
    assert sum(counts.values()) / 1e6 == pytest.approx(75.9, abs=0.05)


def test_a_grid_and_upsampling_need_fewer_weights() -> None:
    changes = {"latent": "spatial", "latent_channels": 6, "resize": "upsample"}
    players = networks_of("preview", 72, 128, **changes).players()
    residual = 2 * convolution(3, 96, 96) + REFINEMENT
    down = convolution(4, 3, 24) + convolution(4, 24, 48) + convolution(4, 48, 96)
    up = convolution(3, 96, 48) + convolution(3, 48, 24) + convolution(3, 24, 3)
    counts = {name: model.count_params() for name, model in players.items()}
    encoded = down + residual - REFINEMENT
    assert counts["encoder"] == encoded + 2 * convolution(1, 96, 6) + convolution(8, 3, 6)
    assert counts["decoder"] == convolution(1, 6, 96) + residual + up + dense(6, 8 * 8 * 3)


def test_preview_is_small_enough_for_a_laptop() -> None:
    players = networks_of("preview", 72, 128).players()
    small, picture = 9 * 16 * 32, 72 * 128 * 3
    residual = 2 * convolution(3, 96, 96)
    down = convolution(4, 3, 24) + convolution(4, 24, 48) + convolution(4, 48, 96)
    up = convolution(4, 96, 48) + convolution(4, 48, 24) + convolution(4, 24, 3)
    assert {name: model.count_params() for name, model in players.items()} == {
        "encoder": down + residual + convolution(1, 96, 32) + 2 * dense(small, 200)
        + dense(picture, 200),
        "decoder": dense(200, small) + convolution(1, 32, 96) + residual + up + REFINEMENT
        + dense(200, picture),
        "discriminator": down + dense(9 * 16 * 96, 1),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("preset", "height", "width", "small"),
    [("preview", 24, 32, False), ("preview", 48, 16, False), ("base", 32, 48, True),
     ("large", 32, 64, True)],
)  # fmt: skip
def test_shapes_at_any_raster_that_the_depth_divides(
    preset: str, height: int, width: int, small: bool
) -> None:
    depth = len(ModelConfig(height=32, width=32, **PRESETS[preset].model).filters)
    widths = tuple(8 * 2**i for i in range(depth))
    changes = {"filters": widths, "discriminator_filters": widths} if small else {}
    networks = networks_of(preset, height, width, **changes)
    images = tf.zeros([2, height, width, 3])
    mean, log_var = networks.encoder(images)
    assert mean.shape == log_var.shape == (2, 200)
    assert networks.decoder(mean).shape == (2, height, width, 3)
    assert networks.discriminator is not None
    logits, features = networks.discriminator(images)
    assert logits.shape == (2, 1)
    assert [tuple(feature.shape[1:3]) for feature in features] == [
        (height >> i, width >> i) for i in range(1, depth + 1)
    ]


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_depth_follows_the_preset_and_its_raster_is_allowed(preset: str) -> None:
    found = PRESETS[preset]
    side = found.multiple
    assert ModelConfig(height=side, width=3 * side, **found.model).height == side
    depth = len(found.model.get("filters", ModelConfig(height=16, width=16).filters))
    assert side == 2**depth


@pytest.mark.parametrize(
    ("preset", "height", "width", "divisor"),
    [("preview", 28, 32, 8), ("preview", 24, 33, 8), ("base", 72, 128, 16), ("preview", 0, 32, 8)],
)
def test_a_raster_that_the_depth_does_not_divide_is_refused(
    preset: str, height: int, width: int, divisor: int
) -> None:
    with pytest.raises(InputError, match=rf"{height}x{width}.*--multiple={divisor}"):
        ModelConfig(height=height, width=width, **PRESETS[preset].model)


def test_log_var_stays_in_its_range_and_starts_where_it_is_told() -> None:
    networks = tiny_networks(initial_log_var=-4.0)
    images = pixels.to_float(film_images(4))
    log_var = networks.encoder(images)[1].numpy()
    np.testing.assert_allclose(log_var, -4.0, atol=0.2)
    layer = networks.encoder.get_layer("log_var")
    kernel, bias = layer.get_weights()
    for sign, limit in ((-1, LOG_VAR_RANGE[0]), (1, LOG_VAR_RANGE[1])):
        layer.set_weights([kernel, bias + sign * 1000])
        np.testing.assert_array_equal(networks.encoder(images)[1].numpy(), np.float32(limit))
    assert math.exp(LOG_VAR_RANGE[1]) < 1e3


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("training", [False, True])
def test_a_frame_s_output_does_not_depend_on_its_batch(normalization: str, training: bool) -> None:
    networks = tiny_networks("vae_gan", normalization=normalization)
    images = pixels.to_float(film_images(32))

    def outputs(batch: tf.Tensor) -> list[Any]:
        mean, log_var = networks.encoder(batch, training=training)
        assert networks.discriminator is not None
        logits, features = networks.discriminator(batch, training=training)
        dream = networks.decoder(mean, training=training)
        return [tensor.numpy() for tensor in (mean, log_var, dream, logits, *features)]

    order = np.random.default_rng(0).permutation(32)
    whole, shuffled = outputs(images), outputs(tf.gather(images, order))
    alone = [outputs(images[i : i + 1]) for i in (0, 13, 31)]
    for number, values in enumerate(whole):
        # Batches of other sizes are summed in another order, so equal means equal but for rounding.
        tolerance = 1e-5 * np.abs(values).max()
        np.testing.assert_allclose(shuffled[number], values[order], atol=tolerance)
        for single, index in zip(alone, (0, 13, 31), strict=True):
            np.testing.assert_allclose(single[number][0], values[index], atol=tolerance)
        assert np.abs(values[0] - values[31]).max() > 10 * tolerance, "the frames must differ"


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_no_layer_keeps_statistics_of_batches(preset: str) -> None:
    widths = (8,) * PRESETS[preset].multiple.bit_length()
    widths = widths[:-1]
    networks = networks_of(preset, 32, 32, filters=widths, discriminator_filters=widths)
    for name, player in networks.players().items():
        kinds = {type(layer).__name__ for layer in player.layers}
        assert "BatchNormalization" not in kinds, name
        # The one thing that gradients do not move is fitted in closed form before training.
        assert {v.path.split("/")[0] for v in player.non_trainable_variables} <= LINEAR, name


def at_rest(path: str) -> bool:
    """Whether it is the last convolution of a block that mends the linear path's picture."""
    return path.split("/")[0].startswith("refine_") and path.split("/")[0].endswith("_out")


def test_blocks_that_refine_begin_as_the_identity() -> None:
    weights = weights_of(tiny_networks("vae").decoder)
    last = [value for path, value in weights.items() if at_rest(path)]
    assert len(last) == 2 * PRESETS["preview"].model["refinement_blocks"]
    assert all(not value.any() for value in last)


def test_a_seed_decides_the_weights() -> None:
    first, again, other = (tiny_networks("vae_gan", seed=seed) for seed in (3, 3, 4))
    for name in first.players():
        ours, same, different = (
            weights_of(networks.players()[name]) for networks in (first, again, other)
        )
        assert ours.keys() == same.keys()
        assert all(np.array_equal(ours[path], same[path]) for path in ours)
        kernels = [path for path in ours if path.endswith("kernel") and not at_rest(path)]
        assert kernels and not any(np.array_equal(ours[p], different[p]) for p in kernels)


def test_a_discriminator_does_not_change_the_others_weights() -> None:
    without, beside = tiny_networks("vae"), tiny_networks("vae_gan")
    for name, player in without.players().items():
        ours, theirs = weights_of(player), weights_of(beside.players()[name])
        assert all(np.array_equal(ours[path], theirs[path]) for path in ours)
    assert list(without.players()) == ["encoder", "decoder"]
    assert list(beside.players()) == ["encoder", "decoder", "discriminator"]


def test_mixed_precision_keeps_weights_and_outputs_float32() -> None:
    config = ModelConfig(height=24, width=32, **PRESETS["preview"].model).resolve()
    networks = build_networks(config, precision="mixed_bfloat16", seed=0, discriminator=True)
    for player in networks.players().values():
        assert {variable.dtype for variable in player.variables} == {"float32"}
        assert player.get_layer("conv_0" if player.name != "decoder" else "deconv_1").dtype_policy \
            .compute_dtype == "bfloat16"  # fmt: skip
    images = pixels.to_float(film_images(2))
    mean, log_var = networks.encoder(images)
    assert networks.discriminator is not None
    logits, features = networks.discriminator(images)
    for tensor in (mean, log_var, networks.decoder(mean), logits):
        assert tensor.dtype == tf.float32
    assert features[0].dtype == tf.bfloat16
