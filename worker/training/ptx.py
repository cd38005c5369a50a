"""PPO-ptx (Ouyang et al. 2022, arXiv:2203.02155, equation 2): + coef E[log pi(x)] over given texts, in each update."""

from collections.abc import Iterator, Mapping

from torch import Tensor

from service.domain.supervised import PTXSpec
from worker.training import data
from worker.training.aggregate import row_weights
from worker.training.batching import lengths
from worker.training.encode import Encoder
from worker.training.gradients import Term
from worker.training.logprobs import Predicted, predict
from worker.training.setup import Setup

FIELD = "algorithm.ptx.dataset"


class PTX:
    """Draws texts and makes the terms that raise their likelihood."""

    def __init__(self, setup: Setup, spec: PTXSpec) -> None:
        self._setup, self._spec = setup, spec
        rows = data.load(spec.dataset, setup.files, FIELD)
        encoder = Encoder(setup.policy.tokenizer, spec.dataset.template, FIELD)
        self._sequences = encoder.pairs(rows, setup.policy.context, loss_on=spec.loss_on).sequences

    def draw(self, step: int, passes: tuple[int, int]) -> Iterator[Term]:
        """A term for each update of a step (counted from 0): a function of seed and step."""
        updates = passes[0] * passes[1]
        for index in range(updates):
            yield self._term(step * updates + index)

    def _term(self, place: int) -> Term:
        chosen = data.batch(len(self._sequences), self._setup.spec.seed, place, self._spec.batch_size)
        sequences = [self._sequences[row] for row in chosen]
        weight_B = self._spec.coef * row_weights(lengths(sequences, self._setup.policy.device), "token_mean")
        return Term(
            sequences,
            range(len(sequences)),
            weight_B,
            lambda micro_batch: predict(self._setup.policy, micro_batch),
            _token_losses,
            self._setup.policy.packing,
        )


def _token_losses(rows: list[int], predicted: Predicted, mask_BT: Tensor) -> tuple[Tensor, Mapping[str, Tensor]]:
    """- log pi of each token."""
    return -predicted.logp_BT, {"policy/ptx_loss": -predicted.logp_BT}
