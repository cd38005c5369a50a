"""The model card of an export: README.md with what the model is, how it was made, and how to load it."""

import re
from collections.abc import Mapping
from typing import Any

import yaml

from service.domain.specs import JobSpec

HUB_ID = re.compile(r"^[\w.-]+/[\w.-]+$")
OF_THE_SERVICE = {"name", "tags", "priority", "depends_on", "resources", "max_seconds", "max_restarts"}
"""Fields that say nothing about the model."""
KINDS = ("type", "source")


def model_card(spec: JobSpec, step: int, metrics: Mapping[str, float], dtype: str) -> str:
    """The card of the checkpoint of a step, whose weights are exported in a dtype."""
    kind, total = spec.algorithm.type, f" of {spec.steps:,}" if spec.steps else ""
    sections = (
        _front_matter(spec, kind),
        f"# {spec.name or f'{spec.model}, {kind}'}",
        f"Step {step:,}{total} of a job of type `{kind}`, from `{spec.model}`"
        + (", trained with low-rank adapters and merged. " if spec.lora else ". ")
        + f"The weights are {dtype}. Made by Hone.",
        _loading(adapter=spec.lora is not None),
        _metrics(metrics),
        f"## Spec\n\nFields that differ from their defaults:\n\n```yaml\n{_fields(spec)}```",
    )
    return "\n\n".join(filter(None, sections)) + "\n"


def _front_matter(spec: JobSpec, kind: str) -> str:
    fields = {"library_name": "transformers", "pipeline_tag": "text-generation", "tags": ["hone", kind]}
    base = {"base_model": spec.model} if HUB_ID.match(spec.model) else {}
    return f"---\n{yaml.safe_dump(fields | base, sort_keys=False)}---"


def _loading(*, adapter: bool) -> str:
    lines = [
        "## How to load it",
        "",
        "```python",
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        'model = AutoModelForCausalLM.from_pretrained(PATH, dtype="auto")',
        "tokenizer = AutoTokenizer.from_pretrained(PATH)",
        "```",
    ]
    more = ["", "`adapter/` holds the adapters alone, in peft's format, for the same base."] if adapter else []
    return "\n".join(lines + more)


def _metrics(metrics: Mapping[str, float]) -> str:
    if not metrics:
        return ""
    rows = [f"| {name} | {value:.6g} |" for name, value in sorted(metrics.items())]
    return "\n".join(["## Metrics of this step", "", "| metric | value |", "|---|---|", *rows])


def _fields(spec: JobSpec) -> str:
    changed = spec.model_dump(mode="json", exclude_defaults=True, exclude=OF_THE_SERVICE)
    fields = {"model": spec.model} | _with_kinds(changed, spec.model_dump(mode="json"))
    return yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)


def _with_kinds(changed: Any, whole: Any) -> Any:
    """The changed fields of a document, with what says of which kind each block is: that is a default of its block."""
    if isinstance(changed, dict):
        kinds = {name: whole[name] for name in KINDS if name in whole}
        return kinds | {name: _with_kinds(value, whole[name]) for name, value in changed.items()}
    if isinstance(changed, list):
        return [_with_kinds(*pair) for pair in zip(changed, whole, strict=True)]
    return changed
