"""Models as a job needs them: read, asked what they can do, and made ready for its forward passes."""

from pathlib import Path

import torch

from service.domain.algorithms import PolicySpec
from service.domain.errors import Invalid
from service.domain.specs import JobSpec
from worker.training import decodable, lora, models, packing
from worker.training.checkpoint import ADAPTER
from worker.training.events import Assignment
from worker.training.models import Policy
from worker.training.recompute import recompute


def policy(assignment: Assignment, spec: JobSpec, device: torch.device) -> Policy:
    """What is trained, as it was at the start or at the checkpoint to go on from.

    With lora a checkpoint's adapters go into the model that the job started from: the product of both, which it holds
    too, would be another function by its rounding, and the adapters could not be told from it.
    """
    start, checkpoint = assignment.models[spec.model], assignment.resume_from
    made = model(start if spec.lora else checkpoint or start, "model", spec, device)
    if isinstance(spec.algorithm, PolicySpec) or spec.eval_dataset:
        decodable.check(made)
    if spec.gradient_checkpointing:
        recompute(made.model)
    if spec.lora:
        made.adapters = lora.inject(made.model, spec.lora, spec.seed, made.dtype)
        if checkpoint:
            made.adapters.load(Path(checkpoint) / ADAPTER)
    return made


def model(path: str, field: str, spec: JobSpec, device: torch.device) -> Policy:
    """A model that the spec names in a field; Invalid names that field."""
    try:
        made = models.load(path, spec.seed, device, spec.precision)
    except Invalid as error:
        raise Invalid(error.message, param=field) from error
    return packing.allow(made) if spec.packing else made
