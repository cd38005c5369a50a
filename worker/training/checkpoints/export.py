"""What a checkpoint is for others: weights in the dtype that people use, tokenizer, config, adapters, a model card.

Weights are trained in fp32. Where the export has another dtype, they are in a folder of their own beside it, and
whatever continues from the checkpoint reads those.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from service.domain.health_notes import Note
from service.domain.specs import JobSpec
from worker.training.checkpoints import portable
from worker.training.checkpoints.card import model_card
from worker.training.models.files import TRAINED
from worker.training.models.policy import Policy

ADAPTER, CARD = "adapter", "README.md"
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
Weights = dict[str, Tensor]


def write(directory: Path, policy: Policy, spec: JobSpec, step: int, metrics: dict[str, float]) -> None:
    """Write the export into a directory, and the trained weights too where they are others."""
    dtype = _dtype(spec, policy)
    policy.tokenizer.save_pretrained(directory)
    weights = dict(policy.weights(torch.device("cpu")))
    if dtype != torch.float32:
        policy.model.save_pretrained(directory / TRAINED, state_dict=dict(weights))
        weights = _cast(weights, policy, dtype)
    policy.model.save_pretrained(directory, state_dict=weights)
    if policy.adapters:
        policy.adapters.save(directory / ADAPTER)
    name = _name(dtype)
    portable.rewrite(directory, policy.model, policy.tokenizer, name)
    _declare_stops(directory, policy.stops)
    (directory / CARD).write_text(model_card(spec, step, metrics, name), encoding="utf-8")


def _declare_stops(directory: Path, stops: list[int]) -> None:
    """Name all tokens at which sampling stops: others know the end of a turn only if the model says so."""
    file = directory / "generation_config.json"
    document = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    document["eos_token_id"] = stops[0] if len(stops) == 1 else stops
    file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def notes(directory: Path, policy: Policy, spec: JobSpec) -> Iterator[Note]:
    """Of an export in a directory that could not have the dtype that it should have."""
    wanted = _name(_wanted(spec, policy))
    given = json.loads((directory / "config.json").read_text(encoding="utf-8"))["dtype"]
    if given != wanted:
        message = f"export.dtype is {spec.export.dtype}, but {wanted} cannot hold the largest weights: it is {given}"
        yield Note("export_widened", message, "set it to bf16 or fp32", "export.dtype")


def _dtype(spec: JobSpec, policy: Policy) -> torch.dtype:
    """What is wanted, or fp32 where that cannot hold the weights."""
    wanted = _wanted(spec, policy)
    return torch.float32 if wanted == torch.float16 and not _fits(policy) else wanted


def _wanted(spec: JobSpec, policy: Policy) -> torch.dtype:
    """That of the spec, or of the files of the model that the job started from."""
    base = policy.facts.dtype if policy.facts else "float32"
    known = {_name(dtype): dtype for dtype in DTYPES.values()}
    return known.get(base, torch.float32) if spec.export.dtype == "auto" else DTYPES[spec.export.dtype]


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _fits(policy: Policy) -> bool:
    limit = torch.finfo(torch.float16).max
    return all(bool((weight.abs() <= limit).all()) for _, weight in policy.weights())


@torch.no_grad()
def _cast(weights: Weights, policy: Policy, dtype: torch.dtype) -> Weights:
    """The weights in a dtype; tied ones stay one, and what the library keeps in fp32 stays fp32."""
    model = policy.model
    exact = {name for name, _ in model.named_buffers()}
    parts = {*(model._keep_in_fp32_modules or ()), *(model._keep_in_fp32_modules_strict or ())}
    done: dict[tuple[int, torch.Size], Tensor] = {}
    cast: Weights = {}
    for name, weight in weights.items():
        if name in exact or not weight.is_floating_point() or parts & set(name.split(".")):
            cast[name] = weight
            continue
        place = (weight.data_ptr(), weight.shape)
        if place not in done:
            done[place] = weight.detach().to(dtype).cpu()
        cast[name] = done[place]
    return cast
