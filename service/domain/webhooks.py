"""Webhooks: of what they are told, which addresses they may have, and when a delivery is tried again."""

import json
import random
from datetime import timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Literal
from urllib.parse import urlsplit

from service.domain.errors import Invalid
from service.domain.jobs import JobStatus

WebhookEvent = Literal[
    "fine_tuning.job.running",
    "fine_tuning.job.paused",
    "fine_tuning.job.succeeded",
    "fine_tuning.job.failed",
    "fine_tuning.job.cancelled",
]
"""OpenAI's names for the last three; the first two are said in the same way. `running` comes with every attempt."""
ANNOUNCED: dict[JobStatus, WebhookEvent] = {
    JobStatus.RUNNING: "fine_tuning.job.running",
    JobStatus.PAUSED: "fine_tuning.job.paused",
    JobStatus.SUCCEEDED: "fine_tuning.job.succeeded",
    JobStatus.FAILED: "fine_tuning.job.failed",
    JobStatus.CANCELLED: "fine_tuning.job.cancelled",
}
ENDS: tuple[WebhookEvent, ...] = (
    "fine_tuning.job.succeeded",
    "fine_tuning.job.failed",
    "fine_tuning.job.cancelled",
)
TEST = "webhook.test"

FIRST_DELAY, LONGEST_DELAY = timedelta(seconds=5), timedelta(hours=6)
GIVEN_UP_AFTER = timedelta(hours=72)
LOGGED_ATTEMPTS = 50  # the latest ones of a delivery; some twenty are made before it is given up, more only by hand
METADATA = {"168.63.129.16", "100.100.100.200", "fd00:ec2::254"}
"""Where clouds tell a machine its secrets; 169.254.169.254 is link-local anyway."""


def retry_delay(attempts: int) -> timedelta:
    """After so many failed attempts: 5 s, 20 s, 80 s ... 6 h, each up to a quarter longer, so that crowds disperse."""
    factor: int = 4 ** min(attempts - 1, 10)
    delay = min(FIRST_DELAY * factor, LONGEST_DELAY)
    return delay * random.uniform(1.0, 1.25)


def is_taken(status_code: int | None) -> bool:
    """Whether an answer means that a message was taken: only 2xx; a redirect is not followed."""
    return status_code is not None and 200 <= status_code < 300


def body(payload: dict[str, Any]) -> str:
    """A message as it is sent and signed."""
    return json.dumps(payload, separators=(",", ":"))


def check_url(url: str, *, private: bool) -> None:
    """Invalid for what can never be sent to. What a name resolves to is looked at when something is sent."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Invalid(f"'{url}' is no URL: {error}", param="url") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        raise Invalid(f"'{url}' is not http://HOST/PATH or https://HOST/PATH", param="url")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise Invalid("a webhook's URL has no user, password or fragment: receivers check the signature", param="url")
    try:
        address = ip_address(parts.hostname)
    except ValueError:
        return
    if reason := refusal(address, private=private):
        raise Invalid(reason, param="url")


def refusal(address: IPv4Address | IPv6Address, *, private: bool) -> str | None:
    """Why nothing is sent to an address; `private`: whether the operator allows loopback and private ones."""
    inner = (address.ipv4_mapped or address.sixtofour or address) if isinstance(address, IPv6Address) else address
    never = inner.is_link_local or inner.is_multicast or inner.is_unspecified or str(inner) in METADATA
    if never or (inner.is_reserved and not inner.is_loopback):
        return f"{address} is not an address that webhooks may have: it is link-local, reserved or a cloud's own"
    if not inner.is_global and not private:
        return f"{address} is a private address: the operator can allow those with HONE_WEBHOOK_ALLOW_PRIVATE=true"
    return None
