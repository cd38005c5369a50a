"""Rational numbers as people and models write them: `-3`, `1/2`, `0.5`, `1,000`, `2e-3`, `\\frac{1}{2}`, `$4$`."""

import re
from fractions import Fraction

FRACTION = re.compile(r"([-+]?)\s*\\[dt]?frac\s*\{\s*([-+]?\d+)\s*\}\s*\{\s*([-+]?\d+)\s*\}")
PLAIN = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d{1,3})?|[-+]?\d+\s*/\s*-?\d+")
THOUSANDS = re.compile(r"[-+]?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
DELIMITERS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"))
LONGEST = 1000
"""Characters; more are no answer, and would cost more than one to read."""


def rational(text: str) -> Fraction | None:
    """The exact value of a plain number, or None: words, units, operators, more than one number, `inf`, `1/0`."""
    text = undelimited(text.replace("\N{MINUS SIGN}", "-").strip())
    if THOUSANDS.fullmatch(text):
        text = text.replace(",", "")
    match = FRACTION.fullmatch(text)
    if match:
        text = f"{match[1]}{match[2]}/{match[3]}" if match[2].isdigit() else f"{match[2]}/{match[3]}"
    if len(text) > LONGEST or not PLAIN.fullmatch(text):
        return None
    numerator, _, denominator = text.partition("/")
    bottom = int(denominator or 1)
    return Fraction(numerator.strip()) / bottom if bottom else None


def undelimited(text: str) -> str:
    """Without the LaTeX delimiters around it, if it has a pair."""
    for opening, closing in DELIMITERS:
        if text.startswith(opening) and text.endswith(closing) and len(text) > len(opening) + len(closing):
            return text[len(opening) : -len(closing)].strip()
    return text
