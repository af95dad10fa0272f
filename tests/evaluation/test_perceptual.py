"""The network that has seen photographs: its values, what it knows, and distances by it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from bladerunner_ae.evaluation import perceptual, set_distances
from bladerunner_ae.evaluation.pretrained_weights import load_weights
from tests.helpers import drawn_things
from tests.helpers.synthetic_film import film_pictures

pytestmark = pytest.mark.skipif(
    not perceptual.available(), reason="the extra [perceptual] is not installed"
)

Floats = NDArray[np.float64]
Pictures = NDArray[np.uint8]


@pytest.fixture(scope="module")
def film() -> Pictures:
    return np.stack(list(film_pictures(40, 72, 128, flash_every=None)))


def blurred(pictures: Pictures, radius: float) -> Pictures:
    blur = ImageFilter.GaussianBlur(radius)
    return np.stack([np.asarray(Image.fromarray(picture).filter(blur)) for picture in pictures])


@pytest.mark.parametrize(
    ("picture", "kinds"),
    [
        (drawn_things.crossword(), [918]),
        (drawn_things.clock(), [409, 892]),  # analog clock, wall clock
        (drawn_things.traffic_light(), [920]),
        (drawn_things.honeycomb(), [599]),
    ],
    ids=["crossword", "clock", "traffic light", "honeycomb"],
)
def test_it_knows_things(picture: Pictures, kinds: list[int]) -> None:
    """Numbers are those of ImageNet's 1,000 kinds, sorted by their names in WordNet."""
    weights = load_weights()
    logits = perceptual.pooled_features(picture[None])[0] @ weights["_fc.weight"].T
    odds = np.exp(logits + weights["_fc.bias"])
    assert odds[kinds].sum() / odds.sum() > 0.5


