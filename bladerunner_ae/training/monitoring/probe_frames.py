"""Frames worth watching: at rest, in fast motion, the darkest, the brightest."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bladerunner_ae.pictures.contact_sheet import spread_frames
from tfrecords.card import FilmCard
from tfrecords.frames import read_images
from tfrecords.mixture import FilmPart

_LOOKED_AT = 48
# Of a shard no more is read than up to here, so that a long film is looked at quickly too.
_DEEPEST = 256
_FLAT_VARIANCE = 25.0


@dataclass(frozen=True)
class Chosen:
    """Frame numbers, ascending, and what each was chosen for; empty for those from all over."""

    frames: list[int]
    roles: list[str]


def choose_probes(part: FilmPart, count: int) -> Chosen:
    """Chooses up to `count` frames of a film; the same ones every time.

    Up to half of them for what they show, as far as the frames looked at have it, the others
    spread over the film.
    """
    card = part.card
    notable = _notable(part, count // 2) if card.frames > count else {}
    chosen = dict(notable)
    for wanted in (count - len(notable), count):  # the second time only if some coincide
        for frame in spread_frames(card.shots(), card.frames, wanted):
            if len(chosen) < count:
                chosen.setdefault(frame, "")
    frames = sorted(chosen)
    return Chosen(frames, [chosen[frame] for frame in frames])


def _notable(part: FilmPart, count: int) -> dict[int, str]:
    """Frame -> what it shows, `count` at most."""
    firsts = _candidates(part.card)
    if not count or not firsts:
        return {}
    wanted = sorted({frame for first in firsts for frame in (first, first + 1)})
    place = {frame: number for number, frame in enumerate(wanted)}
    images = read_images(part.directory, part.card, wanted).astype(np.float32)
    pictures = images[[place[first] for first in firsts]]
    motion = np.abs(images[[place[first + 1] for first in firsts]] - pictures).mean((1, 2, 3))
    light = pictures.mean((1, 2, 3))
    flat = pictures.reshape(len(pictures), -1).var(axis=1) < _FLAT_VARIANCE
    orders = {
        "fastest": np.argsort(-motion, kind="stable"),
        "at rest": np.lexsort((motion, flat)),  # what is flat is at rest too, and shows nothing
        "darkest": np.argsort(light, kind="stable"),
        "brightest": np.argsort(-light, kind="stable"),
    }
    return _first_free(firsts, dict(list(orders.items())[:count]))


def _first_free(firsts: list[int], orders: dict[str, NDArray[np.int64]]) -> dict[int, str]:
    found: dict[int, str] = {}
    for role, order in orders.items():
        free = [firsts[place] for place in order if firsts[place] not in found]
        if free:
            found[free[0]] = role
    return found


def _candidates(card: FilmCard) -> list[int]:
    """Frames all over the film whose next frame is of the same shot."""
    found = set()
    for frame in spread_frames(card.shots(), card.frames, _LOOKED_AT):
        shard = next(s for s in card.shards if s.first_frame <= frame < s.first_frame + s.frames)
        found.add(shard.first_frame + min(frame - shard.first_frame, _DEEPEST))
    starts = set(card.shot_starts)
    return sorted(frame for frame in found if frame + 1 < card.frames and frame + 1 not in starts)
