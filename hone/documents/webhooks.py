"""Webhooks and what was sent to them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, computed_field

from hone.documents.validation import AtMost, Strict
from hone.documents.webhook_events import ENDS, LOGGED_ATTEMPTS, WebhookEvent


class WebhookCreate(Strict):
    """A webhook to be created."""

    url: str = Field(max_length=2000, description="http or https; redirects are not followed")
    events: Annotated[list[WebhookEvent], AtMost(32)] = Field(
        list(ENDS), min_length=1, description="the events to send"
    )


class WebhookChange(Strict):
    """Changes of a webhook; null leaves a field as it is."""

    url: str | None = Field(None, max_length=2000)
    events: Annotated[list[WebhookEvent], AtMost(32)] | None = Field(None, min_length=1)
    enabled: bool | None = Field(None, description="false: nothing is sent, and no new messages are stored for it")


class WebhookRead(BaseModel):
    """A URL that receives the events of its owner's jobs."""

    object: Literal["webhook"] = "webhook"
    id: str
    owner: str
    url: str
    events: list[str]
    enabled: bool = Field(description="false also after it answered 410 Gone")
    created_at: datetime


class WebhookCreated(WebhookRead):
    """A new webhook. Its secret cannot be shown again."""

    secret: str = Field(description="whsec_...: receivers verify signatures with it")


class DeliveryAttempt(BaseModel):
    """One attempt to send a message."""

    attempt: int = Field(description="counted from 1; the outcome of a missing number is unknown")
    at: datetime = Field(description="when it began")
    status_code: int | None = Field(description="status of the answer; null: there was no answer")
    error: str | None = Field(description="why it failed; null: it was accepted")
    seconds: float = Field(description="duration from resolving the name to the headers of the answer")


class DeliveryRead(BaseModel):
    """One message to one webhook."""

    object: Literal["delivery"] = "delivery"
    id: str = Field(description="the header webhook-id; the same each time the message is sent")
    webhook_id: str
    type: str
    job_id: str | None
    payload: dict[str, Any]
    attempts: int = Field(description="attempts begun so far")
    attempt_log: list[DeliveryAttempt] = Field(description=f"the latest {LOGGED_ATTEMPTS} attempts, newest last")
    next_at: datetime | None = Field(
        description="time of the next attempt; while it is being sent, when that attempt times out"
    )
    delivered_at: datetime | None
    status_code: int | None = Field(description="status of the last answer")
    error: str | None = Field(description="why the last attempt failed")
    created_at: datetime

    @computed_field  # type: ignore[prop-decorator]  # pydantic's own way
    @property
    def status(self) -> Literal["pending", "delivered", "failed"]:
        """Failed: it is not retried any more."""
        if self.next_at is not None:
            return "pending"
        return "delivered" if self.delivered_at is not None else "failed"
