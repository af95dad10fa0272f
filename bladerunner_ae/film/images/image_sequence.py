"""Images as a film: a folder of numbered ones, those that a pattern names, or an animated WebP.

1.png, 2.png ... 10.png are ordered by their numbers (`film.images.numbering` finds which of several
counts). A pattern such as frames/%06d_x4.png, in ffmpeg's syntax, names it instead.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bladerunner_ae.errors import InputError
from bladerunner_ae.film.images.animated_webp import is_animated_webp, read_durations
from bladerunner_ae.film.images.numbering import UnclearOrderError, order_names
from bladerunner_ae.film.images.stills import (
    SUFFIXES,
    open_still,
    other_size,
    read_facts,
    read_still,
    to_srgb,
)
from bladerunner_ae.film.notes import Note, NoteKind
from bladerunner_ae.geometry import Size
from tfrecords.wording import counted, visible

# What a pattern may hold: %d, %06d, %% for a percent sign, and * for anything.
_PLACEHOLDER = re.compile(r"%(?:0(\d{1,2}))?d|%%|\*")
_NUMBER_IN_PATTERN = re.compile(r"%(?:0\d{1,2})?d")

_NAMES_SHOWN = 3
# Steps between numbers are told instead of what is missing, if that is more than this.
_MOST_MISSING_TOLD = 1_000_000
_MILLISECONDS = Fraction(1, 1000)


@dataclass(frozen=True)
class ImageSequence:
    """Images of one size, in display order.

    Attributes:
        paths: one file for each frame; only one if it is an animated picture.
        times: of each frame, and of the end of the last, in units of `time_base`.
        time_base: seconds per unit; None: a unit is a frame, however long that is shown.
    """

    paths: tuple[Path, ...]
    times: Sequence[int]
    time_base: Fraction | None
    notes: tuple[Note, ...]

    @property
    def frames(self) -> int:
        return len(self.times) - 1

    def pictures(
        self, numbers: Iterable[int], size: Size | None = None
    ) -> Iterator[NDArray[np.uint8]]:
        """Some frames as uint8 [height, width, 3], sRGB; each must be of `size`, if given."""
        if self.time_base is None:
            for number in numbers:
                yield read_still(self.paths[number], size)
            return
        path = self.paths[0]
        with open_still(path) as image:
            for number in numbers:
                image.seek(number)
                picture = to_srgb(image, path)
                if size is not None and picture.shape[:2] != size:
                    raise other_size(path, picture.shape[:2], size)
                yield picture


@dataclass(frozen=True)
class SequenceFacts:
    """Facts from the headers of a sequence's images; every image has the same `size`."""

    size: Size
    codec: str
    notes: tuple[Note, ...]


def are_images(film: Path) -> bool:
    """Whether a film is not decoded by libav: a folder, a pattern, or an animated WebP."""
    return is_folder_of_images(film) or is_animated_webp(film)


def is_folder_of_images(film: Path) -> bool:
    """Whether a film is many files: a folder, or a pattern of names."""
    return film.is_dir() or is_pattern(film)


def is_pattern(film: Path) -> bool:
    """Whether a path is a pattern such as frames/%06d.png."""
    return bool(_NUMBER_IN_PATTERN.search(film.name)) and not film.exists()


def pattern_words(pattern: Path) -> str:
    """Words of a pattern besides the numbers, or the name of its folder if it has none."""
    words = _PLACEHOLDER.sub(lambda match: "%" if match[0] == "%%" else " ", pattern.stem)
    words = " ".join(re.findall(r"[^\s_.-]+(?:[_.-]+[^\s_.-]+)*", words))
    return words if re.search(r"\w", words) else pattern.absolute().parent.name


def list_images(film: Path) -> ImageSequence:
    """Find the images of a film and their order without decoding; raise InputError if unclear."""
    if is_pattern(film):
        return _of_pattern(film)
    if film.is_dir():
        return _of_folder(film)
    times = [0, *accumulate(read_durations(film))]
    return ImageSequence((film,), times, _MILLISECONDS, ())


