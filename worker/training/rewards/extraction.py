"""Which part of a response is compared, and the text that a row expects."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from service.domain.rewards import Extract

# A sign belongs to the number unless something stands before it that it could be subtracted from.
NUMBER = re.compile(
    r"(?:(?<![\w.)\]}])[-+])?(?:(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?(?:/\d+)?"
)
BRACES = re.compile(r"\\.|[{}]", re.DOTALL)


def extracted(response: str, extract: Extract) -> str | None:
    """The part of the response that counts, stripped; None if there is none."""
    part = EXTRACTORS[extract](response)
    return None if part is None else part.strip()


def expected(row: Mapping[str, Any]) -> str:
    """The row's `answer` as text; a float that is whole is written without its `.0`."""
    if row.get("answer") is None:
        raise ValueError(f"the row has no 'answer'; its columns are {', '.join(sorted(row)) or 'none'}")
    answer = row["answer"]
    return str(int(answer)) if isinstance(answer, float) and answer.is_integer() else str(answer).strip()


def _answer(response: str) -> str | None:
    """Inside the last closed `<answer>`."""
    end = response.rfind("</answer>")
    start = response.rfind("<answer>", 0, end) if end >= 0 else -1
    return response[start + len("<answer>") : end] if start >= 0 else None


def _boxed(response: str) -> str | None:
    r"""Inside the last closed `\boxed{...}`, braces inside it being balanced."""
    start = response.rfind(r"\boxed{")
    while start >= 0:
        inside = _until_closed(response, start + len(r"\boxed{"))
        if inside is not None:
            return inside
        start = response.rfind(r"\boxed{", 0, start)
    return None


def _until_closed(text: str, start: int) -> str | None:
    depth = 1
    for match in BRACES.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(match.group(), 0)
        if depth == 0:
            return text[start : match.start()]
    return None


def _number(response: str) -> str | None:
    numbers = NUMBER.findall(response.replace("\N{MINUS SIGN}", "-"))
    return numbers[-1] if numbers else None


EXTRACTORS: dict[Extract, Callable[[str], str | None]] = {
    "answer": _answer,
    "boxed": _boxed,
    "number": _number,
    "whole": lambda response: response,
}
