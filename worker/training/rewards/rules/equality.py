"""Whether an answer is the gold one: equal text, numbers with units, groups, relations, and at last a parser."""

import re
from functools import lru_cache

from worker.training.rewards.registry import Legibility
from worker.training.rewards.rules.expressions import (
    MAX_NESTING,
    is_evaluable,
    is_readable,
    nesting,
    same_equations,
    same_expressions,
)
from worker.training.rewards.rules.extraction import boxes, shortened
from worker.training.rewards.rules.groups import Group, balanced, group, same_groups, split
from worker.training.rewards.rules.notation import expression
from worker.training.rewards.rules.numbers import european, quantity, same
from worker.training.rewards.rules.relations import Relation, conclusion, interval, is_constant, is_name, relation
from worker.training.rewards.rules.statements import claim, is_prose, squeezed
from worker.training.rewards.rules.text import normalised

DATE = re.compile(r"\d{4}([-/.])\d{1,2}\1\d{1,2}|\d{1,2}([-/.])\d{1,2}\2\d{4}")
"""It is no difference and no quotient."""
MAX_WORDS = 8
"""Of a gold answer in words."""
WORST = [Legibility.READ, Legibility.UNPARSED, Legibility.TEXT]
NO_ANSWERS = frozenset(["nan", "null", "n/a"])
"""What exports write for values that are missing."""
MAX_LENGTH = 20_000
"""Characters of an expression in one notation; a longer one is equal to the same characters only."""
MAX_LINES = 2000
"""Characters of numbers below each other."""
MAX_ANSWER = 100_000
"""Characters; a longer text is no answer."""
PLUS_MINUS = re.compile(r"\\(?:pm|mp)(?![a-zA-Z])\s*")
INEQUALITY = re.compile(r"[<>]|\\[lg]e(?![a-zA-Z])")
OUTWARD = re.compile(r"([\[\]])([^\[\]]+,[^\[\]]+)([\[\]])")
EMPTY = re.compile(r"\\emptyset|\\\{\s*\\\}|\{\s*\}")
BRACED = re.compile(r"(?<=[_^])\{\s*(\w)\s*\}")
TEXT = re.compile(r"\\(?:text|operatorname)\s*\{\s*([^{}]*?)\s*\}")
CHOICE = re.compile(r"(?:(?i:option|choice)\s+)?\(?([A-Ja-j])(?:[).:](?:\s+\S.*)?)?")
TRUTH = re.compile(r"(yes|no|true|false)(?:[,.;].*)?", re.IGNORECASE)
BY_PARSER_TOO = ("matrix", "union")
"""Groups that may also be the value of an expression without groups."""
BY_PARSER_ONLY = re.compile(r"\\|[A-Za-z+*/^!|-]")


@lru_cache(maxsize=10_000)
def equivalent(answer: str, text: str) -> bool:
    """Whether a text answers with the gold answer. It takes microseconds for numbers, and may take for ever."""
    if not text.strip() or len(text) > MAX_ANSWER:
        return False
    text = squeezed(text)
    if len(text) <= MAX_LENGTH and same_text(expression(answer), expression(text)):
        return True
    gold, said = gold_value(answer), stated(text)
    return gold is not None and said is not None and equal(gold, said)


@lru_cache(maxsize=2000)
def stated(text: str) -> str | None:
    """The expression that a text gives as its answer: in its boxes, after `answer is`, or all of it."""
    text = squeezed(text)
    inside = boxes(text)
    if inside:
        return expression(", ".join(map(expression, inside)))
    if len(text) > MAX_LENGTH:
        said = claim(text)
        return None if said is None else expression(said)
    whole = expression(text)
    if quantity(whole) is not None:
        return whole
    if len(text) <= MAX_LINES and (values := _several_lines(text)):
        return values
    if not is_prose(whole) and "####" not in whole:
        return expression(_last_line(text))
    said = claim(text)
    if said is not None:
        return expression(said)
    return None if re.search(r"\d", whole) else whole


