"""From what a policy wrote to what a tool answers. It wrote anything, so this runs in a process that can be killed."""

import json
from collections.abc import Collection
from difflib import get_close_matches
from fractions import Fraction
from typing import Any

from worker.training.tools.functions import FUNCTIONS, Matrix
from worker.training.tools.tags import CALL, CALL_END

LARGEST = 16
"""Rows and columns of a matrix."""
LONGEST_NUMBER = 50
"""Characters; an exponent of more than two digits is refused too."""
FORM = f'write {CALL}{{"name": ..., "arguments": {{"matrix": [[1, 2], [3, 4]]}}}}{CALL_END}'


def answer(turn: str, names: Collection[str]) -> str:
    """What a tool answers to the first call of a turn; ValueError with a message for the policy."""
    name, arguments = _call(turn)
    if name not in names:
        near = get_close_matches(name, names, n=1)
        raise ValueError(f"no such tool; {f'did you mean {near[0]}?' if near else 'there are ' + ', '.join(names)}")
    if set(arguments) != {"matrix"}:
        raise ValueError(f"{name} takes one argument, matrix; {FORM}")
    return FUNCTIONS[name](_matrix(arguments["matrix"]))  # type: ignore[index]


def _call(turn: str) -> tuple[str, dict[str, Any]]:
    _, opened, rest = turn.partition(CALL)
    text, closed, _ = rest.partition(CALL_END)
    if not opened or not closed:
        raise ValueError(f"{CALL_END} without {CALL}; {FORM}")
    try:
        call = json.loads(text, parse_int=_number, parse_float=_number, parse_constant=_number)
    except json.JSONDecodeError as error:
        raise ValueError(f"the call is not JSON: {error.msg} at character {error.pos + 1}; {FORM}") from None
    except RecursionError:
        raise ValueError(f"the call is nested too deeply; {FORM}") from None
    name, arguments = (call.get("name"), call.get("arguments")) if isinstance(call, dict) else (None, None)
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise ValueError(f"the call needs a name and arguments; {FORM}")
    return name, arguments


def _number(text: str) -> Fraction:
    """Exactly what was written."""
    _, _, exponent = text.lower().partition("e")
    if len(text) > LONGEST_NUMBER or len(exponent.lstrip("+-")) > 2:
        raise ValueError(f"a number is too long; at most {LONGEST_NUMBER} characters and two digits of an exponent")
    try:
        return Fraction(text)
    except ValueError:
        raise ValueError(f"{text} is no number") from None


def _matrix(value: Any) -> Matrix:
    rows: list[Any] = value if isinstance(value, list) and value else [None]
    if not all(isinstance(row, list) and row and all(isinstance(entry, Fraction) for entry in row) for row in rows):
        raise ValueError("matrix must be a list of rows, which are lists of numbers, like [[1, 2], [3, 4]]")
    if len({len(row) for row in rows}) > 1:
        raise ValueError("matrix must have rows of one length")
    if max(len(rows), len(rows[0])) > LARGEST:
        raise ValueError(f"matrix must have at most {LARGEST} rows and {LARGEST} columns")
    return rows
