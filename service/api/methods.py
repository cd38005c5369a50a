"""HTTP's methods: HEAD is answered as GET, and a method that a path does not have with 405 and those that it has."""

import anyio
from fastapi import Request
from starlette.routing import Match, Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


class HeadAsGet:
    """Answers HEAD with the status and headers of GET. What makes the body is cancelled: a stream would not end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        with anyio.CancelScope() as making:

            async def send_head(message: Message) -> None:
                await send(message)
                if message["type"] == "http.response.start":
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                    making.cancel()
                    await anyio.lowlevel.checkpoint()

            await self._app({**scope, "method": "GET"}, receive, send_head)


def allowed(request: Request) -> list[str]:
    """The methods of the request's path."""
    methods = [method for method in METHODS if _has(request, method)]
    return ["HEAD", *methods] if "GET" in methods else methods


def _has(request: Request, method: str) -> bool:
    scope = {**request.scope, "method": method, "root_path": request.scope.get("app_root_path", "")}  # not a mount's
    routes = request.app.router.routes
    if method != "GET":  # files lie in mounts
        routes = [route for route in routes if not isinstance(route, Mount)]
    return any(route.matches(scope)[0] == Match.FULL for route in routes)
