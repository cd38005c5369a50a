"""Conversations in rows: what a message can be, and what is wrong with one.

A message has a `role` and a `content`: text, or a list of parts `{"type": "text", "text": ...}`. The assistant's may
have `tool_calls` instead; a tool's answer may say which call it answers (`tool_call_id`, `name`).
"""

from json import dumps, loads
from typing import Any

ROLES = ("system", "user", "assistant", "tool")


def messages_problem(messages: Any, name: str) -> str | None:
    """Why the value of a column is no conversation, or None."""
    if not isinstance(messages, list) or not messages:
        return f"'{name}' must be a list with at least one message, but is {described(messages)}"
    problems = (_message_problem(message, f"{name}[{i}]") for i, message in enumerate(messages))
    return next(filter(None, problems), None)


def tools_problem(tools: Any) -> str | None:
    """Why a value is no list of tools' JSON schemas, or None; null is none."""
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
    """A value of JSON for a sentence: kind, and text if it is short. `...` stands for one that is missing."""
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
    for column in ("tool_call_id", "name"):
        if not isinstance(message.get(column), str | None):
            return f"'{name}.{column}' must be a string, but is {described(message[column])}"
    calls = message.get("tool_calls")
    if calls in (None, []):
        return _content_problem(message.get("content", ...), f"{name}.content")
    if role != "assistant":
        return f"'{name}.tool_calls' must be the assistant's, but the role is '{role}'"
    if message.get("content") is not None and (problem := _content_problem(message["content"], f"{name}.content")):
        return problem
    return _calls_problem(calls, f"{name}.tool_calls")


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
    return None


def arguments_of(function: dict[str, Any]) -> dict[str, Any] | None:
    """The arguments of a call, also where they are a string of JSON; None if they are not an object."""
    arguments = function.get("arguments")
    if isinstance(arguments, str):
        try:
            arguments = loads(arguments)
        except ValueError:
            return None
    return arguments if isinstance(arguments, dict) else None
