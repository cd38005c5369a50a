"""The shapes that a row can have, and the checks of rows.

prompt+completion   a prompt and its answer, which is learned
messages            a conversation that ends with the assistant
prompt+answer       a prompt whose answer can be checked; rewards can read all other columns
chosen+rejected     a better and a worse answer to `prompt`, or two conversations; a `margin` may say how much
                    better
text                any text
prompt              a prompt alone, whose responses are judged by rewards that read no answer

`prompt` is a string or a list of messages; the answer to messages is a string or a list of one message. Rows with
messages may have `tools`. A row with the columns of several shapes has all these shapes; only a row
without another shape has the shape `prompt`.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from math import isfinite
from typing import Any, Literal, get_args

from service.domain.messages import described, messages_problem, tools_problem

Shape = Literal["prompt+completion", "messages", "prompt+answer", "chosen+rejected", "text", "prompt"]
COLUMNS: dict[Shape, tuple[str, ...]] = {
    "prompt+completion": ("prompt", "completion"),
    "messages": ("messages",),
    "prompt+answer": ("prompt", "answer"),
    "chosen+rejected": ("chosen", "rejected"),
    "text": ("text",),
    "prompt": ("prompt",),
}
Column = Literal[
    "prompt", "completion", "answer", "messages", "tools", "chosen", "rejected", "margin", "text", "system"
]
"""The columns that something reads by its name."""
KNOWN: tuple[Column, ...] = get_args(Column)


def problem_of_value(value: Any) -> str | None:
    """Why a JSON value is not a row, or None if it is one, of whatever shape."""
    if not isinstance(value, dict):
        return f'is {described(value)}, but every line must be an object like {{"prompt": ..., "completion": ...}}'
    wrong = next((name for name in value if "\x00" in name), None)
    if wrong is not None:
        return f"has the column {wrong!r}, whose name has a NUL character; rename it"
    return None


def problem_of_columns(row: dict[str, Any]) -> str | None:
    """Why a column of a row cannot be used, or None; the row may lack columns."""
    return next(filter(None, (problem(row) for problem in _PROBLEMS)), None)


def shapes_of(row: Iterable[str]) -> list[Shape]:
    """The shapes whose columns a row has."""
    names = set(row)
    found: list[Shape] = [shape for shape, columns in COLUMNS.items() if names.issuperset(columns)]
    if found == ["prompt"] and {"chosen", "rejected"} & names:
        return []
    return [shape for shape in found if shape != "prompt"] or found


def missing(row: dict[str, Any]) -> str:
    """Why a row has no shape: which column is missing, and which column may be meant instead."""
    if "prompt" in row and not {"chosen", "rejected"} & set(row):
        lack = "has 'prompt' but neither 'completion' nor 'answer'"
    elif "completion" in row or "answer" in row:
        lack = f"has '{'completion' if 'completion' in row else 'answer'}' but no 'prompt'"
    elif "chosen" in row or "rejected" in row:
        present, missing = ("chosen", "rejected") if "chosen" in row else ("rejected", "chosen")
        lack = f"has '{present}' but no '{missing}'"
    else:
        lack = "needs 'prompt' and 'completion', 'prompt' and 'answer', 'chosen' and 'rejected', 'messages', or 'text'"
    return f"{lack}; {_hint(row)}"


def prompt_note(row: dict[str, Any]) -> str:
    """What a row with nothing but a prompt is for, and which column may be its answer by another name."""
    return f"a row has a prompt alone, which is for rewards that read no answer; {_hint(row)}"


def _hint(row: dict[str, Any]) -> str:
    others = [name for name in row if name not in KNOWN]
    missing = [name for name in KNOWN if name not in row]
    for name in others:
        near = get_close_matches(name.lower(), missing, n=1, cutoff=0.7)
        if near:
            return f"did you mean '{near[0]}' by '{name}'?"
    return f"its columns are {', '.join(map(repr, list(row)[:20])) or 'none'}"


def _prompt_problem(row: dict[str, Any]) -> str | None:
    prompt = row.get("prompt", "")
    if isinstance(prompt, str):
        return None
    if not isinstance(prompt, list):
        return f"'prompt' must be a string or a list of messages, but is {described(prompt)}"
    problem = messages_problem(prompt, "prompt")
    if problem is None and prompt[-1]["role"] == "assistant":
        return "the last message of 'prompt' must not be the assistant's: its answer is what follows"
    return problem


def _completion_problem(row: dict[str, Any]) -> str | None:
    return _reply_problem(row, "completion") if "completion" in row else None


def _answer_problem(row: dict[str, Any]) -> str | None:
    answer = row.get("answer", "")
    if isinstance(answer, str | int | float) and not isinstance(answer, bool):
        return None
    return f"'answer' must be a string or a number, but is {described(answer)}"


def _messages_problem(row: dict[str, Any]) -> str | None:
    return _conversation_problem(row["messages"], "messages", "which is learned") if "messages" in row else None


def _preference_problem(row: dict[str, Any]) -> str | None:
    if not {"chosen", "rejected"} <= set(row):
        return None
    if "prompt" in row:
        return _reply_problem(row, "chosen") or _reply_problem(row, "rejected")
    for name in ("chosen", "rejected"):
        if isinstance(row[name], str):
            return f"'{name}' is a string, so 'prompt' is needed too; or make it a list of messages"
        if problem := _conversation_problem(row[name], name, "which is compared"):
            return problem
    if row["chosen"][0] != row["rejected"][0]:
        return "'chosen' and 'rejected' must begin with the same messages, which are the prompt"
    return None


def _is_tool_turns(reply: Any) -> bool:
    """Whether an answer is a list of turns that call tools, with what these answered in between."""
    if not isinstance(reply, list) or len(reply) < 3 or not all(isinstance(message, dict) for message in reply):
        return False
    return {str(message.get("role")) for message in reply} == {"assistant", "tool"}


def _reply_problem(row: dict[str, Any], name: str) -> str | None:
    """The problem of an answer to `prompt`: it is text, or one more message."""
    reply = row[name]
    if isinstance(reply, str):
        return None
    if name == "completion" and _is_tool_turns(reply):
        return messages_problem(reply, name)
    if not isinstance(reply, list) or len(reply) != 1:
        return f"'{name}' must be a string or a list of one message, but is {described(reply)}"
    return _conversation_problem(reply, name, "which answers 'prompt'")


def _conversation_problem(messages: Any, name: str, purpose: str) -> str | None:
    problem = messages_problem(messages, name)
    if problem is None and messages[-1]["role"] != "assistant":
        where = "the last message" if name == "messages" else f"the last message of '{name}'"
        return f"{where} must be the assistant's, {purpose}, but its role is '{messages[-1]['role']}'"
    return problem


def _rest_problem(row: dict[str, Any]) -> str | None:
    margin = row.get("margin")
    if margin is not None and (
        isinstance(margin, bool) or not isinstance(margin, int | float) or not _is_finite(margin)
    ):
        return f"'margin' must be a number, but is {described(margin)}"
    if not isinstance(row.get("text", ""), str):
        return f"'text' must be a string, but is {described(row['text'])}"
    return tools_problem(row.get("tools"))


def _is_finite(number: float) -> bool:
    """Whether a number fits into a double; JSON's integers may be larger."""
    try:
        return isfinite(number)
    except OverflowError:
        return False


_PROBLEMS = (
    _prompt_problem,
    _completion_problem,
    _answer_problem,
    _messages_problem,
    _preference_problem,
    _rest_problem,
)
