"""Reward functions as a user names them: their schemas only; the functions live with the trainer.

Each scores one response in [0, 1] unless it says otherwise. `extract` tells which part of the response is
compared: the last `<answer>...</answer>`, the last `\\boxed{...}`, the last number, or the whole response.
A response without that part scores 0.
"""

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from service.domain.strict import Strict

Extract = Literal["answer", "boxed", "number", "whole"]


class Reward(Strict):
    """What every reward has."""

    weight: float = Field(1.0, ge=-100, le=100, description="factor in the weighted sum; negative for a penalty")


class ExactReward(Reward):
    """1 if the extracted text equals the row's `answer`, white space aside."""

    type: Literal["exact"] = "exact"
    extract: Extract = Field("answer", description="which part of the response is compared")
    case_sensitive: bool = Field(True, description="whether 'Yes' differs from 'yes'")


class NumericReward(Reward):
    """1 if the extracted number equals the row's `answer` within a tolerance."""

    type: Literal["numeric"] = "numeric"
    extract: Extract = Field("answer", description="which part of the response is read as a number")
    tolerance: float = Field(1e-6, ge=0, description="largest absolute difference that counts as equal")


class MathReward(Reward):
    """1 if the extracted expression is mathematically equivalent to the row's `answer` (sympy, math-verify)."""

    type: Literal["math"] = "math"
    extract: Extract = Field("answer", description="which part of the response is parsed")


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
    """The share of the calls of tools that succeeded, less a penalty for each that was not needed, at most three."""

    type: Literal["tool_use"] = "tool_use"
    expected: str | None = Field(
        "difficulty",
        min_length=1,
        description="the column with the number of calls that a row needs; null: none is too many",
    )
    extra_penalty: float = Field(1.0, ge=0, le=100, description="for each call beyond them, of the first three")
    without_calls: float = Field(0.0, ge=-100, le=100, description="what a response without calls earns")


class RewardModelReward(Reward):
    """What a trained reward model says of prompt and response: any real number."""

    type: Literal["reward_model"] = "reward_model"
    model: str = Field(min_length=1, max_length=500, description="job:ID[@best|@latest|@step-N] of a reward_model job")


AnyReward = Annotated[
    ExactReward | NumericReward | MathReward | RegexReward | FormatReward | ToolUseReward | RewardModelReward,
    Field(discriminator="type"),
]
