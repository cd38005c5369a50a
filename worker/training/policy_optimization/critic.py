"""The critic V_phi: a backbone in weights of its own, the policy's or another model's, and a scalar head.

The head starts at 0, or as a reward model's head: then V is at first the score of the response so far.
The critic is trained whole also where the policy has adapters: it starts further from its goal than the policy does.

Shapes: B rows, T completion tokens, H hidden units.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from hone.errors import Invalid
from worker.training.models.logprobs import hidden_at
from worker.training.models.policy import Policy
from worker.training.models.recompute import recompute
from worker.training.sequences.batching import MicroBatch, Tokens, micro_batches
from worker.training.setup.job import Setup
from worker.training.setup.scorer import head_file, load_head, scalar_head

FIELD = "algorithm.critic_model"


class Critic(nn.Module):
    """V(q, o_<t): the reward that a response is expected to get, before its token t."""

    def __init__(self, policy: Policy) -> None:
        """Takes over the policy's backbone."""
        super().__init__()
        self.backbone = policy.model.base_model
        self.head = scalar_head(policy)
        self._autocast, self._device, self.packing = policy.autocast, policy.device, policy.packing

    def forward(self, batch: MicroBatch) -> Tensor:
        """V at each completion token [B, T]; 0 where there is none."""
        inputs, present_BT = batch.inputs(packing=self.packing), batch.mask_BT.bool()
        with self._autocast():
            hidden_BLH = self.backbone(input_ids=inputs.input_BL, use_cache=False, **inputs.state).last_hidden_state
        value_N = self.head(hidden_at(hidden_BLH, inputs.position_BT, present_BT).float())[:, 0]
        return torch.zeros_like(batch.mask_BT).masked_scatter(present_BT, value_N)

    @torch.no_grad()
    def values(self, sequences: Sequence[Tokens], budget: int) -> Tensor:
        """V of all sequences, without gradient [B, T]."""
        width = max(len(row.completion) for row in sequences)
        value_BT = torch.zeros(len(sequences), width, device=self._device)
        for rows in micro_batches(sequences, range(len(sequences)), budget, packing=self.packing):
            part_BT = self(MicroBatch([sequences[row] for row in rows], self._device))
            value_BT[rows, : part_BT.shape[1]] = part_BT
        return value_BT


def build(setup: Setup, name: str | None) -> Critic:
    """The critic that starts from the model of that name, or from the one that the policy starts from.

    Invalid if their tokenizers differ: the critic reads the policy's tokens.
    """
    policy = setup.load(name, "critic", FIELD) if name else setup.load(setup.spec.model, "critic")
    if policy.tokenizer.get_vocab() != setup.policy.tokenizer.get_vocab():
        message = f"{FIELD} '{name}' has another vocabulary than model '{setup.spec.model}'; name one with the same"
        raise Invalid(message, param=FIELD)
    critic = Critic(policy)
    if name and head_file(setup.models[name]).is_file():
        load_head(critic.head, setup.models[name], FIELD)
    if setup.spec.gradient_checkpointing:
        recompute(critic.backbone)
    return critic


def explained_variance(return_BT: Tensor, value_BT: Tensor, mask_BT: Tensor) -> float:
    """1 - Var(R - V) / Var(R) over all tokens; 0 for a constant critic, or when all returns are equal."""
    present_BT = mask_BT.bool()
    spread = return_BT[present_BT].var(correction=0)
    residual = (return_BT - value_BT)[present_BT].var(correction=0)
    return float(1 - residual / spread) if float(spread) > 1e-12 else 0.0
