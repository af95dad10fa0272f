"""The file or images that a film comes from: name, state and content."""

import hashlib
import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bladerunner_ae.errors import InputError
from bladerunner_ae.film.images import image_sequence as images
from tfrecords.hidden_names import fitted_name

_BLOCK_BYTES = 1 << 20

# Bytes of a folder's name: leaves room for what other files add to it.
_LONGEST_NAME = 245


@dataclass(frozen=True)
class Source:
    """A film file, images or a pattern; `stamp` and `sha256` are read once, when asked for."""

    path: Path

    @property
    def exists(self) -> bool:
        """Whether there is such a file or folder; of a pattern: whether its folder exists."""
        return self.path.exists() or (images.is_pattern(self.path) and self.path.parent.is_dir())

    @property
    def name(self) -> str:
        return film_name(self.path)

    @property
    def kind(self) -> str:
        """ "images" for a folder or a pattern of images, "film" for one file."""
        return "images" if images.is_folder_of_images(self.path) else "film"

    @cached_property
    def stamp(self) -> dict[str, int]:
        """Size and modification time, "bytes" and "mtime_ns": the same stamp, the same film."""
        return self._read_stamp()

    def stamped(self) -> "Source":
        """Take the stamp now, if the film exists, so that later changes show."""
        if self.exists:
            _ = self.stamp
        return self

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the content, images one after the other; InputError if the film changed."""
        self.stamped()
        digest = hashlib.sha256()
        for path in self._files():
            with path.open("rb") as file:
                while block := file.read(_BLOCK_BYTES):
                    digest.update(block)
        self.check_unchanged()
        return digest.hexdigest()

    def check_unchanged(self) -> None:
        """Raise InputError if the film is gone or no longer has its stamp."""
        try:
            now = self._read_stamp()
        except (OSError, InputError):
            raise InputError(f"{self.path}: is gone, or cannot be read any more") from None
        if now != self.stamp:
            raise InputError(
                f"{self.path}: changed while it was converted; nothing was written; wait until it "
                "is whole and run the same command again"
            )

    def facts(self) -> dict[str, Any]:
        """The source in the form of film cards: name, kind, sha256 and stamp."""
        name = os.fsencode(os.path.basename(os.path.abspath(self.path)))
        return {
            # JSON cannot hold the bytes of a name that is not UTF-8.
            "name": name.decode("utf-8", "replace"),
            "kind": self.kind,
            "sha256": self.sha256,
            **self.stamp,
        }

    def _read_stamp(self) -> dict[str, int]:
        found = [path.stat() for path in self._files()]
        return {
            "bytes": sum(status.st_size for status in found),
            "mtime_ns": max(status.st_mtime_ns for status in found),
        }

    def _files(self) -> Sequence[Path]:
        return images.list_images(self.path).paths if self.kind == "images" else [self.path]


def film_name(film: Path) -> str:
    """Return the name of a film's folder: its file name without suffix and awkward characters.

    Letters of all scripts stay, with the marks that belong to them, in one Unicode normal form.
    """
    # Not `resolve`: the name of a link is the name that a person gave the film.
    path = Path(os.path.abspath(film))
    stem = path.name if path.is_dir() else path.stem
    if images.is_pattern(path):
        stem = images.pattern_words(path)
    letters = unicodedata.normalize("NFC", stem)
    plain = "".join(letter if _is_kept(letter) else " " for letter in letters)
    name = re.sub(r" +", "_", plain).strip("._") or "film"
    return fitted_name(name, _LONGEST_NAME)


def _is_kept(letter: str) -> bool:
    return letter.isalnum() or letter in "_.-" or unicodedata.category(letter).startswith("M")
