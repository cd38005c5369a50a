"""Responses in several turns: the policy writes a call, a tool returns its output, the policy continues.

    completion = turn_1 output_1 turn_2 output_2 ... turn_n          one sequence; the loss mask has the turns alone

A turn ends with the end of a sequence, which ends the response, or with `</tool_call>`, so it has one call. Nothing
that was sampled is tokenised again (token-in, token-out): each turn's prompt is the tokens so far. An output that fills
the limit is left out, and a call beyond `max_turns` is not run: both cut the response off. So does a turn beyond
`max_turn_length`. With `malformed_call: end` a call that no tool can be given ends it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from worker.training.data.encode import Encoder
from worker.training.data.rows import Row
from worker.training.decoding.generate import Responses, RowSampling, Sampling, ToolUse
from worker.training.models.policy import Policy
from worker.training.models.response_text import response_texts
from worker.training.sequences.batching import Tokens
from worker.training.tools.calls import called_name
from worker.training.tools.tags import CALL_END
from worker.training.tools.toolbox import Toolbox, ToolResult

TURN_STRIDE = 2**32
"""Between the random numbers of one response's turns: more responses than a step ever has."""
Generate = Callable[[list[list[int]], Sampling], Responses]
"""Samples one turn to each prompt."""


@dataclass
class Episode:
    """A response that grows by turns."""

    prompt: list[int]
    row: Row
    number: int
    """Of the response in its step: its random numbers are a function of it."""
    tokens: list[int] = field(default_factory=list)
    loss_mask: list[bool] = field(default_factory=list)
    logps: list[float] = field(default_factory=list)
    """The log-probability of each token when it was sampled; 0 for the output of tools."""
    turns: list[str] = field(default_factory=list)
    """The text of each turn."""
    calls: int = 0
    errors: int = 0
    is_open: bool = True
    """Whether it goes on."""
    truncated: bool = False

    def append_turn(self, tokens: list[int], logps: list[float], text: str) -> None:
        """Add a turn of the policy."""
        self.tokens += tokens
        self.loss_mask += [True] * len(tokens)
        self.logps += logps
        self.turns.append(text)

    def append_tool_output(self, tokens: list[int], *, failed: bool) -> None:
        """Add the output of a tool."""
        self.tokens += tokens
        self.loss_mask += [False] * len(tokens)
        self.logps += [0.0] * len(tokens)
        self.calls, self.errors = self.calls + 1, self.errors + failed

    def end_by_malformed_call(self) -> None:
        """End the response with a call that failed and gets no reply: the policy has ended it, no limit."""
        self.calls, self.errors = self.calls + 1, self.errors + 1
        self.end(truncated=False)

    def end(self, *, truncated: bool) -> None:
        """End the response."""
        self.is_open, self.truncated = False, truncated

    @property
    def sequence(self) -> Tokens:
        """All of it, with its loss mask."""
        return Tokens(self.prompt, self.tokens, None if all(self.loss_mask) else self.loss_mask)


