"""Rows: where they come from, what an algorithm needs of them, and which of them make up a step.

Their shapes are in `service/domain/shapes.py`; `encode.py` makes token ids of them.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch

from service.domain.datasets import FileData, LinearAlgebraData, PlainDataset
from service.domain.errors import Invalid
from service.domain.messages import text_of
from worker.training import linear_algebra, linear_algebra_tools

Row = dict[str, Any]
Message = dict[str, Any]


def load(dataset: PlainDataset, files: Mapping[str, str], field: str) -> list[Row]:
    """All rows of a dataset; `field` (`dataset` or `eval_dataset`) is named when they cannot be read."""
    if isinstance(dataset, LinearAlgebraData) and dataset.tools:
        return linear_algebra_tools.rows(dataset)
    if not isinstance(dataset, FileData):
        return [{**row, "difficulty": len(row["completion"])} for row in linear_algebra.rows(dataset)]
    path = files.get(dataset.source)
    if path is None:
        raise Invalid(f"{field}.source '{dataset.source}' is no file of this job; upload it", param=f"{field}.source")
    with Path(path).open(encoding="utf-8") as lines:
        rows = [_parsed(line, number, field) for number, line in enumerate(lines, 1) if line.strip()]
    if not rows:
        raise Invalid(f"{field} '{dataset.source}' has no rows; upload a file that has some", param=field)
    return rows[: dataset.limit]


def _parsed(line: str, number: int, field: str) -> Row:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise Invalid(
            f"{field}, line {number} is not JSON: {error}; put one object on each line", param=field
        ) from None
    if not isinstance(row, dict):
        raise Invalid(f"{field}, line {number} is {str(row)[:50]!r}; put one JSON object on each line", param=field)
    return row


def without(rows: list[Row], held_out: Sequence[Row]) -> list[Row]:
    """The rows whose question is not held out: what is trained on cannot be evaluated."""
    asked = {_question(row) for row in held_out}
    kept = [row for row in rows if _question(row) not in asked]
    if rows and not kept:
        message = "every row of dataset is in eval_dataset too; give them different rows (another seed or file)"
        raise Invalid(message, param="eval_dataset")
    return kept


def _question(row: Row) -> str:
    said = [{name: value for name, value in message.items() if value is not None} for message in question(row)]
    return json.dumps(said, sort_keys=True)


def question(row: Row) -> list[Message]:
    """What comes before a row's answer, as messages."""
    if (prompt := row.get("prompt")) is not None:
        return prompt if isinstance(prompt, list) else [_message("user", str(prompt))]
    if row.get("messages"):
        return list(row["messages"][:-1])
    if isinstance(row.get("chosen"), list):
        pairs = zip(row["chosen"], row["rejected"], strict=False)
        return [chosen for chosen, _ in takewhile(lambda pair: pair[0] == pair[1], pairs)]
    return [_message("user", str(row.get("text", "")))]


def conversation(row: Row) -> list[Message]:
    """All messages of a row, its answer last."""
    if row.get("messages") is not None:
        return list(row["messages"])
    completion = row["completion"]
    return [*question(row), *(completion if isinstance(completion, list) else [_message("assistant", completion)])]


def answered(row: Row, column: str) -> Row:
    """A preference as a row for SFT, with the answer of `column`, `chosen` or `rejected`."""
    if row.get("prompt") is None:
        return {"messages": row[column], "tools": row.get("tools")}
    return {"prompt": row["prompt"], "completion": row[column], "tools": row.get("tools")}


def prompt_text(row: Row) -> str:
    """A row's `prompt` for rewards and for people: the text of its only message, or all messages with their roles."""
    prompt = row["prompt"]
    if not isinstance(prompt, list):
        return str(prompt)
    texts = [text_of(message.get("content")) for message in prompt]
    if len(texts) == 1:
        return texts[0]
    return "\n\n".join(f"{message['role']}: {text}" for message, text in zip(prompt, texts, strict=True))


def _message(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def require(rows: Sequence[Row], needs: Iterable[tuple[str, ...]], field: str, purpose: str) -> None:
    """Each row must have all columns of one of the alternatives."""
    alternatives = list(needs)
    for index, row in enumerate(rows):
        if not any(all(row.get(name) is not None for name in names) for names in alternatives):
            wanted = " or ".join(" + ".join(f"`{name}`" for name in names) for names in alternatives)
            has = ", ".join(f"`{name}`" for name in row) or "nothing"
            raise Invalid(f"{field}, row {index + 1} has {has}; {purpose} needs {wanted}", param=field)


def batch(rows: int, seed: int, step: int, size: int) -> list[int]:
    """Which rows make up a step (counted from 0): a function of seed and step, each epoch in its own order."""
    places = range(step * size, (step + 1) * size)
    return [_order(rows, seed, place // rows)[place % rows] for place in places]


@lru_cache(maxsize=4)
def _order(rows: int, seed: int, epoch: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order: list[int] = torch.randperm(rows, generator=generator).tolist()
    return order
