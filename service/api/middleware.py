"""Middleware: an id and security headers for every answer, a limit of bodies. Plain ASGI does not buffer streams."""

import re

from anyio import fail_after
from starlette._utils import get_route_path
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.problems import answer
from service.domain import ids

JSON_BYTES = 2**18  # several times as long as a spec whose fields are all as long as they may be
FORM_OVERHEAD = 2**16
MOST_UPLOADS = 16  # each takes twice its size on the disk until it is checked
SILENCE_SECONDS = 60.0
POLICY = {
    "default-src": "'self'",
    "img-src": "'self' data:",
    "object-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'self'",
    "frame-ancestors": "'none'",
}
SECURITY_HEADERS = {
    "content-security-policy": "; ".join(f"{name} {value}" for name, value in POLICY.items()),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "permissions-policy": "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "x-frame-options": "DENY",  # what scanners and old browsers read in place of frame-ancestors
}


class SecurityHeaders:
    """What a browser may do with an answer: no scripts of others, no frames around it, no guessing of its type."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(SECURITY_HEADERS)
                headers.setdefault("cache-control", "private, no-cache")  # no proxy may share jobs or files
            await send(message)

        await self._app(scope, receive, send_with_headers)


class RequestId:
    """`x-request-id` on every answer: the one that the caller sent, if it is printable ASCII, else a new one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sent = Headers(scope=scope).get("x-request-id", "")
        request_id = sent if 0 < len(sent) <= 100 and sent.isascii() and sent.isprintable() else ids.new("req_")
        scope["request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        await self._app(scope, receive, send_with_id)


class Compression:
    """gzip for what is text: not for event streams, which must not wait, nor for weights, which do not shrink."""

    LEVEL = 4  # 5.5 MB of series: 41 % in 0.10 s; level 6 takes three times as long for 40 %
    DOWNLOAD = re.compile(r"/v1/checkpoints/[^/]+/(files/|archive$)")

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._compressing = GZipMiddleware(app, minimum_size=1024, compresslevel=self.LEVEL)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        download = scope["type"] != "http" or self.DOWNLOAD.match(get_route_path(scope))
        await (self._app if download else self._compressing)(scope, receive, send)


class BodyLimit:
    """413 for a body that is too long, by its declared length or by counting it; 408 for one that stops to arrive; 503
    for too many uploads at once.
    """

    def __init__(self, app: ASGIApp, max_upload_bytes: int) -> None:
        self._app = app
        self._max_upload = max_upload_bytes
        self._uploads = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        upload = get_route_path(scope) == "/v1/files"
        limit = self._max_upload + FORM_OVERHEAD if upload else JSON_BYTES
        remedy = f"the limit is {self._max_upload if upload else JSON_BYTES} bytes"
        if upload:
            remedy += "; split the file or ask the operator to raise HONE_MAX_UPLOAD_BYTES"
        declared = Headers(scope=scope).get("content-length", "")
        if declared.isdigit() and int(declared) > limit:
            response = answer(
                413, "invalid_request_error", f"the body has {declared} bytes, {remedy}", code="too_large"
            )
            await response(scope, receive, send)
            return
        if not upload:
            await self._app(scope, self._counted(receive, limit, remedy), send)
        elif self._uploads >= MOST_UPLOADS:
            message = f"the server receives {MOST_UPLOADS} uploads already, its most; try again"
            await answer(503, "server_error", message, code="overloaded")(scope, receive, send)
        else:
            self._uploads += 1
            try:
                await self._app(scope, self._counted(receive, limit, remedy), send)
            finally:
                self._uploads -= 1

    def _counted(self, receive: Receive, limit: int, remedy: str) -> Receive:
        count, complete = 0, False

        async def receive_and_count() -> Message:
            nonlocal count, complete
            if complete:  # what comes now is that the client has gone, which may take hours
                return await receive()
            try:
                with fail_after(SILENCE_SECONDS):
                    message = await receive()
            except TimeoutError:
                reason = f"nothing of the body came for {SILENCE_SECONDS:g} seconds"
                raise HTTPException(408, reason) from None
            complete = not message.get("more_body", False)
            count += len(message.get("body", b""))
            if count > limit:
                raise HTTPException(413, f"the body is too long: {remedy}")
            return message

        return receive_and_count
