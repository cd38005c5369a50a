"""PPO-ptx (Ouyang et al. 2022, arXiv:2203.02155, equation 2): + coef E[log pi(x)] over given texts, in each update."""

from dataclasses import dataclass

from torch import Tensor

from service.domain.supervised import PTXSpec
from worker.training import spec_notes
from worker.training.data.encode import Encoder
from worker.training.data.rows import batch_rows, load_rows
from worker.training.models.logprobs import Predicted, predict
from worker.training.models.policy import Policy
from worker.training.objectives.aggregate import TokenLosses, row_weights
from worker.training.sequences.batching import MicroBatch, lengths
from worker.training.setup.job import Setup
from worker.training.updates.gradients import TokenLoss
from worker.training.world import share

FIELD = "algorithm.ptx.dataset"


@dataclass(frozen=True)
class PTXLoss(TokenLoss[Predicted]):
    """The negative log-likelihood of some texts."""

    policy: Policy

    def forward(self, batch: MicroBatch) -> Predicted:
        """log pi of the texts."""
        return predict(self.policy, batch)

    def token_losses(self, rows: list[int], predicted: Predicted, mask_BT: Tensor) -> TokenLosses:
        """- log pi of each token."""
        return -predicted.logp_BT, {"policy/ptx_loss": -predicted.logp_BT}


class PTX:
    """The loss of each update over texts of its own."""

    def __init__(self, setup: Setup, spec: PTXSpec) -> None:
        self._setup, self._spec = setup, spec
        rows = load_rows(spec.dataset, setup.files, FIELD, setup.notes)
        setup.notes.extend(spec_notes.unused_template(FIELD, spec.dataset.template, rows))
        encoder = Encoder.of(setup.policy, spec.dataset, FIELD, setup.notes)
        encoded = encoder.encode_nonempty(rows, setup.policy.context, loss_on=spec.loss_on)
        setup.notes.extend(spec_notes.too_long(FIELD, encoded, None, setup.policy.context))
        self._sequences = encoded.sequences

    def loss(self, number: int) -> PTXLoss:
        """The loss of an update, all of a run's counted from 0: a function of that number and the seed."""
        policy = self._setup.policy
        chosen = batch_rows(len(self._sequences), self._setup.spec.seed, number, self._spec.batch_size)
        sequences = [self._sequences[row] for row in chosen]
        return PTXLoss(
            sequences=sequences,
            rows=share(self._setup.world, len(sequences)),
            weight_N=self._spec.coef * row_weights(lengths(sequences, policy.device), "token_mean"),
            packing=policy.packing,
            policy=policy,
        )
