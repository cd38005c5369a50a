"""A language model's backbone with a scalar head: one number for a prompt and a response together.

    r(q, o) = w . h_last + b

h_last is the hidden state of the last token: the response's end of sequence, or where the response was cut off.
The head starts at 0: before it knows anything, it prefers nothing, whatever the seed (a loss of log 2 without margins).
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

from service.domain.errors import Invalid
from service.domain.specs import JobSpec
from worker.training import loading
from worker.training.batching import MicroBatch, Tokens, micro_batches, pad
from worker.training.logprobs import at
from worker.training.memory import Budget
from worker.training.models import Policy

HEAD = "reward_head"
"""The head's name in a checkpoint, without `.safetensors`."""


def scalar_head(policy: Policy) -> nn.Linear:
    """One number from a hidden state; it starts at 0, and so prefers nothing."""
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
        """The scores of sequences that `whole` made [B]."""
        inputs = batch.inputs(self.policy.packing)
        with self.policy.autocast():
            hidden_BLH = self.policy.hidden(inputs.input_BL, use_cache=False, **inputs.state)
        hidden_BH = at(hidden_BLH, inputs.position_BT, batch.mask_BT.bool())
        return self.head(hidden_BH.float())[:, 0]  # type: ignore[no-any-return]

    def within(self, budget: Budget, sequences: Sequence[Tokens]) -> Tensor:
        """The scores of all of them, without gradient, in pieces that fit the memory [B]."""
        return budget.run(partial(self.scores, sequences))

    @torch.no_grad()
    def scores(self, sequences: Sequence[Tokens], budget: int) -> Tensor:
        """The same, in pieces of so many tokens [B]."""
        read = [whole(sequence) for sequence in sequences]
        score_B = torch.zeros(len(read), device=self.policy.device)
        for rows in micro_batches(read, range(len(read)), budget, self.policy.packing):
            score_B[rows] = self(pad([read[row] for row in rows], self.policy.device))
        return score_B


def whole(sequence: Tokens) -> Tokens:
    """All of it as what is read, so that the one position that counts is that of the last token."""
    nothing = 0  # comes next, and is never read
    return Tokens(sequence.prompt, [*sequence.completion, nothing], [False] * len(sequence.completion) + [True])


def load(path: str, field: str, spec: JobSpec, device: torch.device) -> Scorer:
    """A trained reward model, frozen; Invalid names the field of the spec if the folder holds none."""
    file = Path(path) / f"{HEAD}.safetensors"
    if not file.is_file():
        message = f"'{path}' is no reward model: it has no {file.name}; name a job of type reward_model"
        raise Invalid(message, param=field)
    scorer = Scorer(loading.model(path, field, spec, device))
    try:
        load_model(scorer.head, file)
    except (SafetensorError, RuntimeError) as error:
        message = f"the {file.name} of '{path}' does not fit its model: {str(error)[:200]}; export the folder again"
        raise Invalid(message, param=field) from error
    return scorer.requires_grad_(False)
