"""What is wrong with a JSONL file, line by line, and which shapes its rows have."""

import sys
from collections.abc import Iterable
from json import JSONDecodeError, JSONDecoder, dumps
from typing import Any

from pydantic import BaseModel

from service.domain.shapes import Shape, problem_of, shapes_of

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
