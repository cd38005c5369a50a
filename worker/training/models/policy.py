"""A policy: the weights (fp32), their tokenizer, and the precision in which they compute."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hone.errors import Invalid
from worker.protocol import LoadedModel, Token
from worker.training.models import files, logit_transform, tiny, vocabulary
from worker.training.models.end_of_turn import end_of_turn
from worker.training.models.head import PLAIN, Head, Transform
from worker.training.models.lora import Adapters

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
    """False: it computes as if it had no adapters."""
    packing: bool = False
    """Whether sequences may be laid end to end in one row; see `packing.py`."""
    facts: LoadedModel | None = None
    """What was loaded, for people; None for a model that was made in memory."""

    def without_adapters(self) -> "Policy":
        """The model that the adapters are in: the same weights, no memory of its own."""
        return replace(self, adapted=False)

    def weights(self, device: torch.device | None = None) -> Iterator[tuple[str, Tensor]]:
        """The weights of a model without adapters that computes the same, by name; merged ones on the given device."""
        return self.adapters.merged(device) if self.adapters else iter(self.model.state_dict().items())

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """In this context the backbone runs in the compute precision; the weights stay fp32."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    def hidden(self, input_BL: Tensor, **state: Any) -> Tensor:
        """The backbone's last hidden states [B, L, H], without the output projection."""
        with self._adapters_switched():
            return self.model.base_model(input_ids=input_BL, **state).last_hidden_state  # type: ignore[no-any-return]

    @property
    def head(self) -> Head:
        """The output projection."""
        layer: Any = self.model.get_output_embeddings()  # type: ignore[no-untyped-call]
        with self._adapters_switched():
            return Head(layer.weight, getattr(layer, "bias", None), self.dtype, self.transform)

    @property
    def stops(self) -> list[int]:
        """The ids that end a response: those that the model declares, eos, and the end of a turn in its template."""
        declared = self.model.generation_config.eos_token_id if self.model.generation_config else None
        ids = declared if isinstance(declared, list) else [declared, self.tokenizer.eos_token_id]
        known = {stop for stop in [*ids, self.tokenizer.eos_token_id] if stop is not None}
        end = end_of_turn(self.tokenizer, sorted(known))
        return sorted(known if end is None else {*known, end})

    @property
    def context(self) -> int:
        """The longest sequence that the model can read, in tokens."""
        return self.declared_context or 2**31

    @property
    def declared_context(self) -> int | None:
        """The same; None for a model that knows no limit."""
        limit = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
        return int(limit) if limit else None

    @property
    def parameters(self) -> int:
        """How many weights there are; tied ones count once."""
        return sum(weight.numel() for weight in self.model.parameters())

    def _adapters_switched(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self.adapters is None or self.adapted else self.adapters.off()


def load_policy(
    path: str, seed: int, device: torch.device, precision: Precision, *, resize_embeddings: bool = False
) -> Policy:
    """`tiny`, a directory or a Hub id; Invalid (param `model`) says what is wrong with it."""
    loaded = files.ReadModel(*tiny.build(seed), "float32", []) if path == "tiny" else files.read(path)
    model: Any = loaded.model
    added = vocabulary.add_rows(path, model, loaded.tokenizer) if resize_embeddings else 0
    vocabulary.check(path, model, loaded.tokenizer)
    model.eval()  # no dropout: pi and pi_old must be the same function
    model.to(device=device, dtype=torch.float32)
    dtype, transform = compute_dtype(precision, device), logit_transform.find(model, path)
    policy = Policy(model, loaded.tokenizer, device, dtype, transform)
    if not policy.stops:
        raise Invalid(f"model '{path}' has no end-of-sequence token; give its tokenizer an eos_token", param="model")
    policy.facts = _facts(policy, loaded).model_copy(update={"added_rows": added})
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


def _facts(policy: Policy, loaded: files.ReadModel) -> LoadedModel:
    tokenizer = policy.tokenizer
    special = {name: str(token) for name, token in tokenizer.special_tokens_map.items() if isinstance(token, str)}
    stops = zip(policy.stops, tokenizer.convert_ids_to_tokens(policy.stops), strict=True)
    return LoadedModel(
        architecture=type(policy.model).__name__,
        parameters=policy.parameters,
        dtype=loaded.dtype,
        tokens=len(tokenizer),
        embedding_rows=vocabulary.rows(policy.model),
        special_tokens=special,
        stops=[Token(id=stop, text=text) for stop, text in stops],
        chat_template=bool(tokenizer.chat_template),
        context=policy.declared_context,
        notes=loaded.notes,
    )
