"""The events that webhooks receive, and the text of a message."""

import json
from typing import Any, Literal

WebhookEvent = Literal[
    "fine_tuning.job.running",
    "fine_tuning.job.paused",
    "fine_tuning.job.succeeded",
    "fine_tuning.job.failed",
    "fine_tuning.job.cancelled",
    "fine_tuning.job.warning",
]
"""OpenAI's names for the three ends; the others are formed like them. `running` is sent for every attempt."""
ENDS: tuple[WebhookEvent, ...] = (
    "fine_tuning.job.succeeded",
    "fine_tuning.job.failed",
    "fine_tuning.job.cancelled",
)

LOGGED_ATTEMPTS = 50  # per delivery, the latest ones; about twenty are made before it is given up


def body(payload: dict[str, Any]) -> str:
    """A message as it is sent and signed."""
    return json.dumps(payload, separators=(",", ":"))
