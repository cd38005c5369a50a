"""Requests to the API: repeated when the connection fails; refusals raise ApiError with the API's message."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx2

from hone.errors import HoneError, Unavailable

LOOPBACK = {"127.0.0.1", "::1", "localhost"}
TRIES, RETRY_SECONDS = 3, 0.3


class ApiError(HoneError):
    """The API refused a request; the message is the API's."""

    def __init__(self, status: int, message: str, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message, param=param, code=code)
        self.status = status


class Transport:
    """The connections to a service at `url`, with the rights of `key`."""

    def __init__(self, url: str, key: str, timeout: float) -> None:
        self.url = url.rstrip("/")
        self._http = httpx2.Client(
            base_url=self.url,
            headers={"authorization": f"Bearer {key}"},
            timeout=timeout,
            trust_env=urlsplit(self.url).hostname not in LOOPBACK,  # no proxy between this machine and itself
        )

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def send(self, method: str, path: str, *, repeat: bool = True, **options: Any) -> bytes:
        """The body of the answer. Raises ApiError, or Unavailable after TRIES if the service does not answer."""
        for left in reversed(range(TRIES if repeat else 1)):
            try:
                response = self._http.request(method, path, **options)
            except httpx2.TransportError as error:
                if not left:
                    raise self.unreachable(error) from error
                time.sleep(RETRY_SECONDS)
            else:
                _check(response)
                return response.content
        raise AssertionError("unreachable: the last try answers or raises")

    @contextmanager
    def open(self, path: str, **options: Any) -> Iterator[httpx2.Response]:
        """An answer whose body is read as it arrives. Raises ApiError, and TransportError if the connection fails."""
        with self._http.stream("GET", path, **options) as response:
            if response.is_error:
                response.read()
            _check(response)
            yield response

    def unreachable(self, error: httpx2.TransportError) -> Unavailable:
        """The error for a service that does not answer."""
        return Unavailable(f"no service answers at {self.url} ({error}); is `hone up` running there?")


def without_none(**query: Any) -> dict[str, Any]:
    """The arguments that are not None."""
    return {name: value for name, value in query.items() if value is not None}


def _check(response: httpx2.Response) -> None:
    if not response.is_error:
        return
    try:
        error = response.json()["error"]
        raise ApiError(response.status_code, error["message"], error.get("param"), error.get("code"))
    except (ValueError, KeyError, TypeError):
        text = f"{response.url} answered {response.status_code} {response.reason_phrase}; is that a Hone service?"
        raise ApiError(response.status_code, text) from None
