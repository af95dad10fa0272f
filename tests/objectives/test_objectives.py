"""Each player's sources of learning: gradients, and what changes them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from numpy.typing import NDArray

from bladerunner_ae.errors import UsageError
from bladerunner_ae.model import pixels
from bladerunner_ae.model.networks import Networks
from bladerunner_ae.objectives import REGISTRY, Batch, Outcome, losses, make_objective
from bladerunner_ae.objectives.base import sample_posterior
from tests.helpers.tiny_training import AT_ONCE, OBJECTIVES, film_images, tiny_networks

Gradients = dict[str, list[NDArray[np.float32]]]
# Those of Larsen et al.'s routing: nothing adversarial for the encoder.
LARSEN = ["broad2016", "vae_gan"]


def make_batch(size: int = 4) -> Batch:
    random = np.random.default_rng(0)
    epsilon, prior = random.normal(size=(2, size, 200)).astype(np.float32)
    return Batch(
        pixels.to_float(film_images(size)),
        tf.constant(epsilon),
        tf.constant(prior),
        tf.constant(0, tf.int64),
    )


BATCH_SIZE = 4


@pytest.fixture(scope="module")
def batch() -> Batch:
    return make_batch(BATCH_SIZE)


@functools.cache
def networks_with(head: str) -> Networks:
    return tiny_networks("vae_gan" if head == "image" else "patch_gan")


@pytest.fixture
def networks(request: pytest.FixtureRequest) -> Networks:
    """Return networks as the objective of the test's parameter `name` wants them."""
    return networks_with(REGISTRY[request.node.callspec.params["name"]].head)


def with_all_players(name: str, weights: Mapping[str, float] | None = None) -> Any:
    return make_objective(name, {**AT_ONCE.get(name, {}), **(weights or {})})


def gradients_of(
    name: str, networks: Networks, batch: Batch, weights: Mapping[str, float] | None = None
) -> Gradients:
    """Return each player's gradient of its own loss, by default with every player at play."""
    objective = with_all_players(name, weights)
    with tf.GradientTape(persistent=True) as tape:
        outcome = objective(networks, batch)
        means = {player: tf.reduce_mean(loss) for player, loss in outcome.losses.items()}
    return {
        player: [
            gradient.numpy()
            for gradient in tape.gradient(means[player], variables_of(networks, player))
        ]
        for player in objective.players
    }


def variables_of(networks: Networks, player: str) -> list[Any]:
    return networks.players()[player].trainable_variables


def distance(ours: list[NDArray[np.float32]], theirs: list[NDArray[np.float32]]) -> float:
    """Return the length of the difference of two gradients, in units of the second one's."""
    off = sum(float(np.square(a - b).sum()) for a, b in zip(ours, theirs, strict=True))
    length = sum(float(np.square(b).sum()) for b in theirs)
    assert length > 0
    return (off / length) ** 0.5


def assert_same(ours: list[NDArray[np.float32]], theirs: list[NDArray[np.float32]]) -> None:
    """Equal but for rounding, and for the odd unit that rounding takes over a rectifier's kink."""
    assert distance(ours, theirs) < 5e-3


def assert_other(ours: list[NDArray[np.float32]], theirs: list[NDArray[np.float32]]) -> None:
    assert distance(ours, theirs) > 5e-2


@pytest.mark.parametrize("name", OBJECTIVES)
def test_outcome_has_one_number_for_each_example(
    name: str, networks: Networks, batch: Batch
) -> None:
    objective = with_all_players(name)
    outcome = objective(networks, batch)
    assert tuple(sorted(outcome.losses)) == tuple(sorted(objective.players))
    for kind, values in (("loss", outcome.losses), ("term", outcome.terms)):
        for key, value in values.items():
            assert value.shape[0] == BATCH_SIZE and value.dtype == tf.float32, (kind, key)
            assert np.isfinite(value.numpy()).all(), (kind, key)
    assert all(loss.shape == (BATCH_SIZE,) for loss in outcome.losses.values())
    assert outcome.reconstruction.shape == batch.images.shape
    assert [value.shape for value in outcome.latent] == [(BATCH_SIZE, 200)] * 2


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_example_s_losses_do_not_depend_on_its_batch(
    name: str, networks: Networks, batch: Batch
) -> None:
    whole = with_all_players(name)(networks, batch).losses
    last = Batch(batch.images[3:], batch.epsilon[3:], batch.prior[3:], batch.step)
    alone = with_all_players(name)(networks, last).losses
    for player, loss in whole.items():
        assert float(alone[player][0]) == pytest.approx(float(loss[3]), rel=1e-4)