@lru_cache(maxsize=2000)
def gold_value(answer: str) -> str | None:
    """The expression that a gold answer gives: of a text in words a few words, or what is marked as the answer."""
    whole = expression(answer)
    if boxes(answer) or quantity(whole) is not None or not is_prose(whole):
        return stated(answer)
    marked = claim(answer, marked=True)
    if marked is not None:
        return expression(marked)
    in_words = len(whole.split()) <= MAX_WORDS and not re.search(r"\d", whole)
    return whole if in_words or "\\" in whole else None


def _several_lines(text: str) -> str | None:
    """Numbers below each other as a list: none of them is the answer."""
    lines = [line for line in map(expression, text.splitlines()) if line]
    return ", ".join(lines) if len(lines) > 1 and all(map(quantity, lines)) else None


def _last_line(text: str) -> str:
    """The last of several lines, unless a bracket or environment spans them."""
    last = text.strip().rpartition("\n")[2]
    return last if balanced(last) and len(re.findall(r"\$", last)) % 2 == 0 and not last.startswith("\\]") else text


def equal(gold: str, text: str) -> bool:
    """Whether two expressions in one notation have the same value."""
    if same_text(gold, text):
        return True
    if DATE.fullmatch(gold) or DATE.fullmatch(text):
        return False
    numbers = quantity(gold), quantity(text)
    if numbers[0] and numbers[1]:
        return same(numbers[0], numbers[1])
    if numbers[0] and numbers[0].decimal and (comma := european(text)):
        return same(numbers[0], comma)
    if numbers[1] and numbers[1].decimal and (comma := european(gold)):
        return same(comma, numbers[1])
    if not (_is_small(gold) and _is_small(text)):
        return False
    return _equal(conclusion(gold), conclusion(text))


def legibility(answer: str, *, parse: bool) -> Legibility:
    """Whether a gold answer can be compared by its value; ValueError if no response could answer with it.

    Without `parse` the parser is not asked, which takes milliseconds for each expression.
    """
    said, shown = gold_value(answer), shortened(answer)
    if said is None or said.casefold() in NO_ANSWERS:
        raise ValueError(
            f"the row's answer {shown!r} is a text in which no value is given as the answer; write the value alone, "
            "or at the end behind '####'"
        )
    if not balanced(said):
        raise ValueError(f"the row's answer {shown!r} has a bracket, brace or environment that does not close")
    if not _is_small(said):
        raise ValueError(f"the row's answer {shown!r} has more than {MAX_LENGTH:,} characters, or too many brackets")
    return _legibility(said, shown, parse=parse)


def _legibility(said: str, shown: str, *, parse: bool) -> Legibility:
    value = conclusion(said)
    if value != said:
        return _legibility(value, shown, parse=parse)
    parts, chain = group(said), relation(said)
    if quantity(said) is not None or is_prose(said) or interval(said) or not BY_PARSER_ONLY.search(said):
        return Legibility.READ
    if parts and parts.kind != "matrix":
        return max(
            (_legibility(item, shown, parse=parse) for item in parts.items), key=WORST.index, default=Legibility.READ
        )
    if parts or said.isalpha() or CHOICE.fullmatch(said):
        return Legibility.READ
    if chain and chain.name and chain.value != said:
        return _legibility(chain.value, shown, parse=parse)
    if PLUS_MINUS.search(said):
        return _legibility(_both_signs(said), shown, parse=parse)
    if not is_evaluable(said):
        raise ValueError(f"the row's answer {shown!r} is too large to evaluate; no response could be compared with it")
    if not parse:
        return Legibility.UNPARSED
    return Legibility.READ if is_readable(said) else Legibility.TEXT


def _is_small(text: str) -> bool:
    return len(text) <= MAX_LENGTH and nesting(text) <= MAX_NESTING


def same_text(gold: str, text: str) -> bool:
    """Whether two answers are the same but for white space, case of words, and how LaTeX writes words."""
    first, second = _characters(gold), _characters(text)
    if first == second:
        return True
    pairs = [(CHOICE.fullmatch(gold), CHOICE.fullmatch(text)), (TRUTH.fullmatch(gold), TRUTH.fullmatch(text))]
    return any(one and two and one[1].casefold() == two[1].casefold() for one, two in pairs)


