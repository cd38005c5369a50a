"""A policy: the weights (fp32), their tokenizer, and the precision in which they compute."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from service.domain.errors import Invalid
from worker.training import tiny
from worker.training.head import Head

Precision = Literal["auto", "fp32", "bf16"]


@dataclass
class Policy:
    """A language model that is trained and sampled from with one set of weights."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    device: torch.device
    dtype: torch.dtype

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Where the backbone runs in the compute precision; the weights stay fp32."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def hidden(self, input_BL: Tensor, **state: Any) -> Tensor:
        """The backbone's last hidden states [B, L, H], without the output projection."""
        return self.model.base_model(input_ids=input_BL, **state).last_hidden_state  # type: ignore[no-any-return]

    @property
    def head(self) -> Head:
        """The output projection."""
        layer: Any = self.model.get_output_embeddings()  # type: ignore[no-untyped-call]
        return Head(layer.weight, getattr(layer, "bias", None), self.dtype)

    @property
    def stops(self) -> list[int]:
        """The ids that end a response."""
        declared = self.model.generation_config.eos_token_id if self.model.generation_config else None
        ids = declared if isinstance(declared, list) else [declared, self.tokenizer.eos_token_id]
        return sorted({stop for stop in [*ids, self.tokenizer.eos_token_id] if stop is not None})

    @property
    def context(self) -> int:
        """The longest sequence that the model can read, in tokens."""
        return int(getattr(self.model.config, "max_position_embeddings", None) or 2**31)

    @property
    def parameters(self) -> int:
        """How many weights there are; tied ones count once."""
        return sum(weight.numel() for weight in self.model.parameters())


def load(path: str, seed: int, device: torch.device, precision: Precision) -> Policy:
    """`tiny`, a directory or a Hub id; Invalid (param `model`) says what is wrong with it."""
    model: Any
    model, tokenizer = tiny.build(seed) if path == "tiny" else _pretrained(path)
    model.eval()  # no dropout: pi and pi_old must be the same function
    policy = Policy(model.to(device=device, dtype=torch.float32), tokenizer, device, compute_dtype(precision, device))
    if not policy.stops:
        raise Invalid(f"model '{path}' has no end-of-sequence token; give its tokenizer an eos_token", param="model")
    _check_head(policy, path)
    return policy


def compute_dtype(precision: Precision, device: torch.device) -> torch.dtype:
    """bf16 where it is asked for, or where the device is a GPU that has it."""
    fast = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return torch.bfloat16 if precision == "bf16" or (precision == "auto" and fast) else torch.float32


def choose_device(gpus: list[int]) -> torch.device:
    """The CPU, or the GPUs that were assigned. Call it before anything else touches CUDA."""
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


@torch.no_grad()
def _check_head(policy: Policy, path: str) -> None:
    """Refuse models that do more to their logits than project (soft caps, scales): we would train another function."""
    probe_BL = torch.tensor([policy.stops[:1] * 2], device=policy.device)
    expected = policy.model(input_ids=probe_BL).logits[0].float()
    plain = Head(policy.head.weight_VH, policy.head.bias_V, torch.float32).logits(policy.hidden(probe_BL)[0])
    finite = torch.isfinite(expected).all()  # broken weights are reported when they break the loss
    if finite and not torch.allclose(plain, expected, rtol=1e-3, atol=1e-3):
        kind = type(policy.model).__name__
        raise Invalid(f"model '{path}' ({kind}) scales or caps its logits, which is not supported", param="model")
