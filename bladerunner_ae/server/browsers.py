"""Protection against web pages of other sites; the server has no password.

A page of any site can make its visitor's browser send requests to this machine, and one whose name
is made to point here (DNS rebinding) could even read the answers. So only known names are answered,
and requests of other pages are refused. Programs, which send none of a browser's headers, are not
concerned.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bladerunner_ae.server.serving_errors import Code, ServingError, error_response, invalid

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_HEADERS = {"X-Content-Type-Options": "nosniff", "Cross-Origin-Resource-Policy": "same-origin"}


def middleware(host: str, allowed_hosts: Sequence[str]) -> list[Middleware]:
    """Return the middleware of a server at `host`; for `allowed_hosts` see the flag."""
    names = [name.lower() for name in allowed_hosts]
    guards = [Middleware(Guard, allowed_hosts=names)]
    if names or is_loopback(host):
        known = {*_LOOPBACK, f"[{host}]" if ":" in host else host.lower(), *names}
        guards.append(
            Middleware(TrustedHostMiddleware, allowed_hosts=sorted(known), www_redirect=False)
        )
    return guards


def is_loopback(host: str) -> bool:
    """Whether an address to listen at can be reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


class Guard:
    """Refusal of other sites' requests and of what proxies may misread; marks all answers."""

    def __init__(self, app: ASGIApp, allowed_hosts: Sequence[str] = ()) -> None:
        self._app, self._allowed = app, tuple(allowed_hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        fault = self._fault(scope["method"], Headers(scope=scope))
        if fault is None:
            await self._app(scope, receive, marked)
        else:
            await error_response(fault, close=True)(scope, receive, marked)

    def _fault(self, method: str, headers: Headers) -> ServingError | None:
        if "content-length" in headers and "transfer-encoding" in headers:
            # Two lengths: a proxy may see another request here than we do.
            return invalid("A request has either Content-Length or Transfer-Encoding, not both")
        if method in ("GET", "HEAD", "OPTIONS"):
            return None
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        if site is None and origin is None:
            return None  # no browser
        if not self._is_own(site, origin, headers.get("host", "")):
            return ServingError(
                Code.PERMISSION_DENIED,
                f"The page {(origin or 'of another site')[:200]} may not use this server; "
                "--allowed_hosts lets in pages of further hosts",
            )
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            return ServingError(
                Code.INVALID_ARGUMENT, "Pages send Content-Type: application/json", http=415
            )
        return None

    def _is_own(self, site: str | None, origin: str | None, host: str) -> bool:
        """Whether a page comes from here, or from a host that is allowed."""
        try:
            sender = urlsplit(origin or "")
            name = sender.hostname or ""
        except ValueError:
            return False
        name = f"[{name}]" if ":" in name else name
        for allowed in self._allowed:
            if name and (name == allowed or (allowed[:2] == "*." and name.endswith(allowed[1:]))):
                return True
        if site is not None and site not in ("same-origin", "none"):
            return False
        # Behind a proxy the names may differ, but then the browser itself vouches.
        return site is not None or sender.netloc.lower() == host.lower()
