"""The messages between supervisor and trainer: one JSON document per line, over two pipes.

Pure data, so that the supervisor can read it without importing torch.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from hone.documents.health_notes import HealthNote
from hone.documents.status import FailureCategory
from service.domain.stored import SPEC_VERSION


class Message(BaseModel):
    """A line of a pipe. NaN and infinities are written as `NaN` and `Infinity`, JSON's usual extension."""

    model_config = ConfigDict(ser_json_inf_nan="constants")


class Assignment(Message):
    """Everything that a trainer needs; the first line that it reads. Paths are local to its machine."""

    job_id: str
    attempt: int
    spec: dict[str, Any]
    spec_version: int = SPEC_VERSION
    """A trainer may be newer than its supervisor, if Hone was upgraded between the two starts."""
    directory: str
    """Scratch folder of this attempt; checkpoints are written below it."""
    models: dict[str, str]
    """Every model that the spec names, resolved: `tiny`, a directory, or a Hub id."""
    resume_from: str | None = None
    """The complete checkpoint to continue from."""
    files: dict[str, str] = {}
    """Uploaded files by id."""
    devices: list[int] = []
    """Indices of the GPUs that this job may use; none means the CPU."""


FILES_OF_TRAINER = 4
"""Descriptors that go with a ForkRequest: stdin, stdout, stderr, and the pipe for events."""


class ForkRequest(Message):
    """From a worker to its fork server, one datagram each: fork a trainer, or release it."""

    number: int
    """The worker's own, counted up."""
    release: bool = False
    """Kill what is left of the trainer's process group, and forget it."""


class ForkReply(Message):
    """A trainer was forked, or has ended."""

    number: int
    pid: int
    status: int | None = None
    """Its exit status, or -N if signal N ended it, as in `subprocess`."""


Stop = Literal["cancel", "pause"]
"""How a trainer stops at the end of its step: for good, or after a checkpoint from which the job continues later."""


class Command(Message):
    """A later line that the trainer reads: stop at the end of this step."""

    command: Stop


class Alive(Message):
    """A heartbeat, sent every few seconds whatever the training does."""

    kind: Literal["alive"] = "alive"


class Started(Message):
    """The model and the data are loaded."""

    kind: Literal["started"] = "started"
    total_steps: int
    steps_per_epoch: float | None = None
    resumed_step: int = 0
    parameters: int
    device: str
    precision: str


class Token(Message):
    """A token of a model's vocabulary."""

    id: int
    text: str | None
    """None where the tokenizer does not know the id."""


class LoadedModel(Message):
    """What a model is, as its files say. All its weights were found, with the right shapes, and no other ones."""

    architecture: str
    parameters: int
    dtype: str
    """In which its files hold most of the weights."""
    tokens: int
    """In the tokenizer's vocabulary."""
    embedding_rows: int
    added_rows: int = 0
    """Of these, how many are not in its files: `resize_embeddings` added them."""
    special_tokens: dict[str, str]
    stops: list[Token]
    """Those that end a response."""
    chat_template: bool
    context: int | None
    """The longest sequence, in tokens; None for a model that declares no limit."""
    notes: list[str] = []
    """What the library warned of while it read the files."""


class Loaded(Message):
    """A model that the job reads is loaded; sent before the first step, not on resume."""

    kind: Literal["loaded"] = "loaded"
    role: str
    """policy, critic, reference, a reward's name, ..."""
    name: str
    """As the spec names it."""
    model: LoadedModel


Side = Literal["chosen", "rejected"]


class Segment(Message):
    """Consecutive tokens as text, all inside or all outside the loss."""

    text: str
    learned: bool


class PreviewRow(Message):
    """A row as the model sees it."""

    row: int
    """From 1."""
    side: Side | None = None
    """Of a pair, which one."""
    segments: list[Segment]
    tokens: int
    learned_tokens: int
    truncated: bool


class Previewed(Message):
    """The first rows, sent before the first step; not on resume."""

    kind: Literal["previewed"] = "previewed"
    rows: list[PreviewRow]


class Phase(Message):
    """What the trainer is doing, for the job's progress: loading, evaluating, training, saving."""

    kind: Literal["phase"] = "phase"
    phase: str


class Step(Message):
    """One step of training is done."""

    kind: Literal["step"] = "step"
    step: int
    metrics: dict[str, float]


class Evaluated(Message):
    """The held-out rows were scored with the weights of `step`."""

    kind: Literal["evaluated"] = "evaluated"
    step: int
    metrics: dict[str, float]


class SampledResponse(Message):
    """One response, for people to read."""

    split: Literal["train", "eval"]
    prompt: str
    response: str
    answer: str | None = None
    reward: float | None = None
    rewards: dict[str, float] = {}
    tokens: int
    truncated: bool


class Sampled(Message):
    """Some of the responses of a step or an evaluation."""

    kind: Literal["sampled"] = "sampled"
    step: int
    samples: list[SampledResponse]


class Saved(Message):
    """A complete checkpoint is on disk. Sent again on resume, because the first report may be lost."""

    kind: Literal["saved"] = "saved"
    step: int
    directory: str
    metrics: dict[str, float]


class Warned(Message):
    """Something that people should know; the job continues. Sent again at each step at which it still holds."""

    kind: Literal["warned"] = "warned"
    note: HealthNote


class Failed(Message):
    """The job cannot continue."""

    kind: Literal["failed"] = "failed"
    category: FailureCategory
    message: str
    hint: str | None = None
    detail: str | None = None


class Finished(Message):
    """All steps are done and the last checkpoint is written."""

    kind: Literal["finished"] = "finished"


class Stopped(Message):
    """The trainer stopped as it was asked to."""

    kind: Literal["stopped"] = "stopped"
    step: int


Event = Annotated[
    Alive
    | Started
    | Loaded
    | Previewed
    | Phase
    | Step
    | Evaluated
    | Sampled
    | Saved
    | Warned
    | Failed
    | Finished
    | Stopped,
    Field(discriminator="kind"),
]
_adapter: TypeAdapter[Event] = TypeAdapter(Event)


def decode(line: str | bytes) -> Event:
    """Parse one line of the pipe."""
    return _adapter.validate_json(line)


def encode(message: Message) -> str:
    """A message as one line of the pipe."""
    return message.model_dump_json() + "\n"
