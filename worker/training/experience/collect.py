"""Collecting the experience of a step: responses with their rewards, from which the policy learns.

Shapes: P prompts, G responses each, B = P*G responses, T tokens.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from time import perf_counter
from typing import Any, NamedTuple

import torch
from torch import Tensor

from hone.errors import Invalid
from service.domain.algorithms import PolicySpec
from service.domain.rewards import asked_columns
from worker.protocol import SampledResponse
from worker.training.data.rows import require_columns
from worker.training.experience.prompt_limits import asked, limit_of
from worker.training.experience.prompts import Prompts, success_rates
from worker.training.experience.rollouts import RolloutSampler
from worker.training.experience.scoring import ScoredResponses, score_responses
from worker.training.objectives.advantages import equal_rewards
from worker.training.objectives.shaping import gated, shaped
from worker.training.rewards.registry import zero_variance_reward
from worker.training.sequences.batching import Tokens, lengths, loss_mask
from worker.training.setup.job import Setup
from worker.training.world import share


@dataclass(frozen=True)
class Experience:
    """The responses that count in a step; those to one prompt stand together.

    Responses that no reward could judge are not among them, nor truncated ones where `mask_truncated` is set: they are
    in no mean, spread, baseline or loss. So a prompt may have fewer than G, or none.

    Example: one prompt with three responses, of which the second could not be judged; the first, of three tokens (the
    last one ends it), was right, the third has one token

        sequences   [Tokens([7, 8], [4, 6, 1]), Tokens([7, 8], [1])]
        sampler_BT  [[-0.7, -1.2, -0.1], [-2.3, 0.0, 0.0]]          0 where there is no token
        length_B    [3, 1]
        reward_B    [1.0, 0.0]
        place_B     [0, 2]                                          of the P*G responses
        mask_BT     [[1, 1, 1], [1, 0, 0]]
    """

    sequences: list[Tokens]
    sampler_BT: Tensor
    """The log-probabilities with which the tokens were sampled."""
    length_B: Tensor
    """How many tokens the policy sampled."""
    reward_B: Tensor
    """After clip, scale and length penalties."""
    place_B: Tensor
    """Which of the P*G responses of the step these are: p * G + g."""
    metrics: dict[str, float]
    samples: list[SampledResponse]
    ref_BT: Tensor | None = None
    """log pi_ref of the same tokens, where there is a KL to it."""

    @cached_property
    def mask_BT(self) -> Tensor:
        """The loss mask: 1 where the policy sampled a token, 0 on the output of tools and on padding."""
        if any(sequence.loss_mask for sequence in self.sequences):
            return loss_mask(self.sequences, self.length_B.device)
        return (torch.arange(self.sampler_BT.shape[1], device=self.length_B.device) < self.length_B[:, None]).float()

    def grouped(self, value_B: Tensor, generations: int) -> Tensor:
        """Values of the responses by prompt, NaN where one does not count [P, G]."""
        prompts = int(self.place_B.max()) // generations + 1
        value_PG = value_B.new_full((prompts * generations,), torch.nan).scatter(0, self.place_B, value_B)
        return value_PG.view(prompts, generations)


class _SamplingRound(NamedTuple):
    """Some prompts with their responses, scored; [P*G] each."""

    scored: ScoredResponses
    reward_B: Tensor
    """NaN of the responses that do not count."""
    equal_P: Tensor
    """Which prompts have nothing to compare."""


class RolloutWorker:
    """Samples responses to the training prompts from the policy, and has them scored."""

    def __init__(self, setup: Setup, spec: PolicySpec) -> None:
        require_columns(setup.rows, [asked_columns(setup.spec.rewards)], "dataset", spec.type)  # type: ignore[attr-defined]
        self._setup, self._spec = setup, spec
        if setup.policy.context - spec.max_completion_length < 2:
            message = f"algorithm.max_completion_length is {spec.max_completion_length}, but the model reads only"
            raise Invalid(
                f"{message} {setup.policy.context} tokens, prompt included; lower it",
                param="algorithm.max_completion_length",
            )
        self._judged_by = zero_variance_reward(setup.spec)
        length = spec.max_completion_length
        limit = limit_of(setup.spec, setup.policy.context, length, "algorithm.max_completion_length")
        setup.rows, encoded = asked(setup.rows, setup.encoder, limit, "dataset", setup.notes)
        setup.count_steps(len(setup.rows), spec.prompts_per_step)
        prompts = Prompts(setup.rows, spec.prompt_sampling, setup.spec.seed)
        self._sampler = RolloutSampler(setup, spec, encoded, prompts)

    def collect(self, step: int) -> Experience:
        """Sample responses to the prompts of a step (counted from 0), and score them."""
        times = {"time/rollout": 0.0, "time/reward": 0.0}
        rounds = [self._round(step, 0, times)]
        if self._spec.zero_variance == "resample":
            while self._needs_prompts(rounds) and len(rounds) <= self._spec.max_resamples:
                rounds.append(self._round(step, len(rounds), times))
        metrics = _metrics(rounds, self._spec) | times
        return self._experience(rounds, metrics)

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return self._sampler.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Put back what `state` gave."""
        self._sampler.restore(state)

    def _round(self, step: int, number: int, times: dict[str, float]) -> _SamplingRound:
        """Responses to the next prompts, scored."""
        setup, spec, start = self._setup, self._spec, perf_counter()
        batch = self._sampler.sample(step, number)
        rolled_out = perf_counter()
        rows = [setup.rows[row] for row in batch.rows for _ in range(spec.num_generations)]
        scored = score_responses(setup, rows, batch.responses)
        self._sampler.prompts.record_success(
            batch.rows, success_rates(scored.correct, scored.judged, spec.num_generations)
        )
        times["time/rollout"] += rolled_out - start
        times["time/reward"] += perf_counter() - rolled_out
        reward_B = self._shaped(scored, step)
        if self._judged_by is not None:
            reward_B = gated(reward_B, self._outcomes(scored), spec.num_generations)
        return _SamplingRound(scored, reward_B, equal_rewards(reward_B.view(-1, spec.num_generations)))

    def _outcomes(self, scored: ScoredResponses) -> Tensor:
        """The reward that reads the answer, of each response [B]."""
        assert self._judged_by is not None
        values = [score.parts.get(self._judged_by, 0.0) for score in scored.scores]
        return torch.tensor(values, dtype=torch.float32, device=self._setup.policy.device)

    def _shaped(self, scored: ScoredResponses, step: int) -> Tensor:
        device = self._setup.policy.device
        total_B = torch.tensor(scored.totals, dtype=torch.float32, device=device)
        if self._spec.mask_truncated:
            total_B[torch.tensor(scored.responses.truncated, device=device)] = torch.nan
        correct_B = torch.tensor(scored.correct, device=device)
        sequences = scored.responses.sequences
        completion_length_B = torch.tensor([len(sequence.completion) for sequence in sequences], device=device)
        return shaped(total_B, lengths(sequences, device), completion_length_B, correct_B, step, self._spec)

    def _needs_prompts(self, rounds: list[_SamplingRound]) -> bool:
        """Whether some rank has too few prompts with unequal rewards; all ranks then sample again."""
        wanted = len(share(self._setup.world, self._spec.prompts_per_step))
        return not self._setup.world.all(sum(int((~each.equal_P).sum()) for each in rounds) >= wanted)

    def _experience(self, rounds: list[_SamplingRound], metrics: dict[str, float]) -> Experience:
        """The first prompts with unequal rewards; if there are too few, the first of the others as well."""
        device = self._setup.policy.device
        wanted = len(share(self._setup.world, self._spec.prompts_per_step))
        equal_P = torch.cat([each.equal_P for each in rounds])
        if len(rounds) == 1:
            chosen_groups = list(range(len(equal_P)))
        else:
            chosen_groups = sorted(torch.argsort(equal_P.int(), stable=True)[:wanted].tolist())
        generations = self._spec.num_generations
        reward_B = torch.cat([each.reward_B for each in rounds])
        in_group = [range(group * generations, (group + 1) * generations) for group in chosen_groups]
        counts = (~reward_B.isnan()).tolist()
        rows = [row for group in in_group for row in group if counts[row]]
        places = [place for place, row in enumerate(row for group in in_group for row in group) if counts[row]]
        sequences = [sequence for each in rounds for sequence in each.scored.responses.sequences]
        chosen = [sequences[row] for row in rows]
        sampler_BT = _stacked([each.scored.responses.logp_BC for each in rounds])[rows]
        return Experience(
            chosen,
            sampler_BT[:, : max((len(sequence.completion) for sequence in chosen), default=0)],
            lengths(chosen, device),
            reward_B[rows],
            torch.tensor(places, device=device, dtype=torch.long),
            metrics,
            rounds[0].scored.samples("train", self._setup.spec.samples_per_step),
        )


