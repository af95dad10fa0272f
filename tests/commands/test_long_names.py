"""Names as long as a file system allows, in all scripts, and with what terminals obey."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from bladerunner_ae.command_line.app import explain
from bladerunner_ae.conversion.convert import convert_film, plan_conversion
from bladerunner_ae.conversion.options import ConversionOptions
from bladerunner_ae.errors import InputError
from bladerunner_ae.film.reading.source import film_name
from bladerunner_ae.output_files import UnfinishedFilm, refuse_unwritable
from tfrecords import storage
from tfrecords.hidden_names import fitted_name, hidden_path
from tfrecords.wording import visible

FilmFactory = Callable[..., Path]


def test_hidden_names_are_as_short_as_the_file_system_wants(tmp_path: Path) -> None:
    assert hidden_path(tmp_path / "film.mp4", ".lock") == tmp_path / ".film.mp4.lock"
    for name in ("n" * 255, "é" * 127, "n" * 248):
        path = hidden_path(tmp_path / name, ".partial")
        assert len(os.fsencode(path.name)) <= 255
        assert path.name.startswith(f".{name[:100]}") and path.name.endswith(".partial")
        path.touch()
    assert hidden_path(Path("n" * 255), ".lock") != hidden_path(Path("n" * 254 + "m"), ".lock")
    assert fitted_name("é" * 40, 40) != fitted_name("é" * 39 + "e", 40)
    assert len(os.fsencode(fitted_name("é" * 40, 40))) <= 40


def test_a_film_of_the_longest_name_becomes_records(
    film_factory: FilmFactory, tmp_path: Path
) -> None:
    film = tmp_path / f"{'n' * 251}.mp4"
    film.symlink_to(film_factory(frames=24))
    options = ConversionOptions(height=32, width=48, num_shards=1)
    card = convert_film(plan_conversion(film, tmp_path / "data", options))
    assert card.frames == 24
    assert [path.name for path in (tmp_path / "data").iterdir()] == [film_name(film)]
    other = tmp_path / f"{'n' * 250}m.mp4"
    assert film_name(other) != film_name(film) != film_name(tmp_path / f"{'n' * 245}.mp4")


def test_outputs_of_the_longest_names(tmp_path: Path) -> None:
    output = tmp_path / f"{'n' * 251}.mp4"
    with UnfinishedFilm(output) as film:
        for path in (film.pictures, film.partial):
            assert path.suffix == ".mp4" and path.parent == tmp_path
            path.write_bytes(b"a film")
        film.publish()
    assert [path.name for path in tmp_path.iterdir()] == [output.name]
    storage.write_text(tmp_path / ("r" * 255), "a report")
    assert storage.read_text(tmp_path / ("r" * 255)) == "a report"
    with pytest.raises(InputError, match="its name has 256 bytes, of 255 that are allowed"):
        refuse_unwritable(tmp_path / f"{'n' * 252}.mp4")


@pytest.mark.parametrize(
    ("flags", "reason"), [(os.ST_RDONLY, "read-only file system"), (0, "permission denied")]
)
def test_a_folder_that_cannot_be_written_to_says_why(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, flags: int, reason: str
) -> None:
    monkeypatch.setattr(os, "access", lambda *arguments: False)
    monkeypatch.setattr(os, "statvfs", lambda path: SimpleNamespace(f_flag=flags))
    with pytest.raises(InputError, match=rf"^{tmp_path}: cannot be written to \({reason}\); "):
        refuse_unwritable(tmp_path / "film.mp4")


def test_what_cannot_be_written_names_a_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/proc/self")
    unfinished = UnfinishedFilm(Path("film.mp4"))
    with pytest.raises(InputError, match=r"^/proc/.*: cannot be written to"):
        unfinished.__enter__()


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("हिन्दी फ़िल्म.mp4", unicodedata.normalize("NFC", "हिन्दी_फ़िल्म")),
        ("ภาพยนตร์.mkv", "ภาพยนตร์"),
        (unicodedata.normalize("NFD", "Début.mov"), "Début"),
        ("a\nb\x1b[2Jc.mp4", "a_b_2Jc"),
        ("電影.mp4", "電影"),
    ],
)
def test_folders_keep_the_letters_of_all_scripts(name: str, folder: str) -> None:
    assert film_name(Path(name)) == folder


def test_names_that_differ_in_marks_get_different_folders() -> None:
    names = {film_name(Path(f"{name}.mp4")) for name in ("हनद", "हिनदी", "हुनदो")}
    assert len(names) == 3


def test_no_message_has_two_lines_or_steers_the_terminal() -> None:
    assert visible("a\nb\x1b[2J\r\u2028\u202e\udcff") == r"a\nb\x1b[2J\r\u2028\u202e\udcff"
    assert visible("Ünï 電影 \u00a0हिन्दी") == "Ünï 電影 \u00a0हिन्दी"
    line, code = explain(InputError("a\nb.mp4: is empty"))
    assert (visible(line), code) == (r"a\nb.mp4: is empty", 2)
