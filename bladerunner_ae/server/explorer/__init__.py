"""The explorer: a page to walk through a film's latent space.

The server mounts these routes next to its REST API, from which the page gets its pictures, so it
works with any decoder. The film's latents come from the folder of the served version.

| path | content |
|---|---|
| / | the page |
| /explorer/NAME | its style and scripts, package data below `page/` |
| /explorer/film.json | the film's latents, see `film_data.py` |
"""

from collections.abc import Callable
from pathlib import Path

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from bladerunner_ae.server.explorer.film_data import film_json

PAGE = Path(__file__).parent / "page"

Current = Callable[[], tuple[str, int, Path] | None]
"""Returns the model's name, its newest served version and the folder; None while there is none."""

_MEDIA_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_HEADERS = {
    "Cache-Control": "no-cache",  # the browser asks for a newer one each time
    # All parts of the page come from here; pictures come within JSON.
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def routes(current: Current) -> list[Route]:
    """Return the explorer's routes; `current` is called for every film.json."""

    def film(request: Request) -> Response:  # not async: it reads a file, in a thread
        served = current()
        if served is None:
            return JSONResponse({"error": "no model is served yet"}, 503, _HEADERS)
        return Response(film_json(*served), headers=_HEADERS, media_type="application/json")

    return [
        Route("/", _page_file("index.html")),
        Route("/explorer/film.json", film),
        *(
            Route(f"/explorer/{path.name}", _page_file(path.name))
            for path in sorted(PAGE.iterdir())
            if path.suffix in (".css", ".js")
        ),
    ]


def _page_file(name: str) -> Callable[[Request], Response]:
    path = PAGE / name

    def serve(request: Request) -> Response:
        return FileResponse(path, headers=_HEADERS, media_type=_MEDIA_TYPES[path.suffix])

    return serve
