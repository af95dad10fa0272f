"""The choice of frames to measure, and how many each of them stands for.

A longer film than the limit is measured on a sample, always the same: **pairs** of neighbours in
every shot, more of them in longer ones, because flicker and motion are seen between neighbours; and
a few **runs** of consecutive frames, evenly spread over the film, each within its shot, for VMAF.
Of whatever is measured, a **few** hundred frames of each group, evenly spread over its time, are
for what takes longer still.

A measured frame weighs as much as the frames of its shot to which it is the nearest, and likewise
a change from frame to frame; so figures estimate those of all frames, wherever the sample is
denser. If there are more shots than room, the chosen ones stand for the others too. If all frames
are measured, every weight is 1.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bladerunner_ae.pictures.spread import spread
from tfrecords.card import FilmCard

MAX_FRAMES = 5_000
"""Most frames of a film that are measured by default."""

FEW_FRAMES = 256
"""Most frames of a group on which what takes long is measured, evenly spread over its time."""

RUN_FRAMES = 48
"""Most frames in a run."""

_RUNS_SHARE = 5  # one frame in so many is in a run
_FEWEST_RUNS = 5  # shorter runs rather than fewer
_GROUP_SHARE = 5  # each group of frames has at least one run in so many

Stretch = tuple[int, int]
Weights = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Choice:
    """Choice of frames of one film.

    Attributes:
        frames: bool [frames], measured or not.
        follows: bool [frames], whether a frame and the one before it are, and are of one part.
        runs: (first, after the last) of consecutive frames for VMAF; the film if all are chosen.
        weights: float32 [frames], how many frames each stands for; 0 if it is not measured.
        change_weights: as `weights`, of the change that leads to a frame; 0 if it does not follow.
        run_weights: as `weights`, for what is measured on the runs alone.
        few_weights: as `weights`, for what is measured on some hundred frames of each group alone.
    """

    frames: NDArray[np.bool_]
    follows: NDArray[np.bool_]
    runs: Sequence[Stretch]
    weights: Weights
    change_weights: Weights
    run_weights: Weights
    few_weights: Weights

    @property
    def complete(self) -> bool:
        return bool(self.frames.all())


def choose(parts: Sequence[Stretch], groups: Sequence[str], frames: int, at_most: int) -> Choice:
    """Choose at most `at_most` (0: all) of a film's frames to measure.

    Every part gets a pair, and more in proportion to its length; without room for that a frame, and
    without room for that either an even choice of each group's parts gets pairs. Parts are (first
    frame, frame after the last) of shots, divided where a group ("seen") ends; they cover the film
    in its order, and each group gets some runs.
    """
    if not 0 < at_most < frames:
        return choose_all(parts, groups, frames)
    runs, run_weights = _choose_runs(parts, groups, frames, at_most)
    chosen = run_weights > 0
    left = at_most - int(chosen.sum())
    has_run = [bool(chosen[start:end].any()) for start, end in parts]
    if left < 2 * len(parts):  # those with a run need no more
        places = [place for place, own in enumerate(has_run) if not own]
    else:
        places = list(range(len(parts)))
    for place, share in _frames_of_parts(parts, groups, places, left):
        start, end = parts[place]
        chosen[start + _spread(end - start, share)] = True
    _fill(chosen, parts, at_most)
    follows = _follows(chosen, parts)
    changing = [(start + 1, end) for start, end in parts]
    weights = _stand_for(_nearest(chosen, parts), parts, groups, has_run)
    return Choice(
        chosen, follows, runs, weights,
        _stand_for(_nearest(follows, changing), changing, groups, has_run), run_weights,
        _few(weights, parts, groups, FEW_FRAMES),
    )  # fmt: skip


def choose_all(
    parts: Sequence[Stretch], groups: Sequence[str], frames: int, few: int = FEW_FRAMES
) -> Choice:
    """Choose every frame of a film, and `few` of each group; `parts`, `groups` as for `choose`."""
    chosen, ones = np.ones(frames, bool), np.ones(frames, np.float32)
    follows = _follows(chosen, parts)
    return Choice(
        chosen, follows, [(0, frames)], ones, follows.astype(np.float32), ones,
        _few(ones, parts, groups, few),
    )  # fmt: skip


def spread_pairs(frames: int, pairs: int) -> NDArray[np.int64]:
    """Choose pairs of neighbours below `frames`, evenly spread; fewer where they meet."""
    second = np.array(spread(frames, pairs), np.int64)
    return np.unique(np.concatenate([np.maximum(second - 1, 0), second]))


def spread_evenly(weights: Weights, count: int) -> NDArray[np.int64]:
    """Choose `count` measured frames evenly over the film, however dense the sample is.

    Returns ascending indices of `weights`, how many frames each stands for, in film order; fewer
    than `count` if some would be the same, or all.
    """
    if len(weights) <= count:
        return np.arange(len(weights))
    return np.unique(_marked(weights, count))


def _marked(weights: Weights, count: int) -> NDArray[np.intp]:
    """Return the frame in which each of `count` marks falls, equally spaced over the film."""
    ends = np.cumsum(weights, dtype=np.float64)
    return np.searchsorted(ends[:-1], spread(round(ends[-1]), count), side="right")


def _few(
    weights: Weights, parts: Sequence[Stretch], groups: Sequence[str], at_most: int
) -> Weights:
    """Return how many frames each of a few measured ones stands for: of equal shares of a group."""
    found = np.zeros_like(weights)
    for group in dict.fromkeys(groups):
        own = np.concatenate(
            [np.arange(*part) for part, name in zip(parts, groups, strict=True) if name == group]
        )
        own = own[weights[own] > 0]
        if len(own) <= at_most:
            found[own] = weights[own]
        else:
            total = weights[own].sum(dtype=np.float64)
            marks = np.bincount(_marked(weights[own], at_most), minlength=len(own))
            found[own] = marks * (total / at_most)
    return found


def describe_choice(
    choices: Iterable[tuple[Choice, FilmCard]], vmaf: bool = False, perceptual: bool = False
) -> str:
    """Describe how many frames of how many shots are measured, and on how many what takes long is.

    >>> describe_choice([(choice, card)], vmaf=True, perceptual=True)
    '4,978 of 172,800 frames in 250 shots, VMAF over 20 runs of 48 frames, perceptual distance over
    512 frames'
    """
    choices = list(choices)
    frames = sum(len(choice.frames) for choice, _ in choices)
    measured = sum(int(choice.frames.sum()) for choice, _ in choices)
    shots = sum(measured_shots(choice, card) for choice, card in choices)
    of = sum(len(card.shot_starts) for _, card in choices)
    amount = "all" if measured == frames else f"{measured:,} of"
    words = f"{amount} {_counted(frames, 'frame')} in "
    words += (f"{shots:,} of " if shots < of else "") + _counted(of, "shot")
    if vmaf:
        words += f", VMAF over {_runs(choices)}"
    if perceptual:
        few = sum(few_frames(choice) for choice, _ in choices)
        them = "all of them" if few == measured else _counted(few, "frame")
        words += f", perceptual distance over {them}"
    return words


def few_frames(choice: Choice) -> int:
    return int((choice.few_weights > 0).sum())


def _runs(choices: Sequence[tuple[Choice, FilmCard]]) -> str:
    if all(choice.complete for choice, _ in choices):
        return "all of them"
    lengths = [end - start for choice, _ in choices for start, end in choice.runs]
    each = "" if min(lengths) == max(lengths) else "up to "
    return f"{_counted(len(lengths), 'run')} of {each}{_counted(max(lengths), 'frame')}"


def _counted(number: int, thing: str) -> str:
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def measured_shots(choice: Choice, card: FilmCard) -> int:
    shot_of = np.searchsorted(card.shot_starts, np.flatnonzero(choice.frames), side="right")
    return len(np.unique(shot_of))


def _choose_runs(
    parts: Sequence[Stretch], groups: Sequence[str], frames: int, at_most: int
) -> tuple[list[Stretch], Weights]:
    """Return runs, evenly spread over each group's frames, and their weights.

    All runs of a group stand for equal shares of it, whatever their length.
    """
    room = max(at_most // _RUNS_SHARE, min(at_most, 2))
    length = min(RUN_FRAMES, max(room // _FEWEST_RUNS, min(room, 2)))
    count = room // length
    weights = np.zeros(frames, np.float32)
    runs: list[Stretch] = []
    members = {group: [p for p, g in zip(parts, groups, strict=True) if g == group]
               for group in dict.fromkeys(groups)}  # fmt: skip
    sizes = [sum(end - start for start, end in own) for own in members.values()]
    shares = _shares(sizes, count, max(count // _GROUP_SHARE, 1))
    for own, size, share in zip(members.values(), sizes, shares, strict=True):
        ends = np.cumsum([end - start for start, end in own])
        for middle in spread(size, share):
            place = int(np.searchsorted(ends, middle, side="right"))
            start, end = own[place]
            first = end - int(ends[place] - middle) - length // 2
            first = max(min(first, end - length), start)
            after = min(first + length, end)
            weights[first:after] += size / share / (after - first)
            runs.append((first, after))
    return _joined(runs), weights


def _joined(runs: Sequence[Stretch]) -> list[Stretch]:
    """Return runs in film order, overlapping ones as one."""
    found: list[Stretch] = []
    for start, end in sorted(runs):
        if found and start < found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((start, end))
    return found


def _frames_of_parts(
    parts: Sequence[Stretch], groups: Sequence[str], places: Sequence[int], room: int
) -> list[tuple[int, int]]:
    """Return (index of a part, frames to choose in it) of as many parts as there is room for."""
    count = len(places)
    if count <= room < 2 * count:
        paired = {places[i] for i in spread(count, room - count)}
        return [(place, 2 if place in paired else 1) for place in places]
    pairs = room // 2
    if pairs < count:
        places = _of_each_group(groups, places, pairs)
    lengths = [parts[place][1] - parts[place][0] for place in places]
    return [(place, 2 * share)
            for place, share in zip(places, _shares(lengths, pairs), strict=True)]  # fmt: skip


def _of_each_group(groups: Sequence[str], places: Sequence[int], room: int) -> list[int]:
    """Choose as many parts as there is room for, evenly spread over those of each group."""
    members = [[place for place in places if groups[place] == name]
               for name in dict.fromkeys(groups[place] for place in places)]  # fmt: skip
    shares = _shares([len(own) for own in members], room)
    return sorted(
        own[i] for own, share in zip(members, shares, strict=True)
        for i in spread(len(own), share)
    )  # fmt: skip


def _spread(frames: int, wanted: int) -> NDArray[np.int64]:
    """Choose at most so many frames: the middle one, or pairs."""
    if wanted == 1:
        return np.array([frames // 2])
    return spread_pairs(frames, min(wanted // 2, -(-frames // 2)))


def _fill(chosen: NDArray[np.bool_], parts: Sequence[Stretch], at_most: int) -> None:
    """Fill the room left by pairs that met with single frames, spread over the chosen parts."""
    inside = np.zeros_like(chosen)
    for start, end in parts:
        inside[start:end] = chosen[start:end].any()
    free = np.flatnonzero(inside & ~chosen)
    left = min(at_most - int(chosen.sum()), len(free))
    chosen[free[spread(len(free), left)]] = True


def _shares(sizes: Sequence[int], total: int, least: int = 1) -> list[int]:
    """Divide `total` in proportion to sizes, with at least `least` for each if possible."""
    if not sizes:
        return []
    least = min(least, total // len(sizes))
    exact = np.array(sizes) * ((total - least * len(sizes)) / sum(sizes))
    shares = np.floor(exact).astype(np.int64)
    left = total - least * len(sizes) - int(shares.sum())
    shares[np.argsort(shares - exact, kind="stable")[:left]] += 1
    return (shares + least).tolist()  # type: ignore[no-any-return]


def _follows(chosen: NDArray[np.bool_], parts: Sequence[Stretch]) -> NDArray[np.bool_]:
    follows = chosen & np.roll(chosen, 1)
    follows[[start for start, _ in parts]] = False
    return follows


def _nearest(chosen: NDArray[np.bool_], parts: Sequence[Stretch]) -> Weights:
    weights = np.zeros(len(chosen), np.float32)
    for start, end in parts:
        own = start + np.flatnonzero(chosen[start:end])
        if len(own):
            borders = np.concatenate([[start], (own[1:] + own[:-1] + 1) / 2, [end]])
            weights[own] = np.diff(borders)
    return weights


def _stand_for(
    weights: Weights, parts: Sequence[Stretch], groups: Sequence[str], certain: Sequence[bool]
) -> Weights:
    """Let the chosen parts of each group stand for those that are not measured.

    Parts with a run (`certain`) stand for themselves alone: long parts are likelier to have one, so
    they are no even choice.
    """
    for group in set(groups):
        own = [part for part, name, sure in zip(parts, groups, certain, strict=True)
               if name == group and not sure]  # fmt: skip
        measured = sum(float(weights[start:end].sum()) for start, end in own)
        total = sum(max(end - start, 0) for start, end in own)
        if 0 < measured < total:
            for start, end in own:
                weights[start:end] *= total / measured
    return weights
