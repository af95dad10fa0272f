"""Which frames a model was trained on."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tfrecords.card import FilmCard

SEEN, HELD_OUT, UNSEEN = "seen", "held out", "unseen film"


def frame_labels(card: FilmCard, model_card: Mapping[str, Any]) -> NDArray[np.str_]:
    """Returns for each frame "seen", "held out" or "unseen film", as str [frames].

    Args:
        card: of the film.
        model_card: of the model (`model_card.load_model_card`); empty for one that is not ours.
    """
    from bladerunner_ae.data import in_shots
    from bladerunner_ae.run_folder import films_of

    for film in films_of(model_card):
        if (film["film_id"], film["frames"]) == (card.film_id, card.frames):
            return np.where(in_shots(card.frames, film["held_out"]), HELD_OUT, SEEN)
    return np.full(card.frames, UNSEEN)
