"""Sampling of the responses of a step: whole ones at once, or grown over several steps (partial rollouts).

Shapes: P prompts, G responses each, B = P*G responses, C tokens.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from service.domain.algorithms import PolicySpec
from worker.training.decoding.generate import Responses, Sampling, generate
from worker.training.experience.multi_turn import MultiTurnSampler
from worker.training.experience.prompts import Prompts
from worker.training.sequences.batching import Tokens
from worker.training.setup.job import Setup
from worker.training.world import share


class RolloutBatch(NamedTuple):
    """Some prompts with all their responses."""

    rows: list[int]
    """Which training rows the prompts are [P]."""
    responses: Responses
    """Those to one prompt stand together [P*G]."""


@dataclass
class PartialGroup:
    """A prompt whose responses still grow. Checkpoints hold its fields by their names."""

    row: int
    completions: list[list[int]]
    logps: list[list[float]]
    """The log-probability of each token, under the policy that sampled it."""
    stopped: list[bool]
    """Which responses have ended by themselves."""

    def growing(self, limit: int) -> list[int]:
        """Which responses are not finished."""
        return [
            index
            for index, (tokens, stopped) in enumerate(zip(self.completions, self.stopped, strict=True))
            if not stopped and len(tokens) < limit
        ]


@dataclass
class RolloutSampler:
    """Draws prompts, and samples responses to them from the policy as it is."""

    setup: Setup
    spec: PolicySpec
    encoded: list[list[int]]
    """The training prompts as token ids."""
    prompts: Prompts
    pending: list[PartialGroup] = field(default_factory=list)

    def __post_init__(self) -> None:
        setup = self.setup
        has_tools = setup.tools.spec is not None
        self._multi_turn = MultiTurnSampler(setup.policy, setup.encoder, setup.tools, setup.rows) if has_tools else None

    def sample(self, step: int, round_number: int) -> RolloutBatch:
        """The prompts of one sampling round of a step with their responses; of partial rollouts the finished ones."""
        if self.spec.partial_rollout_length is not None:
            return self._grow(step, self.spec.partial_rollout_length)
        own = share(self.setup.world, self.spec.prompts_per_step)
        rows = self.prompts.draw(step, self.spec.prompts_per_step)[own.start : own.stop]
        first_row = (round_number * self.spec.prompts_per_step + own.start) * self.spec.num_generations
        sampling = self._sampling(step, self.spec.max_completion_length, self.spec.num_generations, first_row)
        prompts = [self.encoded[row] for row in rows]
        if self._multi_turn is None:
            return RolloutBatch(rows, self._generate(prompts, sampling))
        prompt_rows = [self.setup.rows[row] for row in rows]
        return RolloutBatch(rows, self._multi_turn.sample(prompts, prompt_rows, sampling, self._generate))

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {"prompts": self.prompts.state(), "pending": [vars(group).copy() for group in self.pending]}

    def restore(self, state: dict[str, Any]) -> None:
        """Put back what `state` gave."""
        self.prompts.restore(state["prompts"])
        self.pending = [PartialGroup(**group) for group in state["pending"]]

    def _sampling(self, step: int, tokens: int, generations: int, first_row: int) -> Sampling:
        return Sampling(tokens, self.spec.temperature, generations, self.setup.spec.seed, step, first_row=first_row)

    def _generate(self, prompts: list[list[int]], sampling: Sampling) -> Responses:
        return self.setup.rollouts.run(lambda size: generate(self.setup.policy, prompts, sampling, size))

    def _grow(self, step: int, length: int) -> RolloutBatch:
        """Extend the responses by `length` tokens, repeated until all of some prompt are done (Kimi k1.5, 2.6.2)."""
        limit, drawn, entropies = self.spec.max_completion_length, 0, []
        done: list[PartialGroup] = []
        while not done:
            self._fill(step)
            growing = [(group, index) for group in self.pending for index in group.growing(limit)]
            prompts = [self.encoded[group.row] + group.completions[index] for group, index in growing]
            responses = self._generate(prompts, self._sampling(step, length, 1, drawn))
            drawn += len(growing)
            entropies.append(responses.entropy)
            for place, (group, index) in enumerate(growing):
                _append(group, index, responses, place, limit)
            done = [group for group in self.pending if not group.growing(limit)]
        self.pending = [group for group in self.pending if group.growing(limit)]
        return RolloutBatch([group.row for group in done], self._collected(done, torch.stack(entropies).mean()))

    def _fill(self, step: int) -> None:
        missing = self.spec.prompts_per_step - len(self.pending)
        for row in self.prompts.draw(step, missing) if missing else []:
            generations = range(self.spec.num_generations)
            completions: list[list[int]] = [[] for _ in generations]
            logps: list[list[float]] = [[] for _ in generations]
            self.pending.append(PartialGroup(row, completions, logps, [False for _ in generations]))

    def _collected(self, groups: list[PartialGroup], entropy: torch.Tensor) -> Responses:
        sequences = [Tokens(self.encoded[group.row], tokens) for group in groups for tokens in group.completions]
        logps = [torch.tensor(values) for group in groups for values in group.logps]
        logp_BC = torch.nn.utils.rnn.pad_sequence(logps, batch_first=True).to(self.setup.policy.device)
        truncated = [not stopped for group in groups for stopped in group.stopped]
        return Responses(sequences, logp_BC, entropy, truncated)


def _append(group: PartialGroup, index: int, responses: Responses, place: int, limit: int) -> None:
    """Add new tokens to a response, up to the limit."""
    tokens = responses.sequences[place].completion
    remaining_tokens = limit - len(group.completions[index])
    group.stopped[index] = not responses.truncated[place] and len(tokens) <= remaining_tokens
    group.completions[index] += tokens[:remaining_tokens]
    group.logps[index] += responses.logp_BC[place, : min(remaining_tokens, len(tokens))].tolist()
