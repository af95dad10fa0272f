"""Access of web pages and of programs."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from bladerunner_ae.errors import UsageError
from bladerunner_ae.serve import allowed_hosts
from bladerunner_ae.server.browsers import middleware

JSON = {"content-type": "application/json"}


def ask(
    headers: dict[str, str], method: str = "POST", host: str = "127.0.0.1", allowed: Any = ()
) -> httpx.Response:
    def answer(request: Request) -> Response:
        return PlainTextResponse("answered")

    application = Starlette(
        routes=[Route("/", answer, methods=["GET", "POST"])], middleware=middleware(host, allowed)
    )

    async def main() -> httpx.Response:
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, "/", headers=headers, content=b"{}")

    return asyncio.run(main())


@pytest.mark.parametrize(
    ("name", "answered"),
    [
        ("localhost", True), ("LOCALHOST:80", True), ("127.0.0.1:8501", True), ("[::1]:1", True),
        ("[::1]", True), ("evil.example", False), ("evil.example:8501", False),
        ("localhost.evil.example", False), ("127.0.0.1.evil.example", False), ("", False),
        ("evil.example@localhost", False), ("localhost, evil.example", False),
        ("192.168.1.2", False), ("[::2]:1", False),
    ],
)  # fmt: skip
def test_only_names_of_this_machine_are_answered(name: str, answered: bool) -> None:
    for method in ("GET", "POST"):
        assert (ask({"host": name}, method).status_code == 200) == answered
        for host in ("localhost", "::1", "127.0.0.1"):
            assert (ask({"host": name}, method, host).status_code == 200) == answered
        # Where everybody can reach it anyway, it may have any name.
        assert ask({"host": name or "x"}, method, "0.0.0.0").status_code == 200


def test_allowed_hosts_are_answered() -> None:
    names = allowed_hosts(["Films.example", "*.example.org", "fe80::1"])
    assert names == ("films.example", "*.example.org", "[fe80::1]")
    for host in ("127.0.0.1", "0.0.0.0"):
        for name in ("films.example:80", "a.example.org", "[fe80::1]:80", "localhost"):
            assert ask({"host": name}, host=host, allowed=names).status_code == 200
        assert ask({"host": "evil.example"}, host=host, allowed=names).status_code == 400
    assert ask({"host": "evil.example"}, allowed=allowed_hosts(["*"])).status_code == 200
    for wrong in ("http://a", "a:8501", "a*", "a/b", "", "*a"):
        with pytest.raises(UsageError, match="write names or addresses without"):
            allowed_hosts([wrong])


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # programs: curl, TensorFlow Serving's clients, ours
        ({"content-type": "application/x-www-form-urlencoded"}, 200),
        ({"origin": "http://localhost", **JSON}, 200),
        ({"origin": "http://localhost", "sec-fetch-site": "same-origin", **JSON}, 200),
        ({"origin": "https://public.example", "sec-fetch-site": "same-origin", **JSON}, 200),
        ({"sec-fetch-site": "none", **JSON}, 200),
        ({"origin": "http://localhost", "content-type": "text/plain"}, 415),
        ({"origin": "http://localhost"}, 415),
        ({"origin": "http://evil.example", **JSON}, 403),
        ({"origin": "http://localhost:3000", **JSON}, 403),
        ({"origin": "null", **JSON}, 403),
        ({"origin": "http://[", **JSON}, 403),
        ({"origin": "", **JSON}, 403),
        ({"sec-fetch-site": "cross-site", **JSON}, 403),
        ({"sec-fetch-site": "same-site", **JSON}, 403),
        ({"origin": "http://localhost", "sec-fetch-site": "cross-site", **JSON}, 403),
    ],
)
def test_pages_of_other_sites_send_nothing(headers: dict[str, str], status: int) -> None:
    found = ask(headers)
    assert found.status_code == status
    assert ask({k: v for k, v in headers.items() if k != "content-type"}, "GET").status_code == 200
    if status == 403:
        assert "--allowed_hosts" in found.json()["error"]


def test_pages_of_allowed_hosts_are_answered() -> None:
    headers = {"origin": "https://films.example", **JSON}
    assert ask(headers).status_code == 403
    assert ask(headers, allowed=["films.example"]).status_code == 200
    assert ask(headers, allowed=["*.example"]).status_code == 200
    assert ask(headers, allowed=["*"]).status_code == 403  # any name, but not any page


def test_requests_with_two_lengths_are_refused() -> None:
    found = ask({"content-length": "2", "transfer-encoding": "chunked"})
    assert found.status_code == 400 and "not both" in found.json()["error"]
    assert found.headers["connection"] == "close"


def test_all_answers_have_the_security_headers() -> None:
    for found in (ask({}), ask({"host": "evil.example"}), ask({"origin": "null"}), ask({}, "PUT")):
        assert found.headers["x-content-type-options"] == "nosniff"
        assert found.headers["cross-origin-resource-policy"] == "same-origin"
