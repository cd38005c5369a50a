"""Responses as text: scored, counted, and shown to people."""

from collections.abc import Sequence
from typing import NamedTuple

from service.domain.errors import Invalid
from worker.training.data import Row, prompt_text
from worker.training.events import Sample
from worker.training.rewards.kinds import CALLS, ERRORS, TURNS
from worker.training.rewards.pool import Item, Scored
from worker.training.rollout import Responses, ToolUse
from worker.training.setup import Setup


class Judged(NamedTuple):
    """Responses and what they earned, row by row."""

    rows: list[Row]
    texts: list[str]
    responses: Responses
    scores: list[Scored]
    rule: str | None
    """The first reward that is a rule; a model's score has no full marks."""

    @property
    def totals(self) -> list[float]:
        """The weighted sum of the rewards of each response."""
        return [score.total for score in self.scores]

    @property
    def accuracy(self) -> float | None:
        """The share of responses that are right; None where only models score."""
        return None if self.rule is None else _mean([float(right) for right in self.correct])

    @property
    def correct(self) -> list[bool]:
        """Which responses got full marks from the first rule."""
        return [self.rule is not None and score.parts[self.rule] >= 1 for score in self.scores]

    @property
    def completion_length(self) -> float:
        """Mean number of tokens."""
        return _mean([len(sequence.completion) for sequence in self.responses.sequences])

    @property
    def truncated(self) -> float:
        """The share of responses that the length limit cut off."""
        return _mean([float(cut) for cut in self.responses.truncated])

    def tool_metrics(self) -> dict[str, float]:
        """Calls and errors of a response, on average; nothing where there are no tools."""
        uses = self.responses.tool_use
        if uses is None:
            return {}
        return {"tool_calls": _mean([use.calls for use in uses]), "tool_errors": _mean([use.errors for use in uses])}

    def reward_metrics(self) -> dict[str, float]:
        """The mean of each reward, unweighted, and how many responses could not be scored."""
        names = self.scores[0].parts
        means = {f"reward/{name}": _mean([score.parts.get(name, 0.0) for score in self.scores]) for name in names}
        return means | {"reward/errors": float(sum(score.error is not None for score in self.scores))}

    def samples(self, split: str, count: int) -> list[Sample]:
        """Some of them, evenly spread."""
        chosen = range(0, len(self.texts), max(1, len(self.texts) // max(1, count)))[:count]
        return [self._sample(split, index) for index in chosen]

    def _sample(self, split: str, index: int) -> Sample:
        row, score, answer = self.rows[index], self.scores[index], self.rows[index].get("answer")
        return Sample(
            split="eval" if split == "eval" else "train",
            prompt=prompt_text(row),
            response=self.texts[index],
            answer=None if answer is None else str(answer),
            reward=score.total,
            rewards=score.parts,
            tokens=len(self.responses.sequences[index].completion),
            truncated=self.responses.truncated[index],
        )


def judge(setup: Setup, rows: list[Row], responses: Responses) -> Judged:
    """Score responses; `rows` has one entry for each. Invalid (param `rewards`) if no reward could score anything."""
    completions = [sequence.completion for sequence in responses.sequences]
    texts: list[str] = setup.policy.tokenizer.batch_decode(completions, skip_special_tokens=True)
    uses = responses.tool_use
    seen = rows if uses is None else [row | _used(use) for row, use in zip(rows, uses, strict=True)]
    items = [Item(prompt_text(row), text, row) for row, text in zip(seen, texts, strict=True)]
    scores = setup.pool.score(items)
    rule = next(iter(scores[0].parts), None)
    scores = setup.model_rewards.add_to(scores, rows, texts, responses, setup.tokens)
    if all(score.error for score in scores):
        raise Invalid(
            f"rewards failed on all {len(items)} responses, the first with: {scores[0].error}", param="rewards"
        )
    return Judged(rows, texts, responses, scores, rule)


def _used(use: ToolUse) -> Row:
    return {CALLS: use.calls, ERRORS: use.errors, TURNS: use.turns}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(1, len(values))
