"""The shapes that a row of a JSONL file can have, and what is wrong with a file, line by line.

prompt+completion   two strings: the completion is learnt
messages            a conversation that ends with the assistant; `tools` may come along
prompt+answer       a question whose answer can be checked; all further columns reach the rewards

A row that has all three columns of the first and the last shape has both shapes.
"""

import sys
from collections.abc import Iterable
from difflib import get_close_matches
from json import JSONDecodeError, JSONDecoder, dumps
from typing import Any, Literal

from pydantic import BaseModel

Shape = Literal["prompt+completion", "messages", "prompt+answer"]
COLUMNS: dict[Shape, tuple[str, ...]] = {
    "prompt+completion": ("prompt", "completion"),
    "messages": ("messages",),
    "prompt+answer": ("prompt", "answer"),
}
KNOWN = ("prompt", "completion", "answer", "messages", "tools")
ROLES = ("system", "user", "assistant", "tool")
LONGEST_LINE = 8 << 20
"""Bytes."""


class Problem(BaseModel):
    """What is wrong with a line."""

    line: int
    """From 1."""
    message: str


class FileReport(BaseModel):
    """What a file holds."""

    rows: int
    """Lines that are not empty."""
    columns: list[str]
    """Those that all readable rows have, in the order of the first one."""
    shapes: list[Shape]
    """Those that all readable rows have."""
    problems: list[Problem]
    """The first ones."""
    problem_count: int
    """All of them."""


def check(lines: Iterable[bytes], *, max_problems: int = 20) -> FileReport:
    """Read a file line by line; nothing of it is kept but the report."""
    checker = _Checker(max_problems)
    for number, line in enumerate(lines, 1):
        if line.isspace() or not line:
            checker.empty += 1
        else:
            checker.row(number, line)
    return checker.report()


def problem_of(row: Any) -> str | None:
    """Why something read from JSON is no row, or None."""
    if not isinstance(row, dict):
        return f'is {_described(row)}, but every line must be an object like {{"prompt": ..., "completion": ...}}'
    if not shapes_of(row):
        return _missing(row)
    for column in ("prompt", "completion"):
        if column in row and not isinstance(row[column], str):
            return f"'{column}' must be a string, but is {_described(row[column])}"
    if "answer" in row and (not isinstance(row["answer"], str | int | float) or isinstance(row["answer"], bool)):
        return f"'answer' must be a string or a number, but is {_described(row['answer'])}"
    return _conversation_problem(row) if "messages" in row else None


def shapes_of(row: Iterable[str]) -> list[Shape]:
    """The shapes whose columns are there."""
    names = set(row)
    return [shape for shape, columns in COLUMNS.items() if names.issuperset(columns)]


class _Checker:
    """The report while it grows."""

    def __init__(self, max_problems: int) -> None:
        self.empty = 0
        """Empty lines since the last row: no problem unless a row follows."""
        self._max_problems = max_problems
        self._rows = 0
        self._columns: list[str] | None = None
        self._shapes: list[Shape] = []
        self._seen: set[tuple[str, ...]] = set()
        """Which tuples of column names have been looked at; a file has few."""
        self._problems: list[Problem] = []
        self._problem_count = 0

    def row(self, number: int, line: bytes) -> None:
        """Take in a line that is not empty."""
        for gap in range(number - self.empty, number):
            self._complain(gap, "is empty, but rows follow; remove it")
        self.empty = 0
        self._rows += 1
        row, problem = _read(line)
        problem = problem or problem_of(row) or self._compare(row)
        if problem:
            self._complain(number, problem)

    def report(self) -> FileReport:
        """The end of the file is reached."""
        if not self._rows:
            self._complain(1, "the file has no rows; each line must be one JSON object")
        return FileReport(
            rows=self._rows,
            columns=self._columns or [],
            shapes=self._shapes,
            problems=self._problems,
            problem_count=self._problem_count,
        )

    def _compare(self, row: dict[str, Any]) -> str | None:
        """Narrow what all rows have in common, or say that this one has nothing in common with them."""
        columns = tuple(row)
        if columns in self._seen:
            return None
        shapes = shapes_of(row)
        if self._columns is None:
            self._columns, self._shapes = list(columns), shapes
        common = [shape for shape in self._shapes if shape in shapes]
        if not common:
            before = " and ".join(self._shapes)
            return f"is a row of {' and '.join(shapes)}, but the rows before are {before}; use two files"
        self._columns, self._shapes = [name for name in self._columns if name in row], common
        if len(self._seen) < 1000:
            self._seen.add(columns)
        return None

    def _complain(self, line: int, message: str) -> None:
        self._problem_count += 1
        if len(self._problems) < self._max_problems:
            self._problems.append(Problem(line=line, message=message))


