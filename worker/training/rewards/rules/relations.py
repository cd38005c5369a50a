"""Equations and inequalities: what a chain of them says, and whether it contradicts itself."""

import re
from dataclasses import dataclass

from worker.training.rewards.rules.groups import Equal, group, split

IMPLIES = (r"\implies", r"\Rightarrow", r"\Longrightarrow", "=>")
ORDER = {"<": ">", ">": "<", r"\le": r"\ge", r"\ge": r"\le"}
"""Each sign of an inequality, and the same sign read from the right."""
NAME = re.compile(
    r"(?:\\(?:angle|triangle|text|overline|vec|hat|bar|mathcal|alpha|beta|gamma|theta|lambda|mu|phi|omega)\s*)?"
    r"(?:\{[^{}]*\}|\\?[A-Za-z]+)?(?:_\s*(?:\w|\{[^{}]*\}))?'*\s*(?:\([^()=]*\))?"
)
TUPLE_OF_NAMES = re.compile(r"[(\[]?\s*\\?[A-Za-z]\w*(?:\s*,\s*\\?[A-Za-z]\w*)*\s*[)\]]?")
MEMBER = re.compile(r"\\?[A-Za-z](?:_\w+)?\s*\\in(?![a-zA-Z])\s*")
BUILDER = re.compile(r"\\\{\s*\\?[A-Za-z]\s*(?:\\in\s*\\mathbb\s*\{[A-Z]\}\s*)?(?:\\mid|\\colon|[|:])\s*(.+)\\\}")
COMMAND = re.compile(r"\\(?:text|mathrm|operatorname)\s*\{[^{}]*\}|\\[a-zA-Z]+")
SYMBOLS = re.compile(r"\\(?:alpha|beta|gamma|delta|theta|lambda|mu|phi|omega|sigma|rho|[cl]?dots)(?![a-zA-Z])")


MAX_SIDES = 50


@dataclass(frozen=True, slots=True)
class Relation:
    """A chain of equal sides, as it is written."""

    sides: tuple[str, ...]

    @property
    def value(self) -> str:
        """What the chain gives: its last side, or the constant one in `7 = x`."""
        last = self.sides[-1]
        if not is_constant(last) and is_name(last):
            return next((side for side in reversed(self.sides[:-1]) if not is_name(side)), last)
        return last

    @property
    def name(self) -> str | None:
        """What the value is assigned to; None for an equation such as `2x + y = 3`, which assigns nothing."""
        others = [side for side in self.sides if side is not self.value]
        return next((side for side in others if is_name(side)), None)

    def contradicts_itself(self, equal: Equal) -> bool:
        """Whether two of its sides are different constants, as in `x = 1 = 7`."""
        constants = [side for side in self.sides if is_constant(side)]
        return any(not equal(constants[-1], side) for side in constants[:-1])


def relation(text: str) -> Relation | None:
    """The sides of the equations of a text, or None if it has none."""
    sides = [side for side in split(text.replace("==", "="), "=") if side]
    return Relation(tuple(sides)) if 1 < len(sides) <= MAX_SIDES else None


def conclusion(text: str) -> str:
    r"""What follows the last `\implies`, without `x \in` and the like; of `\sqrt{2} \approx 1.41` the exact side."""
    text = split(text, *IMPLIES)[-1]
    builder = BUILDER.fullmatch(text)
    text = builder[1] if builder else text
    member = MEMBER.match(text)
    text = text[member.end() :] if member else text.removeprefix("=").removeprefix(r"\approx").strip()
    exact, *approximate = split(text, r"\approx")
    if not approximate:
        return text
    chain = relation(exact)
    if (chain.sides[-1] if chain else exact) == "" or is_name(exact):
        return f"{exact} = {approximate[-1]}"
    return exact


def interval(text: str) -> tuple[str, str] | None:
    """The variable of an inequality and its solutions: `x \\ge 2` is `[2, \\infty)`; `or` makes a union."""
    parts = group(text)
    if parts and parts.kind == "bare":
        found = [interval(item) for item in parts.items]
        named = [each for each in found if each is not None]
        if len(named) < len(found) or len({name for name, _ in named}) > 1 or " or " not in text:
            return None
        return named[0][0], r" \cup ".join(solutions for _, solutions in named)
    sides, signs = _inequality(text)
    rising = [sign in ("<", r"\le") for sign in signs]
    if len(sides) == 3 and rising[0] == rising[1] and is_name(sides[1]):
        low, high = (sides[0], sides[2]) if rising[0] else (sides[2], sides[0])
        first, last = signs if rising[0] else (signs[1], signs[0])
        return sides[1], f"{_bracket(first, '([')}{low}, {high}{_bracket(last, ')]')}"
    if len(sides) != 2:
        return None
    (left, right), sign = sides, signs[0]
    if is_constant(left) and is_name(right):
        left, right, sign = right, left, ORDER[sign]
    if not (is_name(left) and is_constant(right)):
        return None
    if sign in ("<", r"\le"):
        return left, rf"(-\infty, {right}{_bracket(sign, ')]')}"
    return left, rf"{_bracket(sign, '([')}{right}, \infty)"


def is_name(text: str) -> bool:
    """Whether it is what a value is assigned to: `x`, `f(2)`, `(x, y)`, `\\angle ABC`, `\\text{Area}`."""
    return bool(text) and (NAME.fullmatch(text) or TUPLE_OF_NAMES.fullmatch(text)) is not None


def is_constant(text: str) -> bool:
    """Whether it has digits or constants, and no variable."""
    return (
        not SYMBOLS.search(text)
        and "..." not in text
        and not re.search("[A-Za-z]", COMMAND.sub(" ", text))
        and re.search(r"\d|\\pi|\\infty", text) is not None
    )


def _inequality(text: str) -> tuple[list[str], list[str]]:
    sides: list[str] = []
    signs: list[str] = []
    rest = text
    while True:
        cut = min(
            ((len(parts[0]), sign) for sign in ORDER if len(parts := split(rest, sign)) > 1),
            default=None,
        )
        if cut is None:
            return [*sides, rest.strip()], signs
        sign = cut[1]
        side = split(rest, sign)[0]
        sides.append(side)
        signs.append(sign)
        rest = rest[rest.index(sign, rest.index(side)) + len(sign) :]


def _bracket(sign: str, brackets: str) -> str:
    return brackets[0] if sign in ("<", ">") else brackets[1]
