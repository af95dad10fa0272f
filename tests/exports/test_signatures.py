"""Signatures of the exported models: inputs and outputs, for one picture or many."""

from __future__ import annotations

import functools
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image

from bladerunner_ae.exports.export_folders import MODELS
from bladerunner_ae.exports.signatures import make_signatures
from bladerunner_ae.model import latent_density, pixels
from bladerunner_ae.model.latent_density import LatentDensity, fit_density
from bladerunner_ae.model.networks import Networks, build_networks
from tests.helpers.small_records import encode
from tests.helpers.tiny_exports import LATENT, SMALL, small_networks
from tests.helpers.tiny_training import HEIGHT, WIDTH, film_images, tiny_model

IMAGE, FILES = (tf.uint8, (None, HEIGHT, WIDTH, 3)), (tf.string, (None,))
FLOATS, LATENTS = (tf.float32, (None, HEIGHT, WIDTH, 3)), (tf.float32, (None, LATENT))
POSTERIOR = {"latent": LATENTS, "log_var": LATENTS}
SIGNATURES: dict[tuple[str, str], tuple[dict[str, Any], dict[str, Any]]] = {
    ("autoencoder", "serving_default"): ({"image": IMAGE}, {"reconstruction": IMAGE}),
    ("autoencoder", "reconstruct"): ({"image": IMAGE}, {"reconstruction": IMAGE}),
    ("autoencoder", "reconstruct_bytes"): ({"image_bytes": FILES}, {"image_bytes": FILES}),
    ("encoder", "serving_default"): ({"image": IMAGE}, POSTERIOR),
    ("encoder", "encode"): ({"image": IMAGE}, POSTERIOR),
    ("encoder", "encode_bytes"): ({"image_bytes": FILES}, POSTERIOR),
    ("decoder", "serving_default"): ({"latent": LATENTS}, {"image_bytes": FILES}),
    ("decoder", "decode"): ({"latent": LATENTS}, {"image": IMAGE}),
    ("decoder", "decode_float"): ({"latent": LATENTS}, {"image": FLOATS}),
    ("decoder", "decode_png_bytes"): ({"latent": LATENTS}, {"image_bytes": FILES}),
    ("decoder", "sample"): ({"seed": (tf.int64, (None,))}, {"image": IMAGE}),
}


@functools.cache
def load(export: Path, name: str) -> Any:
    return tf.saved_model.load(str(export / name / "1"))


def call(export: Path, model: str, signature: str, **inputs: Any) -> dict[str, NDArray[Any]]:
    """Run a signature on arrays; return arrays."""
    tensors = {name: tf.constant(values) for name, values in inputs.items()}
    found = load(export, model).signatures[signature](**tensors)
    return {name: values.numpy() for name, values in found.items()}


def some_inputs(signature: str, count: int, seed: int = 0) -> dict[str, Any]:
    """Return inputs for a signature of any model, each row different."""
    random = np.random.default_rng(seed)
    images = film_images(24)[random.permutation(24)[:count]]
    if signature.endswith("reconstruct_bytes") or signature == "encode_bytes":
        files = [encode(image, "png" if i % 2 else "jpeg") for i, image in enumerate(images)]
        return {"image_bytes": np.array(files, object) if count else tf.zeros([0], tf.string)}
    if signature == "sample":
        return {"seed": random.integers(-(2**62), 2**62, count)}
    return {"image": images, "latent": random.standard_normal((count, LATENT)).astype("f4")}


def inputs_for(model: str, signature: str, count: int, seed: int = 0) -> dict[str, Any]:
    wanted = SIGNATURES[model, signature][0]
    given = some_inputs(signature, count, seed)
    return {name: values for name, values in given.items() if name in wanted}


@pytest.mark.parametrize(("model", "signature"), SIGNATURES)
def test_inputs_and_outputs_of_each(tiny_export: Path, model: str, signature: str) -> None:
    function = load(tiny_export, model).signatures[signature]
    takes = function.structured_input_signature[1]
    found = (
        {key: (spec.dtype, tuple(spec.shape)) for key, spec in takes.items()},
        {key: (v.dtype, tuple(v.shape)) for key, v in function.structured_outputs.items()},
    )
    assert found == SIGNATURES[model, signature]


