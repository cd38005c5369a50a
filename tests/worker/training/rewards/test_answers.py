"""`answers.toml`: how `math` and `numeric` judge, beside the parser that `math` uses for what is left."""

import logging
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.domain.rewards import MathReward, NumericReward
from worker.training.rewards.registry import build
from worker.training.rewards.rules.mathematics import number
from worker.training.rewards.rules.notation import expression
from worker.training.rewards.rules.numbers import quantity

KINDS = tomllib.loads((Path(__file__).parent / "answers.toml").read_text())


def judged(kind: str) -> Iterator[tuple[str, str, bool]]:
    """Gold answer, response, and whether it is right."""
    for entry in KINDS[kind]:
        for verdict in ("right", "wrong"):
            yield from ((entry["gold"], response, verdict == "right") for response in entry[verdict])


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Without the parser's notice that its own time limit, an alarm, is off."""
    caplog.set_level(logging.CRITICAL)


def test_the_table_has_many_right_and_wrong_responses_of_each_kind() -> None:
    assert sum(len(list(judged(kind))) for kind in KINDS) >= 300
    for kind in KINDS:
        verdicts = [verdict for *_, verdict in judged(kind)]
        assert min(verdicts.count(True), verdicts.count(False)) >= 5, kind


@pytest.mark.parametrize("kind", KINDS)
def test_math_judges_as_people_do(kind: str) -> None:
    score = build(MathReward(extract="whole"))
    wrongly = [
        (gold, response)
        for gold, response, verdict in judged(kind)
        if bool(score("", response, {"answer": gold})) != verdict
    ]
    assert wrongly == []


@pytest.mark.parametrize("kind", KINDS)
def test_numeric_judges_numbers_as_people_do(kind: str) -> None:
    """Where the gold answer is a number; `numeric` computes nothing, so what is no number is wrong."""
    score = build(NumericReward(extract="whole"))
    wrongly = [
        (gold, response)
        for gold, response, verdict in judged(kind)
        if quantity(expression(gold))
        and bool(score("", response, {"answer": gold})) != (verdict and number(response) is not None)
    ]
    assert wrongly == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_parser_alone_errs_on_every_kind(kind: str) -> None:
    """`math` errs on none; math-verify on some, with the gold answer as it is and between dollar signs."""
    from math_verify import parse, verify

    agreed = [0, 0]
    pairs = list(judged(kind))
    for gold, response, verdict in pairs:
        said = parse(response, parsing_timeout=None)
        for i, form in enumerate((gold, f"${gold}$")):
            agreed[i] += verify(parse(form, parsing_timeout=None), said, timeout_seconds=None) == verdict
    assert max(agreed) < len(pairs)


@pytest.mark.parametrize(
    ("gold", "response", "verdict"),
    [
        ("10", "it is 2^{10}", False),
        ("10", "it is 2^10", False),
        ("5", r"\frac{3}{5}", False),
        ("3/5", r"it is \frac{3}{5}", True),
        ("0.5", "about 50%", True),
        ("7/2", "so 3 1/2", True),
        ("2", "3 1/2", False),
        ("1/2", "it is 1/2", True),
        ("-4", "x = -4", True),
    ],
)
def test_the_last_number_is_read_with_all_that_belongs_to_it(gold: str, response: str, verdict: bool) -> None:
    for spec in (MathReward(extract="number"), NumericReward(extract="number")):
        assert bool(build(spec)("", response, {"answer": gold})) is verdict


def test_long_texts_of_digits_are_read_at_once() -> None:
    """The time of an answer is bounded by a deadline; this one must be far from it."""
    for text in ("1" * 90_000, "1 " * 45_000, "1\n" * 45_000, "0." + "3" * 90_000 + "...", "\\frac{1" * 10_000):
        for extract in ("number", "whole"):
            assert not build(MathReward(extract=extract))("", text, {"answer": "7"})
