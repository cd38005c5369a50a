"""A language model's backbone with a scalar head: one number for a prompt and a response together.

    r(q, o) = w . h_last + b

h_last is the hidden state of the last token: the response's end of sequence, or where the response was cut off.
The head starts at 0: before training all scores are equal, whatever the seed (a loss of log 2 without margins).
That costs one update, the first, which moves the head alone, since the backbone's gradient is a multiple of w.

Shapes: B sequences, L tokens, H hidden units.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_model
from torch import Tensor, nn

from hone.errors import Invalid
from service.domain.specs import JobSpec
from worker.training.models.logprobs import hidden_at
from worker.training.models.policy import Policy
from worker.training.sequences.batching import MicroBatch, Tokens, micro_batches
from worker.training.setup import loading
from worker.training.updates.memory import Budget

HEAD = "reward_head"
"""The head's name in a checkpoint, without `.safetensors`."""


def scalar_head(policy: Policy) -> nn.Linear:
    """One number from a hidden state. It starts at 0, so all scores are equal."""
    head = nn.Linear(policy.head.weight_VH.shape[1], 1, device=policy.device)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return head


class Scorer(nn.Module):
    """r(q, o), with the weights of a policy whose output projection takes no part."""

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.backbone = policy.model.base_model
        self.head = scalar_head(policy)
        self.policy = policy

    def forward(self, batch: MicroBatch) -> Tensor:
        """The scores of sequences that `as_input` gave [B]."""
        inputs = batch.inputs(packing=self.policy.packing)
        with self.policy.autocast():
            hidden_BLH = self.policy.hidden(inputs.input_BL, use_cache=False, **inputs.state)
        hidden_BH = hidden_at(hidden_BLH, inputs.position_BT, batch.mask_BT.bool())
        return self.head(hidden_BH.float())[:, 0]  # type: ignore[no-any-return]

    def scores_within(self, budget: Budget, sequences: Sequence[Tokens]) -> Tensor:
        """The scores of all sequences, without gradient, in micro-batches that fit the memory [B]."""
        return budget.run(partial(self.scores, sequences))

    @torch.no_grad()
    def scores(self, sequences: Sequence[Tokens], budget: int) -> Tensor:
        """The same, in micro-batches of at most `budget` tokens [B]."""
        inputs = [as_input(sequence) for sequence in sequences]
        score_B = torch.zeros(len(inputs), device=self.policy.device)
        for rows in micro_batches(inputs, range(len(inputs)), budget, packing=self.policy.packing):
            score_B[rows] = self(MicroBatch([inputs[row] for row in rows], self.policy.device))
        return score_B


def as_input(sequence: Tokens) -> Tokens:
    """With one more token, the only one in the loss mask: so the score is read at the last token of the sequence."""
    placeholder = 0  # the last token is a target only, never an input
    return Tokens(sequence.prompt, [*sequence.completion, placeholder], [False] * len(sequence.completion) + [True])


def load(path: str, field: str, spec: JobSpec, device: torch.device) -> Scorer:
    """A trained reward model, frozen; Invalid names the field of the spec if the folder holds none."""
    file = head_file(path)
    if not file.is_file():
        message = f"'{path}' is no reward model: it has no {file.name}; name a job of type reward_model"
        raise Invalid(message, param=field)
    scorer = Scorer(loading.named_model(path, field, spec, device))
    load_head(scorer.head, path, field)
    return scorer.requires_grad_(False)


def head_file(path: str) -> Path:
    """Where a checkpoint holds its head, if it has one."""
    return Path(path) / f"{HEAD}.safetensors"


def load_head(head: nn.Linear, path: str, field: str) -> None:
    """Put a checkpoint's head into a model of the same width; Invalid names the field if it does not fit."""
    file = head_file(path)
    try:
        load_model(head, file)
    except (SafetensorError, RuntimeError) as error:
        message = f"the {file.name} of '{path}' does not fit its model: {' '.join(str(error).split())[:300]}"
        raise Invalid(f"{message}; export the folder again", param=field) from error
    broken = [name for name, weight in head.named_parameters() if not weight.isfinite().all()]
    if broken:
        message = f"the {file.name} of '{path}' holds NaN or infinite numbers ({', '.join(broken)})"
        raise Invalid(f"{message}; name an earlier checkpoint", param=field)
