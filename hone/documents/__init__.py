"""What the API answers, as documents. Requests are `service.domain.specs`."""

from hone.documents.checkpoints import CheckpointFile, CheckpointRead
from hone.documents.events import EventRead
from hone.documents.files import FileRead
from hone.documents.health import Readiness
from hone.documents.health_notes import HealthNote
from hone.documents.jobs import JobChange, JobExtension, JobRead, JobSummary
from hone.documents.keys import KeyCreate, KeyCreated, KeyRead, Login, LoginLinkCreated, SessionCreate, SessionRead
from hone.documents.metrics import MetricsRead, Series
from hone.documents.page import Deleted, Page
from hone.documents.presets import PresetRead, StageRead
from hone.documents.problems import ErrorBody, ErrorRead
from hone.documents.queue import QueuedRead, QueueRead, Usage
from hone.documents.samples import SampleRead
from hone.documents.webhooks import (
    DeliveryAttempt,
    DeliveryRead,
    WebhookChange,
    WebhookCreate,
    WebhookCreated,
    WebhookRead,
)
from hone.documents.workers import WorkerGpu, WorkerJob, WorkerRead

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
    "HealthNote",
    "JobChange",
    "JobExtension",
    "JobRead",
    "JobSummary",
    "KeyCreate",
    "KeyCreated",
    "KeyRead",
    "Login",
    "LoginLinkCreated",
    "MetricsRead",
    "Page",
    "PresetRead",
    "QueueRead",
    "QueuedRead",
    "Readiness",
    "SampleRead",
    "Series",
    "SessionCreate",
    "SessionRead",
    "StageRead",
    "Usage",
    "WebhookChange",
    "WebhookCreate",
    "WebhookCreated",
    "WebhookRead",
    "WorkerGpu",
    "WorkerJob",
    "WorkerRead",
]
