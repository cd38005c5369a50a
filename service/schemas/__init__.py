"""What the API answers, as documents. Requests are `service.domain.specs`."""

from service.schemas.checkpoints import CheckpointFile, CheckpointRead
from service.schemas.events import EventRead
from service.schemas.files import FileRead
from service.schemas.health import Readiness
from service.schemas.jobs import JobChange, JobRead
from service.schemas.keys import KeyCreate, KeyCreated, KeyRead, Login, LoginLink
from service.schemas.metrics import MetricsRead, Series
from service.schemas.page import Deleted, Page, Read
from service.schemas.presets import PresetRead, StageRead
from service.schemas.problems import ErrorBody, ErrorRead
from service.schemas.queue import QueuedRead, QueueRead, Room
from service.schemas.samples import SampleRead
from service.schemas.webhooks import (
    DeliveryAttempt,
    DeliveryRead,
    WebhookChange,
    WebhookCreate,
    WebhookCreated,
    WebhookRead,
)
from service.schemas.workers import Gpu, WorkerJob, WorkerRead

__all__ = [
    "CheckpointFile",
    "CheckpointRead",
    "Deleted",
    "DeliveryAttempt",
    "DeliveryRead",
    "ErrorBody",
    "ErrorRead",
    "EventRead",
    "FileRead",
    "Gpu",
    "JobChange",
    "JobRead",
    "KeyCreate",
    "KeyCreated",
    "KeyRead",
    "Login",
    "LoginLink",
    "MetricsRead",
    "Page",
    "PresetRead",
    "QueueRead",
    "QueuedRead",
    "Read",
    "Readiness",
    "Room",
    "SampleRead",
    "Series",
    "StageRead",
    "WebhookChange",
    "WebhookCreate",
    "WebhookCreated",
    "WebhookRead",
    "WorkerJob",
    "WorkerRead",
]
