"""Titles and names that are no UTF-8: read as text, stored in records, kept in the new film."""

import json
from collections.abc import Callable
from os import fsdecode
from pathlib import Path

import av
import numpy as np
import pytest

from bladerunner_ae.film.headers.metadata import readable_labels
from bladerunner_ae.film.reading.probe import probe_film
from tests.helpers.awkward_films import ffmpeg
from tests.helpers.rewritten_films import write_film

FilmFactory = Callable[..., Path]

# What stands in the file, and what is read there.
TITLES = {
    b"D\xc3\xa9but": "Début",
    b"D\xe9but \x93fin\x94 \x80": "Début “fin” €",
    "Žluťoučký kůň".encode()[:-1]: "Žluťoučký ků\ufffd",  # cut off within its last letter
    b"AVI-Mux GUI 1.17\xff": "AVI-Mux GUI 1.17ÿ",
    "テスト".encode("shift-jis"): "ƒeƒXƒg",  # no telling it from cp1252
    b"\x81\x8d\x8f": "\ufffd\ufffd\ufffd",
    b"\xed\xa0\x80\xc0\xaf": "í\xa0€À¯",  # half of a surrogate pair, an overlong slash
}


def test_bytes_become_text_that_can_be_written() -> None:
    for raw, text in TITLES.items():
        escaped = raw.decode("utf-8", "surrogateescape")
        assert readable_labels({escaped: escaped}) == {text: text}
        assert json.dumps(text, ensure_ascii=False).encode("utf-8")


@pytest.fixture
def labelled(film_factory: FilmFactory, tmp_path: Path) -> Callable[[str, bytes], Path]:
    """Return a function that makes films with a title, of these bytes, in every possible place."""
    small = film_factory("small.mkv", frames=4, height=64, width=64, audio_codec="pcm_s16le")
    attachment = tmp_path / "font.ttf"
    attachment.write_bytes(b"font")

    def make(suffix: str, title: bytes) -> Path:
        film = tmp_path / f"film.{suffix}"
        chapters = tmp_path / "chapters.txt"
        chapters.write_bytes(
            b";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/24\nSTART=0\nEND=2\ntitle=" + title + b"\n"
        )
        arguments: list[object] = ["-i", small, "-i", chapters, "-map", 0, "-map_chapters", 1]
        arguments += ["-c", "copy"] if suffix in ("mkv", "mov", "nut") else []
        if suffix == "mkv":
            arguments += ["-attach", attachment, "-metadata:s:t", "mimetype=font/ttf"]
            arguments += ["-metadata:s:t", fsdecode(b"filename=" + title)]
        for where in ("", ":s:v", ":s:a"):
            for name in (b"title", b"artist", b"handler_name"):
                arguments += [f"-metadata{where}", fsdecode(name + b"=" + title)]
        ffmpeg(*arguments, "-ar", 44100, film)
        return film

    return make


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "mov", "avi", "nut", "flv", "wmv", "ts"])
def test_a_title_of_any_bytes_is_no_obstacle_to_records(
    labelled: Callable[[str, bytes], Path], suffix: str
) -> None:
    for raw in (b"D\xe9but", b"\x81\xff\xed\xa0\x80"):
        streams = probe_film(labelled(suffix, raw)).streams.described
        assert json.dumps(streams, ensure_ascii=False).encode("utf-8")
    streams = probe_film(labelled(suffix, b"D\xe9but")).streams.described
    expected = {"mkv": {"title", "filename"}, "nut": {"title"}, "mp4": {"handler_name"},
                "mov": {"handler_name"}, "avi": {"title"}}  # fmt: skip
    found = {
        name for stream in streams for name, value in stream["metadata"].items() if value == "Début"
    }
    assert found >= expected.get(suffix, set())


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
@pytest.mark.parametrize("raw", TITLES)
def test_the_new_film_bears_the_title_as_utf8(
    labelled: Callable[[str, bytes], Path], tmp_path: Path, suffix: str, raw: bytes
) -> None:
    film, output = labelled("mkv", raw), tmp_path / f"out.{suffix}"
    info = probe_film(film)
    _, plan = write_film(info, range(4), 4, [np.zeros((16, 32, 3), np.uint8)] * 4, output)
    assert plan.tracks[0].copied == (suffix == "mkv")  # PCM is re-encoded for an mp4
    with av.open(str(output)) as written:
        assert written.metadata["title"] == TITLES[raw]
        assert written.chapters()[0]["metadata"]["title"] == TITLES[raw]
        assert TITLES[raw] in written.streams.audio[0].metadata.values()
