"""Compare records and results with the truth about a film: right, refused, wrong or unexplained.

Results are read by ffmpeg's program, records by TensorFlow's own messages.
"""

import io
import json
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.judging.forked_commands import Ended
from benchmarks.judging.player import (
    Described,
    Heard,
    Shown,
    UnreadableError,
    describe,
    hear,
    packets,
    show,
)
from benchmarks.structure.making import Truth
from benchmarks.structure.recipes import UNCLEAR_NAMES, Recipe
from tests.helpers.number_panel import clearness, is_flash, read_number

Pictures = NDArray[np.uint8]

RIGHT, REFUSED, WRONG, UNEXPLAINED = "right", "refused", "WRONG", "UNEXPLAINED"

# Sound moves by what two clocks round off and by where a decoder starts a packet.
MOST_APART_SECONDS = 0.012
# Packets of sound at either end may be left out or be heard where an edit list hid a part of one.
_ENDS_SECONDS = 0.12
# A whole film is moved where sound begins before 0 and the container cannot say so.
_MOST_SHIFT = Fraction(12, 100)
_ASPECT = 0.04
# How far, in levels, each cell of a number must be from the middle grey.
_CLEAR = 50


def allowed_refusals(recipe: Recipe) -> list[tuple[str, str]]:
    """Return (reason, pattern of the message) of each refusal that a film allows."""
    rows = []
    if "encrypted" in recipe.has:
        rows.append(("the film is encrypted", r"encrypt"))
    if recipe.images[0] in UNCLEAR_NAMES:
        rows.append(("more than one number of an image's name may be the frame's", r"number"))
    if len(recipe.name.encode()) > 200:
        rows.append(("the name is too long for what is put before and behind it",
                     r"(?i)too long|shorter"))  # fmt: skip
    if len(recipe.images[0]) and recipe.images[2] > 1:
        rows.append(("numbers of images are missing", r"missing"))
    return rows


@dataclass(frozen=True)
class Verdict:
    """The judgement on one step of a film, and its reason."""

    kind: str
    detail: str = ""


@dataclass(frozen=True)
class Source:
    """A film as ffmpeg reads it, once that is as meant.

    Attributes:
        tick: seconds per unit of its clock.
        late: mean seconds from each track's flashes to its tones.
        begins, ends: seconds of each track's sound, from the first frame.
    """

    tick: Fraction
    late: list[float]
    begins: list[float]
    ends: list[float]


def numbers_of(pictures: Sequence[Pictures]) -> list[int | None]:
    """Return the number in each picture, None where none can be read."""
    found: list[int | None] = []
    for picture in pictures:
        try:
            found.append(read_number(picture))
        except ValueError:
            found.append(None)
    return found


def panel_shape(picture: Pictures) -> float:
    """Return width by height of the whole picture, by its magenta panel: NaN without one."""
    red, green, blue = (picture[..., channel].astype(int) for channel in range(3))
    magenta = np.minimum(red, blue) - green > 80
    rows = np.flatnonzero(magenta.sum(1) > 0.05 * picture.shape[1])
    columns = np.flatnonzero(magenta.sum(0) > 0.05 * picture.shape[0])
    if not len(rows) or not len(columns):
        return float("nan")
    tall, wide = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    return float(wide / 0.5 / (tall / 0.45))


