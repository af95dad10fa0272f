import dataclasses
import json
import sys
from collections.abc import Sequence

from bladerunner_ae.errors import InputError
from bladerunner_ae.exports import saved_models
from bladerunner_ae.exports.film_latents import FilmLatents, collect_film_latents
from bladerunner_ae.exports.model_card import load_model_card, make_model_card
from bladerunner_ae.model.networks import Networks
from bladerunner_ae.runs.films import FilmUse, conversion_differences
from bladerunner_ae.runs.run_config import RunConfig
from bladerunner_ae.runs.training_set import film_parts
from tfrecords import storage
from tfrecords.card import check_shards, load_card
from tfrecords.mixture import FilmPart
from tfrecords.record_errors import RecordsError
from tfrecords.storage import Location

_METRICS = ("probe/", "evaluate/", "score/psnr")


def export(
    networks: Networks,
    step: int,
    config: RunConfig,
    run: Location,
    records: Sequence[storage.AnyPath] = (),
    trained_steps: int | None = None,
) -> list[Location]:
    """Write the SavedModels of a trained run to RUN/export as a new version; return their folders.

    `networks` are the averages of the weights if the run keeps them; `step` is theirs,
    `trained_steps` how far the run has come, if that is further; `records` those of its films
    that are available, whose latents are exported too.

    Raises:
        InputError: records of a film that the run has not seen, or of another size.
        RecordsError: records are missing or damaged.
    """
    found = _encode_films(networks, config, records)
    return _write(networks, step, config, run, *found, trained_steps)


def export_trained(
    networks: Networks,
    step: int,
    config: RunConfig,
    run: Location,
    records: Sequence[storage.AnyPath],
    new: bool = False,
    trained_steps: int | None = None,
) -> list[Location]:
    """Export as `export` does, at the end of a training, which must not be lost.

    If the newest versions are of this step, they stay, unless the weights are `new`: a run that has
    lost its checkpoints comes to the same step again. Records that cannot be read any more are
    reported, and the models are exported without the film's latents.
    """
    newest = saved_models.newest_versions(run / "export")
    steps = {load_model_card(path).get("step") for path in newest}
    if not new and len(newest) == len(saved_models.MODELS) and steps == {step}:
        return newest
    try:
        found = _encode_films(networks, config, records)
    except (InputError, RecordsError) as error:
        print(f"exported without the film's latents: {error}", file=sys.stderr)
        found = [], None
    return _write(networks, step, config, run, *found, trained_steps)


def _encode_films(
    networks: Networks, config: RunConfig, records: Sequence[storage.AnyPath]
) -> tuple[list[FilmPart], FilmLatents | None]:
    places, parts = _find_films(config, records)
    if not parts:
        return parts, None
    encoder, code_numbers = networks.encoder, networks.code_numbers
    return parts, collect_film_latents(encoder, parts, places, code_numbers)


def _write(
    networks: Networks,
    step: int,
    config: RunConfig,
    run: Location,
    parts: Sequence[FilmPart],
    film: FilmLatents | None,
    trained_steps: int | None,
) -> list[Location]:
    cards = [part.card for part in parts]
    card = make_model_card(config.to_json(), step, cards, _last_metrics(run, step), trained_steps)
    return saved_models.export_models(networks, card, run / "export", film)


def _find_films(
    config: RunConfig, records: Sequence[storage.AnyPath]
) -> tuple[list[int], list[FilmPart]]:
    """Return the run's films whose records are given, and the index of each in `config.films`."""
    known = [film.film_id for film in config.films]
    found: dict[int, storage.AnyPath] = {}
    for directory in records:
        card = load_card(directory)
        if card.film_id not in known:
            names = ", ".join(f"{film.name} ({film.film_id})" for film in config.films)
            raise InputError(
                f"{directory}: holds {card.source['name']} ({card.film_id}), but the run was "
                f"trained on {names}"
            )
        place = known.index(card.film_id)
        height, width = config.model.height, config.model.width
        frames = config.films[place].frames
        if (card.height, card.width, card.frames) != (height, width, frames):
            raise InputError(
                f"{directory}: holds {card.frames} frames of {card.height}x{card.width}, but the "
                f"run was trained on {frames} of {height}x{width}; give the records it was trained "
                "on"
            )
        if different := conversion_differences(FilmUse.of(card), config.films[place]):
            raise InputError(
                f"{directory}: {card.source['name']} was converted otherwise than for the run "
                f"({', '.join(different)}); give the records it was trained on"
            )
        check_shards(directory, card)
        found[place] = directory
    places = sorted(found)
    chosen = dataclasses.replace(config, films=tuple(config.films[place] for place in places))
    return places, film_parts(chosen, [found[place] for place in places])


def _last_metrics(run: Location, step: int) -> dict[str, float]:
    """Return the figures that training measured at this step."""
    path = run / "metrics.jsonl"
    text = storage.read_text(path, "replace") if storage.is_file(path) else ""
    found: dict[str, float] = {}
    for line in text.splitlines():
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):  # half a line of a process that was killed
            continue
        if isinstance(values, dict) and values.get("step") == step:
            found.update(
                (name, value)
                for name, value in values.items()
                if name.startswith(_METRICS) and isinstance(value, float)
            )
    return found
