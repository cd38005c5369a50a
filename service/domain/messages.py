"""Conversations in rows, and the checks of their messages.

A message has a `role` and a `content`: text, or a list of parts `{"type": "text", "text": ...}`. The assistant's may
have `tool_calls` instead, `reasoning_content` (its thoughts) and a `weight`: 1 is learned, 0 is only read. A message of
a tool may say which call it answers (`tool_call_id`, `name`). Every other field is refused: nothing reads it, so it
would be lost without a word. A field that is null, or an empty list, says nothing and is no problem.
"""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from json import dumps
from typing import Any

from service.domain import jsonl

ROLES = ("system", "user", "assistant", "tool")
MESSAGE_FIELDS = ("role", "content", "reasoning_content", "tool_calls", "tool_call_id", "name", "weight")
REMEDIES = {
    "refusal": "write what the assistant says into 'content'",
    "audio": "only text is read; write it into 'content'",
    "function_call": "write it as a list in 'tool_calls'",
    "reasoning": "call it 'reasoning_content'",
    "thinking": "call it 'reasoning_content'",
}
"""Fields of other services' messages, and what to do with them here."""


def messages_problem(messages: Any, name: str) -> str | None:
    """Why the value of a column is not a conversation, or None if it is one."""
    if not isinstance(messages, list) or not messages:
        return f"'{name}' must be a list with at least one message, but is {described(messages)}"
    problems = (_message_problem(message, f"{name}[{i}]") for i, message in enumerate(messages))
    return next(filter(None, problems), None)


def tools_problem(tools: Any) -> str | None:
    """Why a value is not a list of JSON schemas of tools, or None if it is one or null."""
    if tools is None:
        return None
    if not isinstance(tools, list):
        return f"'tools' must be a list, but is {described(tools)}"
    wrong = ((i, tool) for i, tool in enumerate(tools) if not isinstance(tool, dict))
    return next((f"'tools[{i}]' must be a JSON schema, but is {described(tool)}" for i, tool in wrong), None)


def text_of(content: Any) -> str:
    """A message's content as one text."""
    return "".join(part["text"] for part in content) if isinstance(content, list) else content or ""


def described(value: Any) -> str:
    """A JSON value for an error message: its kind, and its text if it is short. `...` means that it is missing."""
    if value is ...:
        return "missing"
    if value is None or isinstance(value, bool):
        return dumps(value)
    kinds = {dict: "an object", list: "a list", str: "the string", int: "the number", float: "the number"}
    if isinstance(value, dict | list):
        return kinds[type(value)] if value else f"an empty {'object' if isinstance(value, dict) else 'list'}"
    text = dumps(value, ensure_ascii=False)
    return f"{kinds[type(value)]} {text if len(text) <= 60 else text[:60] + '...'}"


def _message_problem(message: Any, name: str) -> str | None:
    if not isinstance(message, dict):
        return f"'{name}' must be an object with 'role' and 'content', but is {described(message)}"
    role = message.get("role", ...)
    if role not in ROLES:
        return f"'{name}.role' must be one of {', '.join(ROLES)}, but is {described(role)}"
    for column in ("tool_call_id", "name", "reasoning_content"):
        if not isinstance(message.get(column), str | None):
            return f"'{name}.{column}' must be a string, but is {described(message[column])}"
    if problem := _unknown_problem(message, MESSAGE_FIELDS, name) or _assistant_problem(message, role, name):
        return problem
    calls = message.get("tool_calls")
    if calls in (None, []):
        return _content_problem(message.get("content", ...), f"{name}.content")
    if message.get("content") is not None and (problem := _content_problem(message["content"], f"{name}.content")):
        return problem
    return _calls_problem(calls, f"{name}.tool_calls")


def _assistant_problem(message: dict[str, Any], role: Any, name: str) -> str | None:
    """The problem of the fields that only the assistant's messages have."""
    given = [field for field in ("tool_calls", "reasoning_content", "weight") if message.get(field) not in (None, [])]
    if role != "assistant" and given:
        return f"'{name}.{given[0]}' must be the assistant's, but the role is '{role}'"
    weight = message.get("weight")
    if weight is None or (weight in (0, 1) and not isinstance(weight, bool)):
        return None
    return f"'{name}.weight' must be 1 (learned) or 0 (only read), but is {described(weight)}"


def _unknown_problem(value: dict[str, Any], known: Iterable[str], name: str) -> str | None:
    """The first field that nothing reads, with the one that may be meant."""
    unknown = next((each for each in value if each not in known and value[each] not in (None, [])), None)
    if unknown is None:
        return None
    near = get_close_matches(unknown.lower(), list(known), n=1, cutoff=0.7)
    remedy = REMEDIES.get(unknown) or (f"did you mean '{near[0]}'?" if near else f"fields are {', '.join(known)}")
    return f"'{name}.{unknown}' is not a field that is read; {remedy}"


def _content_problem(content: Any, name: str) -> str | None:
    if isinstance(content, str):
        return None
    if not isinstance(content, list):
        return f"'{name}' must be a string, but is {described(content)}"
    for i, part in enumerate(content):
        kind = part.get("type", ...) if isinstance(part, dict) else part
        if kind != "text":
            return f"'{name}[{i}].type' must be \"text\", the only kind so far, but is {described(kind)}"
        if not isinstance(part.get("text"), str):
            return f"'{name}[{i}].text' must be a string, but is {described(part.get('text', ...))}"
        if problem := _unknown_problem(part, ("type", "text"), f"{name}[{i}]"):
            return problem
    return None


def _calls_problem(calls: Any, name: str) -> str | None:
    if not isinstance(calls, list):
        return f"'{name}' must be a list of calls, but is {described(calls)}"
    for i, call in enumerate(calls):
        function = call.get("function", call) if isinstance(call, dict) else call
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            return f"'{name}[{i}]' must have a 'function' with 'name' and 'arguments', but is {described(call)}"
        if arguments_of(function) is None:
            shown = described(function.get("arguments", ...))
            return f"'{name}[{i}].function.arguments' must be an object, or a string that holds one, but is {shown}"
        if problem := next(_unknown_in_call(call, f"{name}[{i}]"), None):
            return problem
    return None


def _unknown_in_call(call: dict[str, Any], name: str) -> Iterator[str]:
    """Problems of the fields of a call; its function stands in it, or is it."""
    nested = "function" in call
    known = ("id", "type", "function") if nested else ("id", "type", "name", "arguments")
    problems = [_unknown_problem(call, known, name)]
    if nested:
        problems.append(_unknown_problem(call["function"], ("name", "arguments"), f"{name}.function"))
    yield from filter(None, problems)


def arguments_of(function: dict[str, Any]) -> dict[str, Any] | None:
    """The arguments of a call, which may be a string of JSON; None if they are not an object."""
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = jsonl.decoded(arguments)
        except jsonl.Refused:
            return None
    return arguments if isinstance(arguments, dict) else None
