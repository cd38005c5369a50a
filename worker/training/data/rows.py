"""Rows of a dataset: loading, the columns that an algorithm needs, and which rows make up a step.

Their shapes are in `service/domain/shapes.py`; `encode.py` makes token ids of them.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import takewhile
from typing import Any

import torch

from hone.errors import Invalid
from service.domain.datasets import PlainDataset
from service.domain.health_notes import Note
from service.domain.messages import text_of
from worker.training.data.registry import SOURCES
from worker.training.data.registry import Row as Row

Message = dict[str, Any]
NAMED_ROWS = 5
"""Rows that a message names."""


def load_rows(
    dataset: PlainDataset, files: Mapping[str, str], field: str, notes: list[Note] | None = None
) -> list[Row]:
    """All rows of a dataset; `field` (`dataset` or `eval_dataset`) is named when they cannot be read.

    What was read otherwise than it stands is added to `notes`.
    """
    sentences: list[str] = []
    rows = SOURCES[type(dataset)](dataset, files, field, sentences)
    if sentences and notes is not None:
        notes.append(Note("rows_converted", "; ".join(sentences), param=field))
    return rows


def without_held_out(rows: list[Row], held_out: Sequence[Row]) -> list[Row]:
    """The rows whose question is not held out: what is trained on cannot be evaluated."""
    held_out_questions = {_question(row) for row in held_out}
    remaining = [row for row in rows if _question(row) not in held_out_questions]
    if rows and not remaining:
        message = "every row of dataset is in eval_dataset too; give them different rows (another seed or file)"
        raise Invalid(message, param="eval_dataset")
    return remaining


def _question(row: Row) -> str:
    messages = [{name: value for name, value in message.items() if value is not None} for message in question(row)]
    return json.dumps(messages, sort_keys=True)


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


def sft_row(row: Row, column: str) -> Row:
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


def require_columns(rows: Sequence[Row], alternatives: Iterable[tuple[str, ...]], field: str, purpose: str) -> None:
    """Each row must have all columns of one of the alternatives."""
    alternatives = list(alternatives)
    for index, row in enumerate(rows):
        if not any(all(row.get(name) is not None for name in names) for names in alternatives):
            needed = " or ".join(" + ".join(f"`{name}`" for name in names) for names in alternatives)
            has = ", ".join(f"`{name}`" for name in row) or "nothing"
            raise Invalid(
                f"{field}, row {index + 1} has {has}; {purpose} needs {needed}; name them in {field}.columns",
                param=field,
            )


def row_numbers(indices: Sequence[int]) -> str:
    """`row 3`, `rows 3, 9 and 14`, `rows 3, 9, 14, 15, 20 and 7 more`, for messages; indices count from 0."""
    names = [f"{index + 1:,}" for index in indices[:NAMED_ROWS]]
    if len(indices) > NAMED_ROWS:
        names.append(f"{len(indices) - NAMED_ROWS:,} more")
    if len(names) == 1:
        return f"row {names[0]}"
    return f"rows {', '.join(names[:-1])} and {names[-1]}"


def batch_rows(rows: int, seed: int, step: int, size: int) -> list[int]:
    """Which rows make up a step (counted from 0): a function of seed and step, each epoch in its own order."""
    places = range(step * size, (step + 1) * size)
    return [_order(rows, seed, place // rows)[place % rows] for place in places]


@lru_cache(maxsize=4)
def _order(rows: int, seed: int, epoch: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order: list[int] = torch.randperm(rows, generator=generator).tolist()
    return order
