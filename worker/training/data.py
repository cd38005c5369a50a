"""Rows to token ids: where rows come from, what an algorithm needs of them, and which of them make up a step.

Row shapes: `prompt` + `completion`, or `messages` (whose last one, the assistant's, is learned) for SFT;
`prompt` + `answer` for RL.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from service.domain.datasets import AnyDataset, FileData, Template
from service.domain.errors import Invalid
from worker.training import linear_algebra
from worker.training.batching import Tokens

Row = dict[str, Any]


def load(dataset: AnyDataset, files: Mapping[str, str], field: str) -> list[Row]:
    """All rows of a dataset; `field` (`dataset` or `eval_dataset`) is named when they cannot be read."""
    if not isinstance(dataset, FileData):
        return [dict(row) for row in linear_algebra.rows(dataset)]
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
    return str(row["prompt"]) if row.get("prompt") is not None else json.dumps((row.get("messages") or [])[:-1])


def require(rows: Sequence[Row], needs: Iterable[tuple[str, ...]], field: str, purpose: str) -> None:
    """Each row must have all columns of one of the alternatives."""
    alternatives = list(needs)
    for index, row in enumerate(rows):
        if not any(all(row.get(name) is not None for name in names) for names in alternatives):
            wanted = " or ".join(" + ".join(f"`{name}`" for name in names) for names in alternatives)
            has = ", ".join(f"`{name}`" for name in row) or "nothing"
            raise Invalid(f"{field}, row {index + 1} has {has}; {purpose} needs {wanted}", param=field)


class Encoder:
    """Turns rows into token ids, with the model's own chat template where the dataset asks for it."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, template: Template, field: str) -> None:
        self._tokenizer, self._field = tokenizer, field
        has_template = bool(getattr(tokenizer, "chat_template", None))
        if template == "chat" and not has_template:
            message = f"{field}.template is chat, but the model's tokenizer has no chat template; set it to text"
            raise Invalid(message, param=f"{field}.template")
        self._chat = has_template and template != "text"

    def prompts(self, rows: Sequence[Row], room: int) -> list[list[int]]:
        """What the policy is asked, ready to be answered; each may have at most `room` tokens."""
        texts = [row["prompt"] for row in rows]
        prompts = [self._turns([_user(text)]) for text in texts] if self._chat else self._text(texts)
        for index, prompt in enumerate(prompts):
            self._check_prompt(index, prompt, room)
        return prompts

    def pairs(self, rows: Sequence[Row], max_length: int) -> list[Tokens]:
        """Prompts and completions for SFT, ended by eos; what exceeds `max_length` is cut off the end."""
        plain = [row for row in rows if not self._is_chat(row)]
        prompts = iter(self._text([row["prompt"] for row in plain]))
        completions = iter(self._text([row["completion"] for row in plain], special=False))
        encoded = []
        for index, row in enumerate(rows):
            pair = self._conversation(index, row) if self._is_chat(row) else Tokens(next(prompts), next(completions))
            self._check_prompt(index, pair.prompt, max_length)
            encoded.append(self._ended(pair, max_length))
        return encoded

    def _is_chat(self, row: Row) -> bool:
        return row.get("messages") is not None or self._chat

    def _text(self, texts: list[str], special: bool = True) -> list[list[int]]:
        if not texts:
            return []
        ids: list[list[int]] = self._tokenizer(texts, add_special_tokens=special)["input_ids"]
        return ids

    def _turns(self, messages: list[dict[str, Any]], answered: bool = False) -> list[int]:
        render: Any = self._tokenizer.apply_chat_template
        return list(render(messages, add_generation_prompt=not answered, tokenize=True, return_dict=False))

    def _conversation(self, index: int, row: Row) -> Tokens:
        """A chat, cut where the assistant's last turn begins."""
        messages = row.get("messages") or [_user(row["prompt"]), {"role": "assistant", "content": row["completion"]}]
        if not getattr(self._tokenizer, "chat_template", None):
            raise self._refusal(
                index, "has `messages`, but the model has no chat template; use `prompt` + `completion`"
            )
        if messages[-1].get("role") != "assistant":
            raise self._refusal(
                index, "has `messages` that do not end with role 'assistant'; there is nothing to learn"
            )
        prompt, whole = self._turns(messages[:-1]), self._turns(messages, answered=True)
        if whole[: len(prompt)] != prompt:
            prompt = self._turns(messages[:-1], answered=True)  # a template without a generation prompt of its own
        if whole[: len(prompt)] != prompt:
            raise self._refusal(index, "is rewritten by the chat template when the answer follows; use plain text rows")
        return Tokens(prompt, whole[len(prompt) :])

    def _ended(self, pair: Tokens, max_length: int) -> Tokens:
        eos = self._tokenizer.eos_token_id
        completion = pair.completion if eos in pair.completion or eos is None else [*pair.completion, int(eos)]
        return Tokens(pair.prompt, completion[: max_length - len(pair.prompt)])

    def _check_prompt(self, index: int, prompt: list[int], limit: int) -> None:
        if not prompt:
            raise self._refusal(index, "has an empty prompt; give it some text")
        if len(prompt) >= limit:
            raise self._refusal(
                index,
                f"has a prompt of {len(prompt)} tokens, which leaves no room in {limit}; shorten it or raise the limit",
            )

    def _refusal(self, index: int, message: str) -> Invalid:
        return Invalid(f"{self._field}, row {index + 1} {message}", param=self._field)


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def batch(rows: int, seed: int, step: int, size: int) -> list[int]:
    """Which rows make up a step (counted from 0): a function of seed and step, each epoch in its own order."""
    places = range(step * size, (step + 1) * size)
    return [_order(rows, seed, place // rows)[place % rows] for place in places]


@lru_cache(maxsize=4)
def _order(rows: int, seed: int, epoch: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order: list[int] = torch.randperm(rows, generator=generator).tolist()
    return order
