"""A policy: the weights (fp32), their tokenizer, and the precision in which they compute."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from service.domain.errors import Invalid
from worker.training import logit_transform, tiny
from worker.training.head import PLAIN, Head, Transform
from worker.training.lora import Adapters

Precision = Literal["auto", "fp32", "bf16"]


@dataclass
class Policy:
    """A language model that is trained and sampled from with one set of weights."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    device: torch.device
    dtype: torch.dtype
    transform: Transform = PLAIN
    adapters: Adapters | None = None
    adapted: bool = True
    """False: computes as if it had no adapters."""
    packing: bool = False
    """Whether sequences may be laid end to end in one row; see `packing.py`."""

    def without_adapters(self) -> "Policy":
        """The model that the adapters are in: the same weights, no memory of its own."""
        return replace(self, adapted=False)

    def weights(self, made_on: torch.device | None = None) -> Iterator[tuple[str, Tensor]]:
        """What a model without adapters holds that computes the same, by name; sums are made on the given device."""
        return self.adapters.merged(made_on) if self.adapters else iter(self.model.state_dict().items())

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Where the backbone runs in the compute precision; the weights stay fp32."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def hidden(self, input_BL: Tensor, **state: Any) -> Tensor:
        """The backbone's last hidden states [B, L, H], without the output projection."""
        with self._switched():
            return self.model.base_model(input_ids=input_BL, **state).last_hidden_state  # type: ignore[no-any-return]

    @property
    def head(self) -> Head:
        """The output projection."""
        layer: Any = self.model.get_output_embeddings()  # type: ignore[no-untyped-call]
        with self._switched():
            return Head(layer.weight, getattr(layer, "bias", None), self.dtype, self.transform)

    @property
    def stops(self) -> list[int]:
        """The ids that end a response."""
        declared = self.model.generation_config.eos_token_id if self.model.generation_config else None
        ids = declared if isinstance(declared, list) else [declared, self.tokenizer.eos_token_id]
        return sorted({stop for stop in [*ids, self.tokenizer.eos_token_id] if stop is not None})

    @property
    def context(self) -> int:
        """The longest sequence that the model can read, in tokens."""
        return int(getattr(self.model.config.get_text_config(), "max_position_embeddings", None) or 2**31)

    @property
    def parameters(self) -> int:
        """How many weights there are; tied ones count once."""
        return sum(weight.numel() for weight in self.model.parameters())

    def _switched(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self.adapters is None or self.adapted else self.adapters.off()


def load(path: str, seed: int, device: torch.device, precision: Precision) -> Policy:
    """`tiny`, a directory or a Hub id; Invalid (param `model`) says what is wrong with it."""
    model: Any
    model, tokenizer = tiny.build(seed) if path == "tiny" else _pretrained(path)
    model.eval()  # no dropout: pi and pi_old must be the same function
    model.to(device=device, dtype=torch.float32)
    dtype, transform = compute_dtype(precision, device), logit_transform.find(model, path)
    policy = Policy(model, tokenizer, device, dtype, transform)
    if not policy.stops:
        raise Invalid(f"model '{path}' has no end-of-sequence token; give its tokenizer an eos_token", param="model")
    return policy


def compute_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """bf16 where it is asked for, or where the device is a GPU that has it."""
    fast = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.bfloat16 if precision == "bf16" or (precision == "auto" and fast) else torch.float32


def choose_device(gpus: list[int]) -> torch.device:
    """The CPU, or the GPUs that were assigned. Call it before anything else touches CUDA."""
    os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # as NVML counts, and so the worker and its operator
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, gpus))
    if not gpus:
        return torch.device("cpu")
    if not torch.cuda.is_available():
        raise Invalid(
            f"resources.gpus is {len(gpus)}, but this worker's torch sees no GPU; set it to 0 or use a GPU worker",
            param="resources.gpus",
        )
    return torch.device("cuda", 0)


def _pretrained(path: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    if Path(path).is_dir():
        return _read(path, local=True)
    if path.startswith(("/", "./", "../", "~")):
        raise Invalid(f"model '{path}' is no directory; export a model there or name another", param="model")
    try:
        return _read(path, local=False)
    except Invalid:
        return _read(path, local=True)  # the Hub cannot be reached, or refuses: perhaps it was fetched before


def _read(path: str, local: bool) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    try:
        if AutoConfig.from_pretrained(path, local_files_only=local).is_encoder_decoder:
            raise Invalid(f"model '{path}' has an encoder; choose a decoder-only language model", param="model")
        model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, local_files_only=local)
        return model, AutoTokenizer.from_pretrained(path, local_files_only=local)
    except (OSError, ValueError, ImportError) as error:
        reason = " ".join(str(error).split())[:500]
        remedy = (
            "give a directory that holds config.json, safetensors and tokenizer files"
            if Path(path).is_dir()
            else "check the id, connect to the Hub, fetch it once with `hf download`, or give a local directory"
        )
        raise Invalid(f"model '{path}' cannot be loaded: {reason}; {remedy}", param="model") from error