def test_there_are_no_others(tiny_export: Path) -> None:
    found = {(m, name) for m in MODELS for name in load(tiny_export, m).signatures}
    assert found == set(SIGNATURES)


def test_the_table_of_signatures_is_that_of_the_graphs() -> None:
    """Model cards are written from it."""
    for signatures in make_signatures(small_networks()).values():
        for signature in signatures:
            concrete = signature.traced().get_concrete_function()
            outputs = {k: (v.dtype, v.shape) for k, v in concrete.structured_outputs.items()}
            assert outputs == {k: (v.dtype, v.shape) for k, v in signature.outputs.items()}
            assert signature.doc.endswith(".")


@pytest.mark.parametrize(("model", "signature"), SIGNATURES)
def test_a_row_does_not_depend_on_its_batch(tiny_export: Path, model: str, signature: str) -> None:
    """Servers that batch need f(a + b) = f(a) + f(b), also for an empty part."""
    first, second = (inputs_for(model, signature, n, seed=n) for n in (3, 2))
    nothing = inputs_for(model, signature, 0)
    parts = [call(tiny_export, model, signature, **part) for part in (first, second, nothing)]
    both = {name: np.concatenate([first[name], second[name]]) for name in first}
    whole = call(tiny_export, model, signature, **both)
    for name, values in whole.items():
        assert [len(part[name]) for part in parts] == [3, 2, 0] and len(values) == 5
        apart = np.concatenate([part[name] for part in parts[:2]])
        assert values.dtype == apart.dtype == parts[2][name].dtype
        if values.dtype == object:
            values, apart = decoded(values), decoded(apart)
        # Sums may be in another order: a few grey levels are rounded differently.
        tolerance = 1 if values.dtype == np.uint8 else 1e-4
        np.testing.assert_allclose(values.astype(float), apart, atol=tolerance)
        assert all(np.ptp(row) > 0 for row in values), "empty rows would agree with anything"


def decoded(files: Any) -> NDArray[np.uint8]:
    return np.stack([np.asarray(Image.open(io.BytesIO(file))) for file in files])


@pytest.mark.parametrize("size", [1, 8])
def test_models_equal_the_networks_in_memory(tiny_export: Path, size: int) -> None:
    networks, images = small_networks(), film_images(8)[:size]
    mean, log_var = networks.encoder(pixels.to_float(images))
    dreams = pixels.to_pixels(networks.decoder(mean)).numpy()
    encoded = call(tiny_export, "encoder", "encode", image=images)
    np.testing.assert_allclose(encoded["latent"], mean, atol=1e-4)
    np.testing.assert_allclose(encoded["log_var"], log_var, atol=1e-4)
    image = call(tiny_export, "decoder", "decode", latent=encoded["latent"])["image"]
    whole = call(tiny_export, "autoencoder", "reconstruct", image=images)["reconstruction"]
    for found in (image, whole):
        assert np.abs(found.astype(int) - dreams).max() <= 1
    assert np.ptp(dreams) > 50


def test_signatures_of_half_precision_are_float32() -> None:
    half = build_networks(
        tiny_model(**SMALL), precision="mixed_bfloat16", seed=0, discriminator=False
    )
    made = {name: s for found in make_signatures(half).values() for s in found for name in s.names}
    for name in ("encode", "decode_float", "reconstruct"):
        outputs = made[name].traced().get_concrete_function().structured_outputs
        kinds = {key: value.dtype for key, value in outputs.items()}
        assert kinds == {key: spec.dtype for key, spec in made[name].outputs.items()}
        assert tf.bfloat16 not in kinds.values()


def test_jpeg_png_and_floats_are_the_same_picture(tiny_export: Path) -> None:
    latent = inputs_for("decoder", "decode", 3)["latent"]
    image = call(tiny_export, "decoder", "decode", latent=latent)["image"]
    png = call(tiny_export, "decoder", "decode_png_bytes", latent=latent)["image_bytes"]
    assert all(file.startswith(b"\x89PNG") for file in png)
    np.testing.assert_array_equal(decoded(png), image)
    floats = call(tiny_export, "decoder", "decode_float", latent=latent)["image"]
    assert floats.min() >= 0 and floats.max() <= 1
    np.testing.assert_array_equal(np.round(floats * np.float32(255)), image)
    jpeg = call(tiny_export, "decoder", "serving_default", latent=latent)["image_bytes"]
    assert all(file.startswith(b"\xff\xd8\xff") for file in jpeg)
    assert np.abs(decoded(jpeg).astype(float) - image).mean() < 6


