"""Lets the service be below a prefix of its host, whether or not the proxy removes the prefix from the path."""

from starlette._utils import get_route_path
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.problems import answer
from service.domain.root_paths import root_path

FORWARDED = "x-forwarded-prefix"


class RootPath:
    """Gives each request the root path that the browser sees; the rest of its path is what the routes know."""

    def __init__(self, app: ASGIApp, root_path: str, *, trust_forwarded: bool) -> None:
        self._app = app
        self._root = root_path
        self._trust_forwarded = trust_forwarded

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            root = self._of(scope)
        except ValueError as error:
            refusal = answer(400, "invalid_request_error", f"{FORWARDED}: {error}", FORWARDED, "invalid_prefix")
            await refusal(scope, receive, send)
            return
        await self._app(below(scope, root) if root else scope, receive, send)

    def _of(self, scope: Scope) -> str:
        forwarded = Headers(scope=scope).get(FORWARDED) if self._trust_forwarded else None
        return self._root if forwarded is None else root_path(forwarded)


def below(scope: Scope, root: str) -> Scope:
    """The scope as ASGI wants it: `path` begins with `root_path`."""
    path = get_route_path(scope)  # without the one of uvicorn's --root-path
    inner = get_route_path({"path": path, "root_path": root}) or "/"
    return {**scope, "root_path": root, "path": root + inner}
