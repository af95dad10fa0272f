"""The plan of a film: scenes of one to four set-ups that alternate, in shots.

A third of the scenes show again what an earlier one showed, in another light; every shot has a
camera move of its own. A shot of a clip goes on where the last one of that clip ended; when the
takes are used up they begin again, and the picture is mirrored every other time.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from benchmarks.films.camera_moves import (
    Camera,
    Flight,
    Light,
    Random,
    choose,
    choose_camera,
    choose_flight,
    choose_light,
    vary_light,
)

SHORTEST, LONGEST = 24, 192
"""Frames of a shot."""

_MEDIAN_SHOT = 82.0
_SPREAD = 0.42  # of the logarithm of the frames
_DISSOLVE, _FADE = 12, 10
_SIZES = (("1", 0.16), ("2", 0.36), ("3", 0.28), ("4", 0.2))
_ROUNDS = {1: (1, 2), 2: (1, 3), 3: (1, 2), 4: (1, 2)}
_CLIP_ROUNDS = {1: (2, 4), 2: (3, 5), 3: (2, 4), 4: (2, 4)}  # while there are unseen frames
_CLIPS = 0.45  # of the frames
_KEEN = 0.85  # on the kind of which there is too little
_ENDS = (("cut", 0.72), ("dissolve", 0.18), ("fade", 0.1))
_RETURN = 0.37
_FIRST_RETURN = 6  # scenes
_APART = 4  # scenes between a place and its return
_FLIGHT = 0.35


@dataclass(frozen=True)
class Take:
    """A stretch of a clip without a cut: its first frame and its length."""

    first: int
    frames: int


@dataclass(frozen=True)
class SetUp:
    """One camera position: a photograph, or takes of a clip. `group` is where it was shot."""

    name: str
    group: str
    width: int
    height: int
    takes: tuple[Take, ...] = ()

    @property
    def is_clip(self) -> bool:
        return bool(self.takes)


@dataclass(frozen=True)
class Shot:
    """A shot of `frames` frames from frame `start` of the film.

    `first` is the first frame in the clip, `dissolve` the frames at the shot's begin in which the
    one before is still seen, `tail` the frames behind its end that the next one's dissolve needs.
    `back` is how often the scene's place had been seen before.
    """

    start: int
    frames: int
    set_up: int
    scene: int
    back: int
    camera: Camera
    light: Light
    first: int = 0
    mirrored: bool = False
    dissolve: int = 0
    tail: int = 0
    fade_in: int = 0
    fade_out: int = 0
    flight: Flight | None = None

    def as_json(self, set_ups: Sequence[SetUp]) -> dict[str, Any]:
        """Return what FILE.shots.json says of a shot."""
        set_up = set_ups[self.set_up]
        return {
            "start": self.start, "n": self.frames, "setup": self.set_up, "scene": self.scene,
            "back": self.back, "move": self.camera.move, "light": self.light.name,
            "kind": "clip" if set_up.is_clip else "photograph", "src": set_up.name,
            "first": self.first, "mirrored": self.mirrored, "dissolve": self.dissolve,
            "ship": self.flight is not None,
        }  # fmt: skip


@dataclass
class _Place:
    """The set-ups of a scene, and what is known from the times it was seen."""

    set_ups: list[int]
    last_scene: int = 0
    visits: int = 0
    light: str = ""


@dataclass
class _Reel:
    """How far the takes of a clip are used: the take, the frame in it, and the times through."""

    take: int = 0
    frame: int = 0
    times: int = 0


@dataclass
class _Planner:
    set_ups: Sequence[SetUp]
    random: Random
    ships: int
    shots: list[Shot] = field(default_factory=list)
    places: list[_Place] = field(default_factory=list)
    reels: dict[int, _Reel] = field(default_factory=dict)
    fresh: dict[bool, dict[str, list[int]]] = field(default_factory=dict)
    uses: dict[int, int] = field(default_factory=dict)
    scenes: int = 0
    end: str = "cut"

    def __post_init__(self) -> None:
        for number, set_up in enumerate(self.set_ups):
            groups = self.fresh.setdefault(set_up.is_clip, {})
            groups.setdefault(set_up.group, []).append(number)
        for clips, groups in self.fresh.items():
            if not clips:  # those of a clip stay in order: neighbours belong together
                for group in groups.values():
                    self.random.shuffle(group)

    @property
    def frames(self) -> int:
        return self.shots[-1].start + self.shots[-1].frames if self.shots else 0

    def add_scene(self) -> None:
        place = self._place()
        light = choose_light(self.random, place.light)
        order = self._order(place)
        for number in self._turns(place, order):
            self._add_shot(place, number, light)
        self._end_scene()
        self.scenes += 1
        place.last_scene, place.light = self.scenes, light.name
        place.visits += 1

    def _turns(self, place: _Place, order: Sequence[int]) -> Iterator[int]:
        """Yield the set-ups of a scene, shot by shot, a clip only while it has unseen frames."""
        shown: list[int] = []
        for turn in order:
            number = place.set_ups[turn]
            if number in shown:
                stutters = number == shown[-1] and len(place.set_ups) > 1
                if stutters or self._used_up(number):
                    continue
            yield number
            shown.append(number)

    def _used_up(self, number: int) -> bool:
        """Return whether the next shot of a clip would begin its takes again."""
        takes, reel = self.set_ups[number].takes, self.reels.get(number, _Reel())
        return (
            bool(takes) and reel.take == len(takes) - 1 and takes[-1].frames - reel.frame < SHORTEST
        )

    def _place(self) -> _Place:
        """Return a new place, or one that was seen some scenes ago."""
        known = [each for each in self.places if self.scenes - each.last_scene >= _APART]
        back = self.random.random_sample() < _RETURN and self.scenes >= _FIRST_RETURN
        if known and back:
            drawn = [known[self.random.randint(len(known))] for _ in range(3)]
            return min(drawn, key=lambda each: each.visits)
        self.places.append(_Place(self._new_set_ups()))
        return self.places[-1]

    def _new_set_ups(self) -> list[int]:
        """Return one to four set-ups of one group; none was seen before while there are such."""
        size = int(choose(self.random, _SIZES))
        scarce = self._clip_frames() < _CLIPS * self.frames
        kind = scarce == (self.random.random_sample() < _KEEN)
        groups = self.fresh.get(kind)
        if not groups:
            return self._known_set_ups(size, kind)
        name = sorted(groups)[self.random.randint(len(groups))]
        taken, rest = groups[name][:size], groups[name][size:]
        groups[name] = rest
        if not rest:
            del groups[name]
        return taken

    def _clip_frames(self) -> int:
        return sum(shot.frames for shot in self.shots if self.set_ups[shot.set_up].is_clip)

    def _known_set_ups(self, size: int, clips: bool) -> list[int]:
        """Return the least used of some set-ups of a kind, or of the other kind if it has none."""
        kind = [number for number, each in enumerate(self.set_ups) if each.is_clip == clips]
        drawn = self.random.permutation(kind or len(self.set_ups))[: 4 * size]
        return sorted(map(int, drawn), key=lambda number: self.uses.get(number, 0))[:size]

    def _order(self, place: _Place) -> list[int]:
        """Return whose turn it is, shot by shot; no set-up follows itself unless it is alone."""
        size, back = len(place.set_ups), bool(place.visits)
        clips = self.set_ups[place.set_ups[0]].is_clip
        least, most = (_CLIP_ROUNDS if clips else _ROUNDS)[size]
        rounds = self.random.randint(least, most + 1)
        order = [*range(size)] * max(rounds - (back and rounds > least), 1)
        if size > 2 and self.random.random_sample() < 0.5:
            order.append(order[-2])
        return order

    def _add_shot(self, place: _Place, number: int, light: Light) -> None:
        set_up = self.set_ups[number]
        frames, first, times = self._length(number)
        self.uses[number] = self.uses.get(number, 0) + 1
        flies = not set_up.is_clip and self.random.random_sample() < _FLIGHT
        size = (set_up.width, set_up.height)
        self.shots.append(
            Shot(
                self.frames,
                frames,
                number,
                self.scenes,
                place.visits,
                choose_camera(self.random, size, set_up.is_clip, frames),
                vary_light(self.random, light),
                first,
                mirrored=times % 2 == 1 if set_up.is_clip else self.uses[number] % 4 == 0,
                dissolve=_DISSOLVE if self.end == "dissolve" else 0,
                fade_in=_FADE if self.end == "fade" else 0,
                flight=choose_flight(self.random, self.ships) if flies and self.ships else None,
            )
        )
        self.end = "cut"

    def _end_scene(self) -> None:
        """Choose how the scene's last shot goes over into the next one, if it is long enough."""
        last, end = self.shots[-1], choose(self.random, _ENDS)
        if last.frames < SHORTEST + max(_DISSOLVE, _FADE):
            return
        self.end = end
        if end == "dissolve":
            self.shots[-1] = replace(last, frames=last.frames - _DISSOLVE, tail=_DISSOLVE)
        elif end == "fade":
            self.shots[-1] = replace(last, fade_out=_FADE)

    def _length(self, number: int) -> tuple[int, int, int]:
        """Return a shot's frames, its first one in the clip, and how often the clip ran before."""
        wanted = _MEDIAN_SHOT * float(self.random.lognormal(0.0, _SPREAD))
        frames = min(max(round(wanted), SHORTEST), LONGEST)
        takes = self.set_ups[number].takes
        if not takes:
            return frames, 0, 0
        reel = self.reels.setdefault(number, _Reel())
        if takes[reel.take].frames - reel.frame < SHORTEST:
            reel.take += 1
            if reel.take == len(takes):
                reel.take, reel.times = 0, reel.times + 1
            spare = takes[reel.take].frames - SHORTEST
            # The next time through, cuts fall elsewhere.
            reel.frame = self.random.randint(spare // 3 + 1) if reel.times else 0
        take = takes[reel.take]
        rest = take.frames - reel.frame
        frames = rest if rest - frames < SHORTEST and rest <= LONGEST else min(frames, rest)
        first = take.first + reel.frame
        reel.frame += frames
        return frames, first, reel.times


def plan_film(set_ups: Sequence[SetUp], frames: int, ships: int = 0, seed: int = 0) -> list[Shot]:
    """Return the shots of a film of exactly so many frames.

    Args:
        set_ups: what there is to be seen; every take has SHORTEST frames or more.
        frames: length of the film; of two lengths, one film is the begin of the other but for the
            last shot.
        ships: number of ships that may fly past photographs.
        seed: another seed plans another film.
    """
    planner = _Planner(set_ups, Random(seed), ships)
    while planner.frames < frames:
        planner.add_scene()
    return _cut(planner.shots, frames)


def _cut(shots: Iterable[Shot], frames: int) -> list[Shot]:
    """Return the shots that begin before the film's end; the last one ends there."""
    kept = [shot for shot in shots if shot.start < frames]
    last = kept[-1]
    kept[-1] = replace(last, frames=min(last.frames, frames - last.start), tail=0)
    return kept
