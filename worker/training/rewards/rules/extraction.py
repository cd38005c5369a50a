"""Which part of a response is compared, and the text that a row expects."""

import json
import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from math import isfinite
from typing import Any

from service.domain.rewards import Extract
from worker.training.rewards.rules.statements import affirmed, squeezed

# A sign belongs to the number unless something stands before it that it could be subtracted from.
NUMBER = re.compile(
    r"(?<!\^)(?<!\^\{)(?:(?<![\w.)\]}])[-+])?"
    r"(?:(?<!\d)\d{1,9}[ ]\d{1,9}/\d{1,9}(?!\d)|(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.\d+)?|\.\d+)"
    r"(?:[eE][-+]?\d+)?(?:/\d+)?(?:\s?%)?"
)
FRACTION = re.compile(r"\\[dt]?frac\s*\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\}")
BRACES = re.compile(r"\\.|[{}]", re.DOTALL)
BOX = re.compile(r"\\(?:boxed|fbox)\s*(?:\{|(\d))")
THOUGHT = re.compile(r"<(/?)(?:think|thinking|thought)>|(\[/?THINK\])", re.IGNORECASE)
ANSWER_TAG = re.compile(r"<(/?)answer>", re.IGNORECASE)
JOINED = re.compile(
    r"[\s$.,;&]*(?:\\[\[\]()]|\\q?quad|\\text\s*\{|\}|\b(?:and|or)\b|[\s$.,;&])*(?:\$?\\?[A-Za-z]\w*\s*=)?[\s$]*"
)
"""What stands between boxes that are one answer: `\\boxed{(2,2)} and \\boxed{(6,2)}`."""
SHOWN = 80
"""Characters of an answer in messages."""
MAX_BETWEEN = 60
"""Characters between boxes that are one answer."""
FINAL_LINE = re.compile(r"(?:^|\n|\s)####\s*(\S[^\n]*)\s*\Z")
"""GSM8K: the solution, and behind `####` the answer."""


def extracted(response: str, extract: Extract) -> str | None:
    """The part of the response that counts, stripped; None if there is none. What was only thought never counts."""
    part = EXTRACTORS[extract](behind_thoughts(response))
    return None if part is None else part.strip()


def behind_thoughts(response: str) -> str:
    """What follows the last thought; nothing follows one that does not end."""
    tags = list(THOUGHT.finditer(response))
    if not tags:
        return response
    ends = tags[-1][1] == "/" or (tags[-1][2] or "").startswith("[/")
    return response[tags[-1].end() :] if ends else ""


def expected(row: Mapping[str, Any]) -> str:
    """The row's `answer` as text: of GSM8K's what follows `####`, whole floats without `.0`, lists of numbers as JSON.

    ValueError if there is none, or if it is something else than a text, a number, a truth value or such a list.
    """
    answer = row.get("answer")
    if answer is None and "answer" in row:
        raise ValueError("the row's 'answer' is null")
    if answer is None:
        raise ValueError(f"the row has no 'answer'; its columns are {', '.join(sorted(row)) or 'none'}")
    if isinstance(answer, str):
        final = FINAL_LINE.search(answer)
        answer = (final[1] if final else answer).strip()
        if not answer:
            raise ValueError("the row's 'answer' is empty")
        return answer
    if isinstance(answer, list) and _numeric(answer):
        return json.dumps(answer)
    if isinstance(answer, float) and not isfinite(answer):
        raise ValueError(f"the row's 'answer' is {answer}, which is no finite number")
    if isinstance(answer, bool | int | float):
        return str(int(answer)) if isinstance(answer, float) and answer.is_integer() else str(answer)
    what = "a list of other things than numbers" if isinstance(answer, list) else "an object"
    raise ValueError(f"the row's 'answer' is {what}; write it as one text")


def shortened(answer: str) -> str:
    """Enough of an answer to know it by."""
    return answer if len(answer) <= SHOWN else f"{answer[:SHOWN]}..."


def boxes(text: str) -> list[str]:
    r"""Inside the last closed `\boxed{...}`, and inside those before it that belong to the same answer."""
    found: list[str] = []
    following = len(text)
    for match in reversed(list(BOX.finditer(text))):
        inside, end = (match[1], match.end()) if match[1] else _until_closed(text, match.end())
        if inside is None or (match.start() > following):
            continue
        if found and (following - end > MAX_BETWEEN or JOINED.fullmatch(text, end, following) is None):
            break
        if inside.strip() not in found:
            found.insert(0, inside.strip())
        following = match.start()
    return found


def _numeric(answer: list[Any]) -> bool:
    """Whether a vector or matrix has nothing but numbers."""
    return bool(answer) and all(
        _numeric(each) if isinstance(each, list) else isinstance(each, int | float) for each in answer
    )


def _answer(response: str) -> str | None:
    """Inside the last closed `<answer>`."""
    tags = list(ANSWER_TAG.finditer(response))
    for opening, closing in reversed(list(pairwise(tags))):
        if not opening[1] and closing[1]:
            return response[opening.end() : closing.start()]
    return None


def _boxed(response: str) -> str | None:
    inside = boxes(affirmed(squeezed(response)))
    return ", ".join(inside) if inside else None


def _until_closed(text: str, start: int) -> tuple[str | None, int]:
    depth = 1
    for match in BRACES.finditer(text, start):
        depth += {"{": 1, "}": -1}.get(match.group(), 0)
        if depth == 0:
            return text[start : match.start()], match.end()
    return None, len(text)


def _number(response: str) -> str | None:
    text = FRACTION.sub(r"\1/\2", squeezed(response).replace("\N{MINUS SIGN}", "-"))
    numbers = NUMBER.findall(affirmed(text))
    return numbers[-1] if numbers else None


EXTRACTORS: dict[Extract, Callable[[str], str | None]] = {
    "answer": _answer,
    "boxed": _boxed,
    "number": _number,
    "whole": lambda response: response,
}
