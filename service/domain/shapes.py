"""The shapes that a row can have, and why an object is no row.

prompt+completion   a question and its answer, which is learnt
messages            a conversation that ends with the assistant
prompt+answer       a question whose answer can be checked; all further columns reach the rewards
chosen+rejected     two answers, the better one first, to `prompt` or with the conversation in front; a `margin` may
                    say how much better
text                any text

`prompt` is a string or a list of messages, and an answer to messages a string or a list of one message; `tools` may
come along with messages. A row that has the columns of several shapes has all of them.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from math import isfinite
from typing import Any, Literal

from service.domain.messages import described, messages_problem, tools_problem

Shape = Literal["prompt+completion", "messages", "prompt+answer", "chosen+rejected", "text"]
COLUMNS: dict[Shape, tuple[str, ...]] = {
    "prompt+completion": ("prompt", "completion"),
    "messages": ("messages",),
    "prompt+answer": ("prompt", "answer"),
    "chosen+rejected": ("chosen", "rejected"),
    "text": ("text",),
}
KNOWN = ("prompt", "completion", "answer", "messages", "tools", "chosen", "rejected", "margin", "text")


def problem_of(row: Any) -> str | None:
    """Why something read from JSON is no row, or None."""
    if not isinstance(row, dict):
        return f'is {described(row)}, but every line must be an object like {{"prompt": ..., "completion": ...}}'
    if not shapes_of(row):
        return _missing(row)
    return next(filter(None, (problem(row) for problem in _PROBLEMS)), None)


def shapes_of(row: Iterable[str]) -> list[Shape]:
    """The shapes whose columns are there."""
    names = set(row)
    return [shape for shape, columns in COLUMNS.items() if names.issuperset(columns)]


def _missing(row: dict[str, Any]) -> str:
    """Which column is missing, and which one may be meant for it."""
    if "prompt" in row and not {"chosen", "rejected"} & set(row):
        lack = "has 'prompt' but neither 'completion' nor 'answer'"
    elif "completion" in row or "answer" in row:
        lack = f"has '{'completion' if 'completion' in row else 'answer'}' but no 'prompt'"
    elif "chosen" in row or "rejected" in row:
        there, missing = ("chosen", "rejected") if "chosen" in row else ("rejected", "chosen")
        lack = f"has '{there}' but no '{missing}'"
    else:
        lack = "needs 'prompt' and 'completion', 'prompt' and 'answer', 'chosen' and 'rejected', 'messages', or 'text'"
    return f"{lack}; {_hint(row)}"


def _hint(row: dict[str, Any]) -> str:
    others = [name for name in row if name not in KNOWN]
    wanted = [name for name in KNOWN if name not in row]
    for name in others:
        near = get_close_matches(name.lower(), wanted, n=1, cutoff=0.7)
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
    return _conversation_problem(row["messages"], "messages", "which is learnt") if "messages" in row else None


def _preference_problem(row: dict[str, Any]) -> str | None:
    if not {"chosen", "rejected"} <= set(row):
        return None
    if "prompt" in row:
        return _reply_problem(row, "chosen") or _reply_problem(row, "rejected")
    for name in ("chosen", "rejected"):
        if isinstance(row[name], str):
            return f"'{name}' is a string, so 'prompt' is needed too; or make it a list of messages"
        if problem := _conversation_problem(row[name], name, "which is judged"):
            return problem
    if row["chosen"][0] != row["rejected"][0]:
        return "'chosen' and 'rejected' must begin with the same messages, which are the prompt"
    return None


def _reply_problem(row: dict[str, Any], name: str) -> str | None:
    """An answer to `prompt`: text, or where that is a list of messages one more."""
    reply = row[name]
    if isinstance(reply, str):
        return None
    if not isinstance(row.get("prompt"), list):
        return f"'{name}' must be a string, but is {described(reply)}"
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
    if margin is not None and (isinstance(margin, bool) or not isinstance(margin, int | float) or not isfinite(margin)):
        return f"'margin' must be a number, but is {described(margin)}"
    if not isinstance(row.get("text", ""), str):
        return f"'text' must be a string, but is {described(row['text'])}"
    return tools_problem(row.get("tools"))


_PROBLEMS = (
    _prompt_problem,
    _completion_problem,
    _answer_problem,
    _messages_problem,
    _preference_problem,
    _rest_problem,
)
