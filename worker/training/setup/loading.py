"""Loading of models as a job needs them: with adapters, packing and gradient checkpointing, and checked."""

from pathlib import Path

import torch

from hone.errors import Invalid
from service.domain.algorithms import PolicySpec
from service.domain.health_notes import Note
from service.domain.specs import JobSpec
from worker.protocol import Assignment, Loaded
from worker.training.checkpoints.export import ADAPTER
from worker.training.decoding import decodable
from worker.training.models import files, lora, packing
from worker.training.models.policy import Policy, load_policy
from worker.training.models.recompute import recompute


def trained_policy(assignment: Assignment, spec: JobSpec, device: torch.device) -> Policy:
    """The policy that the job trains, as it was at the start or at the checkpoint to continue from.

    With lora a checkpoint's adapters go into the model that the job started from: the product of both, which it holds
    too, is rounded differently, and the adapters could not be separated from it.
    """
    start, checkpoint = assignment.models[spec.model], assignment.resume_from
    policy = named_model(start if spec.lora else checkpoint or start, "model", spec, device)
    if isinstance(spec.algorithm, PolicySpec) or spec.eval_dataset:
        decodable.check(policy)
    if spec.gradient_checkpointing:
        recompute(policy.model)
    if spec.lora:
        policy.adapters = lora.inject(policy.model, spec.lora, spec.seed, policy.dtype)
        policy.adapters.name_base(spec.model, files.revision(start))
        if checkpoint:
            policy.adapters.load(Path(checkpoint) / ADAPTER)
    return policy


def named_model(path: str, field: str, spec: JobSpec, device: torch.device) -> Policy:
    """A model that the spec names in a field; Invalid names that field."""
    try:
        policy = load_policy(path, spec.seed, device, spec.precision, resize_embeddings=spec.resize_embeddings)
    except Invalid as error:
        raise Invalid(error.message, param=field if error.param == "model" else error.param) from error
    return packing.enable_if_supported(policy) if spec.packing else policy


def resizing_notes(spec: JobSpec, policy: Policy) -> list[Note]:
    """What became of `resize_embeddings` in a job that starts."""
    if not spec.resize_embeddings or policy.facts is None:
        return []
    added = policy.facts.added_rows
    if not added:
        message = "resize_embeddings has no effect: every token has a row in the embedding"
        return [Note("no_effect", message, "leave it out", "resize_embeddings")]
    message = f"the embedding has {added:,} new rows, each the mean of the others; the exported model keeps them"
    notes = [Note("embedding_resized", message, param="resize_embeddings")]
    if spec.lora and not spec.lora.modules_to_save:
        remedy = "name the embedding in lora.modules_to_save if they should be"
        notes.append(Note("new_rows_untrained", "the new rows are not trained", remedy, "lora.modules_to_save"))
    return notes


def report(policy: Policy, role: str, name: str) -> Loaded:
    """What was loaded, by the name that the spec gives it, and what it is for."""
    assert policy.facts is not None  # every model of a spec comes from `named_model`
    return Loaded(role=role, name=name, model=policy.facts)
