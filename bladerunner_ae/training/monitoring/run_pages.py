"""TensorBoard's description of a run: settings, films, hyperparameters, graph of the networks."""

import json
from collections.abc import Mapping
from typing import Any

import tensorflow as tf
from tensorboard.plugins.hparams import api
from tensorboard.plugins.hparams.api_pb2 import STATUS_SUCCESS
from tensorboard.plugins.hparams.summary import session_end_pb

from bladerunner_ae.model.networks import Networks
from bladerunner_ae.runs.run_config import RunConfig
from bladerunner_ae.training.monitoring.event_files import Summaries

# TensorBoard shows five until told otherwise; runs without --evaluate_every have only the probes.
_METRICS = (
    ("probe/psnr_held_out", "PSNR, probes held out"), ("probe/psnr_seen", "PSNR, probes seen"),
    ("evaluate/psnr_held_out", "PSNR, held out"), ("evaluate/psnr_seen", "PSNR, seen"),
    ("evaluate/perceptual_held_out", "perceptual distance, held out"),
    ("evaluate/ssim_held_out", "SSIM, held out"), ("evaluate/ssim_seen", "SSIM, seen"),
    ("probe/ssim_seen", "SSIM, probes seen"), ("loss/decoder", "loss of the decoder"),
)  # fmt: skip
# How a run reports, not what it learns.
_NOT_SHOWN = ("checkpoint_every", "sample_every", "log_every", "evaluate_every", "watchdog",
              "keep", "length", "epochs", "minutes", "profile_steps")  # fmt: skip


def introduce(summaries: Summaries, config: RunConfig, networks: Networks, start: int) -> None:
    """Write all of it; the texts at the step that this start begins at."""
    summaries.text("run/config", _table(flat(config)), start)
    summaries.text("run/films", describe_films(config), start)
    summaries.text("run/networks", _networks(networks), start)
    values = hyperparameters(config)
    metrics = [api.Metric(tag, display_name=title) for tag, title in _METRICS]
    columns = api.hparams_config_pb([api.HParam(name) for name in values], metrics)
    summaries.raw(columns.SerializeToString(), 0)
    summaries.raw(api.hparams_pb(values).SerializeToString(), 0)
    summaries.graph(graph_of(networks))
    summaries.flush()


def finish(summaries: Summaries, step: int) -> None:
    """Mark the run as finished on the HParams page."""
    summaries.raw(session_end_pb(STATUS_SUCCESS).SerializeToString(), step)


def hyperparameters(config: RunConfig) -> dict[str, bool | int | float | str]:
    """Return what decides a run's weights, by name."""
    values = {
        name: value
        for name, value in flat(config).items()
        if name.split("/")[-1] not in _NOT_SHOWN and not name.startswith("films/")
    }
    return {
        name: value if isinstance(value, bool | int | float | str) else json.dumps(value)
        for name, value in values.items()
    }


def flat(config: RunConfig) -> dict[str, Any]:
    """Return a configuration as one level of names: {"train/steps": 3000, ...}."""
    found: dict[str, Any] = {}
    for name, value in config.to_json().items():
        if isinstance(value, Mapping):
            found.update((f"{name}/{key}", inner) for key, inner in value.items())
        elif name == "films":
            found["films/names"] = ", ".join(film["name"] for film in value)
        else:
            found[name] = value
    return found


def describe_films(config: RunConfig) -> str:
    """Return a Markdown table of the films and of what is kept from training."""
    lines = ["| film | digest | frames | held out | weight |", "|---|---|---|---|---|"]
    for film in config.films:
        cells = (film.name, film.film_id, film.frames, film.held_out_frames, film.weight)
        lines.append(f"| {' | '.join(_cell(value) for value in cells)} |")
    return "\n".join(lines)


def graph_of(networks: Networks) -> tf.Graph:
    """Return the graph from a picture to its dream: encoder, posterior mean, decoder."""
    specification = tf.TensorSpec(networks.encoder.input_shape, tf.float32, name="picture")

    @tf.function(input_signature=[specification], jit_compile=False)  # type: ignore[untyped-decorator]
    def dream(picture: tf.Tensor) -> tf.Tensor:
        mean, _ = networks.encoder(picture, training=False)
        return networks.decoder(mean, training=False)

    return dream.get_concrete_function().graph


def _networks(networks: Networks) -> str:
    rows = [
        f"| {name} | {network.count_params():,} | {network.input_shape[1:]} |"
        for name, network in networks.players().items()
    ]
    return "\n".join(["| network | weights | takes |", "|---|---|---|", *rows])


def _table(values: Mapping[str, Any]) -> str:
    rows = [f"| {_cell(name)} | {_cell(value)} |" for name, value in values.items()]
    return "\n".join(["| setting | value |", "|---|---|", *rows])


def _cell(value: Any) -> str:
    """Return text without the table's own marks."""
    text = json.dumps(value) if isinstance(value, list | dict | bool) else str(value)
    return text.replace("|", "\\|").replace("\n", " ")
