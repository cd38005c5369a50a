"""Numbers as people and models write them, exactly, with their percent sign and unit, and when two are the same."""

import re
from dataclasses import dataclass
from fractions import Fraction

from worker.training.rewards.rules.units import Unit, unit

ROUNDING = Fraction(1, 10**6)
"""Largest relative difference that rounding excuses: 0.333333 is 1/3, and 0.33 is not."""
AROUND_ZERO = Fraction(1, 10**9)
"""Largest number that counts as zero: what floating point makes of sin(pi)."""
MAX_LENGTH = 1000
"""Characters; a longer number is not read."""
MAX_EXPONENT = 10_000
CURRENCY = r"(?:US\s?\$|[$€£¥₹]|USD|EUR|GBP|INR|Rs\.?)"
DIGITS = r"(?:\d{1,3}(?:,\d{3})+(?![\d,])|\d{1,2}(?:,\d{2})+,\d{3}(?![\d,])|\d{1,3}(?:[ '_]\d{3})+(?![\d])|\d+)"
DECIMAL = rf"(?:{DIGITS}(?:\.\d*)?|\.\d+)"
POWER_OF_TEN = r"(?:\s*(?:\\times|\\cdot|[*xX])\s*10\s*\^\s*(?:\{\s*([-+]?\d+)\s*\}|\(\s*([-+]?\d+)\s*\)|([-+]?\d+)))"
SCIENTIFIC = re.compile(rf"({DECIMAL})(?:[eE]([-+]?\d+)(?![\d.])|{POWER_OF_TEN})?")
BARE_POWER = re.compile(r"10\s*\^\s*(?:\{\s*([-+]?\d+)\s*\}|([-+]?\d+))")
REPEATING = re.compile(r"(\d*)\.(\d*)\\overline\s*\{\s*(\d+)\s*\}")
GOES_ON = re.compile(r"(\d*)\.(\d*?)(\d{1,3}?)\3{2,}\s*(?:\.\.\.|\\[lc]?dots)")
"""`0.333...` is 1/3."""
OF = re.compile(r"\s+of\s+(?:the|a|an|all|its|their|them)\b[a-z ]*")
"""What a share is of."""
FRACTION = re.compile(
    rf"\\frac\s*\{{\s*([-+]?{DECIMAL})\s*\}}\s*\{{\s*([-+]?{DECIMAL})\s*\}}|({DECIMAL})\s*/\s*(-?{DECIMAL})"
)
MIXED = re.compile(
    r"(\d+)\s*(?:(?:and|\+)\s+)?(?:\\frac\s*\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\}|(?<=[ d])(\d+)\s*/\s*(\d+))"
)
EUROPEAN = re.compile(r"([-+]?)(\d{1,3}(?:[. ]\d{3})+|\d+),(\d+)")
PERCENT = re.compile(r"\s*(?:%|\\text\{\s*%\s*\}|(?:\\text\{\s*)?(?:percent(?:age)?|per cent|pct)(?![a-z])\s*\}?)")
SCALES = {"dozen": 12, "hundred": 10**2, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
SCALE = re.compile(r"\s*(?:\\text\{\s*)?(dozen|hundred|thousand|million|billion|trillion)(?![a-z])\s*\}?")
HEAD = re.compile(rf"([-+]?)\s*(?:({CURRENCY})\s*([-+]?)\s*)?")


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number and what stands behind it."""

    value: Fraction
    places: int | None
    """Digits behind the point as it is written, -2 for 1.5e3; None for a fraction, which is exact."""
    decimal: bool
    """Written with a point or an exponent, so that it may be rounded."""
    percent: bool = False
    unit: Unit | None = None


def quantity(text: str) -> Quantity | None:
    """What an expression says if it is one number, perhaps with a unit; None for `1/0`, `x`, `6 or 7`, `nan`."""
    if len(text) > MAX_LENGTH or not any(map(str.isdigit, text)):
        return None
    while text.startswith("(") and text.endswith(")") and "(" not in text[1:]:
        text = text[1:-1].strip()
    head = HEAD.match(text)
    assert head is not None  # every part of it may be empty
    number = _number(text, head.end())
    if number is None:
        return None
    value, places, decimal, end = number
    if "-" in (head[1], head[3]):
        value = -value
    return _with_unit(text[end:], head[2] or "", Quantity(value, places, decimal))


def same(gold: Quantity, other: Quantity, tolerance: Fraction = ROUNDING) -> bool:
    """Whether a number answers with the gold one: percentages are also hundredths, known units are converted.

    A percentage and a bare number are the same also where the question asked for percent: 50 and 50%, not 0.5 and 0.5%.
    """
    if (gold.percent and other.unit and not other.percent) or (other.percent and gold.unit and not gold.percent):
        return False
    if gold.percent != other.percent:
        bare, percentage = (other, gold) if gold.percent else (gold, other)
        if abs(bare.value) >= 1 and bare.value == percentage.value:
            return True
    if gold.unit and other.unit and gold.unit.differs(other.unit):
        return False
    values = [_in_base_unit(each, gold.unit, other.unit) for each in (gold, other)]
    rounded = gold.decimal or other.decimal or tolerance > ROUNDING
    if values[0] == values[1] or not rounded:
        return values[0] == values[1]
    same_scale = gold.percent == other.percent and values == [gold.value, other.value]
    places = [each.places for each in (gold, other) if each.places is not None]
    if same_scale and tolerance <= ROUNDING and len(places) == 2 and gold.value:
        half = Fraction(1, 2) / Fraction(10) ** min(places)
        if abs(values[0] - values[1]) >= half:
            return False
    return close(values[0], values[1], tolerance)


def close(gold: Fraction, value: Fraction, tolerance: Fraction = ROUNDING) -> bool:
    """Whether the relative difference is within the tolerance; where the answer is 0, the difference itself."""
    if gold == 0:
        return abs(value) <= (AROUND_ZERO if tolerance == ROUNDING else tolerance)
    return abs(value - gold) <= tolerance * abs(gold)


def european(text: str) -> Quantity | None:
    """`2,74` and `1.234,56` read with a decimal comma."""
    match = EUROPEAN.fullmatch(text)
    if match is None or len(text) > MAX_LENGTH:
        return None
    whole = match[2].replace(".", "").replace(" ", "")
    return Quantity(Fraction(f"{match[1]}{whole}.{match[3]}"), len(match[3]), decimal=True)


def _number(text: str, start: int) -> tuple[Fraction, int | None, bool, int] | None:
    """Value, places, whether it is a decimal, and where it ends."""
    for pattern, read in (
        (MIXED, _mixed),
        (FRACTION, _fraction),
        (REPEATING, _repeating),
        (GOES_ON, _repeating),
        (BARE_POWER, _bare_power),
    ):
        match = pattern.match(text, start)
        if match:
            value = read(match)
            return None if value is None else (value, None, False, match.end())
    match = SCIENTIFIC.match(text, start)
    return None if match is None else _scientific(match)


def _scientific(match: re.Match[str]) -> tuple[Fraction, int | None, bool, int] | None:
    digits = re.sub("[, '_]", "", match[1])
    written = next(filter(None, match.groups()[1:]), None)
    exponent = _exponent(written or "0")
    if exponent is None:
        return None
    behind = len(digits.partition(".")[2])
    value = Fraction(digits.rstrip(".") or "0") * Fraction(10) ** exponent
    return value, behind - exponent, "." in digits.rstrip(".") or written is not None, match.end()


def _exponent(written: str) -> int | None:
    """None for one whose power would be slow to compute."""
    return int(written) if len(written) < 8 and abs(int(written)) <= MAX_EXPONENT else None


def _mixed(match: re.Match[str]) -> Fraction | None:
    whole, top, bottom = match[1], match[2] or match[4], match[3] or match[5]
    return int(whole) + Fraction(int(top), int(bottom)) if int(bottom) else None


def _fraction(match: re.Match[str]) -> Fraction | None:
    top, bottom = (re.sub("[, '_]", "", part) for part in (match[1] or match[3], match[2] or match[4]))
    return Fraction(top.rstrip(".")) / Fraction(bottom.rstrip(".")) if Fraction(bottom.rstrip(".")) else None


def _repeating(match: re.Match[str]) -> Fraction:
    """`0.1\\overline{6}` is 1/6."""
    first, period = match[2], match[3]
    tail = Fraction(int(period), (10 ** len(period) - 1) * 10 ** len(first))
    return Fraction(f"{match[1] or 0}.{first or 0}") + tail


def _bare_power(match: re.Match[str]) -> Fraction | None:
    exponent = _exponent(match[1] or match[2])
    return None if exponent is None else Fraction(10) ** exponent


def _with_unit(rest: str, currency: str, number: Quantity) -> Quantity | None:
    scale = SCALE.match(rest)
    factor = Fraction(SCALES[scale[1]] if scale else 1)
    rest = rest[scale.end() :] if scale else rest
    percent = PERCENT.match(rest)
    rest = rest[percent.end() :] if percent else rest
    rest = "" if OF.fullmatch(rest) else rest
    found = unit(currency, adjacent=False) if currency else None
    if rest.strip():
        behind = unit(rest, adjacent=not rest[0].isspace())
        if behind is None:
            return None
        found = found or behind
    places = None if scale else number.places
    return Quantity(number.value * factor, places, number.decimal, percent is not None, found)


def _in_base_unit(number: Quantity, *units: Unit | None) -> Fraction:
    """Percentages in hundredths, and the unit's factor where both have one."""
    value = number.value / 100 if number.percent else number.value
    both_known = all(each is not None and each.known for each in units)
    return value * number.unit.factor if both_known and number.unit else value
