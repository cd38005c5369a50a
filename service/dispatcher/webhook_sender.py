"""Sends webhooks: in a thread of its own, many endpoints at the same time, one delivery of each.

A delivery is claimed in one short transaction and recorded in another; nothing is locked while an endpoint takes its
time. A sender that dies in between leaves a claim that runs out: a delivery is made at least once, with the same id.
"""

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from ipaddress import ip_address
from typing import TypeVar

import httpx2
from standardwebhooks import Webhook

from hone.documents.webhook_events import body
from service.domain.webhook_urls import address_refusal
from service.domain.webhooks import is_accepted
from service.logs import get
from service.messaging.wakeups import Listener
from service.persistence import deliveries
from service.persistence.database import Database
from service.persistence.deliveries import Due, Outcome
from service.threads import end_process_on_error

T = TypeVar("T")
log = get(__name__)
ROUND_SECONDS = 1.0  # what a lost wake-up costs
ATTEMPT_SECONDS = 10.0  # in all: resolving, connecting, sending, and the head of the response
SHUTDOWN_SECONDS = 3.0  # for deliveries in progress when the dispatcher stops
MAX_ENDPOINTS = 64
LONGEST_ERROR = 300  # characters that the log keeps


class Refused(Exception):
    """The address is not allowed."""


class Sender:
    """Sends what is due while this process leads."""

    def __init__(self, database: Database, listener: Listener, leads: Callable[[], bool], *, private: bool) -> None:
        self._database = database
        self._listener = listener
        self._leads = leads
        self._private = private
        self._sending: dict[str, asyncio.Task[None]] = {}  # by webhook
        self._rows = ThreadPoolExecutor(2)  # apart from the threads in which names are resolved, which may be slow
        self._http = httpx2.AsyncClient(
            timeout=ATTEMPT_SECONDS,
            trust_env=False,  # a proxy would resolve the name again, past our check of the address
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=0),
            headers={"user-agent": "Hone", "content-type": "application/json"},
        )

    def run(self, stop: threading.Event) -> None:
        """Send until `stop` is set."""
        asyncio.run(self._run(stop))

    async def _run(self, stop: threading.Event) -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(MAX_ENDPOINTS))
        listening = asyncio.create_task(self._listener.run(deliveries.CHANNEL), name="wake-ups")
        end_process_on_error(listening)
        news = asyncio.Event()
        async with self._listener.subscribed(deliveries.CHANNEL, news):
            while not stop.is_set():
                news.clear()
                await self._round(news)
                with suppress(TimeoutError):
                    await asyncio.wait_for(news.wait(), ROUND_SECONDS)
        await self._finish()
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening
        await self._http.aclose()
        self._rows.shutdown()
        await self._listener.close()

    async def _finish(self) -> None:
        tasks = list(self._sending.values())
        if tasks:
            await asyncio.wait(tasks, timeout=SHUTDOWN_SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _round(self, news: asyncio.Event) -> None:
        """Begin to send what is due."""
        try:
            for due in await self._with_rows(self._claim):
                task = self._sending[due.webhook_id] = asyncio.create_task(self._deliver(due))
                task.add_done_callback(partial(self._endpoint_is_free, due.webhook_id, news))
        except Exception as error:  # noqa: BLE001 - the next round must be tried, whatever this one met
            log.error("will look for deliveries again", error=str(error), kind=type(error).__name__)

    def _endpoint_is_free(self, webhook_id: str, news: asyncio.Event, _: object) -> None:
        """An endpoint is free for its next delivery."""
        del self._sending[webhook_id]
        news.set()

    async def _with_rows(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._rows, work)

    def _claim(self) -> list[Due]:
        free = MAX_ENDPOINTS - len(self._sending)
        if free <= 0 or not self._leads():
            return []
        with self._database.transaction() as session:
            return deliveries.claim(session, list(self._sending), free)

    async def _deliver(self, due: Due) -> None:
        outcome = await self._attempt(due)
        log.info("webhook", delivery=due.id, attempt=due.attempt, status=outcome.status_code, error=outcome.error)
        try:
            await self._with_rows(partial(self._record, due, outcome))
        except Exception as error:  # noqa: BLE001 - the claim runs out, and the delivery is made again
            log.error("a delivery could not be recorded", delivery=due.id, error=str(error))

    def _record(self, due: Due, outcome: Outcome) -> None:
        with self._database.transaction() as session:
            deliveries.record(session, due, outcome)

    async def _attempt(self, due: Due) -> Outcome:
        began = time.monotonic()
        status, error = await self._response(due)
        return Outcome(status, error, time.monotonic() - began)

    async def _response(self, due: Due) -> tuple[int | None, str | None]:
        """The response's status, if there is one, and the error."""
        try:
            async with asyncio.timeout(ATTEMPT_SECONDS):
                status = await self._post(due)
        except TimeoutError:
            return None, f"no answer within {ATTEMPT_SECONDS:g} s"
        except Exception as error:  # noqa: BLE001 - whatever an address or its server does is the outcome
            return None, (str(error) or type(error).__name__)[:LONGEST_ERROR]
        return status, None if is_accepted(status) else f"answered {status}, not 2xx"

    async def _post(self, due: Due) -> int:
        """The response's status; its body is not read. The connection goes to the very address that was checked."""
        url = httpx2.URL(due.url)
        address = await self._address(url)
        text = body(due.payload)
        headers = {"host": url.netloc.decode(), **_signed(due, text)}
        where = url.copy_with(host=address)
        extensions = {"sni_hostname": url.host}
        async with self._http.stream("POST", where, content=text, headers=headers, extensions=extensions) as response:
            return response.status_code

    async def _address(self, url: httpx2.URL) -> str:
        """An allowed address to which the name resolves now."""
        port = url.port or (443 if url.scheme == "https" else 80)
        found = await asyncio.get_running_loop().getaddrinfo(url.host, port, type=socket.SOCK_STREAM)
        reason = f"{url.host} has no address"
        for _, _, _, _, place in found:
            refused = address_refusal(ip_address(str(place[0]).partition("%")[0]), private=self._private)
            if refused is None:
                return str(place[0])
            reason = refused
        raise Refused(reason)


def _signed(due: Due, text: str) -> dict[str, str]:
    now = datetime.now(UTC)
    signature = Webhook(due.secret).sign(due.id, now, text)
    return {"webhook-id": due.id, "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}