class Independent:
    """The formulas of the papers, each network called apart, nothing shared with our objectives."""

    def __init__(self, networks: Networks, batch: Batch, noise: float) -> None:
        self.x = batch.images
        self.mean, self.log_var = networks.encoder(self.x, training=True)
        z = self.mean + noise * tf.exp(self.log_var / 2) * batch.epsilon
        self.y = networks.decoder(z, training=True)
        self.kl = 0.5 * tf.reduce_mean(
            self.mean**2 + tf.exp(self.log_var) - 1 - self.log_var, axis=1
        )
        self.pixel = tf.reduce_mean((self.x - self.y) ** 2, axis=[1, 2, 3])
        if networks.discriminator is None:
            return
        if networks.discriminator.output_shape[0][1:] != (1,):
            return
        real, real_features = networks.discriminator(self.x, training=True)
        fake, fake_features = networks.discriminator(self.y, training=True)
        dreamt = networks.decoder(batch.prior, training=True)
        prior, _ = networks.discriminator(dreamt, training=True)
        self.features = tf.add_n(
            [
                tf.reduce_mean((a - b) ** 2, axis=[1, 2, 3])
                for a, b in zip(real_features, fake_features, strict=True)
            ]
        ) / len(real_features)
        sure = {kind: tf.sigmoid(v)[:, 0] for kind, v in
                (("real", real), ("fake", fake), ("prior", prior))}  # fmt: skip
        log = tf.math.log
        self.gan = -log(sure["real"]) - log(1 - sure["fake"]) - log(1 - sure["prior"])
        self.fooling = -log(sure["fake"]) - log(sure["prior"])


def noise_of(objective: Any) -> float:
    """The noise at the end of a run, where a batch of no schedule is."""
    return objective.noise * getattr(objective, "noise_decay", 1.0) ** 3


def independent_losses(name: str, networks: Networks, batch: Batch) -> dict[str, tf.Tensor]:
    """The loss of each player, written out from the table at the head of each objective."""
    w = with_all_players(name)
    run = Independent(networks, batch, noise_of(w))
    if name == "vae":
        both = run.pixel + w.kl_weight * run.kl
        return {"encoder": both, "decoder": both}
    if name == "vae_gan":
        return {
            "encoder": w.kl_weight * run.kl + run.features + w.pixel_weight * run.pixel,
            "decoder": w.gamma * run.features + w.pixel_weight * run.pixel
            + w.adversarial_weight * run.fooling,
            "discriminator": run.gan,
        }  # fmt: skip
    if name == "broad2016":
        return {
            "encoder": run.kl + run.features,
            "decoder": w.gamma * run.features - w.gan_scale * run.gan,
            "discriminator": w.gan_scale * run.gan,
        }
    assert networks.discriminator is not None
    logits = [networks.discriminator(v, training=True)[0] for v in (run.x, run.y)]
    if name == "patch_gan":
        p_real, p_fake = (tf.reshape(tf.sigmoid(v), [len(run.x), -1]) for v in logits)
        both = (
            w.pixel_weight * tf.reduce_mean(tf.abs(run.x - run.y), axis=[1, 2, 3])
            + w.kl_weight * run.kl
            - w.adversarial_weight * tf.reduce_mean(tf.math.log(p_fake), 1)
        )
        wrong = tf.math.log(p_real) + tf.math.log(1 - p_fake)
        return {"encoder": both, "decoder": both, "discriminator": -tf.reduce_mean(wrong, 1) / 2}
    if name == "dream":
        real, fake = (tf.reshape(v, [len(run.x), -1]) for v in logits)
        both = (
            run.pixel
            + w.kl_weight * run.kl
            + w.band_weight * losses.band_distance(run.x, run.y)
            - w.adversarial_weight * tf.reduce_mean(fake, 1)
        )
        hinge = tf.nn.relu(1 - real) + tf.nn.relu(1 + fake)
        return {"encoder": both, "decoder": both, "discriminator": tf.reduce_mean(hinge, 1)}
    raise NotImplementedError(f"write down here what the players of {name} learn from")


