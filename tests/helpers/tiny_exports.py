"""An export of networks so small that it is made in seconds, with all that a real one has."""

from pathlib import Path

from bladerunner_ae.exports import film_latents, saved_models
from bladerunner_ae.exports.model_card import make_model_card
from bladerunner_ae.model.networks import Networks
from bladerunner_ae.training.fit_linear_path import initialise_linear_path
from tests.helpers.tiny_training import film_images, tiny_model, tiny_networks, tiny_train
from tfrecords.card import load_card
from tfrecords.mixture import FilmPart

LATENT = 20
HELD_OUT = [[40, 48]]
SMALL = {"filters": (8, 16), "latent_size": LATENT, "bottleneck_channels": 4}


def small_networks() -> Networks:
    """Return untrained networks that know the synthetic film by its principal components."""
    networks = tiny_networks("vae", **SMALL)
    initialise_linear_path(networks, tiny_model(**SMALL), film_images(24))
    return networks


def run_values(records: Path) -> dict[str, object]:
    """Return what the config of a run on these records would say, as JSON values."""
    card = load_card(records)
    film = {"name": card.source["name"], "film_id": card.film_id, "frames": card.frames}
    model, train = tiny_model(**SMALL), tiny_train()
    return {
        "tool_version": "0.0", "preset": "preview", "objective": "vae",
        "model": {"height": model.height, "width": model.width, "latent_size": LATENT},
        "train": {"steps": train.steps, "ema": train.ema},
        "films": [{**film, "weight": 1.0, "held_out": HELD_OUT}],
    }  # fmt: skip


def write_export(folder: Path, records: Path, networks: Networks) -> Path:
    """Write the three models of `small_networks` into RUN/export, with the latents of the film.

    Records are 48 frames of 24x32; frames 40 to 47 count as held out.
    """
    card = load_card(records)
    keep = [not 40 <= frame < 48 for frame in range(card.frames)]
    film = film_latents.collect_film_latents(
        networks.encoder,
        [FilmPart(records, card, keep)],  # type: ignore[arg-type]
    )
    model_card = make_model_card(run_values(records), 4, [card], {"probe/psnr_seen": 21.5})
    saved_models.export_models(networks, model_card, folder, film)
    return folder
