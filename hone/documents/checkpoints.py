"""Checkpoints and their files."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, Field


class CheckpointFile(BaseModel):
    """One file of a checkpoint."""

    name: str
    bytes: int
    sha256: str


TRAINING_ONLY = ("trainer.pt", "critic.safetensors", "reference.safetensors", "manifest.json", "weights-fp32/")
"""Files, and a folder, that only a continuation of the training reads."""


def exported(files: list[CheckpointFile]) -> list[CheckpointFile]:
    """Those that a user of the model needs: weights, config, tokenizer, adapters, a reward model's head, the card."""
    return [file for file in files if not file.name.startswith(TRAINING_ONLY)]


class CheckpointRead(BaseModel):
    """A complete checkpoint. Its files load with `AutoModelForCausalLM.from_pretrained`."""

    object: Literal["checkpoint"] = "checkpoint"
    id: str
    job_id: str
    step: int
    attempt: int
    bytes: int
    export_bytes: int = Field(description="of the files that are downloaded by default: without the training's state")
    best: bool = Field(description="whether it is the best by the spec's `checkpoint.keep_best`")
    promoted: bool = Field(description="whether it is retained until it is demoted")
    damaged: bool = Field(
        description="whether its files were found to differ from what was written; no job starts from it"
    )
    metrics: dict[str, float | None]
    files: list[CheckpointFile]
    created_at: datetime
