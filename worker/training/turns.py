"""Responses in turns: the policy writes a call, a tool answers, the policy goes on; token-in, token-out.

    completion = turn_1 answer_1 turn_2 answer_2 ... turn_n          one sequence, learned on the turns alone

A turn ends with the end of a sequence, which ends the response, or with `</tool_call>`, so it has one call. Nothing
that was sampled is tokenised again: each turn's prompt is the tokens so far. An answer that leaves no room for a
further token is left out, and a call beyond `max_turns` is not answered: both cut the response off.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch

from worker.training.batching import Tokens
from worker.training.data import Row
from worker.training.encode import Encoder
from worker.training.models import Policy
from worker.training.rollout import Numbered, Responses, Sampling, ToolUse
from worker.training.tools.box import Answer, Toolbox
from worker.training.tools.tags import CALL_END

APART = 2**32
"""Between the numbers of one response's turns: more responses than a step ever has."""
Sample = Callable[[list[list[int]], Sampling], Responses]
"""Answers prompts once."""


@dataclass
class Episode:
    """A response that grows by turns."""

    prompt: list[int]
    row: Row
    number: int
    tokens: list[int] = field(default_factory=list)
    learned: list[bool] = field(default_factory=list)
    logps: list[float] = field(default_factory=list)
    """Of each token when it was sampled; 0 for those of tools."""
    turns: list[str] = field(default_factory=list)
    calls: int = 0
    errors: int = 0
    open: bool = True
    truncated: bool = False

    def say(self, tokens: list[int], logps: list[float], text: str) -> None:
        """Add a turn of the policy."""
        self.tokens += tokens
        self.learned += [True] * len(tokens)
        self.logps += logps
        self.turns.append(text)

    def hear(self, tokens: list[int], failed: bool) -> None:
        """Add what a tool answered."""
        self.tokens += tokens
        self.learned += [False] * len(tokens)
        self.logps += [0.0] * len(tokens)
        self.calls, self.errors = self.calls + 1, self.errors + failed

    def end(self, truncated: bool) -> None:
        """Nothing more is said."""
        self.open, self.truncated = False, truncated

    @property
    def sequence(self) -> Tokens:
        """The whole."""
        return Tokens(self.prompt, self.tokens, None if all(self.learned) else self.learned)


class Turns:
    """Lets a policy answer with tools."""

    def __init__(self, policy: Policy, encoder: Encoder, box: Toolbox, rows: Sequence[Row]) -> None:
        """Invalid (param `tools`) if the model's chat template cannot show the rows what tools answer."""
        assert box.spec is not None
        if rows:
            encoder.heard("0", rows[0])
        self._policy, self._encoder, self._box, self._spec = policy, encoder, box, box.spec

    def play(self, prompts: Sequence[list[int]], rows: Sequence[Row], how: Sampling, sample: Sample) -> Responses:
        """`how.generations` responses to each prompt, of `how.max_tokens` at most, answers of tools included."""
        first = sample(list(prompts), how._replace(stop=CALL_END))
        episodes = [
            Episode(sequence.prompt, rows[index // how.generations], how.first_row + index)
            for index, sequence in enumerate(first.sequences)
        ]
        spoken, entropies = episodes, [_entropy(first)]
        self._say(episodes, first)
        for turn in range(1, self._spec.max_turns + 1):
            self._answer([episode for episode in spoken if episode.open], how.max_tokens)
            spoken = [episode for episode in spoken if episode.open]
            if not spoken:
                break
            responses = sample([episode.prompt + episode.tokens for episode in spoken], _next(how, spoken, turn))
            self._say(spoken, responses)
            entropies.append(_entropy(responses))
        for episode in episodes:
            if episode.open:
                episode.end(truncated=True)
        return self._collected(episodes, torch.stack(entropies))

    def _say(self, episodes: Sequence[Episode], responses: Responses) -> None:
        """Add a turn to each; those that do not end with a call are over."""
        turns = [sequence.completion for sequence in responses.sequences]
        words, stops = self._policy.tokenizer, set(self._policy.stops)
        without_stops = [[token for token in tokens if token not in stops] for tokens in turns]
        texts: list[str] = words.batch_decode(without_stops, clean_up_tokenization_spaces=False)
        logps: list[list[float]] = responses.logp_BC.tolist()
        for index, (episode, tokens) in enumerate(zip(episodes, turns, strict=True)):
            episode.say(tokens, logps[index][: len(tokens)], texts[index])
            if CALL_END not in texts[index]:
                episode.end(responses.truncated[index])

    def _answer(self, episodes: Sequence[Episode], limit: int) -> None:
        """Run the calls, and let each response read its answer, if it then has room to go on."""
        answers = self._box.answers([episode.turns[-1] for episode in episodes]) if episodes else []
        for episode, answer in zip(episodes, answers, strict=True):
            tokens = self._encoder.heard(self._cut(answer), episode.row)
            if len(episode.tokens) + len(tokens) < limit:
                episode.hear(tokens, answer.failed)
            else:
                episode.end(truncated=True)

    def _cut(self, answer: Answer) -> str:
        ids: list[int] = self._policy.tokenizer(answer.text, add_special_tokens=False)["input_ids"]
        most = self._spec.max_result_length
        return answer.text if len(ids) <= most else f"{self._policy.tokenizer.decode(ids[:most])}..."

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


def _next(how: Sampling, episodes: Sequence[Episode], turn: int) -> Sampling:
    """How a further turn is drawn: with random numbers of its own, within what is left of each limit."""
    left = [how.max_tokens - len(episode.tokens) for episode in episodes]
    rows = tuple(Numbered(episode.number + turn * APART, room) for episode, room in zip(episodes, left, strict=True))
    return how._replace(max_tokens=max(left), generations=1, stop=CALL_END, rows=rows)


def _entropy(responses: Responses) -> torch.Tensor:
    """Sum over the tokens, and their number [2]."""
    tokens = sum(len(sequence.completion) for sequence in responses.sequences)
    return torch.stack([responses.entropy.float().cpu() * tokens, torch.tensor(float(tokens))])
