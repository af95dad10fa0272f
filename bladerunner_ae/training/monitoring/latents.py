"""Latent space during training: distributions, samples, verdicts of the discriminator."""

import numpy as np

from bladerunner_ae.evaluation import prior_samples
from bladerunner_ae.evaluation.sheets import SHOWN, prior_sheet, ways, ways_sheet
from bladerunner_ae.model import pixels
from bladerunner_ae.model.networks import Networks
from bladerunner_ae.objectives import losses
from bladerunner_ae.training.monitoring.event_files import Summaries
from bladerunner_ae.training.monitoring.picture_queue import PictureQueue
from bladerunner_ae.training.monitoring.probes import Dream, Probes


def show_latents(
    summaries: Summaries,
    queue: PictureQueue,
    networks: Networks,
    probes: Probes,
    dream: Dream,
    step: int,
) -> None:
    """Write distributions of the probe frames' latents, paths between frames, prior samples.

    The samples are dreams of the same draws from N(0, 1) every time.
    """
    summaries.histogram("latent/mean", dream.latents, step)
    summaries.histogram("latent/log_var", dream.log_var, step)
    model = networks.autoencoder
    drawn = prior_samples.normal_latents(model, SHOWN).reshape(SHOWN, -1)
    # One pass for all: a small one leaves a device idle.
    pictures = model.decode(np.concatenate([drawn, ways(dream.latents)]))
    samples, on_ways = prior_samples.Drawn(pictures[:SHOWN]), pictures[SHOWN:]
    queue.add("samples_of_prior", lambda: prior_sheet(samples), step)
    queue.add(
        "ways_between_frames", lambda: ways_sheet(probes.originals, probes.names, on_ways), step
    )


def judged(networks: Networks, probes: Probes, dream: Dream) -> dict[str, float]:
    """Return mean probabilities by the discriminator, if there is one, that frames are the film's.

    Of the probe frames, their dreams and prior samples: "discriminator/p_real", "/p_reconstruction"
    and "/p_prior".
    """
    if networks.discriminator is None:
        return {}
    drawn = prior_samples.draw_normal(networks.autoencoder, len(probes.originals)).normal
    kinds = {"real": probes.originals, "reconstruction": dream.pictures, "prior": drawn}
    logits, _ = networks.discriminator(
        pixels.to_float(np.concatenate(list(kinds.values()))), training=False
    )
    means = np.split(losses.mean_probability(logits).numpy(), len(kinds))
    return {
        f"discriminator/p_{kind}": float(np.mean(own))
        for kind, own in zip(kinds, means, strict=True)
    }
