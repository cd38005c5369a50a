"""Supervised fine-tuning: the likelihood of the completions; prompts are read, not learned.

    L = - sum_i w_i sum_t log pi(c_{i,t} | q_i, c_{i,<t})

with w_i = 1 / (all tokens that are learned) by default (`token_mean`). Which tokens t are learned `loss_on` says: those
of the last answer, of all of the assistant's turns, or all. Shapes: B rows, T completion tokens.
"""

from torch import Tensor

from service.domain.supervised import SFTSpec
from worker.training import data
from worker.training.aggregate import Averages, row_weights
from worker.training.batching import lengths
from worker.training.gradients import Term, update
from worker.training.logprobs import Predicted, predict
from worker.training.setup import Advanced, Kept, Setup


def token_losses(rows: list[int], predicted: Predicted, mask_BT: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """- log pi of each token."""
    return -predicted.logp_BT, {}


class SFT:
    """One batch, one update a step."""

    def __init__(self, setup: Setup, spec: SFTSpec) -> None:
        self._setup, self._spec = setup, spec
        limit = min(spec.max_length, setup.policy.context)
        encoded = setup.encoder.pairs(setup.rows, limit, spec.loss_on, spec.truncation)
        setup.warnings.extend(encoded.warnings)
        if encoded.too_long and limit < spec.max_length:
            setup.warnings.append(f"max_length is {spec.max_length:,}, but the model reads at most {limit:,} tokens")
        self._sequences = encoded.sequences
        self._learner = setup.learner()
        self.kept = Kept({"policy": self._learner})

    def advance(self, step: int) -> Advanced:
        """The rows of a step are a function of its number and the seed."""
        setup, spec = self._setup, self._spec
        chosen = data.batch(len(self._sequences), setup.spec.seed, step, spec.batch_size)
        batch = [self._sequences[row] for row in chosen]
        length_B = lengths(batch, setup.policy.device)
        term = Term(
            batch,
            range(len(batch)),
            row_weights(length_B, spec.loss_aggregation),
            lambda micro_batch: predict(setup.policy, micro_batch),
            token_losses,
            setup.policy.packing,
        )
        loss, norm = update(self._learner, step, [term], setup.tokens, Averages())
        metrics = {
            "train/loss": float(loss),
            "train/grad_norm": float(norm),
            "train/learning_rate": self._learner.rate(step),
            "train/tokens": float(sum(row.total for row in batch)),
            "train/learned_tokens": float(length_B.sum()),
        }
        return Advanced(metrics, [])