class _NotJSON(ValueError):
    """Python reads it, the standard does not know it."""


def _refuse_constant(name: str) -> Any:
    raise _NotJSON(f"is not JSON: {name} is no JSON number; write it as a string or leave it out")


_decode = JSONDecoder(parse_constant=_refuse_constant).decode


def _read(line: bytes) -> tuple[Any, str | None]:
    """The value of a line, or what prevents reading it."""
    if len(line) > LONGEST_LINE:
        return None, f"is {len(line) / (1 << 20):.1f} MiB long; at most {LONGEST_LINE >> 20} MiB are allowed"
    try:
        row = _decode(line.decode())
        if b"\\ud" in line or b"\\uD" in line:
            dumps(row, ensure_ascii=False).encode()  # half a pair of surrogates is JSON, but no text
    except JSONDecodeError as error:
        if line.startswith(b"\xef\xbb\xbf"):
            return None, "starts with a byte order mark; save the file as UTF-8 without one"
        return None, f"is not JSON: {error.msg} at column {error.colno}"
    except UnicodeDecodeError as error:
        return (
            None,
            f"is not UTF-8: byte {error.object[error.start]:#04x} at column {error.start + 1}; convert the file",
        )
    except UnicodeEncodeError as error:
        return None, f"has half of a surrogate pair, {error.object[error.start]!a}, which is not a character"
    except RecursionError:
        return None, "is nested too deeply"
    except _NotJSON as error:
        return None, str(error)
    except ValueError:
        return None, f"has a number of more than {sys.get_int_max_str_digits()} digits; write it as a string"
    return row, None


def _missing(row: dict[str, Any]) -> str:
    """Which column is missing, and which one may be meant for it."""
    if "prompt" in row:
        lack = "has 'prompt' but neither 'completion' nor 'answer'"
    elif "completion" in row or "answer" in row:
        lack = f"has '{'completion' if 'completion' in row else 'answer'}' but no 'prompt'"
    else:
        lack = "needs 'prompt' and 'completion', 'prompt' and 'answer', or 'messages'"
    return f"{lack}; {_hint(row)}"


def _hint(row: dict[str, Any]) -> str:
    others = [name for name in row if name not in KNOWN]
    wanted = [name for name in KNOWN if name not in row]
    for name in others:
        near = get_close_matches(name.lower(), wanted, n=1, cutoff=0.7)
        if near:
            return f"did you mean '{near[0]}' by '{name}'?"
    return f"its columns are {', '.join(map(repr, list(row)[:20])) or 'none'}"


def _conversation_problem(row: dict[str, Any]) -> str | None:
    messages = row["messages"]
    if not isinstance(messages, list) or not messages:
        return f"'messages' must be a list with at least one message, but is {_described(messages)}"
    for i, message in enumerate(messages):
        problem = _message_problem(message)
        if problem:
            return f"'messages[{i}]{problem}"
    if messages[-1]["role"] != "assistant":
        return f"the last message must be the assistant's, which is learnt, but its role is '{messages[-1]['role']}'"
    if not isinstance(row.get("tools"), list | None):
        return f"'tools' must be a list, but is {_described(row['tools'])}"
    return None


def _message_problem(message: Any) -> str | None:
    """What is wrong with one message; the text goes on behind its name."""
    if not isinstance(message, dict):
        return f"' must be an object with 'role' and 'content', but is {_described(message)}"
    if message.get("role") not in ROLES:
        return f".role' must be one of {', '.join(ROLES)}, but is {_described(message.get('role', ...))}"
    if not isinstance(message.get("content"), str):
        return f".content' must be a string, but is {_described(message.get('content', ...))}"
    return None


def _described(value: Any) -> str:
    """A value of JSON for a sentence: kind, and text if it is short. `...` stands for one that is missing."""
    if value is ...:
        return "missing"
    if value is None or isinstance(value, bool):
        return dumps(value)
    kinds = {dict: "an object", list: "a list", str: "the string", int: "the number", float: "the number"}
    if isinstance(value, dict | list):
        return kinds[type(value)] if value else f"an empty {'object' if isinstance(value, dict) else 'list'}"
    text = dumps(value, ensure_ascii=False)
    return f"{kinds[type(value)]} {text if len(text) <= 60 else text[:60] + '...'}"