def _stacked(parts: list[Tensor]) -> Tensor:
    width = max(part.shape[1] for part in parts)
    return torch.cat([torch.nn.functional.pad(part, (0, width - part.shape[1])) for part in parts])


def _metrics(rounds: list[_SamplingRound], spec: PolicySpec) -> dict[str, float]:
    """Over all responses that were sampled, also those that are not learned from; of rewards, over the judged ones."""
    scored_rounds = [each.scored for each in rounds]
    counts_B = torch.cat([~each.reward_B.isnan() for each in rounds])
    metrics = {
        "policy/counted": float(counts_B.double().mean()),
        "policy/entropy": _mean([float(scored.responses.entropy) for scored in scored_rounds]),
        "policy/completion_length": _mean([scored.completion_length for scored in scored_rounds]),
        "policy/truncated": _mean([scored.truncated for scored in scored_rounds]),
        "train/tokens": float(
            sum(sequence.total for scored in scored_rounds for sequence in scored.responses.sequences)
        ),
        **_reward_metrics(scored_rounds),
    }
    has_reward_P = counts_B.view(-1, spec.num_generations).any(dim=1)
    if has_reward_P.any():
        equal_P = torch.cat([each.equal_P for each in rounds])[has_reward_P]
        metrics["policy/zero_variance"] = float(equal_P.double().mean())
    if scored_rounds[0].responses.tool_use is not None:
        tool_metrics = [scored.tool_metrics() for scored in scored_rounds]
        metrics |= {f"policy/{name}": _mean([each[name] for each in tool_metrics]) for name in tool_metrics[0]}
    if spec.zero_variance == "resample":
        metrics["policy/resamples"] = float(len(rounds) - 1)
    return metrics


def _reward_metrics(rounds: list[ScoredResponses]) -> dict[str, float]:
    """Over the judged responses of all rounds; at least one was."""
    whole = rounds[0]._replace(scores=[score for scored in rounds for score in scored.scores])
    total_B = torch.tensor([total for total in whole.totals if not math.isnan(total)], dtype=torch.float64)
    metrics = {
        "policy/reward": float(total_B.mean()),
        "policy/reward_std": float(total_B.std(correction=min(1, total_B.numel() - 1))),
        **whole.reward_metrics(),
    }
    return metrics if whole.accuracy is None else metrics | {"policy/accuracy": whole.accuracy}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
