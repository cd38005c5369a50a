"""Which layers of a model get adapters, and which are trained whole."""

from typing import NamedTuple

from torch import nn
from torch.nn import Module
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from hone.errors import Invalid
from service.domain.specs import LoRASpec

ADAPTED, WHOLE = "lora.target_modules", "lora.modules_to_save"


class Layers(NamedTuple):
    """Full names of layers, none of which is part of another."""

    adapted: list[str]
    whole: list[str]
    tied: bool
    """Embedding and head are one matrix that is trained whole, and stays one."""
    transposed: bool
    """The adapted layers hold their matrices as GPT-2 does: [in, out]."""


def choose(model: PreTrainedModel, spec: LoRASpec) -> Layers:
    """The layers that the spec asks for; Invalid if there is no such layer, or it cannot be trained that way."""
    named = _find(model, spec.modules_to_save, WHOLE)
    whole = [name for name in named if not _inside(name, named)]
    adapted = _adapted(model, spec, whole)
    if not adapted:
        raise Invalid(f"{WHOLE} leaves no linear layer for adapters; name fewer layers, or leave out lora", param=WHOLE)
    tied = _tied(model, whole)
    if tied:
        whole = [name for name in whole if name not in tied] + [_joint(model, tied)]
    transposed = any(isinstance(model.get_submodule(name), Conv1D) for name in adapted)
    return Layers(adapted, whole, bool(tied), transposed)


def _adapted(model: PreTrainedModel, spec: LoRASpec, whole: list[str]) -> list[str]:
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    linear = {name for name, layer in model.named_modules() if isinstance(layer, nn.Linear | Conv1D)}
    linear -= {name for name in linear if model.get_submodule(name) is head}
    if spec.target_modules is None:
        return sorted(name for name in linear if name not in whole and not _inside(name, whole))
    chosen = _find(model, spec.target_modules, ADAPTED)
    for name in chosen:
        if name in whole or _inside(name, whole):
            raise Invalid(f"{ADAPTED}: '{name}' is trained whole by {WHOLE} already; name it in one", param=ADAPTED)
        if name not in linear:
            message = f"'{name}' is no linear layer before the head, so it takes no adapter; name it in {WHOLE}"
            raise Invalid(f"{ADAPTED}: {message}", param=ADAPTED)
    return chosen


def _tied(model: PreTrainedModel, whole: list[str]) -> list[str]:
    """Those of the layers that are embedding or head, if these are one matrix."""
    table, head = model.get_input_embeddings(), model.get_output_embeddings()  # type: ignore[no-untyped-call]
    if table.weight is not head.weight:
        return []
    return [name for name in whole if model.get_submodule(name) in (table, head)]


def _joint(model: PreTrainedModel, tied: list[str]) -> str:
    """The name by which peft trains embedding and head as one: it goes by names here, and forgets a bias."""
    head = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    name = next(name for name, layer in model.named_modules() if layer is head)
    if getattr(head, "bias", None) is not None or name != "lm_head":
        message = f"'{tied[0]}' shares its matrix with '{name}' in a way that adapters cannot keep"
        raise Invalid(f"{WHOLE}: {message}; leave it out", param=WHOLE)
    return str(name)


def _find(model: PreTrainedModel, asked: list[str], field: str) -> list[str]:
    """The full names of the layers that go by the names asked for, or end in them."""
    layers = {name: layer for name, layer in model.named_modules() if not isinstance(layer, nn.ModuleList) and name}
    for ending in asked:
        if not any(_named(name, ending) for name in layers):
            known = sorted({name.rsplit(".", 1)[-1] for name, layer in layers.items() if _holds_weights(layer)})
            raise Invalid(f"{field}: the model has no layer '{ending}', only {', '.join(known)}", param=field)
    return [name for name in layers if any(_named(name, ending) for ending in asked)]


def _named(name: str, ending: str) -> bool:
    return f".{name}".endswith(f".{ending}")


def _inside(name: str, others: list[str]) -> bool:
    return any(name.startswith(f"{other}.") for other in others)


def _holds_weights(layer: Module) -> bool:
    return next(layer.parameters(recurse=False), None) is not None