def check_source(recipe: Recipe, path: Path, truth: Truth) -> Source:
    """Check that ffmpeg reads a film as it was meant; raise UnreadableError if not."""
    if path.is_dir() or "encrypted" in recipe.has:
        return Source(Fraction(0), [], [], [])
    shown = show(path, truth.stream, truth.source, bool(recipe.fields))
    if numbers_of(shown.pictures) != truth.numbers:
        raise UnreadableError(f"numbers of {recipe.container}, {recipe.video}")
    if min(map(clearness, shown.pictures)) < _CLEAR:  # a record's size and JPEG blur it further
        raise UnreadableError(f"smeared numbers of {recipe.container}, {recipe.video}")
    if _worst(shown.seconds, truth.seconds) > 2 * shown.tick:
        raise UnreadableError(f"times of {recipe.container}, {recipe.video}")
    if truth.first is not None and abs(shown.seconds[0] - truth.first) > shown.tick + Fraction(
        1, 1000
    ):
        raise UnreadableError(f"first time of {recipe.container}, {recipe.video}")
    cropped = recipe.crop_by in ("clap", "pixelcrop")
    if not cropped and shown.pictures[0].shape[:2] != truth.size:
        raise UnreadableError(f"size of {recipe.container}, {recipe.video}")
    if abs(shown.aspect / truth.aspect - 1) > _ASPECT:
        raise UnreadableError(f"aspect of {recipe.container}, {recipe.video}")
    described = describe(path, truth.source)
    if described.languages[: len(truth.languages)] != truth.languages:
        raise UnreadableError(f"languages of {recipe.container}")
    if not recipe.latin and described.title.strip() != truth.title.strip():
        raise UnreadableError(f"title of {recipe.container}")
    if len(described.chapters) != len(truth.chapters):
        raise UnreadableError(f"chapters of {recipe.container}")
    late, begins, ends = [], [], []
    for track, sound in enumerate(recipe.sounds):
        heard = hear(path, track, truth.source)
        apart = _apart(heard, shown, truth)
        most = max(0.05, 1 / float(Fraction(recipe.rate)))
        if apart is None or max(map(abs, apart), default=0) > most:
            raise UnreadableError(f"beeps of {recipe.container}, {sound.codec}")
        late.append(float(np.mean(apart)) if apart else 0.0)
        begins.append(heard.begin - float(shown.seconds[0]))
        ends.append(begins[-1] + heard.seconds)
    return Source(shown.tick, late, begins, ends)


def _worst(found: Sequence[Fraction], made: Sequence[Fraction]) -> Fraction:
    return max(
        abs((one - found[0]) - (other - made[0])) for one, other in zip(found, made, strict=True)
    )


def _apart(heard: Heard, shown: Shown, truth: Truth) -> list[float] | None:
    """Return seconds from each flash to its tone; None if their numbers differ."""
    if len(heard.tones) != len(truth.flashes):
        return None
    flashes = [float(shown.seconds[index]) for index in truth.flashes]
    return [tone - flash for tone, flash in zip(heard.tones, flashes, strict=True)]


def judge_command(recipe: Recipe, ended: Ended, written: bool, late: bool) -> Verdict | None:
    """Return the verdict of a command's end alone, None if its result must be inspected.

    `written`: it left a result; `late`: it failed after the work.
    """
    if ended.failure:
        return Verdict(WRONG, ended.failure)
    if ended.code:
        if late:
            return Verdict(WRONG, f"failed after the work: {ended.error}")
        if written:
            return Verdict(WRONG, f"refused, and yet there is a result: {ended.error}")
        words = re.sub(r"\S*/\S*", "", ended.error)  # a path explains nothing
        for why, pattern in allowed_refusals(recipe):
            if re.search(pattern, words):
                return Verdict(REFUSED, why)
        return Verdict(UNEXPLAINED, ended.error)
    if "encrypted" in recipe.has:
        return Verdict(WRONG, "garbage of an encrypted film is taken for a film")
    return None


def judge_film(recipe: Recipe, truth: Truth, source: Source, path: Path) -> Verdict:
    """Compare a reassembled film with the truth."""
    try:
        problems = list(_film_problems(recipe, truth, source, path))
    except UnreadableError as error:
        problems = [f"the result: {error}"]
    return Verdict(WRONG, "; ".join(problems)) if problems else Verdict(RIGHT)


