"""The specs of rewards; their functions are in `worker/training/rewards/`.

Each scores one response in [0, 1] unless it says otherwise. `extract` selects the part of the response that is
compared: the last `<answer>...</answer>`, the last `\\boxed{...}`, the last number, or the whole response. What comes
before the end of the last thought never counts, and a response without that part scores 0.
"""

import re
from collections.abc import Iterable
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from hone.documents.validation import ShortText, Strict, is_lenient, refusal

Extract = Literal["answer", "boxed", "number", "whole"]


class Reward(Strict):
    """Fields of every reward."""

    reads_answer: ClassVar[bool] = False
    """Whether it compares the response with the row's `answer`."""
    weight: float = Field(1.0, ge=-100, le=100, description="factor in the weighted sum; negative for a penalty")


class AnswerReward(Reward):
    """A reward that compares a part of the response with the row's `answer`; with tools, a part of its last turn."""


class ExactReward(AnswerReward):
    """1 if the extracted text equals the row's `answer`, apart from white space."""

    reads_answer: ClassVar[bool] = True
    type: Literal["exact"] = "exact"
    extract: Extract = Field("answer", description="part of the response that is compared")
    case_sensitive: bool = Field(True, description="whether 'Yes' differs from 'yes'")


class NumericReward(AnswerReward):
    """1 if the extracted number equals the row's `answer` within a tolerance."""

    reads_answer: ClassVar[bool] = True
    type: Literal["numeric"] = "numeric"
    extract: Extract = Field("answer", description="part of the response that is read as a number")
    tolerance: float = Field(
        1e-6, ge=0, description="largest relative difference that counts as equal; absolute where the answer is 0"
    )


class MathReward(AnswerReward):
    """1 if the extracted expression is mathematically equivalent to the row's `answer` (sympy, math-verify)."""

    reads_answer: ClassVar[bool] = True
    type: Literal["math"] = "math"
    extract: Extract = Field("answer", description="part of the response that is parsed")


class RegexReward(Reward):
    """1 if the pattern is found in the response (Python's `re`, DOTALL)."""

    type: Literal["regex"] = "regex"
    pattern: str = Field(min_length=1, max_length=1000, description="the pattern to search for")
    full: bool = Field(False, description="whether the whole response must match")

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"is not a regular expression: {error}") from None
        return pattern


class FormatReward(Reward):
    """1 if the response is `<think>...</think><answer>...</answer>` and nothing else (DeepSeek-R1, section 2.2.2).

    With tools, every turn before that must be `<think>...</think><tool_call>...</tool_call>`.
    """

    type: Literal["format"] = "format"


class ToolUseReward(Reward):
    """The share of tool calls that succeeded, less a penalty for each call that was not needed, at most three."""

    type: Literal["tool_use"] = "tool_use"
    expected: ShortText | None = Field(
        "difficulty",
        min_length=1,
        description="column with the number of calls that a row needs; null: no call is too many",
    )
    extra_penalty: float = Field(
        1.0, ge=0, le=100, description="penalty for each of the first three calls beyond that number"
    )
    without_calls: float = Field(0.0, ge=-100, le=100, description="score of a response without calls")

    @model_validator(mode="after")
    def _counts_calls(self, info: ValidationInfo) -> Self:
        if self.expected is None and self.extra_penalty != 1 and not is_lenient(info):
            message = (
                "has no effect where expected is null, so that no call is too many; name a column, or set this to 1.0"
            )
            raise refusal("extra_penalty", message, self.extra_penalty)
        return self


class RewardModelReward(Reward):
    """The score that a trained reward model gives to prompt and response: any real number."""

    type: Literal["reward_model"] = "reward_model"
    model: str = Field(min_length=1, max_length=500, description="job:ID[@best|@latest|@step-N] of a reward_model job")


AnyReward = Annotated[
    ExactReward | NumericReward | MathReward | RegexReward | FormatReward | ToolUseReward | RewardModelReward,
    Field(discriminator="type"),
]


def asked_columns(rewards: Iterable[Reward]) -> tuple[str, ...]:
    """The columns that a row must have for its responses to be scored."""
    return ("prompt", "answer") if any(reward.reads_answer for reward in rewards) else ("prompt",)
