"""Supervised fine-tuning: the likelihood of the completions; prompts are read, not learned.

    L = - sum_i w_i sum_t log pi(c_{i,t} | q_i, c_{i,<t})

with w_i = 1 / (all completion tokens) by default (`token_mean`). Shapes: B rows, T completion tokens.
"""

import torch
from torch import Tensor

from service.domain.specs import SFTSpec
from worker.training.aggregate import Averages, row_weights
from worker.training.batching import lengths
from worker.training.data import require
from worker.training.gradients import accumulate
from worker.training.logprobs import completion_logprobs
from worker.training.setup import Advanced, Setup


def token_losses(rows: list[int], logp_BT: Tensor, mask_BT: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """- log pi of each token."""
    return -logp_BT, {}


class SFT:
    """One update a step."""

    def __init__(self, setup: Setup, spec: SFTSpec) -> None:
        require(setup.rows, [("messages",), ("prompt", "completion")], "dataset", "sft")
        self._setup, self._spec = setup, spec
        self._sequences = setup.encoder.pairs(setup.rows, min(spec.max_length, setup.policy.context))
        self._learner = setup.learner()
        self.learners = {"policy": self._learner}

    def advance(self, step: int) -> Advanced:
        """One batch, one update."""
        setup = self._setup
        batch = [self._sequences[row] for row in setup.batch(step, self._spec.batch_size)]
        weight_B = row_weights(lengths(batch, setup.policy.device), self._spec.loss_aggregation)
        loss = accumulate(
            batch,
            range(len(batch)),
            weight_B,
            lambda padded: completion_logprobs(setup.policy, padded),
            token_losses,
            setup.spec.micro_batch_tokens,
            Averages(),
        )
        norm = self._learner.update(step)
        loss_value, norm_value = torch.stack([loss, norm.to(loss.device)]).tolist()
        metrics = {
            "train/loss": loss_value,
            "train/grad_norm": norm_value,
            "train/learning_rate": self._learner.rate(step),
            "train/tokens": float(sum(row.total for row in batch)),
        }
        return Advanced(metrics, [])
