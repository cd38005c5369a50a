"""Scoring of responses by the rewards, with the metrics and the samples that come from it."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from hone.errors import Invalid
from service.domain.health_notes import Note
from worker.protocol import SampledResponse
from worker.training.data.rows import Row, prompt_text
from worker.training.decoding.generate import Responses, ToolUse
from worker.training.models.response_text import response_texts
from worker.training.rewards.pool import Item, Score
from worker.training.rewards.registry import ANSWERING_TURN, CALLS, ERRORS, TURNS
from worker.training.setup.job import Setup
from worker.training.tools.calls import answering_turn


class ScoredResponses(NamedTuple):
    """Responses with their scores, row by row."""

    rows: list[Row]
    texts: list[str]
    responses: Responses
    scores: list[Score]
    rule: str | None
    """The first reward that is a rule; a model's score has no full marks."""

    @property
    def totals(self) -> list[float]:
        """The weighted sum of the rewards of each response; NaN of those that could not be judged."""
        return [math.nan if score.error else score.total for score in self.scores]

    @property
    def judged(self) -> list[bool]:
        """Which responses every reward could judge; the others are in no mean of rewards, and in no loss."""
        return [score.error is None for score in self.scores]

    @property
    def accuracy(self) -> float | None:
        """The share of the judged responses that are right; None where only models score, or none was judged."""
        if self.rule is None or not any(self.judged):
            return None
        return _mean([float(right) for right, judged in zip(self.correct, self.judged, strict=True) if judged])

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
        """The mean of each reward over the judged responses, unweighted, and how many were not judged."""
        judged = [score.parts for score in self.scores if score.error is None]
        names = judged[0] if judged else {}
        means = {f"reward/{name}": _mean([parts.get(name, 0.0) for parts in judged]) for name in names}
        return means | {"reward/errors": float(len(self.scores) - len(judged))}

    def samples(self, split: str, count: int) -> list[SampledResponse]:
        """Some responses for people to read, evenly spread."""
        chosen = range(0, len(self.texts), max(1, len(self.texts) // max(1, count)))[:count]
        return [self._sample(split, index) for index in chosen]

    def _sample(self, split: str, index: int) -> SampledResponse:
        row, score, answer = self.rows[index], self.scores[index], self.rows[index].get("answer")
        return SampledResponse(
            split="eval" if split == "eval" else "train",
            prompt=prompt_text(row),
            response=self.texts[index],
            answer=None if answer is None else str(answer),
            reward=None if score.error else score.total,
            rewards=score.parts,
            tokens=len(self.responses.sequences[index].completion),
            truncated=self.responses.truncated[index],
        )


def score_responses(setup: Setup, rows: list[Row], responses: Responses) -> ScoredResponses:
    """Score responses; `rows` has one entry for each.

    Invalid (param `max_invalid_rewards`) if too many of them, or all, could not be judged.
    """
    texts = response_texts(setup.policy, [sequence.completion for sequence in responses.sequences])
    uses = responses.tool_use
    scored_rows = rows if uses is None else _with_tool_columns(rows, uses, responses.truncated)
    items = [Item(prompt_text(row), text, row) for row, text in zip(scored_rows, texts, strict=True)]
    scores = setup.pool.score(items)
    rule = next(iter(scores[0].parts), None)
    scores = setup.model_rewards.add_to(scores, rows, texts, responses, setup.tokens)
    setup.notes.extend(_not_judged(scores, setup.spec.max_invalid_rewards))
    return ScoredResponses(rows, texts, responses, scores, rule)


def _not_judged(scores: Sequence[Score], limit: float) -> Iterator[Note]:
    """Of responses that a reward failed to judge; Invalid if there are more than the spec allows, or no others."""
    errors = [score.error for score in scores if score.error]
    if not errors:
        return
    share = len(errors) / len(scores)
    what = f"{len(errors)} of {len(scores)} responses"
    if share > limit or share == 1:
        remedy = "mend the reward, or raise max_invalid_rewards" if share < 1 else "mend the reward"
        raise Invalid(
            f"rewards failed on {what}, the first with: {errors[0]}; at most {limit:.0%} may fail: {remedy}",
            param="max_invalid_rewards",
        )
    message = f"{what} could not be judged, the first because of {errors[0][:300]}"
    yield Note("rewards_failed", message, "look at them among the samples, where they have no reward", "rewards")


def _with_tool_columns(rows: list[Row], uses: list[ToolUse], truncated: list[bool]) -> list[Row]:
    """Rows with what rewards read of the tools."""
    return [
        row
        | {CALLS: use.calls, ERRORS: use.errors, TURNS: use.turns}
        | {ANSWERING_TURN: answering_turn(use.turns, truncated=cut)}
        for row, use, cut in zip(rows, uses, truncated, strict=True)
    ]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / max(1, len(values))
