"""Webhooks: which event reports which status of a job, and when a failed delivery is tried again."""

import random
from datetime import timedelta

from hone.documents.status import JobStatus
from hone.documents.webhook_events import WebhookEvent

EVENT_OF_STATUS: dict[JobStatus, WebhookEvent] = {
    JobStatus.RUNNING: "fine_tuning.job.running",
    JobStatus.PAUSED: "fine_tuning.job.paused",
    JobStatus.SUCCEEDED: "fine_tuning.job.succeeded",
    JobStatus.FAILED: "fine_tuning.job.failed",
    JobStatus.CANCELLED: "fine_tuning.job.cancelled",
}
WARNING: WebhookEvent = "fine_tuning.job.warning"
TEST = "webhook.test"

FIRST_DELAY, LONGEST_DELAY = timedelta(seconds=5), timedelta(hours=6)
GIVEN_UP_AFTER = timedelta(hours=72)


def retry_delay(attempts: int) -> timedelta:
    """After so many failed attempts: 5 s, 20 s, 80 s ... 6 h, each up to a quarter longer, to spread them."""
    factor: int = 4 ** min(attempts - 1, 10)
    delay = min(FIRST_DELAY * factor, LONGEST_DELAY)
    return delay * random.uniform(1.0, 1.25)


def is_accepted(status_code: int | None) -> bool:
    """Whether the status of an answer means success: only 2xx does; redirects are not followed."""
    return status_code is not None and 200 <= status_code < 300
