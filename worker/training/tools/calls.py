"""Calls of tools: parsed and run. A policy writes anything, so this runs in a process that can be killed."""

import json
import re
from collections.abc import Collection, Sequence
from difflib import get_close_matches
from fractions import Fraction
from typing import Any

from worker.training.tools.functions import FUNCTIONS, Matrix
from worker.training.tools.tags import CALL, CALL_END

MAX_SIZE = 16
"""Rows and columns of a matrix."""
MAX_NUMBER_LENGTH = 50
"""Characters; an exponent of more than two digits is refused too."""
NAME = re.compile(r'"name"\s*:\s*"([^"\\]{1,64})"')
CALL_FORMAT = f'write {CALL}{{"name": ..., "arguments": {{"matrix": [[1, 2], [3, 4]]}}}}{CALL_END}'


class MalformedCall(ValueError):
    """A call that no tool can be given; its message is for the policy."""


def run_call(turn: str, names: Collection[str]) -> str:
    """The output of the first call of a turn; MalformedCall or a tool's ValueError, with a message for the policy."""
    name, arguments = _parsed(turn)
    if name not in names:
        near = get_close_matches(name, names, n=1)
        raise MalformedCall(f"no such tool; {f'did you mean {near[0]}?' if near else 'there are ' + ', '.join(names)}")
    if set(arguments) != {"matrix"}:
        raise ValueError(f"{name} takes one argument, matrix; {CALL_FORMAT}")
    return FUNCTIONS[name](_matrix(arguments["matrix"]))  # type: ignore[index]


def called_name(turn: str) -> str:
    """The tool that a turn calls, which some chat templates show with its output; `unknown` if the call names none."""
    _, _, call = turn.partition(CALL)
    named = NAME.search(call)
    return named[1] if named else "unknown"


def answering_turn(turns: Sequence[str], *, truncated: bool) -> str:
    """The turn in which a response may answer: the last one, or nothing if that calls a tool.

    What it says before it knows the tool's output is no answer, and what the tool says is none of the policy's. Where a
    limit cut the response off, a call may have been open.
    """
    last = turns[-1]
    return "" if CALL_END in last or (truncated and CALL in last) else last


def _parsed(turn: str) -> tuple[str, dict[str, Any]]:
    _, opened, rest = turn.partition(CALL)
    text, closed, _ = rest.partition(CALL_END)
    if not opened or not closed:
        raise MalformedCall(f"{CALL_END} without {CALL}; {CALL_FORMAT}")
    try:
        call = json.loads(text, parse_int=_number, parse_float=_number, parse_constant=_number)
    except json.JSONDecodeError as error:
        raise MalformedCall(f"the call is not JSON: {error.msg} at character {error.pos + 1}; {CALL_FORMAT}") from None
    except RecursionError:
        raise MalformedCall(f"the call is nested too deeply; {CALL_FORMAT}") from None
    name, arguments = (call.get("name"), call.get("arguments")) if isinstance(call, dict) else (None, None)
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise MalformedCall(f"the call needs a name and arguments; {CALL_FORMAT}")
    return name, arguments


def _number(text: str) -> Fraction:
    """Exactly what was written."""
    _, _, exponent = text.lower().partition("e")
    if len(text) > MAX_NUMBER_LENGTH or len(exponent.lstrip("+-")) > 2:
        raise ValueError(f"a number is too long; at most {MAX_NUMBER_LENGTH} characters and two digits of an exponent")
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
    if max(len(rows), len(rows[0])) > MAX_SIZE:
        raise ValueError(f"matrix must have at most {MAX_SIZE} rows and {MAX_SIZE} columns")
    return rows
