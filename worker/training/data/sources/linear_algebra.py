"""Rows of the built-in problems."""

from collections.abc import Mapping

from service.domain.datasets import LinearAlgebraData
from worker.training.data.linear_algebra import problems, tools
from worker.training.data.registry import Row, source


@source(LinearAlgebraData)
def rows(dataset: LinearAlgebraData, files: Mapping[str, str], field: str, warnings: list[str]) -> list[Row]:
    """Solved by hand, or by calls of tools."""
    if dataset.tools:
        return tools.rows(dataset)
    return [{**row, "difficulty": len(row["completion"])} for row in problems.rows(dataset)]
