"""A reward model from preference pairs (Bradley-Terry; Ouyang et al. 2022, arXiv:2203.02155, equation 1).

    p(o_c preferred to o_r | q) = sigmoid(r_c - r_r)
    L = mean over pairs of [ - log sigmoid(r_c - r_r - m) + c (r_c + r_r)^2 ]

r = r(q, o) is `Scorer`'s. m is the pair's margin (Llama 2, arXiv:2307.09288, equation 2); c holds the scores around 0
(arXiv:2312.09244), which the pairs alone leave open. The gradient of a pair needs both of its scores, so the two
sequences of a pair are always in one micro-batch. Shapes: P pairs.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from service.domain.supervised import RewardModelSpec
from worker.training import data, preferences
from worker.training.aggregate import Averages
from worker.training.batching import Tokens, micro_batches, pad
from worker.training.data import Row
from worker.training.encode import Encoder
from worker.training.events import Sample
from worker.training.gradients import descend
from worker.training.preferences import Pair
from worker.training.scorer import HEAD, Scorer, whole
from worker.training.setup import Advanced, Kept, Setup


def pair_losses(
    chosen_P: Tensor, rejected_P: Tensor, margin_P: Tensor, spec: RewardModelSpec
) -> tuple[Tensor, dict[str, Tensor]]:
    """L of each pair, and what a person watching would want to know of it [P]."""
    distance_P = chosen_P - rejected_P
    centring_P = spec.center_rewards_coefficient * (chosen_P + rejected_P).square()
    return centring_P - logsigmoid(distance_P - margin_P), {
        "accuracy": (distance_P > 0).float(),
        "margin": distance_P,
        "reward_chosen": chosen_P,
        "reward_rejected": rejected_P,
    }


def accumulate(scorer: Scorer, batch: Sequence[Pair], spec: RewardModelSpec, budget: int, averages: Averages) -> Tensor:
    """Add the gradient of L over all pairs to the weights' gradients; returns L."""
    device = scorer.policy.device
    total = torch.zeros((), device=device)
    for group in _micro_batches(batch, budget, scorer.policy.packing):
        margin_P = torch.tensor([pair.margin for pair in group], device=device)
        loss_P, values = pair_losses(*_scores(scorer, group), margin_P, spec)
        weight_P = torch.full_like(loss_P, 1 / len(batch))
        loss = (loss_P * weight_P).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        total += loss.detach()
        averages.add(values, weight_P)
    return total


def _scores(scorer: Scorer, group: Sequence[Pair]) -> tuple[Tensor, Tensor]:
    """Of the chosen responses and of the rejected ones [P]."""
    sequences = [whole(pair.chosen) for pair in group] + [whole(pair.rejected) for pair in group]
    chosen_P, rejected_P = scorer(pad(sequences, scorer.policy.device)).chunk(2)
    return chosen_P, rejected_P


def _micro_batches(batch: Sequence[Pair], budget: int, packing: bool) -> list[list[Pair]]:
    """Groups of pairs that fit the budget even if both of a pair's sequences are as long as the longer one."""
    groups = micro_batches([whole(pair.longest) for pair in batch], range(len(batch)), budget // 2, packing)
    return [[batch[row] for row in group] for group in groups]


class RewardModeling:
    """One batch of pairs, one update a step."""

    def __init__(self, setup: Setup, spec: RewardModelSpec) -> None:
        self._setup, self._spec = setup, spec
        self.pairs, warnings = preferences.encode(setup.rows, setup.encoder, setup.policy, spec, "dataset")
        setup.warnings.extend(warnings)
        self.scorer = Scorer(setup.policy)
        self._learner = setup.learner(self.scorer)
        self.kept = Kept({"policy": self._learner}, {HEAD: self.scorer.head})

    def advance(self, step: int) -> Advanced:
        """One batch, one update."""
        chosen = data.batch(len(self.pairs), self._setup.spec.seed, step, self._spec.batch_size)
        batch = [self.pairs[row] for row in chosen]

        def gather(budget: int) -> tuple[Tensor, Averages]:
            seen = Averages()
            return accumulate(self.scorer, batch, self._spec, budget, seen), seen

        def forwards(budget: int) -> Iterator[Callable[[], object]]:
            groups = _micro_batches(batch, budget, self._setup.policy.packing)
            return (partial(_scores, self.scorer, group) for group in groups)

        averages = Averages()
        loss, norm = descend(self._learner, step, gather, forwards, self._setup.tokens, averages)
        metrics = {
            "train/loss": float(loss),
            "train/grad_norm": float(norm),
            "train/learning_rate": self._learner.rate(step),
            "train/tokens": float(sum(pair.chosen.total + pair.rejected.total for pair in batch)),
            **{f"train/{name}": value for name, value in averages.read().items()},
        }
        return Advanced(metrics, [])

    def evaluation(self, rows: list[Row]) -> "Ranking":
        """What ranks held-out pairs with the weights as they are at the time."""
        return Ranking(self._setup, self._spec, self.scorer, rows)


class Ranking:
    """The same held-out pairs to each version of the scorer."""

    def __init__(self, setup: Setup, spec: RewardModelSpec, scorer: Scorer, rows: list[Row]) -> None:
        assert setup.spec.eval_dataset is not None
        encoder = Encoder(setup.policy.tokenizer, setup.spec.eval_dataset.template, "eval_dataset")
        self._setup, self._spec, self._scorer = setup, spec, scorer
        self._pairs, warnings = preferences.encode(rows, encoder, setup.policy, spec, "eval_dataset")
        setup.warnings.extend(f"eval_dataset: {warning}" for warning in warnings)

    def run(self) -> tuple[dict[str, float], list[Sample]]:
        """Loss, and the share of the pairs that are ranked right; some of them with their scores."""
        sequences = [pair.chosen for pair in self._pairs] + [pair.rejected for pair in self._pairs]
        chosen_P, rejected_P = self._scorer.within(self._setup.tokens, sequences).chunk(2)
        margin_P = torch.tensor([pair.margin for pair in self._pairs], device=chosen_P.device)
        loss_P, values = pair_losses(chosen_P, rejected_P, margin_P, self._spec)
        metrics = {f"eval/{name}": float(value_P.mean()) for name, value_P in {"loss": loss_P, **values}.items()}
        return metrics, self._samples(chosen_P.tolist(), rejected_P.tolist())

    def _samples(self, chosen: list[float], rejected: list[float]) -> list[Sample]:
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

    def _sample(self, name: str, sequence: Tokens, score: float) -> Sample:
        policy = self._setup.policy
        prompt, response = (
            policy.tokenizer.decode(ids, skip_special_tokens=True) for ids in (sequence.prompt, sequence.completion)
        )
        return Sample(
            split="eval",
            prompt=str(prompt),
            response=str(response),
            reward=score,
            rewards={name: score},
            tokens=len(sequence.completion),
            truncated=sequence.completion[-1] not in policy.stops,
        )