def test_files_of_the_raster_are_decoded_exactly(tiny_export: Path) -> None:
    """A client may send a record's own file."""
    images = film_images(2)
    files = np.array([encode(images[0], "jpeg"), encode(images[1], "png")], object)
    read = np.stack([
        tf.io.decode_jpeg(files[0], dct_method="INTEGER_ACCURATE").numpy(), images[1]
    ])  # fmt: skip
    ours = call(tiny_export, "encoder", "encode_bytes", image_bytes=files)
    theirs = call(tiny_export, "encoder", "encode", image=read)
    np.testing.assert_array_equal(ours["latent"], theirs["latent"])
    dreams = call(tiny_export, "autoencoder", "reconstruct_bytes", image_bytes=files)
    whole = call(tiny_export, "autoencoder", "reconstruct", image=read)["reconstruction"]
    assert np.abs(decoded(dreams["image_bytes"]).astype(float) - whole).mean() < 6


def some_density() -> LatentDensity:
    random = np.random.default_rng(3)
    shots = [random.normal(m, s, (n, 5)) for m, s, n in ((-4, 0.1, 100), (3, 1, 60), (9, 1.5, 30))]
    return fit_density(np.concatenate(shots).astype("f4"), np.repeat([0, 1, 2], [100, 60, 30]))


def draw(sampler: latent_density.Sampler, count: int) -> NDArray[np.float32]:
    """Draw from the seeds 0, 1, ..., in a graph, as servers do."""
    return tf.function(sampler)(tf.range(count, dtype=tf.int64)).numpy()


def test_samples_follow_the_density() -> None:
    """Each shot's share, mean and covariance are those of NumPy's sampler."""
    density = some_density()
    ours = draw(latent_density.density_sampler(density), 8000)
    theirs = density.sample(8000, seed=1)
    assert ours.shape == theirs.shape and ours.dtype == np.float32

    def by_shot(latents: Any) -> list[Any]:
        place = latents.mean(axis=1)
        return [latents[place < -1], latents[(place >= -1) & (place < 6)], latents[place >= 6]]

    for our, their in zip(by_shot(ours), by_shot(theirs), strict=True):
        assert len(our) == pytest.approx(len(their), rel=0.1)
        assert np.abs(our.mean(axis=0) - their.mean(axis=0)).max() < 0.15
        np.testing.assert_allclose(np.cov(our.T), np.cov(their.T), atol=0.3)


def test_samples_without_a_density_are_normal() -> None:
    found = draw(latent_density.normal_sampler(5), 8000)
    assert np.abs(found.mean(axis=0)).max() < 0.05
    np.testing.assert_allclose(np.cov(found.T), np.eye(5), atol=0.06)


def test_a_seed_always_gives_the_same_latent() -> None:
    for sampler in (
        latent_density.density_sampler(some_density()), latent_density.normal_sampler(5)
    ):  # fmt: skip
        seeds = tf.constant([7, -(2**63), 2**63 - 1, 7], tf.int64)
        found = sampler(seeds).numpy()
        np.testing.assert_array_equal(found[0], found[3])
        np.testing.assert_allclose(sampler(seeds[1:2]).numpy()[0], found[1], rtol=1e-6)
        assert len(np.unique(found[:3, 0])) == 3


def test_fitted_samples_are_nearer_to_the_film(tiny_export: Path) -> None:
    networks: Networks = small_networks()
    seeds = np.arange(24)
    normal = make_signatures(networks)["decoder"][-1].traced()(tf.constant(seeds))["image"].numpy()
    fitted = call(tiny_export, "decoder", "sample", seed=seeds)["image"]
    film = film_images(24).astype(float)

    def distance(pictures: NDArray[np.uint8]) -> float:
        return float(np.abs(pictures[:, None] - film[None]).mean(axis=(2, 3, 4)).min(axis=1).mean())

    assert distance(fitted) < 0.8 * distance(normal)
