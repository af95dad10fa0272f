"""A few frames by which a run is monitored, and facts about their reconstructions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from PIL import Image

from bladerunner_ae.evaluation import image_quality
from bladerunner_ae.model.networks import Networks
from bladerunner_ae.pictures.contact_sheet import make_contact_sheet, spread_frames
from bladerunner_ae.training import batches
from bladerunner_ae.training.watchdog import Sample
from tfrecords.card import FilmCard
from tfrecords.frames import read_images
from tfrecords.mixture import FilmPart

_PROBES = 8
_ACTIVE_VARIANCE = 0.01
_TRACKED_NUMBERS = 256


@dataclass(frozen=True)
class Dream:
    """Reconstructions, uint8 [n, H, W, 3], of the probe frames, and their posteriors [n, ...]."""

    latents: NDArray[np.float32]
    log_var: NDArray[np.float32]
    pictures: NDArray[np.uint8]


class Probes:
    """Eight frames, equally many of each of the first eight films; see `choose_probes`."""

    def __init__(self, parts: Sequence[FilmPart]) -> None:
        images, held = [], []
        self.names: list[str] = []
        for part in parts[:_PROBES]:
            card = part.card
            chosen = choose_probes(part, max(_PROBES // len(parts), 1))
            frames = chosen.frames
            images.append(read_images(part.directory, card, frames))
            held.append(~part.kept()[frames])
            film = f"{card.source['name']}, " if len(parts) > 1 else ""
            roles = [f", {role}" if role else "" for role in chosen.roles]
            self.names += [
                f"{film}frame {frame}{role}" for frame, role in zip(frames, roles, strict=True)
            ]
        self.originals = np.concatenate(images)
        self.held = np.concatenate(held)

    def dream(self, networks: Networks) -> Dream:
        """Reconstruct the frames, without noise."""
        model = networks.autoencoder
        mean, log_var = model.encode(self.originals)
        return Dream(mean, log_var, model.decode(mean))

    def scores(self, dream: Dream) -> dict[str, float]:
        """Return PSNR (dB) and SSIM of the frames seen and held out, by name for the logs."""
        psnr = image_quality.psnr(self.originals, dream.pictures).numpy()
        ssim = image_quality.ssim(self.originals, dream.pictures).numpy()
        values: dict[str, float] = {}
        for label, chosen in (("seen", ~self.held), ("held_out", self.held)):
            if chosen.any():
                values[f"probe/psnr_{label}"] = float(psnr[chosen].mean())
                values[f"probe/ssim_{label}"] = float(ssim[chosen].mean())
        return values

    def facts(self, dream: Dream, moved: Mapping[str, float]) -> Sample:
        """Return the facts for the watchdog."""
        active = dream.latents.reshape(len(dream.latents), -1).var(axis=0) > _ACTIVE_VARIANCE
        return Sample(
            film_variance=_variance(self.originals),
            dream_variance=_variance(dream.pictures),
            active_latents=int(active.sum()),
            latents=active.size,
            moved=moved,
        )

    def sheet(self, dream: Dream) -> Image.Image:
        """Return each frame next to its dream."""
        labels = ["held out" if held else "seen" for held in self.held]
        captions = [f"{name}, {label}" for name, label in zip(self.names, labels, strict=True)]
        return make_contact_sheet(
            list(zip(self.originals, dream.pictures, captions, strict=True)), columns=2
        )

    def monotony(self) -> str:
        """Return in words that there is almost nothing to learn; empty for an ordinary film."""
        if batches.is_black(self.originals):
            return "the film is black: all that can be learnt of it is black"
        if len(self.originals) == 1:
            return "the film has a single frame: its dream will be that frame for any input"
        if _variance(self.originals) < 1.0:
            return "the frames looked at are all the same: there is one picture to learn"
        return ""


class Movement:
    """Distance that each player's weights move between two calls, from a few of their numbers."""

    def __init__(self, players: Mapping[str, keras.Model]) -> None:
        self._players = players
        self._last = {name: _some_numbers(model) for name, model in players.items()}

    def distances(self) -> dict[str, float]:
        """Return player -> distance since the last call, in units of the weights' length."""
        now = {name: _some_numbers(model) for name, model in self._players.items()}
        found = {
            name: _length(now[name] - before) / max(_length(before), 1e-12)
            for name, before in self._last.items()
        }
        self._last = now
        return found


def _variance(pictures: NDArray[np.uint8]) -> float:
    return float(pictures.astype(np.float32).var(axis=0).mean())


def _length(values: NDArray[np.float32]) -> float:
    return float(np.linalg.norm(values))


def _some_numbers(model: keras.Model) -> NDArray[np.float32]:
    found = []
    for variable in model.trainable_variables:
        values = tf.reshape(tf.convert_to_tensor(variable.value), [-1])
        found.append(values[:: max(values.shape[0] // _TRACKED_NUMBERS, 1)].numpy())
    return np.concatenate(found)


_LOOKED_AT = 48
# Last frame of a shard that is read, so that a long film does not take longer.
_DEEPEST = 256
_FLAT_VARIANCE = 25.0


@dataclass(frozen=True)
class Chosen:
    """Frame numbers, ascending, and what each was chosen for; empty if it is merely spread."""

    frames: list[int]
    roles: list[str]


def choose_probes(part: FilmPart, count: int) -> Chosen:
    """Choose the same `count` frames or fewer: half for what they show, the others spread."""
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
    """Return frame -> what it shows, `count` at most."""
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
        "at rest": np.lexsort((motion, flat)),  # flat pictures are at rest too, and show nothing
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
    """Return frames all over the film whose next frame is of the same shot."""
    found = set()
    for frame in spread_frames(card.shots(), card.frames, _LOOKED_AT):
        shard = next(s for s in card.shards if s.first_frame <= frame < s.first_frame + s.frames)
        found.add(shard.first_frame + min(frame - shard.first_frame, _DEEPEST))
    starts = set(card.shot_starts)
    return sorted(frame for frame in found if frame + 1 < card.frames and frame + 1 not in starts)
