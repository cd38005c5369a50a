"""Expressions that only a parser of LaTeX reads (latex2sympy, through math-verify), compared by their values.

Values are compared at points, with 30 digits and a relative tolerance: simplification may take for ever, and absolute
tolerances take 4e-9 for 6.67e-11.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from worker.training.rewards.rules.groups import balanced
from worker.training.rewards.rules.numbers import AROUND_ZERO, ROUNDING
from worker.training.rewards.rules.units import unit

DIGITS = 30
EXACT = 1e-12
"""Relative difference of two values without decimals: far above what 30 digits lose, far below any difference meant."""
LEFT_OVER = 1e-50
"""What evaluation may leave of a difference that is exactly 0."""
CANCELLED = 1e-100
"""What is left of a sum that is exactly 0."""
POINTS = (0.7312, 1.9071, -0.5817, -2.3643, 3.4127)
"""Values of the variables; of each next variable they are turned by one place."""
USABLE_POINTS = 2
FAILURES = (ArithmeticError, AttributeError, LookupError, NotImplementedError, RecursionError, TypeError, ValueError)
"""What sympy raises of expressions that have no value."""
MAX_LENGTH = 2000
MAX_NESTING = 10
MAX_DIGITS = 300
MAX_OPERATORS = 150
MAX_MAGNITUDE = 1e6
"""Decimal digits; what is larger is never evaluated."""
LARGE_ARGUMENT = re.compile(
    r"(?:\^|\d{5,})[^+]*(?:!|\\[dt]?binom)|(?:!|\\[dt]?binom)[^+]*(?:\^|\d{5,})|!\s*\)*\s*!|\^\s*\{?\s*-?\d{6,}"
)
EXPONENT = re.compile(r"(?<=\d)[eE]([-+]?\d+)(?![\d.])")
UNIT = re.compile(r"(?P<number>.*[\d})])(?P<unit>\s*\\text\s*\{[^{}]*\}(?:\^\{?\d\}?)?|\s+[a-z][a-z/^0-9 ]+)")
FUNCTION = re.compile(
    r"(?<![\\a-zA-Z])(sin|cos|tan|cot|sec|csc|log|ln|exp|arcsin|arccos|arctan|gcd|lcm|max|min)(?![a-zA-Z])"
)


def is_evaluable(text: str) -> bool:
    """Whether an expression is small enough for the parser, judged in microseconds: a larger one equals no other."""
    return (
        len(text) <= MAX_LENGTH
        and nesting(text) <= MAX_NESTING
        and sum(map(text.count, "+-*/^_<>=|")) <= MAX_OPERATORS
        and re.search(rf"\d{{{MAX_DIGITS}}}", text) is None
        and LARGE_ARGUMENT.search(text) is None
    )


def nesting(text: str) -> int:
    """How many brackets are open at the same time."""
    depth = deepest = 0
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    return deepest


def is_readable(text: str) -> bool:
    """Whether the parser reads a value; ValueError if it is too large to evaluate."""
    import sympy

    value = parsed(text)
    if isinstance(value, sympy.Expr) and not value.free_symbols and r"\infty" not in text:
        return _value(value, {}) is not None
    return value is not None


def same_expressions(gold: str, text: str) -> bool:
    """Whether two expressions have the same value, for all values of their variables."""
    try:
        first = parsed(gold)
        second = None if first is None else parsed(text)
        return second is not None and _same(first, second)
    except FAILURES:
        return False


def same_equations(gold: str, text: str) -> bool:
    """Whether two equations have the same solutions: the sides of one are a multiple of those of the other."""
    try:
        first, second = parsed(gold), parsed(text)
        return first is not None and second is not None and _same_equations(first, second)
    except FAILURES:
        return False


def _same_equations(first: Any, second: Any) -> bool:
    import sympy

    if not (isinstance(first, sympy.Eq) and isinstance(second, sympy.Eq)):
        return _verified(first, second)
    if {str(each) for each in first.free_symbols} != {str(each) for each in second.free_symbols}:
        return False
    differences = [each.lhs - each.rhs for each in (first, second)]
    ratios = [(second / first).evalf(DIGITS) for first, second in _values(*differences) if abs(first) > EXACT]
    if len(ratios) >= USABLE_POINTS and all(_close(ratios[0], ratio, decimal=False) for ratio in ratios):
        return bool(ratios[0] != 0)
    return _verified(first, second)


@lru_cache(maxsize=2000)
def parsed(text: str) -> Any | None:
    """A sympy object, not evaluated; None if the parser cannot read it. ValueError if it is too large to evaluate."""
    from latex2sympy2_extended import NormalizationConfig
    from math_verify import LatexExtractionConfig, parse

    if not (is_evaluable(text) and balanced(text) and text.strip()):
        return None
    latex = FUNCTION.sub(r"\\\1 ", EXPONENT.sub(r" \\times 10^{\1}", _bare(text).replace("$", "").replace("%", r"\%")))
    own_units = NormalizationConfig(basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none")
    # Its own time limits are alarms: they fail in threads and do not interrupt a regular expression. Latex only: its
    # other way takes any number out of what is no expression, and `7+/5` would be 7.
    found = parse(
        f"${latex}$",
        [LatexExtractionConfig(normalization_config=own_units)],
        parsing_timeout=None,
        fallback_mode="no_fallback",
    )
    if found and _magnitude(found[0]) > MAX_MAGNITUDE:
        raise ValueError(f"{text!r} is too large to evaluate")
    return _plain(found[0]) if found else None


def _bare(text: str) -> str:
    """Without the unit behind it."""
    match = UNIT.fullmatch(text)
    return match["number"] if match and unit(match["unit"], adjacent=False) else text


def _plain(value: Any) -> Any:
    """With percentages as hundredths."""
    import sympy

    if not isinstance(value, sympy.Basic):
        return value
    return value.xreplace({each: each.args[0] for each in value.atoms(sympy.UnevaluatedExpr)})


def _magnitude(value: Any) -> float:
    """An upper bound of the decimal digits of any number in it, without evaluating it."""
    import sympy

    if isinstance(value, sympy.Integer | sympy.Rational):
        return max(len(str(abs(value.p))), len(str(value.q))) if abs(value.p).bit_length() < 8000 else MAX_MAGNITUDE * 2
    if isinstance(value, sympy.Float):
        return abs(float(sympy.log(abs(value), 10).evalf(5))) + 1 if value else 1
    parts = [_magnitude(each) for each in getattr(value, "args", ())]
    largest = max(parts, default=1.0)
    if largest > MAX_MAGNITUDE:
        return largest
    if isinstance(value, sympy.Pow):
        return parts[0] * 10 ** min(parts[1], 9.0) if value.exp.is_number else sum(parts)
    if isinstance(value, sympy.factorial | sympy.exp):
        return largest * 10 ** min(largest, 9.0)
    return sum(parts) if isinstance(value, sympy.Mul) else largest + 1


def _same(gold: Any, other: Any) -> bool:
    import sympy

    if isinstance(gold, sympy.MatrixBase | sympy.MatrixExpr) or isinstance(other, sympy.MatrixBase | sympy.MatrixExpr):
        return _same_matrices(gold, other)
    if not (isinstance(gold, sympy.Expr) and isinstance(other, sympy.Expr)):
        return _verified(gold, other)
    if gold == other:
        return True
    if gold.is_infinite or other.is_infinite:
        return False
    values = list(_values(gold, other))
    if len(values) < (USABLE_POINTS if gold.free_symbols | other.free_symbols else 1):
        return _verified(gold, other)
    decimal = gold.has(sympy.Float) or other.has(sympy.Float)
    if (
        not decimal
        and not gold.free_symbols | other.free_symbols
        and all(_close(*each, decimal=False) for each in values)
    ):
        return _is_zero(gold - other)
    return all(_close(first, second, decimal=decimal) for first, second in values)


def _is_zero(difference: Any) -> bool:
    """Whether the difference of two exact numbers is 0: relative tolerances take 2^50 for 2^50 + 1."""
    return bool(abs(difference.evalf(DIGITS)) < LEFT_OVER)


def _close(gold: Any, other: Any, *, decimal: bool) -> bool:
    size, difference = (abs(each).evalf(DIGITS) for each in (gold, gold - other))
    if size < CANCELLED:
        return bool(abs(other).evalf(DIGITS) <= float(AROUND_ZERO))
    return bool(difference <= (float(ROUNDING) if decimal else EXACT) * size)


def _values(gold: Any, other: Any) -> Iterator[tuple[Any, Any]]:
    """The values of both where both have one."""
    names = sorted({str(each) for each in gold.free_symbols | other.free_symbols})
    for turn in range(len(POINTS) if names else 1):
        values = {name: POINTS[(turn + place) % len(POINTS)] for place, name in enumerate(names)}
        pair = (_value(gold, values), _value(other, values))
        if pair[0] is not None and pair[1] is not None:
            yield pair


def _value(expression: Any, values: dict[str, float]) -> Any | None:
    """The value at a point, or None: undefined there, infinite, or no number."""
    import sympy

    at = {each: sympy.I if _is_imaginary(each) else values[str(each)] for each in expression.free_symbols}
    try:
        if sympy.I in at.values():
            expression = expression.subs({each: value for each, value in at.items() if value is sympy.I})
        if expression.has(sympy.Limit, sympy.Derivative):
            expression = expression.doit()
        number = expression.evalf(DIGITS, subs={each: value for each, value in at.items() if value is not sympy.I})
        return number if number.is_number and number.is_finite else None
    except FAILURES:
        return None


def _is_imaginary(symbol: Any) -> bool:
    """latex2sympy makes i a variable that is not real, beside variables that may be anything."""
    return symbol.name == "i" and symbol.is_real is False


def _same_matrices(gold: Any, other: Any) -> bool:
    import sympy

    matrices = (sympy.MatrixBase, sympy.MatrixExpr)
    if not (isinstance(gold, matrices) and isinstance(other, matrices)):
        return False
    first, second = gold.doit(), other.doit()
    if not (isinstance(first, sympy.MatrixBase) and isinstance(second, sympy.MatrixBase)):
        return False
    return bool(first.shape == second.shape) and all(map(_same, first.flat(), second.flat()))


def _verified(gold: Any, other: Any) -> bool:
    """What math-verify says of sets, inequalities and what has no value, with decimals as exact fractions."""
    from math_verify import verify
    from sympy import Basic, Float, Rational

    exact = [
        each.xreplace({number: Rational(str(number)) for number in each.atoms(Float)})
        if isinstance(each, Basic)
        else each
        for each in (gold, other)
    ]
    return bool(verify(exact[0], exact[1], timeout_seconds=None))
