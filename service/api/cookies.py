"""The cookie of a browser's session: where it is set, and which requests it vouches for."""

from datetime import UTC, datetime
from urllib.parse import urlsplit

from starlette._utils import get_route_path
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.problems import answer

SAFE = ("GET", "HEAD", "OPTIONS", "TRACE")
SESSION = "/v1/session"


class SessionCookie:
    """Makes a session's cookie count like the key in it, but lets no other page use it to change anything.

    A browser sends the cookie with requests that pages of other ports of this host make: to SameSite they are the same
    site. So a request that may change something also has to come from a page of this very origin. A request with an
    `Authorization` header needs no cookie: no page can send that header elsewhere unless the other side agrees.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        secret = None if "authorization" in headers else secret_of(headers)
        logs_in_or_out = scope["type"] == "http" and get_route_path(scope) == SESSION
        if (secret or logs_in_or_out) and scope["method"] not in SAFE and not _of_this_origin(headers, scope["scheme"]):
            await _refusal(headers)(scope, receive, send)
            return
        if secret:
            scope = {**scope, "headers": [*scope["headers"], (b"authorization", f"Bearer {secret}".encode("latin-1"))]}
        await self._app(scope, receive, send)


def secret_of(headers: Headers) -> str | None:
    """The key of the session, or None. Of several cookies of that name the first has the longest path: ours."""
    for pair in headers.get("cookie", "").split(";"):
        name, _, value = pair.strip().partition("=")
        if name == _name(headers):
            return value or None
    return None


def put(response: Response, request: Request, secret: str, expires_at: datetime) -> None:
    """Let the browser keep the key where no script can read it."""
    seconds = int((expires_at - datetime.now(UTC)).total_seconds())
    _set(response, request, secret, seconds)


def remove(response: Response, request: Request) -> None:
    """Let the browser forget the key."""
    _set(response, request, "", 0)


def _set(response: Response, request: Request, value: str, seconds: int) -> None:
    response.set_cookie(
        _name(request.headers),
        value,
        max_age=seconds,
        path=request.scope.get("root_path") or "/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


def _name(headers: Headers) -> str:
    """One for each port: to cookies, all ports of a host are the same."""
    port = headers.get("host", "").rpartition("]")[2].rpartition(":")[2]
    return f"hone-session-{port}" if port.isdecimal() and ":" in headers["host"] else "hone-session"


def _of_this_origin(headers: Headers, scheme: str) -> bool:
    site = headers.get("sec-fetch-site")  # no script can set it; it also counts where a proxy has changed the host
    if site is not None:
        return site == "same-origin"
    try:
        origin = urlsplit(headers.get("origin", ""))
    except ValueError:
        return False
    # behind a proxy that ends TLS, https may look like http here
    schemes = ("https",) if scheme == "https" else ("https", "http")
    return origin.scheme in schemes and origin.netloc.lower() == headers.get("host", "").lower()


def _refusal(headers: Headers) -> Response:
    message = (
        f"a browser's session changes nothing for another page: Origin is {headers.get('origin', 'missing')}, "
        f"Host is {headers.get('host', 'missing')}; use a page of this host (a proxy must leave Host as it is) or "
        "an API key in the header Authorization"
    )
    return answer(403, "permission_error", message, code="cross_origin")
