"""Prompts drawn and answered: whole responses at once, or grown over several steps (partial rollouts).

Shapes: P prompts, G responses each, B = P*G responses, C tokens.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch

from service.domain.algorithms import PolicySpec
from worker.training.batching import Tokens
from worker.training.prompts import Prompts
from worker.training.rollout import Responses, Sampling, generate
from worker.training.setup import Setup
from worker.training.turns import Turns


class Answered(NamedTuple):
    """Some prompts with all their responses."""

    rows: list[int]
    """Which training rows the prompts are [P]."""
    responses: Responses
    """Those to one prompt stand together [P*G]."""


@dataclass
class Group:
    """A prompt whose responses still grow."""

    row: int
    completions: list[list[int]]
    logps: list[list[float]]
    """Of each token, under the policy that sampled it."""
    stopped: list[bool]
    """Which responses have ended by themselves."""

    def growing(self, limit: int) -> list[int]:
        """Which responses go on."""
        return [
            index
            for index, (tokens, stopped) in enumerate(zip(self.completions, self.stopped, strict=True))
            if not stopped and len(tokens) < limit
        ]


@dataclass
class Answers:
    """Answers prompts with the policy as it is."""

    setup: Setup
    spec: PolicySpec
    encoded: list[list[int]]
    """The training prompts as token ids."""
    prompts: Prompts
    pending: list[Group] = field(default_factory=list)

    def __post_init__(self) -> None:
        made = self.setup
        self._turns = Turns(made.policy, made.encoder, made.tools, made.rows) if made.tools.spec else None

    def next(self, step: int, number: int) -> Answered:
        """The `number`-th batch of prompts of a step, answered; of partial rollouts those whose responses are done."""
        if self.spec.partial_rollout_length is not None:
            return self._grow(step, self.spec.partial_rollout_length)
        rows = self.prompts.draw(step, self.spec.prompts_per_step)
        first_row = number * self.spec.prompts_per_step * self.spec.num_generations
        how = self._sampling(step, self.spec.max_completion_length, self.spec.num_generations, first_row)
        prompts = [self.encoded[row] for row in rows]
        if self._turns is None:
            return Answered(rows, self._generate(prompts, how))
        asked = [self.setup.rows[row] for row in rows]
        return Answered(rows, self._turns.play(prompts, asked, how, self._generate))

    def state(self) -> dict[str, Any]:
        """What the next step depends on."""
        return {"prompts": self.prompts.state(), "pending": [vars(group).copy() for group in self.pending]}

    def restore(self, state: dict[str, Any]) -> None:
        """Put back what `state` gave."""
        self.prompts.restore(state["prompts"])
        self.pending = [Group(**group) for group in state["pending"]]

    def _sampling(self, step: int, tokens: int, generations: int, first_row: int) -> Sampling:
        return Sampling(tokens, self.spec.temperature, generations, self.setup.spec.seed, step, first_row=first_row)

    def _generate(self, prompts: list[list[int]], how: Sampling) -> Responses:
        return self.setup.rollouts.run(lambda size: generate(self.setup.policy, prompts, how, size))

    def _grow(self, step: int, length: int) -> Answered:
        """Let the responses grow by `length` tokens, again until all of some prompt are done (Kimi k1.5, 2.6.2)."""
        limit, drawn, entropies = self.spec.max_completion_length, 0, []
        done: list[Group] = []
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
        return Answered([group.row for group in done], self._collected(done, torch.stack(entropies).mean()))

    def _fill(self, step: int) -> None:
        lacking = self.spec.prompts_per_step - len(self.pending)
        for row in self.prompts.draw(step, lacking) if lacking else []:
            many = range(self.spec.num_generations)
            self.pending.append(Group(row, [[] for _ in many], [[] for _ in many], [False for _ in many]))

    def _collected(self, groups: list[Group], entropy: torch.Tensor) -> Responses:
        sequences = [Tokens(self.encoded[group.row], tokens) for group in groups for tokens in group.completions]
        logps = [torch.tensor(values) for group in groups for values in group.logps]
        logp_BC = torch.nn.utils.rnn.pad_sequence(logps, batch_first=True).to(self.setup.policy.device)
        truncated = [not stopped for group in groups for stopped in group.stopped]
        return Responses(sequences, logp_BC, entropy, truncated)


def _append(group: Group, index: int, responses: Responses, place: int, limit: int) -> None:
    """Add what a response has grown by; what goes beyond the limit is cut off."""
    tokens = responses.sequences[place].completion
    room = limit - len(group.completions[index])
    group.stopped[index] = not responses.truncated[place] and len(tokens) <= room
    group.completions[index] += tokens[:room]
    group.logps[index] += responses.logp_BC[place, : min(room, len(tokens))].tolist()
