"""An address that webhooks are sent to: it checks each signature, and refuses some messages so that they come again."""

import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks import Webhook

REFUSED_OF = 5
"""Of so many messages one is answered with 500."""


class Receiver:
    """A server of its own on a free port of this machine."""

    def __init__(self) -> None:
        self.told: Counter[tuple[str, str]] = Counter()
        """How often it was told what of which job."""
        self.forged: list[str] = []
        """Messages whose signature was wrong."""
        self.secret = ""
        self._seen = 0
        self._lock = threading.Lock()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                self.send_response(receiver.take(body, dict(self.headers)))
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as its base calls it
                """Nothing: a soak has thousands."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True).start()

    def take(self, body: bytes, headers: dict[str, str]) -> int:
        """The status to answer with."""
        try:
            message: Any = Webhook(self.secret).verify(body, headers)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it
            with self._lock:
                self.forged.append(f"{error}: {body!r}")
            return 400
        with self._lock:
            self._seen += 1
            if self._seen % REFUSED_OF == 0:
                return 500
            self.told[message["data"]["id"], message["type"]] += 1
        return 200

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()
