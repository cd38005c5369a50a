"""A reward model from preference pairs (Bradley-Terry; Ouyang et al. 2022, arXiv:2203.02155, equation 1).

    p(o_c preferred to o_r | q) = sigmoid(r_c - r_r)
    L = mean over pairs of [ - log sigmoid(r_c - r_r - m) + c (r_c + r_r)^2 ]

r = r(q, o) is `Scorer`'s. m is the pair's margin (Llama 2, arXiv:2307.09288, equation 2); c holds the scores around 0
(arXiv:2312.09244), which the pairs alone leave open. The gradient of a pair needs both of its scores, so the two
sequences of a pair are always in one micro-batch. Shapes: P pairs.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from service.domain.supervised import RewardModelSpec
from worker.protocol import SampledResponse
from worker.training import spec_notes
from worker.training.algorithm import Algorithm, AlgorithmState, StepResult, algorithm
from worker.training.data import preferences
from worker.training.data.encode import Encoder
from worker.training.data.preferences import Pair
from worker.training.data.rows import Row, batch_rows
from worker.training.models.response_text import response_texts
from worker.training.objectives.aggregate import Averages
from worker.training.sequences.batching import MicroBatch, Tokens, micro_batches
from worker.training.setup.job import Setup
from worker.training.setup.scorer import HEAD, Scorer, as_input
from worker.training.updates.gradients import WeightedLosses, update


def pair_losses(
    chosen_P: Tensor, rejected_P: Tensor, margin_P: Tensor, spec: RewardModelSpec
) -> tuple[Tensor, dict[str, Tensor]]:
    """L of each pair, and values for the metrics [P]."""
    distance_P = chosen_P - rejected_P
    centring_P = spec.center_rewards_coefficient * (chosen_P + rejected_P).square()
    return centring_P - logsigmoid(distance_P - margin_P), {
        "accuracy": (distance_P > 0).float(),
        "margin": distance_P,
        "reward_chosen": chosen_P,
        "reward_rejected": rejected_P,
    }


@dataclass(frozen=True)
class PairLoss:
    """L of some pairs, as the scorer is now; a `Loss` whose pieces are whole pairs."""

    scorer: Scorer
    pairs: Sequence[Pair]
    spec: RewardModelSpec

    @property
    def device(self) -> torch.device:
        """The device of its tensors."""
        return self.scorer.policy.device

    def micro_batches(self, budget: int) -> Iterator[tuple[list[int], MicroBatch]]:
        """Pairs that fit the budget even if both of a pair's sequences are as long as the longer one.

        First the chosen responses of all, then the rejected ones in the same order.
        """
        longest, packing = [as_input(pair.longest) for pair in self.pairs], self.scorer.policy.packing
        for rows in micro_batches(longest, range(len(longest)), budget // 2, packing=packing):
            chosen = [as_input(self.pairs[row].chosen) for row in rows]
            rejected = [as_input(self.pairs[row].rejected) for row in rows]
            yield rows, MicroBatch(chosen + rejected, self.device)

    def forward(self, batch: MicroBatch) -> Tensor:
        """The scores, in the order of the batch [2P]."""
        scores: Tensor = self.scorer(batch)
        return scores

    def weighted(self, rows: list[int], batch: MicroBatch, predicted: Tensor) -> WeightedLosses:
        """Each pair has the same weight in the mean [P]."""
        chosen_P, rejected_P = predicted.chunk(2)
        margin_P = torch.tensor([self.pairs[row].margin for row in rows], device=self.device)
        loss_P, values = pair_losses(chosen_P, rejected_P, margin_P, self.spec)
        return WeightedLosses(loss_P, torch.full_like(loss_P, 1 / len(self.pairs)), values)


@algorithm("reward_model")
class RewardModeling(Algorithm):
    """One batch of pairs, one update a step."""

    def __init__(self, setup: Setup, spec: RewardModelSpec) -> None:
        self._setup, self._spec = setup, spec
        self.pairs, encoded = preferences.encode(setup.rows, setup.encoder, setup.policy, spec, "dataset")
        setup.notes.extend(spec_notes.too_long("dataset", encoded, spec.max_length, setup.policy.context))
        setup.count_steps(len(self.pairs), spec.batch_size)
        self.scorer = Scorer(setup.policy)
        self._learner = setup.learner(self.scorer)
        self.state = AlgorithmState({"policy": self._learner}, {HEAD: self.scorer.head})

    def advance(self, step: int) -> StepResult:
        """One batch, one update."""
        chosen = batch_rows(len(self.pairs), self._setup.spec.seed, step, self._spec.batch_size)
        batch = [self.pairs[row] for row in chosen]
        averages = Averages()
        loss = PairLoss(self.scorer, batch, self._spec)
        updated = update(self._learner, step, [loss], self._setup.tokens, averages, self._setup.world)
        metrics = {
            "train/loss": float(updated.loss),
            "train/grad_norm": float(updated.norm),
            "train/learning_rate": self._learner.rate(step),
            "train/tokens": float(sum(pair.chosen.total + pair.rejected.total for pair in batch)),
            **{f"train/{name}": value for name, value in averages.read(self._setup.world).items()},
        }
        return StepResult(metrics, [])

    def evaluation(self, rows: list[Row]) -> "Ranking":
        """The evaluation: it ranks held-out pairs."""
        return Ranking(self._setup, self._spec, self.scorer, rows)


class Ranking:
    """The same held-out pairs for each version of the scorer."""

    def __init__(self, setup: Setup, spec: RewardModelSpec, scorer: Scorer, rows: list[Row]) -> None:
        assert setup.spec.eval_dataset is not None
        encoder = Encoder.of(setup.policy, setup.spec.eval_dataset, "eval_dataset", setup.notes)
        self._setup, self._spec, self._scorer = setup, spec, scorer
        self._pairs, encoded = preferences.encode(rows, encoder, setup.policy, spec, "eval_dataset")
        setup.notes.extend(spec_notes.too_long("eval_dataset", encoded, spec.max_length, setup.policy.context))

    def run(self) -> tuple[dict[str, float], list[SampledResponse]]:
        """Loss, and the share of the pairs that are ranked right; some of them with their scores."""
        sequences = [pair.chosen for pair in self._pairs] + [pair.rejected for pair in self._pairs]
        chosen_P, rejected_P = self._scorer.scores_within(self._setup.tokens, sequences).chunk(2)
        margin_P = torch.tensor([pair.margin for pair in self._pairs], device=chosen_P.device)
        loss_P, values = pair_losses(chosen_P, rejected_P, margin_P, self._spec)
        metrics = {f"eval/{name}": float(value_P.mean()) for name, value_P in {"loss": loss_P, **values}.items()}
        return metrics, self._samples(chosen_P.tolist(), rejected_P.tolist())

    def _samples(self, chosen: list[float], rejected: list[float]) -> list[SampledResponse]:
        """Both responses of some pairs, evenly spread."""
        count = self._setup.spec.samples_per_step // 2
        shown = range(0, len(chosen), max(1, len(chosen) // max(1, count)))[:count]
        return [
            self._sample(name, sequence, score)
            for row in shown
            for name, sequence, score in (
                ("chosen", self._pairs[row].chosen, chosen[row]),
                ("rejected", self._pairs[row].rejected, rejected[row]),
            )
        ]

    def _sample(self, name: str, sequence: Tokens, score: float) -> SampledResponse:
        policy = self._setup.policy
        prompt, response = response_texts(policy, [sequence.prompt, sequence.completion])
        return SampledResponse(
            split="eval",
            prompt=prompt,
            response=response,
            reward=score,
            rewards={name: score},
            tokens=len(sequence.completion),
            truncated=sequence.completion[-1] not in policy.stops,
        )
