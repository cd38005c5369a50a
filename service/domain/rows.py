"""The rows of a JSONL file, as the upload checks them and as a job reads them: by the same code.

`jsonl.py` reads the lines, `conversions.py` what other tools call their columns, `shapes.py` checks what comes out.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel

from service.domain import conversions, jsonl
from service.domain.column_hints import example, nearest
from service.domain.column_mapping import MissingColumn
from service.domain.shapes import (
    COLUMNS,
    Column,
    Shape,
    missing,
    problem_of_columns,
    problem_of_value,
    prompt_note,
    shapes_of,
)

MAX_COLUMNS = 256
MAX_COLUMN_NAME = 200


class RowLine(NamedTuple):
    """A line with a row, or with what should be one."""

    line: int
    """From 1; blank lines count."""
    columns: tuple[str, ...]
    """The names as they stand in the file."""
    row: dict[str, Any]
    """In our shapes, if it has one of them."""
    problem: str | None
    """Why the file cannot be used."""
    unread: str | None = None
    """Why the row has no shape: unknown columns or two meanings. A mapping may give it one."""
    is_ambiguous: bool = False


class Rows:
    """The rows of a file, read once; afterwards `notes` says what was read otherwise than it stands."""

    def __init__(self, lines: Iterable[bytes], columns: Mapping[Column, str] | None = None) -> None:
        """`columns` is the dataset's mapping: our names of columns, and those in the file."""
        self.count = 0
        """Rows so far."""
        self._lines, self._columns = lines, columns or {}
        self._blank = self._gap = 0
        """Blank lines before the last row, and after it: only the former are told of."""
        self._forms: Counter[str] = Counter()

    def __iter__(self) -> Iterator[RowLine]:
        for line in jsonl.read(self._lines):
            if line.is_blank:
                self._gap += 1
                continue
            self.count, self._blank, self._gap = self.count + 1, self._blank + self._gap, 0
            yield self._row(line)

    @property
    def notes(self) -> list[str]:
        """Sentences without an end: what was converted, and how many blank lines there are."""
        forms = [f"{form}, in {count:,} of {self.count:,} rows" for form, count in self._forms.items()]
        lines = "blank line is" if self._blank == 1 else "blank lines are"
        return forms + [f"{self._blank:,} {lines} skipped"] * (self._blank > 0)

    def _row(self, line: jsonl.Line) -> RowLine:
        problem = line.problem or problem_of_value(line.value)
        if problem is None and not line.value:
            problem = missing(line.value)
        if problem:
            return RowLine(line.number, (), {}, problem)
        names = tuple(line.value)
        try:
            reading = conversions.read(line.value, self._columns)
        except MissingColumn as error:
            return RowLine(line.number, names, line.value, str(error))
        self._forms.update(reading.forms)
        if reading.unread:
            return RowLine(line.number, names, reading.row, None, reading.unread, is_ambiguous=True)
        if not shapes_of(reading.row):
            return RowLine(line.number, names, reading.row, None, _unknown(reading.row))
        return RowLine(line.number, names, reading.row, problem_of_columns(reading.row))


def _unknown(row: dict[str, Any]) -> str:
    """Why a row has no shape, and how a job can give it one."""
    mapping = example(nearest(list(COLUMNS), list(row)), list(row))
    return f"{missing(row)}; or name its columns in dataset.columns of the job, e.g. {mapping}"


class LineProblem(BaseModel):
    """What is wrong with a line of a file."""

    line: int
    """From 1."""
    message: str


class FileReport(BaseModel):
    """The result of checking a file."""

    rows: int
    """Number of lines that are not blank."""
    columns: list[str]
    """Columns that all readable rows have, as they stand in the file, in the order of the first row."""
    shapes: list[Shape]
    """Shapes that all readable rows have; none if a job must name their columns first."""
    notes: list[str] = []
    """What was read otherwise than it stands, and what a job must name."""
    problems: list[LineProblem]
    """The first problems."""
    problem_count: int
    """Number of all problems."""


def check(lines: Iterable[bytes], *, max_problems: int = 20) -> FileReport:
    """Check a file line by line; only the report stays in memory."""
    checker = _Checker(max_problems)
    rows = Rows(lines)
    for row in rows:
        checker.row(row)
    return checker.report(rows)


def _problem_of_size(columns: tuple[str, ...]) -> str | None:
    """Why the columns are too many, or too long, to be shown with the file. Jobs still read files with such columns."""
    if len(columns) > MAX_COLUMNS:
        return f"has {len(columns)} columns; at most {MAX_COLUMNS} are allowed: move some into one column, as an object"
    longest = max(columns, key=len, default="")
    if len(longest) > MAX_COLUMN_NAME:
        return (
            f"has the column {longest[:40]!r}..., whose name has {len(longest)} characters, more than {MAX_COLUMN_NAME}"
        )
    return None


class _Checker:
    """Builds the report row by row."""

    def __init__(self, max_problems: int) -> None:
        self._max_problems = max_problems
        self._columns: list[str] | None = None
        self._shapes: list[Shape] = []
        self._unread: str | None = None
        """Why the rows have no shape, with the first line of which this is so."""
        self._hint: str | None = None
        self._seen: set[tuple[tuple[str, ...], tuple[str, ...]]] = set()
        """Columns of the file, and of the row as it was read, that were compared already; a file has few."""
        self._problems: list[LineProblem] = []
        self._problem_count = 0

    def row(self, row: RowLine) -> None:
        """Check a row."""
        problem = row.problem or _problem_of_size(row.columns) or self._compare(row)
        if problem:
            self._add_problem(row.line, problem)

    def report(self, rows: Rows) -> FileReport:
        """The report after the last line."""
        if not rows.count:
            self._add_problem(1, "the file has no rows; each line must be one JSON object")
        return FileReport(
            rows=rows.count,
            columns=self._columns or [],
            shapes=self._shapes,
            notes=rows.notes + [note for note in (self._unread, self._hint) if note],
            problems=self._problems,
            problem_count=self._problem_count,
        )

    def _compare(self, row: RowLine) -> str | None:
        """Reduce columns and shapes to those that this row has too; a message if no shape is left."""
        key = (row.columns, () if row.unread else tuple(row.row))
        if key in self._seen:
            return None
        shapes = [] if row.unread else shapes_of(row.row)
        if self._columns is None:
            self._columns, self._shapes = list(row.columns), shapes
            self._hint = prompt_note(row.row) if shapes == ["prompt"] else None
        elif self._shapes and row.unread and not row.is_ambiguous:
            return row.unread
        common = [shape for shape in self._shapes if shape in shapes]
        if shapes and self._shapes and not common:
            before = " and ".join(self._shapes)
            return f"is a row of {' and '.join(shapes)}, but the rows before are {before}; use two files"
        if row.unread and self._unread is None:
            self._unread = f"line {row.line} {row.unread}"
        self._columns, self._shapes = [name for name in self._columns if name in row.columns], common
        if not self._columns:
            return f"has no column in common with the rows before; its columns are {', '.join(map(repr, row.columns))}"
        if len(self._seen) < 1000:
            self._seen.add(key)
        return None

    def _add_problem(self, line: int, message: str) -> None:
        self._problem_count += 1
        if len(self._problems) < self._max_problems:
            self._problems.append(LineProblem(line=line, message=message))
