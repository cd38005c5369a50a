"""Low-rank adapters (Hu et al. 2021, arXiv:2106.09685), by peft, inside a model whose own weights stay as they are.

    y = W x + s B A x,      s = alpha / r  (rslora: alpha / sqrt r),      B = 0 at first

There is no dropout on x: the policy and the one that sampled must be the same function. peft is imported where it
is needed, since that takes seconds and most jobs have no adapters.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from hone.errors import Invalid
from service.domain.specs import LoRASpec
from worker.training.models.lora_layers import choose

NAME = "default"
FILE, PREFIX = "adapter_model.safetensors", "base_model.model."
"""The file of the weights in peft's format, and the prefix of their names."""
_ADDED = re.compile(rf"\.lora_\w+\.{NAME}(\.|$)|\.original_module\.")


class Adapters:
    """The adapters in a model, and copies of some of its layers, all weights of which are trained."""

    def __init__(self, model: PreTrainedModel, config: Any, fingerprint: str) -> None:
        from peft.tuners.tuners_utils import BaseTunerLayer
        from peft.utils.other import AuxiliaryTrainingWrapper

        self._model, self._config, self._fingerprint = model, config, fingerprint
        self._switches: list[Any] = [
            layer for layer in model.modules() if isinstance(layer, BaseTunerLayer | AuxiliaryTrainingWrapper)
        ]

    def name_base(self, name: str, revision: str | None) -> None:
        """Say in what is saved to which model the adapters belong, and to which commit of it on the Hub."""
        self._config.base_model_name_or_path, self._config.revision = name, revision

    @contextmanager
    def off(self) -> Iterator[None]:
        """Within the `with` block the model computes without its adapters."""
        for layer in self._switches:
            layer.enable_adapters(False)
        try:
            yield
        finally:
            for layer in self._switches:
                layer.enable_adapters(True)

    @torch.no_grad()
    def merged(self, device: torch.device | None = None) -> Iterator[tuple[str, Tensor]]:
        """The weights of a model without adapters that computes the same, by their usual names: W + s B A in fp32."""
        adapted = dict(_adapted(self._model))
        for name, weight in self._model.state_dict().items():
            if _ADDED.search(name):
                continue
            usual = name.replace(".base_layer.", ".").replace(f".modules_to_save.{NAME}.", ".")
            layer = adapted.get(usual.removesuffix(".weight"))
            yield usual, weight if layer is None else (weight.float() + layer.get_delta_weight(NAME)).to(device=device)

    def save(self, directory: Path) -> None:
        """Write what is trained in peft's format, with the fingerprint of the weights that it belongs to."""
        from peft import get_peft_model_state_dict

        directory.mkdir()
        weights = get_peft_model_state_dict(self._model, adapter_name=NAME, save_embedding_layers=False)
        copies = {PREFIX + name: weight.detach().to("cpu", copy=True) for name, weight in weights.items()}
        save_file(copies, directory / FILE, metadata={"base": self._fingerprint})
        self._config.save_pretrained(str(directory))

    def load(self, directory: Path) -> None:
        """Put back what `save` wrote, bit for bit; Invalid (param `model`) if it belongs to other weights."""
        from peft import get_peft_model_state_dict, set_peft_model_state_dict

        with safe_open(directory / FILE, framework="pt") as file:
            if file.metadata()["base"] != self._fingerprint:
                raise Invalid(
                    "the model from which this job started has changed, and its adapters do not fit the new one; "
                    "restore the old one, or start a new job",
                    param="model",
                )
        weights = {name.removeprefix(PREFIX): weight for name, weight in load_file(directory / FILE).items()}
        own = get_peft_model_state_dict(self._model, adapter_name=NAME, save_embedding_layers=False)
        if different := sorted(own.keys() ^ weights.keys()):  # peft leaves out what it does not know
            raise Invalid(
                f"the {FILE} of the checkpoint does not hold the adapters of this job: {len(different)} weights are "
                f"only on one side, first {different[0]}; continue from another checkpoint, or start a new job",
                param="lora",
            )
        set_peft_model_state_dict(self._model, weights, adapter_name=NAME)


def inject(model: PreTrainedModel, spec: LoRASpec, seed: int, dtype: torch.dtype) -> Adapters:
    """Freeze a model and give it adapters, a function of the seed; Invalid names a layer that cannot have one."""
    from peft import LoraConfig, TaskType, inject_adapter_in_model

    layers = choose(model, spec)
    fingerprint = _fingerprint(model)
    config = LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=spec.rank,
        lora_alpha=spec.alpha,  # type: ignore[arg-type]  # peft divides it, whole or not
        use_rslora=spec.use_rslora,
        target_modules=layers.adapted,
        modules_to_save=list(layers.whole) or None,
        ensure_weight_tying=layers.tied,
        fan_in_fan_out=layers.transposed,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model, adapter_name=NAME)
    config.modules_to_save = layers.whole or None  # peft has put in its own form, which it would not read again
    _narrow_frozen(model, dtype)
    return Adapters(model, config, fingerprint)


def _adapted(model: PreTrainedModel) -> Iterator[tuple[str, Any]]:
    from peft.tuners.lora import LoraLayer

    return ((name, layer) for name, layer in model.named_modules() if isinstance(layer, LoraLayer))


@torch.no_grad()
def _narrow_frozen(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Store frozen matrices in the compute precision if that loses nothing, as with models published in bf16.

    Otherwise autocast, which remembers only weights that are trained, would cast them again for every sampled token.
    """
    for _, layer in _adapted(model):
        layer.cast_input_dtype_enabled = False  # autocast does it, and without a detour over fp32
        weight = layer.get_base_layer().weight
        narrow = weight.to(dtype)
        if torch.equal(narrow.to(weight.dtype), weight):
            weight.data = narrow


@torch.no_grad()
def _fingerprint(model: PreTrainedModel) -> str:
    """A sum over the bits of all weights, the same in whatever order a device adds."""
    sums = torch.stack([weight.view(torch.int32).sum(dtype=torch.int64) for weight in model.parameters()])
    return str(int((sums * torch.arange(1, len(sums) + 1, device=sums.device)).sum()))