def read_sequence_facts(sequence: ImageSequence) -> SequenceFacts:
    """Inspect every image of a sequence, so that problems show before any work."""
    first = next(sequence.pictures([0]))
    size: Size = (first.shape[0], first.shape[1])
    remarks, codecs = Counter[Note](), Counter[str]()
    codec = ""
    for path in sequence.paths:
        facts = read_facts(path)
        if facts.size != size and (facts.size[::-1] != size or read_still(path, size) is None):
            raise other_size(path, facts.size, size)
        codec = codec or facts.codec
        codecs[facts.codec] += 1
        remarks.update(facts.remarks)
        if facts.several and sequence.time_base is None:
            remarks[NoteKind.FIRST_OF_SEVERAL.note()] += 1
    notes = [*sequence.notes]
    if len(codecs) > 1:
        formats = tuple(f"{count} {name}" for name, count in codecs.items())
        notes.append(NoteKind.SEVERAL_FORMATS.note(formats=formats))
    total = len(sequence.paths)
    for remark, count in remarks.items():
        if count == total:
            notes.append(NoteKind.ALL_IMAGES.note(remark=remark))
        else:
            notes.append(NoteKind.SOME_IMAGES.note(count=count, total=total, remark=remark))
    return SequenceFacts(size, codec, tuple(notes))


def _of_folder(folder: Path) -> ImageSequence:
    images, others = list[str](), list[str]()
    for path in sorted(folder.iterdir()):
        is_image = path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
        (images if is_image and not path.is_dir() else others).append(path.name)
    if not images:
        raise InputError(
            f"{folder}: is a folder without images; give a film, or a folder of numbered images "
            f"({', '.join(SUFFIXES)}){_instead(others)}"
        )
    try:
        order = order_names(tuple(Path(name).stem for name in images))
    except UnclearOrderError as reason:
        raise InputError(
            f"{folder}: the order of its images is not clear: {visible(str(reason))}; rename or "
            f"remove what does not belong, or say which number counts, as in "
            f"'{folder / _example(images[0])}'"
        ) from reason
    notes = list[Note]()
    if order.choice:
        notes.append(NoteKind.IMAGE_ORDER.note(choice=visible(order.choice)))
    if order.missing > _MOST_MISSING_TOLD and order.step > 1:
        notes.append(NoteKind.IMAGE_STEPS.note(step=order.step))
    elif order.missing:
        notes.append(NoteKind.NUMBERS_MISSING.note(count=order.missing))
    if others:
        notes.append(NoteKind.FILES_LEFT_OUT.note(names=_some(others)))
    paths = tuple(folder / images[place] for place in order.places)
    return ImageSequence(paths, range(len(paths) + 1), None, tuple(notes))


def _of_pattern(pattern: Path) -> ImageSequence:
    """The images that a pattern names; of several numbers the leftmost weighs most."""
    folder, names = pattern.parent, _expression(pattern.name)
    if not folder.is_dir():
        raise InputError(f"{pattern}: there is no folder {folder}; check the path")
    found = dict[tuple[int, ...], Path]()
    for path in sorted(folder.iterdir()):
        match = names.fullmatch(path.name)
        if match is None or path.name.startswith(".") or path.is_dir():
            continue
        number = tuple(map(int, match.groups()))
        if number in found:
            raise InputError(
                f"{pattern}: names {found[number].name} and {path.name} with the same number; "
                "write more of their names into the pattern"
            )
        found[number] = path
    if not found:
        raise InputError(
            f"{pattern}: no file of {folder} has such a name; %d stands for a number, %06d for one "
            "padded to six digits, * for anything"
        )
    order = sorted(found)
    missing = sum(b[-1] - a[-1] - 1 for a, b in pairwise(order) if a[:-1] == b[:-1])
    notes = (NoteKind.NUMBERS_MISSING.note(count=missing),) if missing else ()
    paths = tuple(found[number] for number in order)
    return ImageSequence(paths, range(len(paths) + 1), None, notes)


def _expression(name: str) -> re.Pattern[str]:
    """Regular expression for the names of a pattern, with their numbers."""
    parts, end = list[str](), 0
    for match in _PLACEHOLDER.finditer(name):
        parts.append(re.escape(name[end : match.start()]))
        if match[0] == "*":
            parts.append(".*?")
        elif match[0] == "%%":
            parts.append("%")
        else:
            sign = "" if name[: match.start()].endswith("*") else "-?"
            parts.append(rf"({sign}\d{{{int(match[1] or 1)},}})")
        end = match.end()
    parts.append(re.escape(name[end:]))
    return re.compile("".join(parts), re.DOTALL)


def _example(name: str) -> str:
    """A pattern by which the first number in a name counts."""
    stem, dot, suffix = visible(name).replace("%", "%%").rpartition(".")
    first, *others = re.split(r"\d+", stem)
    return first + "%d" + "*".join(others) + dot + suffix


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(visible(name) for name in names[:_NAMES_SHOWN])
    more = len(names) - _NAMES_SHOWN
    return f"{shown} and {counted(more, 'other file')}" if more > 0 else shown


def _instead(others: Sequence[str]) -> str:
    return f"; it holds {_some(others)}" if others else ""
