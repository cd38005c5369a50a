"""What a trainer says while it works, and what it is told: one JSON document a line, over two pipes.

Pure data, so that the supervisor can read it without importing torch.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from service.domain.jobs import FailureCategory


class Message(BaseModel):
    """A line of a pipe. NaN and infinities survive it (`NaN`, `Infinity`: JSON's usual extension)."""

    model_config = ConfigDict(ser_json_inf_nan="constants")


class Assignment(Message):
    """All that a trainer must know; the first line it reads. Paths are local to its machine."""

    job_id: str
    attempt: int
    spec: dict[str, Any]
    directory: str
    """Scratch folder of this attempt; checkpoints are written below it."""
    models: dict[str, str]
    """Every model that the spec names, resolved: `tiny`, a directory, or a Hub id."""
    resume_from: str | None = None
    """A whole checkpoint to go on from."""
    files: dict[str, str] = {}
    """Uploaded files by id."""
    devices: list[int] = []
    """Indices of the GPUs that this job may use; none means the CPU."""


Stop = Literal["cancel", "pause"]
"""Why a trainer is to stop at the end of its step: for ever, or to go on later from what it saves."""


class Command(Message):
    """A later line: stop at the end of this step; to pause is to save first."""

    command: Stop


class Alive(Message):
    """A sign of life, said every few seconds whatever the training does."""

    kind: Literal["alive"] = "alive"


class Started(Message):
    """The model and the data are there."""

    kind: Literal["started"] = "started"
    total_steps: int
    resumed_step: int = 0
    parameters: int
    device: str
    precision: str


Side = Literal["chosen", "rejected"]


class Segment(Message):
    """Consecutive tokens as text, all learned or all only read."""

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
    """The first rows, before the first step. Not said on resume."""

    kind: Literal["previewed"] = "previewed"
    rows: list[PreviewRow]


class Phase(Message):
    """What it is busy with, for progress: loading, evaluating, training, saving."""

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


class Sample(Message):
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
    samples: list[Sample]


class Saved(Message):
    """A whole checkpoint is on disk. Said again on resume, because the first report may be lost."""

    kind: Literal["saved"] = "saved"
    step: int
    directory: str
    metrics: dict[str, float]


class Warned(Message):
    """Something a person should know; the job goes on."""

    kind: Literal["warned"] = "warned"
    message: str


class Failed(Message):
    """It cannot go on."""

    kind: Literal["failed"] = "failed"
    category: FailureCategory
    message: str
    hint: str | None = None
    detail: str | None = None


class Finished(Message):
    """All steps are done and the last checkpoint is written."""

    kind: Literal["finished"] = "finished"


class Stopped(Message):
    """It was told to stop and did."""

    kind: Literal["stopped"] = "stopped"
    step: int


Event = Annotated[
    Alive | Started | Previewed | Phase | Step | Evaluated | Sampled | Saved | Warned | Failed | Finished | Stopped,
    Field(discriminator="kind"),
]
_adapter: TypeAdapter[Event] = TypeAdapter(Event)


def decode(line: str | bytes) -> Event:
    """One line of the pipe, read."""
    return _adapter.validate_json(line)


def encode(message: Message) -> str:
    """One line of the pipe, to write."""
    return message.model_dump_json() + "\n"
