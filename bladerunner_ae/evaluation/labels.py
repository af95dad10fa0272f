from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bladerunner_ae.errors import InputError
from bladerunner_ae.runs.films import FilmUse, conversion_differences, films_of, same_moments
from bladerunner_ae.runs.training_set import in_shots
from tfrecords.card import FilmCard

SEEN, HELD_OUT, UNSEEN = "seen", "held out", "unseen film"


def frame_labels(card: FilmCard, model_card: Mapping[str, Any]) -> NDArray[np.str_]:
    """Return "seen", "held out" or "unseen film" for each frame, str [frames].

    InputError if the model (its card; {} for one of another program) has seen the film, but partly
    other frames of it, so that it cannot be told which of these it has seen.
    """
    film = _seen_film(card, model_card)
    same = film is not None and same_moments(FilmUse.of(card), film)
    if film is None or same is False:
        return np.full(card.frames, UNSEEN)
    if same is None:
        raise InputError(
            f"{card.source['name']}: was converted otherwise than for the model's training "
            f"({_differences(card, film)}), so that it is unknown which frames it has seen; give "
            "the records it was trained on, or convert the film as they were"
        )
    return np.where(in_shots(card.frames, film.held_out), HELD_OUT, SEEN)


def conversion_note(card: FilmCard, model_card: Mapping[str, Any]) -> str:
    """Return a note if a film's frames are those of training but look different, else ""."""
    film = _seen_film(card, model_card)
    if film is None or not same_moments(FilmUse.of(card), film):
        return ""
    different = _differences(card, film)
    name = card.source["name"]
    return different and f"{name} was converted otherwise than for the training: {different}"


def _seen_film(card: FilmCard, model_card: Mapping[str, Any]) -> FilmUse | None:
    return next((f for f in films_of(model_card) if f.film_id == card.film_id), None)


def _differences(card: FilmCard, film: FilmUse) -> str:
    return ", ".join(conversion_differences(FilmUse.of(card), film))