def test_features_are_those_of_plain_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole network once more, in float64, convolution and normalisation apart."""
    monkeypatch.setattr(perceptual, "PIXELS", 64 * 96)
    picture = np.random.default_rng(0).integers(0, 256, (64, 96, 3)).astype(np.uint8)
    network = perceptual._Network(perceptual._weights(), (64, 96))
    layers, pooled = plain_network(picture)
    for own, expected in zip(network.layers(picture[None]), layers, strict=True):
        unit = expected / np.linalg.norm(expected, axis=0)
        np.testing.assert_allclose(own[0], np.moveaxis(unit, 0, -1), atol=2e-5)
    np.testing.assert_allclose(network.pooled(picture[None])[0], pooled, atol=1e-4)
    assert [layer.shape[0] for layer in layers] == [16, 24, 40, 112, 192]
    assert [64 // layer.shape[1] for layer in layers] == [2, 4, 8, 16, 32]


def plain_network(picture: Pictures) -> tuple[list[Floats], Floats]:
    """Return the five layers, [channels, rows, columns] each, and the pooled features."""
    weights = {name: values.astype(np.float64) for name, values in load_weights().items()}

    def normalised(x: Floats, name: str) -> Floats:
        mean, variance, scale, bias = (
            weights[f"{name}.{part}"][:, None, None]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / np.sqrt(variance + 1e-3) * scale + bias

    def windows(x: Floats, size: int, stride: int) -> Floats:
        """Pad with 0 so that every stride begins a window, one row more at the end if odd."""
        missing = [max((-(-n // stride) - 1) * stride + size - n, 0) for n in x.shape[1:]]
        padded = np.pad(x, [(0, 0), *((n // 2, n - n // 2) for n in missing)])
        return sliding_window_view(padded, (size, size), (1, 2))[:, ::stride, ::stride]

    def convolved(x: Floats, name: str, stride: int = 1) -> Floats:
        kernel = weights[f"{name}.weight"]
        return np.einsum("chwij,ocij->ohw", windows(x, kernel.shape[-1], stride), kernel,
                         optimize=True)  # fmt: skip

    def filtered(x: Floats, name: str, stride: int) -> Floats:
        kernel = weights[f"{name}.weight"]
        return np.einsum("chwij,cij->chw", windows(x, kernel.shape[-1], stride), kernel[:, 0])

    def relu6(x: Floats) -> Floats:
        return np.clip(x, 0.0, 6.0)

    x = (np.moveaxis(picture.astype(np.float64), -1, 0) - 127.0) / 128.0
    x = relu6(normalised(convolved(x, "_conv_stem", 2), "_bn0"))
    layers = []
    for block in range(16):
        name, before = f"_blocks.{block}.", x
        if block:
            x = relu6(normalised(convolved(x, f"{name}_expand_conv"), f"{name}_bn0"))
        stride = 2 if block in (1, 3, 5, 11) else 1
        x = relu6(normalised(filtered(x, f"{name}_depthwise_conv", stride), f"{name}_bn1"))
        x = normalised(convolved(x, f"{name}_project_conv"), f"{name}_bn2")
        if x.shape == before.shape and block not in (0, 8, 15):  # 8: from stage 4 to 5
            x = x + before
        if block in (0, 2, 4, 10, 14):
            layers.append(x)
    return layers, relu6(normalised(convolved(x, "_conv_head"), "_bn1")).mean(axis=(1, 2))


def test_the_distance_is_the_mean_over_layers_and_places(film: Pictures) -> None:
    first, second = film[:3], blurred(film[:3], 1.5)
    expected = np.zeros(3)
    for one, other in zip(
        perceptual.unit_features(first), perceptual.unit_features(second), strict=True
    ):
        cosine = (one.numpy() * other.numpy()).sum(axis=-1)
        expected += (2 - 2 * cosine).mean(axis=(1, 2)) / 5  # the vectors have length 1
    found = perceptual.perceptual_distances(first, second)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found.dtype == np.float32 and found.min() > 0.05


def test_the_distance_knows_order_and_not_direction(film: Pictures) -> None:
    some = film[:4]
    same, soft, softer, softest = (
        perceptual.perceptual_distances(some, other)
        for other in (some, blurred(some, 0.7), blurred(some, 1.5), blurred(some, 3.0))
    )
    np.testing.assert_allclose(same, 0.0, atol=1e-6)
    assert (soft > 0.01).all() and (softer > soft).all() and (softest > softer).all()
    other = perceptual.perceptual_distances(some, film[[30, 31, 32, 33]])
    assert (other > 0).all() and other.max() < 4
    np.testing.assert_allclose(
        other, perceptual.perceptual_distances(film[[30, 31, 32, 33]], some), atol=1e-6
    )


def test_the_distance_is_that_of_the_frame_alone_and_repeats(film: Pictures) -> None:
    first, second = film[:17], film[20:37]  # more than a batch
    found = perceptual.perceptual_distances(first, second)
    np.testing.assert_array_equal(found, perceptual.perceptual_distances(first, second))
    for place in (0, 16):
        alone = perceptual.perceptual_distances(first[place][None], second[place][None])
        assert alone[0] == pytest.approx(found[place], abs=1e-5)
    assert perceptual.pooled_features(film[:0]).shape == (0, perceptual.FEATURES)


def test_detail_that_errors_do_not_see_is_seen(film: Pictures) -> None:
    """Grey levels are as far off in both; one is the film, brighter, the other is blurred."""
    soft = blurred(film[:4], 2.0)
    error = np.square(soft.astype(float) - film[:4]).mean()
    brighter = np.minimum(film[:4].astype(int) + round(error**0.5), 255).astype(np.uint8)
    softness, brightness = (
        perceptual.perceptual_distances(film[:4], other).mean() for other in (soft, brighter)
    )
    assert softness > 2 * brightness


def test_pooled_features_say_what_is_seen() -> None:
    """Clocks of other times on another ground are nearer to each other than to a crossword."""
    pictures = np.stack([
        drawn_things.clock(10.2), drawn_things.clock(3.7, (120, 60, 40)),
        drawn_things.crossword(1), drawn_things.crossword(2),
    ])  # fmt: skip
    features = perceptual.pooled_features(pictures)
    assert features.shape == (4, perceptual.FEATURES) and features.dtype == np.float64
    apart = np.linalg.norm(features[:, None] - features[None], axis=-1)
    assert max(apart[0, 1], apart[2, 3]) < 0.8 * apart[:2, 2:].min()


def test_pooled_features_tell_films_apart(film: Pictures) -> None:
    noise = np.random.default_rng(0).integers(0, 256, film[::2].shape).astype(np.uint8)
    even, odd, wild = map(perceptual.pooled_features, (film[::2], film[1::2], noise))
    near = set_distances.frechet_distance(even, odd)
    far = set_distances.frechet_distance(even, wild)
    assert near is not None and far is not None and far > 10 * near


@pytest.mark.parametrize(
    ("size", "looked_at"),
    [((72, 128), (144, 256)), ((144, 256), (144, 256)), ((288, 512), (144, 256)),
     ((24, 32), (160, 224)), ((128, 304), (128, 288)), ((8, 4000), (32, 4288))],
)  # fmt: skip
def test_the_network_looks_at_the_films_own_shape(
    size: tuple[int, int], looked_at: tuple[int, int]
) -> None:
    assert perceptual.input_size(*size) == looked_at
