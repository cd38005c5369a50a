"""Units behind a number: which there are, and what each is worth in the base unit of its dimension."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

LENGTH, MASS, TIME, ANGLE = "length", "mass", "time", "angle"
DOLLARS, EUROS, POUNDS, YEN, RUPEES = "dollars", "euros", "pounds", "yen", "rupees"
NAMES: dict[str, tuple[str, str, int]] = {
    "m meter metre": (LENGTH, "1", 1),
    "km kilometer kilometre": (LENGTH, "1000", 1),
    "cm centimeter centimetre": (LENGTH, "0.01", 1),
    "mm millimeter millimetre": (LENGTH, "0.001", 1),
    "in inch inche": (LENGTH, "0.0254", 1),
    "ft foot feet": (LENGTH, "0.3048", 1),
    "yd yard": (LENGTH, "0.9144", 1),
    "mi mile": (LENGTH, "1609.344", 1),
    "l liter litre": (LENGTH, "0.001", 3),
    "ml milliliter millilitre": (LENGTH, "0.000001", 3),
    "kg kilogram": (MASS, "1", 1),
    "g gram": (MASS, "0.001", 1),
    "mg milligram": (MASS, "0.000001", 1),
    "lb lbs": (MASS, "0.45359237", 1),
    "oz ounce": (MASS, "0.028349523125", 1),
    "s sec second": (TIME, "1", 1),
    "ms millisecond": (TIME, "0.001", 1),
    "min minute": (TIME, "60", 1),
    "h hr hour": (TIME, "3600", 1),
    "day": (TIME, "86400", 1),
    "week": (TIME, "604800", 1),
    "degree deg": (ANGLE, "1", 1),
    "rad radian": ("radians", "1", 1),
    "celsius": ("celsius", "1", 1),
    "fahrenheit": ("fahrenheit", "1", 1),
    "kelvin": ("kelvin", "1", 1),
    "$ usd us$ dollar buck": (DOLLARS, "1", 1),
    "cent ¢": (DOLLARS, "0.01", 1),
    "€ eur euro": (EUROS, "1", 1),
    "£ gbp": (POUNDS, "1", 1),
    "¥ jpy yen": (YEN, "1", 1),
    "₹ inr rs rupee": (RUPEES, "1", 1),
}
KNOWN = {alias: (dimension, Fraction(size), power) for names, (dimension, size, power) in NAMES.items()
         for alias in names.split()}  # fmt: skip
RATES = {"mph": "mile/hour", "kph": "km/hour", "kmh": "km/hour", "fps": "feet/second"}
OTHER_SYMBOLS = frozenset(
    ["n", "j", "w", "v", "a", "hz", "kj", "kw", "kwh", "pa", "kpa", "mol", "k", "c", "f", "mb", "gb"]
)
"""Symbols whose dimension does not matter: nobody converts them."""
POWERS = {"square": 2, "sq": 2, "squared": 2, "cubic": 3, "cu": 3, "cubed": 3}
FUNCTIONS = ("sin", "cos", "tan", "cot", "sec", "csc", "log", "exp", "max", "min", "det", "gcd", "lcm", "mod", "sqrt")
NO_UNITS = frozenset(
    [
        *FUNCTIONS,
        "and",
        "not",
        "but",
        "plus",
        "minus",
        "times",
        "over",
        "are",
        "was",
        "then",
        "than",
        "because",
        "since",
    ]
)
"""Words behind a number that are no unit."""
GENERIC = frozenset(["units", "unit", "items", "item", "pieces", "total", "things", "squared", "answer", "objects"])
"""Words that say nothing of what is counted."""
TEMPERATURES = {"c": "celsius", "f": "fahrenheit", "k": "kelvin"}
MAX_WORDS = 4
TOKEN = re.compile(r"\s*(\\text\{([^{}]*)\}|[A-Za-z¢°]+\.?|\^\\circ|\^\s*\{?\s*(-?\d)\s*\}?|/|\\cdot|[$€£¥₹])")


@dataclass(frozen=True, slots=True)
class Unit:
    """The unit of a quantity; without dimensions it is a word that is known to nobody, like apples."""

    factor: Fraction = Fraction(1)
    dimensions: Mapping[str, int] = field(default_factory=dict)
    known: bool = False
    word: str | None = None
    """The only word of one that nobody knows, without its plural."""

    def differs(self, other: "Unit") -> bool:
        """Whether both measure different things, as far as that is known: apples are no oranges and no dollars."""
        if self.known and other.known:
            return self.dimensions != other.dimensions
        if self.known or other.known:
            return (other if self.known else self).word is not None
        return None not in (self.word, other.word) and self.word != other.word


def unit(text: str, *, adjacent: bool) -> Unit | None:
    """What stands behind a number, or None if that is no unit; `5m` is five times m, `5 m` and `5cm` are lengths."""
    words = _words(text)
    if len(words) == 2 and words[0] == "degree" and (scale := TEMPERATURES.get(words[1], words[1])) in KNOWN:
        words = [scale]
    if not words or len(words) > 2 * MAX_WORDS or words[0].startswith("^"):
        return None
    if adjacent and len(words) == 1 and len(words[0]) == 1 and words[0].isalpha():
        return None
    factors: list[tuple[str, int]] = []
    power, inverse = 1, False
    for word in words:
        if word in ("/", "per"):
            inverse = True
        elif word in POWERS:
            power = POWERS[word] if not word.endswith("d") else power
            factors = [(name, sign * POWERS[word]) for name, sign in factors] if word.endswith("d") else factors
        elif word.startswith("^"):
            factors[-1:] = [(name, sign * int(word[1:])) for name, sign in factors[-1:]]
        elif word.isalpha() and not _is_unit(word):
            return None
        else:
            factors.append((word, -power if inverse else power))
            power, inverse = 1, False
    return _product(factors)


def _words(text: str) -> list[str]:
    words: list[str] = []
    at = 0
    while at < len(text):
        match = TOKEN.match(text, at)
        if match is None:
            return [] if text[at:].strip() else words
        at = match.end()
        if match[2] is not None:
            words.extend(_words(match[2]))
        elif match[3]:
            words.append(f"^{match[3]}")
        elif match[1] != r"\cdot":
            word = "degree" if match[1] == r"^\circ" else match[1].rstrip(".").lower()
            words.extend(re.split("(/)", RATES[word]) if word in RATES else [word])
    return words


def _is_unit(word: str) -> bool:
    """Short words are units only if they are known: `5 x` is none, `5 apples` is one."""
    return _known(word) is not None or word in OTHER_SYMBOLS or (len(word) > 2 and word not in NO_UNITS)


def _known(word: str) -> tuple[str, Fraction, int] | None:
    return KNOWN.get(word) or (KNOWN.get(word.removesuffix("s")) if len(word) > 3 else None)


def _product(factors: list[tuple[str, int]]) -> Unit:
    size, dimensions = Fraction(1), Counter[str]()
    for word, power in factors:
        known = _known(word)
        if known is None:
            is_thing = len(factors) == 1 and len(word) > 3 and word not in GENERIC and power == 1
            return Unit(word=word.removesuffix("s").removesuffix("e") if is_thing else None)
        dimension, factor, own_power = known
        size *= factor**power
        dimensions[dimension] += own_power * power
    return Unit(size, {name: power for name, power in dimensions.items() if power}, known=bool(factors))
