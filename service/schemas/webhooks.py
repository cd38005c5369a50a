"""Webhooks and what was sent to them."""

from datetime import datetime
from typing import Any, Literal

from pydantic import Field, computed_field

from service.domain.strict import Strict
from service.domain.webhooks import ENDS, LOGGED_ATTEMPTS, WebhookEvent
from service.schemas.page import Read


class WebhookCreate(Strict):
    """A wish to be told."""

    url: str = Field(max_length=2000, description="http or https; redirects are not followed")
    events: list[WebhookEvent] = Field(list(ENDS), min_length=1, description="of what it is told")


class WebhookChange(Strict):
    """What is to be changed of a webhook; null: nothing."""

    url: str | None = Field(None, max_length=2000)
    events: list[WebhookEvent] | None = Field(None, min_length=1)
    enabled: bool | None = Field(None, description="false: nothing is sent to it, and nothing new kept for it")


class WebhookRead(Read):
    """An address that hears of its owner's jobs."""

    object: Literal["webhook"] = "webhook"
    id: str
    owner: str
    url: str
    events: list[str]
    enabled: bool = Field(description="false also after it has answered 410 Gone")
    created_at: datetime


class WebhookCreated(WebhookRead):
    """A webhook; its secret is shown this once."""

    secret: str = Field(description="whsec_...: receivers verify with it that a message comes from here")


class DeliveryAttempt(Read):
    """One time that a message was sent."""

    attempt: int = Field(description="counted from 1; of one that is missing nobody knows what came")
    at: datetime = Field(description="when it was begun")
    status_code: int | None = Field(description="of the answer; null: there was none")
    error: str | None = Field(description="why it counts as failed; null: it was taken")
    seconds: float = Field(description="how long it took, from resolving the name to the head of the answer")


class DeliveryRead(Read):
    """One message for one webhook."""

    object: Literal["delivery"] = "delivery"
    id: str = Field(description="the header webhook-id: the same each time that the message is sent")
    webhook_id: str
    type: str
    job_id: str | None
    payload: dict[str, Any]
    attempts: int = Field(description="how many were begun")
    attempt_log: list[DeliveryAttempt] = Field(description=f"the latest {LOGGED_ATTEMPTS} attempts, newest last")
    next_at: datetime | None = Field(description="when it is tried next; while it is being sent, when it is given up")
    delivered_at: datetime | None
    status_code: int | None = Field(description="of the last answer")
    error: str | None = Field(description="why the last attempt counts as failed")
    created_at: datetime

    @computed_field  # type: ignore[prop-decorator]  # pydantic's own way
    @property
    def status(self) -> Literal["pending", "delivered", "failed"]:
        """Failed: it is not tried again."""
        if self.next_at is not None:
            return "pending"
        return "delivered" if self.delivered_at is not None else "failed"
