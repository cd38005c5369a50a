"""Rewards that look at values: numeric, and math (math-verify) with a short way for plain numbers and lists."""

from collections.abc import Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any

from service.domain.rewards import MathReward, NumericReward
from worker.training.rewards.extraction import expected, extracted
from worker.training.rewards.kinds import RewardFunction
from worker.training.rewards.numbers import rational, undelimited
from worker.training.rewards.text import normalised

DELIMITED = ("$", r"\(", r"\[", r"\boxed")
DECIMALS = 6
"""A decimal equals a fraction that it is within so many places, as in math-verify."""


def numeric(spec: NumericReward) -> RewardFunction:
    """1 if the extracted number is the row's answer within the tolerance; the comparison itself is exact."""
    tolerance = Fraction(spec.tolerance)

    def score(prompt: str, response: str, row: Mapping[str, Any]) -> float:
        answer = rational(expected(row))
        if answer is None:
            raise ValueError(f"the row's answer {expected(row)!r} is not a number; use the reward 'math' or 'exact'")
        text = extracted(response, spec.extract)
        value = None if text is None else rational(text)
        return float(value is not None and abs(value - answer) <= tolerance)

    return score


def math(spec: MathReward) -> RewardFunction:
    """1 if the extracted expression is equivalent to the row's answer."""

    def score(prompt: str, response: str, row: Mapping[str, Any]) -> float:
        answer, text = expected(row), extracted(response, spec.extract)
        return float(text is not None and equivalent(answer, text))

    return score


@lru_cache(maxsize=10_000)
def equivalent(answer: str, text: str) -> bool:
    """Whether two expressions have the same value. It takes microseconds for numbers, and may take forever."""
    if not text.strip():
        return False
    if normalised(answer) == normalised(text):
        return True
    exact, value = rational(answer), rational(text)
    if exact is not None and value is not None:
        return _same_number(exact, value, decimal="." in answer or "." in text)
    items, values = _items(answer), _items(text)
    if items is not None and values is not None:
        return len(items) == len(values) and all(map(equivalent, items, values))
    if items is not None and "\\" not in text:
        return False  # only LaTeX has another way to write a matrix, and its parser is slow on a broken list
    return _verified(_latex(answer, items), _latex(text, values))


def _same_number(answer: Fraction, value: Fraction, *, decimal: bool) -> bool:
    return round(answer, DECIMALS) == round(value, DECIMALS) if decimal else answer == value


def _items(text: str) -> list[str] | None:
    """The outermost elements of a list written `[a, b]`, or None if it is none: `[1, [2, 3]]` has `1` and `[2, 3]`."""
    text = undelimited(text.strip())
    if not (text.startswith("[") and text.endswith("]")):
        return None
    items, depth, start = [], 0, 1
    for i, character in enumerate(text):
        depth += (character in "[({") - (character in "])}")
        if depth < 1 and i < len(text) - 1:
            return None  # `[1] + [2]`
        if depth == 1 and character == ",":
            items.append(text[start:i].strip())
            start = i + 1
    return [*items, text[start:-1].strip()] if depth == 0 else None


def _latex(text: str, items: list[str] | None) -> str:
    """The expression between delimiters: without them math-verify looks for any number in it, and `x+2` is `3x+2`."""
    if items is not None:
        rows = r" \\ ".join(" & ".join(_items(item) or [item]) for item in items)
        return rf"$\begin{{pmatrix}}{rows}\end{{pmatrix}}$"
    return text if any(mark in text for mark in DELIMITED) else f"${text}$"


def _verified(answer: str, text: str) -> bool:
    from math_verify import verify

    parsed = _parsed(answer)
    # Its own time limits are alarms: they fail in threads and do not interrupt a regular expression.
    return bool(parsed) and verify(parsed, _parsed(text), timeout_seconds=None)


@lru_cache(maxsize=1000)
def _parsed(text: str) -> list[Any]:
    from math_verify import LatexExtractionConfig, parse

    # Latex only: its other way takes any number out of what is no expression, and `7+/5` would be 7.
    return list(parse(text, [LatexExtractionConfig()], parsing_timeout=None, fallback_mode="no_fallback"))
