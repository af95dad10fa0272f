"""Content of the page, gathered from a network and the records of some films."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from bladerunner_ae.evaluation.choice import choose, describe_choice, spread_evenly
from bladerunner_ae.evaluation.labels import conversion_note, frame_labels
from bladerunner_ae.evaluation.perceptual import missing_perceptual
from bladerunner_ae.memory_report.measure import FilmMemory, measure_film
from bladerunner_ae.memory_report.shot_memory import (
    FEW_PARTS,
    ShotMemory,
    film_parts,
    shot_memories,
)
from bladerunner_ae.memory_report.shown_frames import Pair, Shown, show_frames
from bladerunner_ae.model.autoencoder import Autoencoder
from tfrecords.card import check_shards, load_card
from tfrecords.storage import Location

STRIP_FRAMES = 280
"""Most frames, over all films, that can be viewed on the page."""

STRIP_CHARACTERS = 4_600_000
"""Most characters that they take."""

_STRIP_WIDTH, _GALLERY_WIDTH = 192, 320
_GALLERY = 6
_PICTURE_BYTES = 256 << 20


@dataclass(frozen=True, eq=False)
class Memory:
    """Memory of a network for films.

    Attributes:
        shots: of all films, in their order.
        cut: whether the films have so few shots that they were divided into stretches.
        strips: of each film, frames spread over it.
        best, worst: shots remembered best, best first, and worst, worst first, with pictures.
        missing_perceptual: the reason why there is no perceptual distance; empty if there is.
    """

    autoencoder: Autoencoder
    films: list[FilmMemory]
    shots: list[ShotMemory]
    cut: bool
    strips: list[Shown]
    best: list[tuple[ShotMemory, Pair]]
    worst: list[tuple[ShotMemory, Pair]]
    missing_perceptual: str


def gather(autoencoder: Autoencoder, records: Sequence[Location], max_frames: int) -> Memory:
    """Run films through a network, at most `max_frames` (0: all); announce the sample on stderr."""
    cards = [load_card(folder) for folder in records]
    for folder, card in zip(records, cards, strict=True):
        check_shards(folder, card)
        autoencoder.check_raster(folder, card)
    labels = [frame_labels(card, autoencoder.card) for card in cards]
    for note in filter(None, [conversion_note(card, autoencoder.card) for card in cards]):
        print(f"note: {note}", file=sys.stderr)
    parts = film_parts(cards, labels)
    total = sum(card.frames for card in cards)
    choices = []
    for place, card in enumerate(cards):
        own = [part for part in parts if part.film == place]
        share = max(max_frames * card.frames // total, 1) if max_frames else 0
        pieces, groups = [(part.start, part.end) for part in own], [part.label for part in own]
        choices.append(choose(pieces, groups, card.frames, share))
    chosen = list(zip(choices, cards, strict=True))
    missing = missing_perceptual()
    print(f"measuring {describe_choice(chosen, perceptual=not missing)}", file=sys.stderr)
    films = [
        measure_film(autoencoder, folder, card, choice, own, not missing)
        for folder, card, choice, own in zip(records, cards, choices, labels, strict=True)
    ]
    shots = shot_memories(films, parts)
    ranked = sorted(shots, key=lambda shot: -shot.psnr)
    shown = min(_GALLERY, len(ranked) // 2) or 1
    return Memory(
        autoencoder,
        films,
        shots,
        cut=len({(shot.part.film, shot.part.shot) for shot in shots}) < FEW_PARTS
        and len(shots) > len({(s.part.film, s.part.shot, s.part.label) for s in shots}),
        strips=_strips(autoencoder, records, films),
        best=_gallery(autoencoder, records, films, ranked[:shown]),
        worst=_gallery(
            autoencoder, records, films, ranked[::-1][:shown] if len(ranked) > 1 else []
        ),
        missing_perceptual=missing,
    )


def _strips(
    autoencoder: Autoencoder, records: Sequence[Location], films: Sequence[FilmMemory]
) -> list[Shown]:
    """Choose frames in proportion to the films' lengths, as many as the page has room for."""
    height, width = autoencoder.raster
    room = max(min(STRIP_FRAMES, _PICTURE_BYTES // (3 * height * width)), 1)
    total = sum(film.card.frames for film in films)
    strips = []
    for folder, film in zip(records, films, strict=True):
        count = max(room * film.card.frames // total, min(8, room))
        frames = film.frames[spread_evenly(film.weights, count)].tolist()
        strips.append(show_frames(autoencoder, folder, film.card, frames, _STRIP_WIDTH))
    characters = sum(pair.size for strip in strips for pair in strip.pairs.values())
    every = -(-characters // STRIP_CHARACTERS)
    if every > 1:
        for strip in strips:
            for frame in [f for i, f in enumerate(strip.pairs) if i % every]:
                del strip.pairs[frame]
                strip.latents.pop(frame, None)
                strip.thumbnails.pop(frame, None)
    return strips


def _gallery(
    autoencoder: Autoencoder,
    records: Sequence[Location],
    films: Sequence[FilmMemory],
    shots: Sequence[ShotMemory],
) -> list[tuple[ShotMemory, Pair]]:
    pairs: dict[tuple[int, int], Pair] = {}
    for place in sorted({shot.part.film for shot in shots}):
        frames = sorted({shot.shown for shot in shots if shot.part.film == place})
        shown = show_frames(autoencoder, records[place], films[place].card, frames, _GALLERY_WIDTH)
        pairs.update(((place, frame), pair) for frame, pair in shown.pairs.items())
    return [(shot, pairs[shot.part.film, shot.shown]) for shot in shots]
