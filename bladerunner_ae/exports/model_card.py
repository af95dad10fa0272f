"""Origin of an exported model: a card for programs, and a README for people.

assets.extra/model_card.json holds the run's config, its step, its films' names and digests, the
signatures, and the last figures that training measured; assets.extra/README.md says the same.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from bladerunner_ae.errors import InputError
from bladerunner_ae.runs.films import FilmUse, films_of
from tfrecords import storage
from tfrecords.card import FilmCard
from tfrecords.storage import Location

SCHEMA_VERSION = 1
"""Of the card and the export around it; this code reads up to it. The first cards have none."""

FILE_NAME = "assets.extra/model_card.json"
README_NAME = "assets.extra/README.md"


def make_model_card(
    config: Mapping[str, Any],
    step: int,
    cards: Sequence[FilmCard] = (),
    metrics: Mapping[str, float] | None = None,
    trained_steps: int | None = None,
) -> dict[str, Any]:
    """Return the card that all models of an export share, as JSON values.

    `config` is `RunConfig.to_json`, `step` of the weights, `cards` of the films whose records are
    available, `metrics` the figures that training measured then. `trained_steps` is how far the run
    had come, where these weights are earlier ones.
    """
    return {
        "schema_version": SCHEMA_VERSION,
        "step": step,
        **config,
        "trained_steps": step if trained_steps is None else trained_steps,
        "averaged_weights": bool(config.get("train", {}).get("ema")),
        "film_cards": [_film(card) for card in cards],
        "metrics": dict(metrics or {}),
    }


def _film(card: FilmCard) -> dict[str, Any]:
    return {
        "name": card.source["name"],
        "film_id": card.film_id,
        "sha256": card.source.get("sha256"),
        "frames": card.frames,
        "frame_rate": str(card.frame_rate),
        "raster": [card.height, card.width],
        "shots": len(card.shot_starts),
        "tool_version": card.tool_version,
    }


def describe_signatures(signatures: Sequence[Any]) -> dict[str, Any]:
    """Return signature -> {"inputs", "outputs": name -> [dtype, shape], "doc"}."""

    def listed(specs: Mapping[str, Any]) -> dict[str, Any]:
        return {name: [spec.dtype.name, list(spec.shape)] for name, spec in specs.items()}

    return {
        name: {
            "inputs": listed(signature.inputs),
            "outputs": listed(signature.outputs),
            "doc": signature.doc,
        }
        for signature in signatures
        for name in signature.names
    }


def load_model_card(version: Location) -> dict[str, Any]:
    """Read the card in a SavedModel's folder, {} without one; InputError if damaged or newer."""
    path = version / FILE_NAME
    if not storage.is_file(path):
        return {}
    try:
        card = json.loads(storage.read_text(path))
        if not isinstance(card, dict):
            raise ValueError("it is not a JSON object")
        schema = card.get("schema_version", 0)
        if not isinstance(schema, int) or schema > SCHEMA_VERSION:
            raise InputError(
                f"{version}: was exported with schema version {schema} but this program reads up "
                f"to {SCHEMA_VERSION}; update bladerunner_ae"
            )
        if "film" in card:
            raise InputError(
                f"{version}: was exported by an early version of bladerunner_ae, whose models this "
                "one does not read; use that version, or train again"
            )
        films_of(card)
        if not isinstance(card.get("model", {}), dict) or not isinstance(card.get("step", 0), int):
            raise ValueError("its model or step is something else")
    # JSON and Unicode errors are ValueErrors too.
    except (ValueError, KeyError, TypeError, ArithmeticError, RecursionError) as error:
        raise InputError(f"{path}: damaged ({error}); export the run again") from error
    return card


def describe(card: Mapping[str, Any], name: str) -> str:
    """Return the card of one model, with its "signatures", as Markdown for people."""
    films = films_of(card)
    titles = ", ".join(film.name for film in films) or "no film"
    weights = "averages of the weights over the steps" if card["averaged_weights"] else "weights"
    model = card.get("model", {})
    lines = [
        f"# {name.capitalize()} that has watched {titles}",
        "",
        f"The {name} of a variational autoencoder that was trained on the frames of {titles} and "
        "has seen nothing else. It draws pictures from memory; it is not a general image model.",
        "",
        f"* Pictures of {model.get('height')}x{model.get('width')} pixels (height x width), RGB; "
        f"{model.get('latent_size')} latent numbers a picture",
        f"* Preset {card.get('preset')}, objective {card.get('objective')}, {weights} of step "
        f"{describe_step(card)}, bladerunner_ae {card.get('tool_version')}",
        *(f"* {_film_line(film, card['film_cards'])}" for film in films),
        *(f"* {metric}: {value:.4g}" for metric, value in sorted(card["metrics"].items())),
        "",
        "| signature | in | out | |",
        "|---|---|---|---|",
        *(_signature_line(*item) for item in card["signatures"].items()),
        "",
        "`?` is the batch, any number. `model_card.json` next to this file holds the same for "
        "programs. Consider the rights in a film before you show what a network made of it.",
    ]
    return "\n".join(lines) + "\n"


def describe_step(card: Mapping[str, Any]) -> str:
    """Return the step that a model's weights are of, and of how many, if it is not the last."""
    step, steps = card.get("step"), card.get("trained_steps")
    return f"{step}" if steps in (None, step) else f"{step}, the best measured of {steps}"


def _film_line(film: FilmUse, cards: Sequence[Mapping[str, Any]]) -> str:
    digest = next(
        (card["sha256"] for card in cards if card["film_id"] == film.film_id), film.film_id
    )
    return f"{film.name}: {film.frames} frames, {film.held_out_frames} kept from training, {digest}"


def _signature_line(name: str, signature: Mapping[str, Any]) -> str:
    def listed(specs: Mapping[str, Any]) -> str:
        return ", ".join(
            f"{key} {dtype} [{', '.join('?' if n is None else str(n) for n in shape)}]"
            for key, (dtype, shape) in specs.items()
        )

    ends = f"{listed(signature['inputs'])} | {listed(signature['outputs'])}"
    return f"| {name} | {ends} | {signature['doc']} |"