class MultiTurnSampler:
    """Samples responses that call tools."""

    def __init__(self, policy: Policy, encoder: Encoder, box: Toolbox, rows: Sequence[Row]) -> None:
        """Invalid (param `tools`) if the model's chat template cannot show the output of tools."""
        assert box.spec is not None
        if rows:
            encoder.tool_output("0", rows[0], box.spec.functions[0])
        self._policy, self._encoder, self._box, self._spec = policy, encoder, box, box.spec

    def sample(
        self, prompts: Sequence[list[int]], rows: Sequence[Row], sampling: Sampling, generate: Generate
    ) -> Responses:
        """`sampling.generations` responses to each prompt; outputs of tools count in `sampling.max_tokens`."""
        first = sampling._replace(max_tokens=self._turn_limit(sampling.max_tokens), stop=CALL_END)
        responses = generate(list(prompts), first)
        episodes = [
            Episode(sequence.prompt, rows[index // sampling.generations], sampling.first_row + index)
            for index, sequence in enumerate(responses.sequences)
        ]
        self._append_turns(episodes, responses)
        entropies = [_entropy(responses)]
        for turn in range(1, self._spec.max_turns + 1):
            self._append_tool_outputs(_open(episodes), sampling.max_tokens)
            calling = _open(episodes)
            if not calling:
                break
            next_prompts = [episode.prompt + episode.tokens for episode in calling]
            responses = generate(next_prompts, self._next_turn(sampling, calling, turn))
            self._append_turns(calling, responses)
            entropies.append(_entropy(responses))
        for episode in _open(episodes):
            episode.end(truncated=True)
        return self._collected(episodes, torch.stack(entropies))

    def _append_turns(self, episodes: Sequence[Episode], responses: Responses) -> None:
        """Add a turn to each; an episode whose turn does not end with a call is over."""
        turns = [sequence.completion for sequence in responses.sequences]
        texts = response_texts(self._policy, turns)
        logps: list[list[float]] = responses.logp_BC.tolist()
        for index, (episode, tokens) in enumerate(zip(episodes, turns, strict=True)):
            episode.append_turn(tokens, logps[index][: len(tokens)], texts[index])
            if CALL_END not in texts[index]:
                episode.end(truncated=responses.truncated[index])

    def _append_tool_outputs(self, episodes: Sequence[Episode], limit: int) -> None:
        """Run the calls, and add the output of each; an episode that would then be at the limit is over."""
        results = self._box.call([episode.turns[-1] for episode in episodes]) if episodes else []
        for episode, result in zip(episodes, results, strict=True):
            if result.malformed and self._spec.malformed_call == "end":
                episode.end_by_malformed_call()
                continue
            tokens = self._encoder.tool_output(self._cut(result), episode.row, called_name(episode.turns[-1]))
            if len(episode.tokens) + len(tokens) < limit:
                episode.append_tool_output(tokens, failed=result.failed)
            else:
                episode.end(truncated=True)

    def _next_turn(self, sampling: Sampling, episodes: Sequence[Episode], turn: int) -> Sampling:
        """The sampling of a further turn: with its own random numbers, within the remaining tokens of each response."""
        limits = [self._turn_limit(sampling.max_tokens - len(episode.tokens)) for episode in episodes]
        rows = tuple(
            RowSampling(episode.number + turn * TURN_STRIDE, limit)
            for episode, limit in zip(episodes, limits, strict=True)
        )
        return sampling._replace(max_tokens=max(limits), generations=1, stop=CALL_END, rows=rows)

    def _turn_limit(self, remaining_tokens: int) -> int:
        return min(remaining_tokens, self._spec.max_turn_length or remaining_tokens)

    def _cut(self, result: ToolResult) -> str:
        ids: list[int] = self._policy.tokenizer(result.text, add_special_tokens=False)["input_ids"]
        limit = self._spec.max_result_length
        return result.text if len(ids) <= limit else f"{self._policy.tokenizer.decode(ids[:limit])}..."

    def _collected(self, episodes: Sequence[Episode], entropy_T2: torch.Tensor) -> Responses:
        logps = [torch.tensor(episode.logps) for episode in episodes]
        total = entropy_T2.sum(0)
        return Responses(
            [episode.sequence for episode in episodes],
            torch.nn.utils.rnn.pad_sequence(logps, batch_first=True).to(self._policy.device),
            total[0] / total[1],
            [episode.truncated for episode in episodes],
            [ToolUse(episode.calls, episode.errors, episode.turns) for episode in episodes],
        )


def _open(episodes: Sequence[Episode]) -> list[Episode]:
    return [episode for episode in episodes if episode.is_open]


def _entropy(responses: Responses) -> torch.Tensor:
    """The sum of the entropy over the tokens, and the number of tokens [2]."""
    tokens = sum(len(sequence.completion) for sequence in responses.sequences)
    return torch.stack([responses.entropy.float().cpu() * tokens, torch.tensor(float(tokens))])
