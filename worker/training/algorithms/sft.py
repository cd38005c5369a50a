"""Supervised fine-tuning: the likelihood of the completions; prompts are read, not learned.

    L = - sum_i w_i sum_t log pi(c_{i,t} | q_i, c_{i,<t})

with w_i = 1 / (all tokens that are learned) by default (`token_mean`). `loss_on` selects the learned tokens t:
those of the last answer, of all of the assistant's turns, or all. Shapes: B rows, T completion tokens.
"""

from dataclasses import dataclass

from torch import Tensor

from service.domain.supervised import SFTSpec
from worker.training import spec_notes
from worker.training.algorithm import Algorithm, AlgorithmState, StepResult, algorithm
from worker.training.data.rows import batch_rows
from worker.training.models.logprobs import Predicted, predict
from worker.training.models.policy import Policy
from worker.training.objectives.aggregate import Averages, TokenLosses, row_weights
from worker.training.sequences.batching import MicroBatch, lengths
from worker.training.setup.job import Setup
from worker.training.updates.gradients import TokenLoss, update
from worker.training.world import share


@dataclass(frozen=True)
class SFTLoss(TokenLoss[Predicted]):
    """The negative log-likelihood of some completions."""

    policy: Policy

    def forward(self, batch: MicroBatch) -> Predicted:
        """log pi of the completions."""
        return predict(self.policy, batch)

    def token_losses(self, rows: list[int], predicted: Predicted, mask_BT: Tensor) -> TokenLosses:
        """- log pi of each token."""
        return -predicted.logp_BT, {}


@algorithm("sft")
class SFT(Algorithm):
    """One batch, one update a step."""

    def __init__(self, setup: Setup, spec: SFTSpec) -> None:
        self._setup, self._spec = setup, spec
        limit = min(spec.max_length, setup.policy.context)
        encoded = setup.encoder.encode_nonempty(setup.rows, limit, spec.loss_on, spec.truncation)
        setup.notes.extend(spec_notes.too_long("dataset", encoded, spec.max_length, setup.policy.context))
        self._sequences = encoded.sequences
        setup.count_steps(len(self._sequences), spec.batch_size)
        self._learner = setup.learner()
        self.state = AlgorithmState({"policy": self._learner})

    def advance(self, step: int) -> StepResult:
        """The rows of a step are a function of its number and the seed."""
        setup, spec = self._setup, self._spec
        chosen = batch_rows(len(self._sequences), setup.spec.seed, step, spec.batch_size)
        batch = [self._sequences[row] for row in chosen]
        length_B = lengths(batch, setup.policy.device)
        loss = SFTLoss(
            sequences=batch,
            rows=share(setup.world, len(batch)),
            weight_N=row_weights(length_B, spec.loss_aggregation),
            packing=setup.policy.packing,
            policy=setup.policy,
        )
        updated = update(self._learner, step, [loss], setup.tokens, Averages(), setup.world)
        metrics = {
            "train/loss": float(updated.loss),
            "train/grad_norm": float(updated.norm),
            "train/learning_rate": self._learner.rate(step),
            "train/tokens": float(sum(row.total for row in batch)),
            "train/learned_tokens": float(length_B.sum()),
        }
        return StepResult(metrics, [])