def _characters(text: str) -> str:
    text = TEXT.sub(r"\1", BRACED.sub(r"\1", text))
    return normalised(re.sub("[A-Za-z]{2,}", lambda word: word[0].casefold(), text))


def _equal(gold: str, text: str) -> bool:
    gold, text = _with_usual_brackets(gold), _with_usual_brackets(text)
    if PLUS_MINUS.search(gold) or PLUS_MINUS.search(text):
        gold, text = _both_signs(gold), _both_signs(text)
    solutions = interval(gold), interval(text)
    if solutions[0] or solutions[1]:
        return _same_solutions(gold, text, solutions)
    groups = group(gold), group(text)
    if groups[0] and groups[1]:
        if same_groups(groups[0], groups[1], equal):
            return True
        return (
            _needs_parser(gold, text) and "union" in (groups[0].kind, groups[1].kind) and same_expressions(gold, text)
        )
    relations = [None if parts else relation(side) for parts, side in zip(groups, (gold, text), strict=True)]
    if relations[0] or relations[1]:
        return _same_relations(gold, text, relations[0], relations[1])
    if any(each and each.kind not in BY_PARSER_TOO for each in groups):
        return _is_one_of_one(groups, gold, text)
    return _needs_parser(gold, text) and same_expressions(gold, text)


def _with_usual_brackets(text: str) -> str:
    r"""`]2, 5[` as `(2, 5)`, and all real numbers as an interval."""
    if text == r"\mathbb{R}":
        return r"(-\infty, \infty)"
    found = OUTWARD.fullmatch(text)
    if found is None or (found[1], found[3]) == ("[", "]"):
        return text
    return f"{'(' if found[1] == ']' else '['}{found[2]}{')' if found[3] == '[' else ']'}"


def _is_one_of_one(groups: tuple[Group | None, Group | None], gold: str, text: str) -> bool:
    """Whether a set of one element is compared with that element; several values never are one."""
    single = [each.items[0] if each and each.kind == "set" and len(each.items) == 1 else None for each in groups]
    if any(item and EMPTY.fullmatch(item) for item in single):
        return False
    return bool(single[0] or single[1]) and equal(single[0] or gold, single[1] or text)


def _needs_parser(gold: str, text: str) -> bool:
    """Whether both may be expressions: two plain numbers, words and broken lists are not."""
    return all(BY_PARSER_ONLY.search(each) or quantity(each) for each in (gold, text)) and not is_prose(text)


def _both_signs(text: str) -> str:
    r"""`1 \pm 2` as `1 + 2, 1 - 2`; in a relation of its last side."""
    if not PLUS_MINUS.search(text):
        return text
    if text.startswith(r"\{") and text.endswith(r"\}"):
        return rf"\{{{_both_signs(text[2:-2])}\}}"
    *names, value = split(text, "=")
    parts = [part for part in split(value, ",") if part]
    signed = [PLUS_MINUS.sub(sign, part) for part in parts for sign in (" +", " -") if PLUS_MINUS.search(part)]
    values = [expression(part.strip().removeprefix("+")) for part in signed]
    values += [part for part in parts if not PLUS_MINUS.search(part)]
    joined = ", ".join(values)
    return f"{names[0]} = {joined}" if names and not is_name(names[0]) else joined


def _same_solutions(gold: str, text: str, found: tuple[tuple[str, str] | None, tuple[str, str] | None]) -> bool:
    """Inequalities and intervals; different variables have different solutions."""
    if found[0] and found[1] and found[0][0] != found[1][0]:
        return False
    first, second = (group(each[1] if each else side) for each, side in zip(found, (gold, text), strict=True))
    if first and second and same_groups(first, second, equal):
        return True
    return all(INEQUALITY.search(each) for each in (gold, text)) and same_expressions(gold, text)


def _same_relations(gold: str, text: str, first: Relation | None, second: Relation | None) -> bool:
    if second and second.contradicts_itself(equal):
        return False
    if first is None:
        return second is not None and equal(gold, second.value)
    if second is None:
        return first.name is not None and equal(first.value, text)
    if first.name and second.name:
        return same_text(first.name, second.name) and equal(first.value, second.value)
    if is_constant(gold) or is_constant(text):
        return equal(first.value, second.value)
    return same_equations(gold, text)