@pytest.mark.parametrize("name", OBJECTIVES)
def test_gradients_equal_independently_computed_formulas(
    name: str, networks: Networks, batch: Batch
) -> None:
    ours = gradients_of(name, networks, batch)
    with tf.GradientTape(persistent=True) as tape:
        values = independent_losses(name, networks, batch)
        means = {player: tf.reduce_mean(loss) for player, loss in values.items()}
    objective = with_all_players(name)
    outcome = objective(networks, batch)
    for player in objective.players:
        np.testing.assert_allclose(
            outcome.losses[player].numpy(), values[player].numpy(), rtol=1e-4
        )
        expected = [g.numpy() for g in tape.gradient(means[player], variables_of(networks, player))]
        assert_same(ours[player], expected)


@pytest.mark.parametrize(
    ("name", "weight", "value", "moved"),
    [
        ("vae_gan", "gamma", 9.0, {"decoder"}),
        ("vae_gan", "adversarial_weight", 5.0, {"decoder"}),
        ("vae_gan", "kl_weight", 1.0, {"encoder"}),
        ("vae_gan", "pixel_weight", 7.0, {"encoder", "decoder"}),
        ("broad2016", "gamma", 9.0, {"decoder"}),
        ("broad2016", "gan_scale", 50.0, {"decoder", "discriminator"}),
        ("vae", "kl_weight", 1.0, {"encoder"}),
        ("patch_gan", "pixel_weight", 1.0, {"encoder", "decoder"}),
        ("patch_gan", "adversarial_weight", 90.0, {"encoder", "decoder"}),
        ("patch_gan", "kl_weight", 100.0, {"encoder"}),
        ("dream", "kl_weight", 1.0, {"encoder"}),
        ("dream", "band_weight", 9.0, {"encoder", "decoder"}),
        ("dream", "adversarial_weight", 9.0, {"encoder", "decoder"}),
        ("dream", "feature_weight", 9.0, {"encoder", "decoder"}),
        ("dream", "r1_weight", 900.0, {"discriminator"}),
    ],
)
def test_a_weight_moves_only_whom_it_should(
    name: str, weight: str, value: float, moved: set[str], networks: Networks, batch: Batch
) -> None:
    before = gradients_of(name, networks, batch)
    after = gradients_of(name, networks, batch, {weight: value})
    for player in before:
        if player in moved:
            assert_other(after[player], before[player])
        else:
            assert_same(after[player], before[player])


@pytest.mark.parametrize("name", LARSEN)
def test_the_encoder_gets_no_adversarial_gradient(name: str, batch: Batch) -> None:
    """The discriminator's last layer feeds logits only, so it is the adversarial term's alone."""
    networks = tiny_networks(name)
    assert networks.discriminator is not None
    before = gradients_of(name, networks, batch)
    layer = networks.discriminator.get_layer("logits")
    layer.set_weights([200 * values for values in layer.get_weights()])
    after = gradients_of(name, networks, batch)
    assert_same(after["encoder"], before["encoder"])
    assert_other(after["decoder"], before["decoder"])
    assert_other(after["discriminator"], before["discriminator"])


@pytest.mark.parametrize("name", LARSEN)
def test_the_features_teach_nobody_but_encoder_and_decoder(
    name: str, networks: Networks, batch: Batch
) -> None:
    """The discriminator's gradient is that of its cross-entropies alone."""
    assert networks.discriminator is not None
    objective: Any = make_objective(name)
    outcome: Outcome = objective(networks, batch)
    mean, log_var = outcome.latent
    latent = sample_posterior(mean, log_var, batch.epsilon, noise_of(objective))
    judged = (
        batch.images,
        tf.stop_gradient(networks.decoder(latent)),
        tf.stop_gradient(networks.decoder(batch.prior)),
    )
    with tf.GradientTape() as tape:
        logits = [networks.discriminator(images)[0] for images in judged]
        loss = tf.reduce_mean(losses.discriminator_cross_entropy(*logits))
        loss *= getattr(objective, "gan_scale", 1.0)
    expected = tape.gradient(loss, networks.discriminator.trainable_variables)
    assert_same(gradients_of(name, networks, batch)["discriminator"], [g.numpy() for g in expected])


