"""Rows of an uploaded JSONL file, read as the upload read them, up to the limit."""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from hone.errors import Invalid
from service.domain.datasets import FileData
from service.domain.rows import RowLine, Rows
from worker.training.data.registry import Row, source


@source(FileData)
def rows(dataset: FileData, files: Mapping[str, str], field: str, warnings: list[str]) -> list[Row]:
    """One object a line, up to the limit. Invalid names the first line that cannot be used."""
    path = files.get(dataset.source)
    if path is None:
        raise Invalid(f"{field}.source '{dataset.source}' is no file of this job; upload it", param=f"{field}.source")
    with Path(path).open("rb") as lines:
        read = Rows(lines, dataset.columns)
        found = list(_checked(islice(read, dataset.limit), field))
    if not found:
        raise Invalid(f"{field} '{dataset.source}' has no rows; upload a file that has some", param=field)
    warnings += [f"{field}: {note}" for note in read.notes]
    return found


def _checked(lines: Iterator[RowLine], field: str) -> Iterator[Row]:
    """Rows that can be used. An older version may have checked the file by other rules, and `columns` names others."""
    for line in lines:
        problem = line.problem or (line.unread if line.is_ambiguous else None)
        if problem:
            colon = ":" if problem.startswith("'") else ""
            message = f"{field}, line {line.line}{colon} {problem}".replace("dataset.columns", f"{field}.columns")
            raise Invalid(message, param=field)
        yield line.row
