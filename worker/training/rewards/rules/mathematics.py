"""Rewards that look at values: numeric, and math."""

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from service.domain.rewards import MathReward, NumericReward
from worker.training.rewards.registry import Legibility, Reader, RewardFunction, reader, rule
from worker.training.rewards.rules.equality import equivalent, legibility, stated
from worker.training.rewards.rules.extraction import expected, extracted, shortened
from worker.training.rewards.rules.groups import group
from worker.training.rewards.rules.numbers import Quantity, european, quantity, same
from worker.training.rewards.rules.relations import conclusion, relation


@rule(NumericReward)
def numeric(spec: NumericReward) -> RewardFunction:
    """1 if the extracted number is the row's answer within the tolerance; the comparison itself is exact."""
    tolerance = Fraction(repr(spec.tolerance))

    def score(prompt: str, response: str, row: Mapping[str, Any]) -> float:
        answer = _gold(row)
        text = extracted(response, spec.extract)
        value = None if text is None else number(text)
        return float(value is not None and same(answer, value, tolerance))

    return score


@rule(MathReward)
def math(spec: MathReward) -> RewardFunction:
    """1 if the extracted expression is equivalent to the row's answer."""

    def score(prompt: str, response: str, row: Mapping[str, Any]) -> float:
        answer, text = expected(row), extracted(response, spec.extract)
        return float(text is not None and equivalent(answer, text))

    return score


@reader(NumericReward)
def read_numeric(spec: NumericReward) -> Reader:
    """The answer must be one number."""

    def read(row: Mapping[str, Any], *, parse: bool) -> Legibility:
        _gold(row)
        return Legibility.READ

    return read


@reader(MathReward)
def read_math(spec: MathReward) -> Reader:
    """The answer must be a value: a number, an expression, several of them, or a few words."""

    def read(row: Mapping[str, Any], *, parse: bool) -> Legibility:
        return legibility(expected(row), parse=parse)

    return read


def _gold(row: Mapping[str, Any]) -> Quantity:
    answer = number(expected(row))
    if answer is None:
        shown = shortened(expected(row))
        raise ValueError(f"the row's answer {shown!r} is not a number; use the reward 'math' or 'exact'")
    return answer


def number(text: str) -> Quantity | None:
    """The one number that a text gives as its answer; None for none, several, or a chain that contradicts itself."""
    said = stated(text)
    if said is None:
        return None
    if found := quantity(said) or european(said):
        return found
    if group(said) is not None:
        return None
    chain = relation(conclusion(said))
    if chain and chain.contradicts_itself(lambda one, other: _plain(one) == _plain(other)):
        return None
    value = chain.value if chain else conclusion(said)
    return quantity(value)


def _plain(side: str) -> Fraction | str:
    found = quantity(side)
    return found.value if found else side