def test_noise_scales_the_posterior_s_own_deviation() -> None:
    mean, log_var = tf.constant([[1.0, 2.0]]), tf.constant([[0.0, 2 * np.log(3.0)]], tf.float32)
    epsilon = tf.constant([[0.5, -1.0]])
    for noise, expected in ((1.0, [1.5, -1.0]), (0.5, [1.25, 0.5]), (0.0, [1.0, 2.0])):
        found = sample_posterior(mean, log_var, epsilon, noise).numpy()
        np.testing.assert_allclose(found, [expected], rtol=1e-6)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_noise_zero_forgets_epsilon(name: str, networks: Networks, batch: Batch) -> None:
    other = dataclasses.replace(batch, epsilon=batch.epsilon * -3.0)
    quiet = make_objective(name, {"noise": 0.0})
    first, second = quiet(networks, batch), quiet(networks, other)
    np.testing.assert_array_equal(first.reconstruction.numpy(), second.reconstruction.numpy())
    loud = make_objective(name)(networks, other).reconstruction.numpy()
    assert np.abs(loud - first.reconstruction.numpy()).max() > 1e-3


@pytest.mark.parametrize("name", OBJECTIVES)
def test_registry_names_and_players(name: str) -> None:
    kind = REGISTRY[name]
    assert kind.name == name
    both, three = ("encoder", "decoder"), ("encoder", "decoder", "discriminator")
    assert make_objective(name).players == (both if name in ("dream", "vae") else three)
    assert with_all_players(name).players == (both if name == "vae" else three)
    assert dataclasses.is_dataclass(kind) and make_objective(name) == kind()


def test_unknown_objective_and_unknown_weight_name_what_there_is() -> None:
    with pytest.raises(UsageError, match=r"--objective=gan: choose one of .*vae_gan"):
        make_objective("gan")
    with pytest.raises(UsageError, match=r"vae has no weight --gamma; it has kl_weight, noise"):
        make_objective("vae", {"gamma": 2.0})


def test_dream_has_no_adversary_unless_it_is_asked_for(batch: Batch) -> None:
    """Then no discriminator is needed, and its loss is what is left without the adversary."""
    outcome = make_objective("dream")(tiny_networks("vae"), batch)
    assert set(outcome.losses) == {"encoder", "decoder"}
    assert set(outcome.terms) == {"pixel", "bands", "kl"}
    for weight in ("adversarial_weight", "feature_weight"):
        assert make_objective("dream", {weight: 0.1}).players[2:] == ("discriminator",)


def test_dream_leaves_the_discriminator_alone_until_it_starts(batch: Batch) -> None:
    networks = networks_with("patch")
    early = dataclasses.replace(batch, progress=tf.constant(0.3))
    found = gradients_of("dream", networks, early, {"adversarial_start": 0.5})
    assert all((gradient == 0).all() for gradient in found["discriminator"])
    without: Any = make_objective("dream")
    alone = gradients_of("dream", networks, batch, dataclasses.asdict(without))
    assert_same(found["decoder"], alone["decoder"])
    assert_other(gradients_of("dream", networks, batch, {"adversarial_weight": 1.0})["decoder"],
                 alone["decoder"])  # fmt: skip


def test_dream_s_adversary_comes_in_gradually(batch: Batch) -> None:
    """Half way up the ramp its term weighs half."""
    networks = networks_with("patch")
    objective = make_objective(
        "dream",
        {"adversarial_start": 0.5, "adversarial_ramp": 0.2, "adversarial_weight": 3.0},
    )
    found = {
        progress: objective(networks, dataclasses.replace(batch, progress=tf.constant(progress)))
        for progress in (0.5, 0.6, 0.7, 1.0)
    }
    none, half, whole, later = (o.losses["decoder"].numpy() for o in found.values())
    adversarial = 3.0 * found[1.0].terms["adversarial"].numpy()
    np.testing.assert_allclose(half - none, 0.5 * adversarial, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(whole - none, adversarial, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(later, whole, rtol=1e-6)


def test_dream_s_kl_weight_warms_up(batch: Batch) -> None:
    networks = networks_with("patch")
    weights = {"kl_weight": 200.0, "kl_warmup": 0.5}
    objective = make_objective("dream", weights)
    outcomes = [
        objective(networks, dataclasses.replace(batch, progress=tf.constant(progress)))
        for progress in (0.0, 0.25, 0.5)
    ]
    none, half, whole = (outcome.losses["encoder"].numpy() for outcome in outcomes)
    kl = outcomes[0].terms["kl"].numpy()  # over 200 numbers, so a weight of 200 makes it one
    np.testing.assert_allclose(half - none, 0.5 * kl, rtol=1e-3)
    np.testing.assert_allclose(whole - none, kl, rtol=1e-3)