def _film_problems(recipe: Recipe, truth: Truth, source: Source, path: Path) -> Iterator[str]:
    shown, described = show(path, "0:v:0"), describe(path)
    yield from _picture_problems(truth, numbers_of(shown.pictures), shown.pictures)
    if len(shown.pictures) != len(truth.numbers):
        return
    allowed = 2 * source.tick + shown.tick + Fraction(1, 10**6)
    worst = _worst(shown.seconds, truth.seconds)
    if worst > allowed:
        yield f"a frame is shown {float(worst):.6f} s from its time"
    if truth.first is not None:
        shift = shown.seconds[0] - truth.first
        # An edit list begins at a unit of the movie's clock, a millisecond as a rule.
        slack = allowed + Fraction(1, 1000)
        if not -slack <= shift <= slack + (_MOST_SHIFT if truth.languages else 0):
            yield f"the first frame is shown at {float(shown.seconds[0]):.4f} s, not at " \
                  f"{float(truth.first):.4f}"  # fmt: skip
    yield from _shape_problems(truth, shown)
    yield from _hidden_problems(shown.pictures[0])
    if truth.length is not None:
        film = packets(path, "0:v:0")
        length = max(film.ends) - min(film.seconds)
        frame = 1 / Fraction(recipe.rate)
        if abs(length - truth.length) > frame / 2 + allowed + Fraction(1, 100):
            yield f"the pictures last {float(length):.3f} s, not {float(truth.length):.3f}"
    yield from _sound_problems(truth, source, path, shown, described)
    same = " ".join(described.title.split()) == " ".join(truth.title.split())
    # No file tells the character set of an old title.
    if not same and not (recipe.latin and described.title.startswith("caf")):
        yield f"title {described.title!r}, not {truth.title!r}"
    found = [(round(begin, 2), title) for begin, _, title in described.chapters]
    wanted = [(round(begin, 2), title) for begin, _, title in truth.chapters]
    if found != wanted:
        yield f"chapters {found}, not {wanted}"


def _picture_problems(
    truth: Truth, numbers: Sequence[int | None], pictures: Sequence[Pictures]
) -> Iterator[str]:
    if len(numbers) != len(truth.numbers):
        yield f"{len(numbers)} frames, not {len(truth.numbers)}"
    elif None in numbers and all(
        number in (None, right) for number, right in zip(numbers, truth.numbers, strict=True)
    ):
        count = sum(number is None for number in numbers)
        yield f"{count} of {len(numbers)} frames cannot be read: turned, cropped or damaged"
    elif list(numbers) != truth.numbers:
        pairs = zip(numbers, truth.numbers, strict=True)
        wrong = next(place for place, (found, right) in enumerate(pairs) if found != right)
        yield f"frame {wrong} holds number {numbers[wrong]}, not {truth.numbers[wrong]}"
    elif truth.flashes and [n for n, one in enumerate(pictures) if is_flash(one)] != truth.flashes:
        yield "flashes are not where they were"


def _shape_problems(truth: Truth, shown: Shown) -> Iterator[str]:
    height, width = shown.pictures[0].shape[:2]
    across = float(width * shown.aspect)
    wanted = float(truth.size[1] * truth.aspect) / truth.size[0]
    # Narrow pixels are made square by more rows, wide ones by more columns.
    rows = truth.size[0] / min(truth.aspect, 1)
    if min(abs(height - rows), abs(height - truth.size[0])) > 2:
        yield f"{height} rows, not {truth.size[0]}"
    if abs(across / height / wanted - 1) > _ASPECT:
        yield f"shape {across / height:.3f}, not {wanted:.3f}"
    panel = panel_shape(shown.pictures[0]) * float(shown.aspect)
    if not abs(panel / wanted - 1) < 2 * _ASPECT:
        yield f"its panel shows a shape of {panel:.3f}, not {wanted:.3f}"


