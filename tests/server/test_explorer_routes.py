"""Routes of the explorer: the page, its files, and film.json."""

from __future__ import annotations

import asyncio
import base64
import json
import re
from pathlib import Path

import httpx
import numpy as np
import pytest
from starlette.applications import Starlette

from bladerunner_ae.exports.film_latents import FILE_NAME, FilmLatents, to_bytes
from bladerunner_ae.server.explorer import PAGE, Current, routes


def film_latents() -> FilmLatents:
    """Three frames with latents of two numbers."""
    return FilmLatents(
        latents=np.array([[1, -2], [0.1, 3], [4, 5e-8]], np.float32),
        frames=np.array([0, 7, 9]),
        films=np.array([0, 0, 1]),
        seconds=np.array([0.0, 7 / 24, 0.375]),
        shots=np.array([0, 1, 0]),
        held_out=np.array([False, True, False]),
        groups=np.array([0, 1, 2]),
        mean=np.array([1.7, 2], np.float32),
        directions=np.array([[0.6, 0.8]], np.float32),
        deviations=np.array([2.5], np.float32),
    )


def version(folder: Path, film: bytes | None, films: tuple[str, ...] = ()) -> Path:
    """A served version's folder, as far as the explorer looks at it."""
    (folder / FILE_NAME).parent.mkdir(parents=True)
    if film is not None:
        (folder / FILE_NAME).write_bytes(film)
    card = {"films": [{"name": name} for name in films]}
    (folder / "assets.extra" / "model_card.json").write_text(json.dumps(card))
    return folder


class Client:
    """Asks an application that has nothing but the explorer."""

    def __init__(self, current: Current) -> None:
        self._transport = httpx.ASGITransport(Starlette(routes=routes(current)))

    def get(self, path: str) -> httpx.Response:
        """GET of a path."""

        async def ask() -> httpx.Response:
            async with httpx.AsyncClient(transport=self._transport, base_url="http://x") as asking:
                return await asking.get(path)

        return asyncio.run(ask())


def client(folder: Path | None) -> Client:
    """A client where one version is served, or none."""
    return Client(lambda: folder and ("dreams", int(folder.name), folder))


def floats(text: str) -> list[float]:
    return np.frombuffer(base64.b64decode(text), "<f4").tolist()


def test_the_film_as_it_was_exported(tmp_path: Path) -> None:
    film = film_latents()
    folder = version(tmp_path / "12", to_bytes(film), ("a.mp4", "b.mkv"))
    answer = client(folder).get("/explorer/film.json")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-cache"
    found = answer.json()
    assert (found["model"], found["version"], found["note"]) == ("dreams", 12, "")
    assert found["films"] == ["a.mp4", "b.mkv"]
    assert found["frames"] == [0, 7, 9] and found["film_of"] == [0, 0, 1]
    assert found["seconds"] == [0.0, 0.291667, 0.375]
    assert found["groups"] == [0, 1, 2]
    assert found["shots"] == [0, 1, 0] and found["held_out"] == [False, True, False]
    assert floats(found["latents"]) == film.latents.ravel().tolist()
    assert floats(found["mean"]) == film.mean.tolist()
    assert floats(found["directions"]) == film.directions.ravel().tolist()
    assert found["deviations"] == [2.5] and found["shrinkage"] == 16


def test_without_a_film_the_list_is_empty(tmp_path: Path) -> None:
    found = client(version(tmp_path / "1", None)).get("/explorer/film.json").json()
    assert found["frames"] == [] and found["latents"] == "" and found["note"] == ""


def test_damaged_latents_are_reported(tmp_path: Path) -> None:
    folder = version(tmp_path / "3", to_bytes(film_latents())[:-40], ("a.mp4",))
    answer = client(folder).get("/explorer/film.json")
    assert answer.status_code == 200, "the model itself can still be explored"
    assert answer.json()["frames"] == []
    assert answer.json()["note"] == ("The film's latents of version 3 are damaged; export again.")


def test_without_a_model_film_json_is_503(tmp_path: Path) -> None:
    answer = client(None).get("/explorer/film.json")
    assert answer.status_code == 503
    assert answer.json() == {"error": "no model is served yet"}
    assert client(None).get("/").status_code == 200


def test_folders_without_a_number_are_version_1(tmp_path: Path) -> None:
    folder = version(tmp_path / "my_decoder", to_bytes(film_latents())[:-40])
    found = Client(lambda: ("my_decoder", 1, folder)).get("/explorer/film.json").json()
    assert found["version"] == 1 and "of version 1 are damaged" in found["note"]


def test_replaced_files_are_read_again(tmp_path: Path) -> None:
    folder = version(tmp_path / "1", None)
    served = client(folder)
    assert served.get("/explorer/film.json").json()["frames"] == []
    (folder / FILE_NAME).write_bytes(to_bytes(film_latents()))
    assert served.get("/explorer/film.json").json()["frames"] == [0, 7, 9]


def test_a_later_version_replaces_the_film(tmp_path: Path) -> None:
    folders = [version(tmp_path / "1", None), version(tmp_path / "2", to_bytes(film_latents()))]
    served = Client(lambda: ("dreams", int(folders[0].name), folders[0]))
    assert served.get("/explorer/film.json").json()["version"] == 1
    folders.reverse()
    assert served.get("/explorer/film.json").json()["version"] == 2


@pytest.mark.parametrize("path", sorted(PAGE.iterdir()), ids=lambda path: path.name)
def test_all_files_that_a_page_imports_are_served(path: Path) -> None:
    """No file of the page names another host, and what it imports is served with its type."""
    served = client(None)
    text = path.read_text("utf-8")
    assert re.findall(r"https?://[^\s)]+", text) == []
    asked = re.findall(r'from "\./([^"]+)"', text) + re.findall(r'="explorer/([^"]+)"', text)
    for name in asked:
        answer = served.get(f"/explorer/{name}")
        assert answer.status_code == 200 and answer.text == (PAGE / name).read_text("utf-8")
        kind = {"js": "text/javascript", "css": "text/css"}[name.rsplit(".")[-1]]
        assert answer.headers["content-type"].startswith(kind)
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert len(asked) >= {"index.html": 2, "main.js": 12}.get(path.name, 0)


def test_the_page_loads_nothing_from_other_hosts() -> None:
    answer = client(None).get("/")
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"].split("; ")
    assert "default-src 'self'" in policy and "img-src 'self' blob: data:" in policy


def test_only_the_pages_own_files_are_served(tmp_path: Path) -> None:
    for path in ("/explorer/film.py", "/explorer/../film.py", "/explorer/%2e%2e/film.py", "/x"):
        assert client(None).get(path).status_code == 404
