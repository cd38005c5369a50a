"""Refuses fields of a spec that have no effect, unless they have their defaults.

So no value is accepted and ignored. The rules are in `effect_rules.py`. A field with its default, or with the value of
the spec's preset, is never refused: nobody asked for it, and a stored spec, which has all defaults, can be submitted
again. A field that would act in a longer job, or with other rows or another model, is not refused either: the job logs
a note when it starts (`outlook.py`, `worker/training/spec_warnings.py`).
"""

import json
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any

from pydantic import BaseModel

from hone.documents.validation import refusal
from service.domain.algorithms import PolicySpec
from service.domain.effect_rules import RULES, EffectRule, Spec
from service.domain.metrics import METRICS, describe
from service.domain.presets import PRESETS


def refuse_without_effect(job: Spec) -> None:
    """Raise a ValidationError at the first field that has a value other than its default and no effect."""
    for rule in RULES:
        for field, value, default in _changed_fields(job, rule):
            if not rule.acts(_block(job, rule.block), job) and value != _of_preset(job, field):
                message = f"has no effect {rule.without}; {rule.remedy}, or set this to {default}"
                raise refusal(field, message, value)
    _check_devices(job)
    _check_best(job)


def _changed_fields(job: Spec, rule: EffectRule) -> Iterator[tuple[str, Any, str]]:
    """The fields of a rule that differ from their defaults: dotted name, value, default."""
    block = _block(job, rule.block)
    if block is None:
        return
    for name in rule.fields:
        field = type(block).model_fields.get(name)
        if field is None:
            continue
        value, default = getattr(block, name), field.get_default(call_default_factory=True)
        if value != default:
            yield f"{rule.block}.{name}".lstrip("."), _plain(value), json.dumps(default)


def _of_preset(job: Spec, field: str) -> Any:
    """The value of a field in the spec's preset: who overrides one field need not clear those that depend on it."""
    preset = PRESETS.get(job.algorithm.preset)
    value: Any = preset.fields if preset else {}
    for name in field.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _block(job: Spec, path: str) -> BaseModel | None:
    block: Any = job
    for name in path.split(".") if path else ():
        block = getattr(block, name, None)
    return block if isinstance(block, BaseModel) else None


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.model_dump() if isinstance(value, BaseModel) else value


def _check_devices(job: Spec) -> None:
    gpus = job.resources.gpus
    if gpus > 1:
        message = "a job computes on one device, and the others would be idle; set it to 1, or to 0 for the CPU"
        raise refusal("resources.gpus", message, gpus)


def _check_best(job: Spec) -> None:
    """Refuse `keep_best` with a metric that the job never reports: no checkpoint would be the best."""
    name, kind = job.checkpoint.keep_best, job.algorithm.type
    if name is None:
        return
    if describe(name) is None:
        known = [metric for metric in METRICS if job.eval_dataset is not None or not metric.startswith("eval/")]
        near = get_close_matches(name, known, n=1, cutoff=0.4)
        remedy = f"did you mean '{near[0]}'?" if near else "name one, e.g. train/loss"
        message = f"is not a metric; {remedy}"
    elif name.startswith("eval/") and job.eval_dataset is None:
        message = "is reported by evaluations only; give eval_dataset, or name a metric of the training"
    elif name.startswith(("policy/", "reward/")) and not isinstance(job.algorithm, PolicySpec):
        message = f"is not reported by {kind}, which samples nothing; name another, e.g. train/loss"
    elif name.startswith("critic/") and kind != "ppo":
        message = f"is not reported by {kind}, which has no critic; name another, e.g. train/loss"
    else:
        return
    raise refusal("checkpoint.keep_best", message, name)