def _sound_problems(
    truth: Truth, source: Source, path: Path, shown: Shown, described: Described
) -> Iterator[str]:
    if len(described.sounds) != len(truth.languages):
        yield f"{len(described.sounds)} sound tracks, not {len(truth.languages)}"
        return
    if described.languages != truth.languages:
        yield f"languages {described.languages}, not {truth.languages}"
    allowed = MOST_APART_SECONDS + float(2 * source.tick + shown.tick)
    for track, late in enumerate(source.late):
        heard = hear(path, track)
        apart = _apart(heard, shown, truth)
        if apart is None:
            yield f"track {track}: {len(heard.tones)} beeps, not {len(truth.flashes)}"
            continue
        worst = max((min(abs(one), abs(one - late)) for one in apart), default=0.0)
        if worst > allowed:
            yield f"track {track}: sound is {worst:.4f} s from its picture"
        begin = heard.begin - float(shown.seconds[0])
        if abs(begin - source.begins[track]) > _ENDS_SECONDS:
            yield f"track {track} begins {begin - source.begins[track]:+.3f} s off"
        if abs(begin + heard.seconds - source.ends[track]) > _ENDS_SECONDS:
            yield f"track {track} ends {begin + heard.seconds - source.ends[track]:+.3f} s off"


def judge_records(recipe: Recipe, truth: Truth, source: Source, folder: Path) -> Verdict:
    """Compare the records in a folder, which holds those of one film, with the truth."""
    cards = list(folder.glob("*/film.json"))
    if len(cards) != 1:
        return Verdict(WRONG, f"{len(cards)} cards")
    card = json.loads(cards[0].read_text("utf-8"))
    frames = sorted(read_records(cards[0].parent), key=lambda frame: int(frame["frame/index"]))
    pictures = [
        np.asarray(Image.open(io.BytesIO(frame["image/encoded"])).convert("RGB"))
        for frame in frames
    ]
    problems = list(_picture_problems(truth, numbers_of(pictures), pictures))
    if [frame["frame/index"] for frame in frames] != list(range(len(frames))):
        problems.append("indices")
    if not problems:
        base = Fraction(str(card["time_base"]))
        seconds = [frame["frame/pts"] * base for frame in frames]
        worst = _worst(seconds, truth.seconds)
        if worst > 2 * source.tick + Fraction(1, 10**6):
            problems.append(f"a frame's time is {float(worst):.6f} s off")
        wanted = float(truth.size[1] * truth.aspect) / truth.size[0]
        panel = panel_shape(pictures[0])
        if not abs(panel / wanted - 1) < 3 * _ASPECT:
            problems.append(f"its panel shows a shape of {panel:.3f}, not {wanted:.3f}")
        problems += _hidden_problems(pictures[0])
        rate, variable = Fraction(str(card["frame_rate"])), card.get("variable_rate")
        # Rates that put every frame at the same time, to the clock's unit, cannot be told apart.
        drift = abs(1 / rate - 1 / truth.rate) * len(truth.numbers) if truth.rate else 0
        if truth.rate is not None and not variable and drift > source.tick:
            problems.append(f"rate {rate}, not {truth.rate}")
    return Verdict(WRONG, "; ".join(problems)) if problems else Verdict(RIGHT)


def _hidden_problems(picture: Pictures) -> list[str]:
    """Return a problem if a picture shows what a film hides; scaling blurs the last line of it."""
    red, green, blue = (picture[..., channel].astype(int) for channel in range(3))
    hidden = 100 * float(((green > 200) & (red < 60) & (blue < 60)).mean())
    return [f"{hidden:.1f} % of the picture is what should be cropped"] if hidden > 0.5 else []


def read_records(folder: Path) -> Iterator[dict[str, Any]]:
    """Yield each record's features, by TensorFlow's own message type."""
    from tensorflow.core.example.example_pb2 import Example

    for shard in sorted(folder.glob("*.tfrecord")):
        data, at = shard.read_bytes(), 0
        while at < len(data):
            length = struct.unpack_from("<Q", data, at)[0]
            example = Example.FromString(data[at + 12 : at + 12 + length])
            at += 16 + length
            yield {
                key: (feature.bytes_list.value or feature.int64_list.value)[0]
                for key, feature in example.features.feature.items()
            }
