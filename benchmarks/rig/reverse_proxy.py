"""A reverse proxy on this machine that offers a service below a prefix, as nginx and Traefik do."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding"}


@contextmanager
def reverse_proxy(upstream: str, prefix: str, *, strip: bool, forwarded: bool = True) -> Iterator[str]:
    """The URL below which `upstream` is offered. `strip` removes the prefix from paths, `forwarded` tells of it."""

    class Handler(BaseHTTPRequestHandler):
        def _pass_on(self) -> None:
            path, mark, rest = self.path.partition("?")
            if path != prefix and not path.startswith(f"{prefix}/"):
                self.send_error(404, "nothing of this service is here")
                return
            headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
            if forwarded:
                headers["X-Forwarded-Prefix"] = prefix
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            inner = (path.removeprefix(prefix) or "/") if strip else path
            connection = HTTPConnection(urlsplit(upstream).netloc, timeout=60)
            try:
                connection.request(self.command, f"{inner}{mark}{rest}", body, headers)
                answer = connection.getresponse()
                self.send_response_only(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in HOP_BY_HOP:
                        self.send_header(name, value)
                self.end_headers()
                while piece := answer.read1():  # a stream passes as it comes
                    self.wfile.write(piece)
            except (BrokenPipeError, ConnectionResetError):
                return  # the browser has gone
            finally:
                connection.close()

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = _pass_on  # noqa: N815 - names of the library

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    class Proxy(ThreadingHTTPServer):
        request_queue_size = 128  # of the library: 5, fewer than a browser opens at once

    with Proxy(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}{prefix}"
        server.shutdown()
