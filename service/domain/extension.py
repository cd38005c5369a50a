"""The spec of a job that goes on where another has ended: the same fields, with more steps or epochs."""

from fractions import Fraction
from math import ceil
from typing import Any

from hone.documents.jobs import JobExtension
from hone.errors import Invalid
from service.domain.specs import MAX_STEPS, JobSpec


def extended(spec: JobSpec, progress: dict[str, Any], further: JobExtension) -> JobSpec:
    """The longer spec. `progress` is that of the job that has ended (`hone.documents.status.Progress`).

    Passes are added to passes, so that the whole is a job of so many epochs. Where the job had steps, or ended before
    its last one, further passes are counted in its own batches.
    """
    done = int(progress["step"])
    if further.epochs is None:
        return _with_steps(spec, done + (further.steps or 0), "steps")
    if getattr(spec.algorithm, "prompt_sampling", None) is not None:
        raise Invalid("epochs count passes over the rows, but prompt_sampling makes none; give steps", param="epochs")
    per_epoch = progress.get("steps_per_epoch")
    if spec.epochs is not None and done == progress["total_steps"]:
        epochs = spec.epochs + further.epochs
        if per_epoch is not None and ceil(Fraction(repr(epochs)) * Fraction(per_epoch)) <= done:
            message = f"{further.epochs:g} more make no further batch: an epoch has {per_epoch:g} steps, and the last "
            message += "batch was filled up with rows of the next one"
            raise Invalid(f"{message}; give more, or give steps", param="epochs")
        return spec.model_copy(update={"epochs": epochs})
    if per_epoch is None:
        raise Invalid("the job is of a version that did not count its batches per epoch; give steps", param="epochs")
    return _with_steps(spec, done + ceil(Fraction(repr(further.epochs)) * Fraction(per_epoch)), "epochs")


def _with_steps(spec: JobSpec, steps: int, param: str) -> JobSpec:
    if steps > MAX_STEPS:
        raise Invalid(
            f"the job would have {steps:,} steps, but at most {MAX_STEPS:,} are allowed; give less", param=param
        )
    return spec.model_copy(update={"steps": steps, "epochs": None})
