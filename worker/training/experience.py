"""One batch of responses with their rewards: what a policy learns from in one step.

Shapes: P prompts, G responses each, B = P*G responses, T tokens.
"""

from dataclasses import dataclass
from functools import cached_property
from time import perf_counter
from typing import Any, NamedTuple

import torch
from torch import Tensor

from service.domain.algorithms import PolicySpec
from service.domain.errors import Invalid
from worker.training.advantages import equal_rewards
from worker.training.answers import Answers
from worker.training.batching import Tokens, learned, lengths
from worker.training.data import require
from worker.training.events import Sample
from worker.training.prompts import Prompts, success_rates
from worker.training.scoring import Judged, judge
from worker.training.setup import Setup
from worker.training.shaping import shaped


@dataclass(frozen=True)
class Experience:
    """Responses of pi_old; those to one prompt stand together."""

    sequences: list[Tokens]
    old_BT: Tensor
    """log pi_old, the sampling distribution."""
    length_B: Tensor
    """How many tokens the policy said."""
    truncated_B: Tensor
    reward_B: Tensor
    """After clip, scale and length penalties."""
    metrics: dict[str, float]
    samples: list[Sample]

    @cached_property
    def mask_BT(self) -> Tensor:
        """1 where there is a token that the policy said: not where a tool answered."""
        if any(sequence.learned for sequence in self.sequences):
            return learned(self.sequences, self.length_B.device)
        return (torch.arange(self.old_BT.shape[1], device=self.length_B.device) < self.length_B[:, None]).float()


class _Round(NamedTuple):
    """Some prompts, answered and scored; [P*G] each."""

    judged: Judged
    reward_B: Tensor
    equal_P: Tensor


class Actor:
    """The policy at work on the training prompts."""

    def __init__(self, setup: Setup, spec: PolicySpec) -> None:
        require(setup.rows, [("prompt", "answer")], "dataset", spec.type)  # type: ignore[attr-defined]
        self._setup, self._spec = setup, spec
        room = setup.policy.context - spec.max_completion_length
        if room < 2:
            message = f"algorithm.max_completion_length is {spec.max_completion_length}, but the model reads only"
            raise Invalid(
                f"{message} {setup.policy.context} tokens, prompt included; lower it",
                param="algorithm.max_completion_length",
            )
        prompts = Prompts(setup.rows, spec.prompt_sampling, setup.spec.seed)
        self._answers = Answers(setup, spec, setup.encoder.prompts(setup.rows, room), prompts)

    def act(self, step: int) -> Experience:
        """Answer the prompts of a step (counted from 0) and score the answers."""
        times = {"time/rollout": 0.0, "time/reward": 0.0}
        rounds = [self._round(step, 0, times)]
        if self._spec.zero_variance == "resample":
            while self._lacking(rounds) and len(rounds) <= self._spec.max_resamples:
                rounds.append(self._round(step, len(rounds), times))
        metrics = _metrics(rounds, self._spec) | times
        return self._experience(rounds, metrics)

    def state(self) -> dict[str, Any]:
        """What the next step depends on."""
        return self._answers.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Put back what `state` gave."""
        self._answers.restore(state)

    def _round(self, step: int, number: int, times: dict[str, float]) -> _Round:
        """The next prompts, answered and scored."""
        setup, spec, start = self._setup, self._spec, perf_counter()
        answered = self._answers.next(step, number)
        rolled_out = perf_counter()
        rows = [setup.rows[row] for row in answered.rows for _ in range(spec.num_generations)]
        judged = judge(setup, rows, answered.responses)
        self._answers.prompts.learned(answered.rows, success_rates(judged.correct, spec.num_generations))
        times["time/rollout"] += rolled_out - start
        times["time/reward"] += perf_counter() - rolled_out
        reward_B = self._shaped(judged, step)
        return _Round(judged, reward_B, equal_rewards(reward_B.view(-1, spec.num_generations)))

    def _shaped(self, judged: Judged, step: int) -> Tensor:
        device = self._setup.policy.device
        total_B = torch.tensor(judged.totals, dtype=torch.float32, device=device)
        correct_B = torch.tensor(judged.correct, device=device)
        sequences = judged.responses.sequences
        whole_B = torch.tensor([len(sequence.completion) for sequence in sequences], device=device)
        return shaped(total_B, lengths(sequences, device), whole_B, correct_B, step, self._spec)

    def _lacking(self, rounds: list[_Round]) -> bool:
        return sum(int((~each.equal_P).sum()) for each in rounds) < self._spec.prompts_per_step

    def _experience(self, rounds: list[_Round], metrics: dict[str, float]) -> Experience:
        """The first prompts with something to compare; if there are too few, the first of the others as well."""
        device, wanted = self._setup.policy.device, self._spec.prompts_per_step
        equal_P = torch.cat([each.equal_P for each in rounds])
        if len(rounds) == 1:
            taken = list(range(len(equal_P)))
        else:
            taken = sorted(torch.argsort(equal_P.int(), stable=True)[:wanted].tolist())
        rows = [group * self._spec.num_generations + i for group in taken for i in range(self._spec.num_generations)]
        sequences = [sequence for each in rounds for sequence in each.judged.responses.sequences]
        truncated = [cut for each in rounds for cut in each.judged.responses.truncated]
        chosen = [sequences[row] for row in rows]
        old_BT = _stacked([each.judged.responses.logp_BC for each in rounds])[rows]
        return Experience(
            chosen,
            old_BT[:, : max(len(sequence.completion) for sequence in chosen)],
            lengths(chosen, device),
            torch.tensor([truncated[row] for row in rows], device=device),
            torch.cat([each.reward_B for each in rounds])[rows],
            metrics,
            rounds[0].judged.samples("train", self._setup.spec.samples_per_step),
        )


def _stacked(parts: list[Tensor]) -> Tensor:
    width = max(part.shape[1] for part in parts)
    return torch.cat([torch.nn.functional.pad(part, (0, width - part.shape[1])) for part in parts])


def _metrics(rounds: list[_Round], spec: PolicySpec) -> dict[str, float]:
    """Over all responses that were sampled, also those that are not learned from."""
    total_B = torch.tensor([total for each in rounds for total in each.judged.totals], dtype=torch.float64)
    means = [each.judged for each in rounds]
    parts = [judged.reward_metrics() for judged in means]
    metrics = {
        "policy/reward": float(total_B.mean()),
        "policy/reward_std": float(total_B.std(correction=min(1, total_B.numel() - 1))),
        "policy/zero_variance": float(torch.cat([each.equal_P for each in rounds]).double().mean()),
        "policy/entropy": _mean([float(judged.responses.entropy) for judged in means]),
        "policy/completion_length": _mean([judged.completion_length for judged in means]),
        "policy/truncated": _mean([judged.truncated for judged in means]),
        "train/tokens": float(sum(sequence.total for judged in means for sequence in judged.responses.sequences)),
        **{name: _mean([part[name] for part in parts]) for name in parts[0] if name != "reward/errors"},
        "reward/errors": sum(part["reward/errors"] for part in parts),
    }
    if means[0].responses.tool_use is not None:
        used = [judged.tool_metrics() for judged in means]
        metrics |= {f"policy/{name}": _mean([each[name] for each in used]) for name in used[0]}
    if means[0].accuracy is not None:
        metrics["policy/accuracy"] = _mean([judged.accuracy or 0.0 for judged in means])
    if spec.zero_variance == "resample":
        metrics["policy/resamples"] = float(len(rounds) - 1)
    return metrics


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
