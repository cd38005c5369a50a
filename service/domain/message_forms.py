"""Messages in the forms of other tools, read as the messages that `messages.py` describes.

    {"from": "human", "value": ...}                 ShareGPT: `role` and `content`
    {"from": "function_call", "value": "{...}"}     a call of the assistant, as JSON
    {"role": "developer", ...}                      OpenAI: the system
    {"role": "function", "name": ..., ...}          OpenAI, before tools: the message of a tool
    {"role": "assistant", "function_call": {...}}   OpenAI, before tools: `tool_calls` with one call
    "\\n\\nHuman: ...\\n\\nAssistant: ..."            Anthropic's preferences: messages

Only what has one meaning is changed. Everything else stays as it is and is refused by the checks of `messages.py`.
"""

import re
from typing import Any

from service.domain import jsonl
from service.domain.messages import text_of

Row = dict[str, Any]
Message = dict[str, Any]
SHAREGPT_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bard": "assistant",
    "bing": "assistant",
    "model": "assistant",
    "assistant": "assistant",
    "system": "system",
    "tool": "tool",
    "observation": "tool",
    "function_response": "tool",
    "tool_response": "tool",
    "function_call": "assistant",
    "tool_call": "assistant",
}
"""The values of `from`."""
SPEAKERS = re.compile(r"\n\n(Human|Assistant):")
CALLS = ("function_call", "tool_call")
ROLES = {"developer": "system", "function": "tool", "human": "user", "gpt": "assistant", "model": "assistant"}
"""Roles of other services."""


class Ambiguous(ValueError):
    """A row that can be read in two ways; the message continues 'line 3 ...' and names both."""


def is_conversation(value: Any) -> bool:
    """Whether a value looks like a list of messages, in any of the forms."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, dict) and ("role" in item or "from" in item) for item in value)
    )


def _as_messages(value: Any, forms: list[str]) -> Any:
    """A conversation with each message in our form; what was changed is added to `forms`. Other values stay."""
    if not isinstance(value, list):
        return value
    return [_message(item, forms) if isinstance(item, dict) else item for item in value]


def _as_tools(value: Any, forms: list[str]) -> Any:
    """Schemas of tools, also those in a string of JSON; another string stays, and is refused."""
    if isinstance(value, str):
        if not value.strip():
            return None
        try:
            held = jsonl.decoded(value)
        except jsonl.Refused:
            return value
        if not isinstance(held, list | None):
            return value
        forms.append("`tools`, a string of JSON, is read as the list that it holds")
        return held
    return value


def in_our_form(row: Row, forms: list[str]) -> Row:
    """The row with its conversations and tools in our form."""
    read = _spoken_pair(row, forms) if row.get("prompt") is None else dict(row)
    for name in ("prompt", "completion", "messages", "chosen", "rejected"):
        value = read.get(name)
        if name in ("chosen", "rejected") and is_conversation([value]):
            value = [value]
        if is_conversation(value):
            read[name] = _as_messages(value, forms)
    if row.get("tools") is not None:
        read["tools"] = _as_tools(row["tools"], forms)
    elif _is_functions(row.get("functions")):
        forms.append("`functions` is read as `tools`")
        del read["functions"]
        read["tools"] = [{"type": "function", "function": each} for each in row["functions"]]
    return _without_repeated_prompt(read, forms)


def _spoken_pair(row: Row, forms: list[str]) -> Row:
    """Preferences of two texts in which people and the assistant speak in turns, as messages."""
    sides = {name: _spoken(row.get(name)) for name in ("chosen", "rejected")}
    if not all(sides.values()):
        return dict(row)
    forms.append("`chosen` and `rejected`, texts in which Human and Assistant speak, are read as messages")
    return row | sides


def _spoken(text: Any) -> list[Message]:
    """The turns of a text of Anthropic's form; none if it is another text."""
    if not isinstance(text, str) or not text.startswith("\n\nHuman:"):
        return []
    _, *parts = SPEAKERS.split(text)
    turns = zip(parts[::2], parts[1::2], strict=True)
    return [{"role": "user" if who == "Human" else "assistant", "content": said.strip()} for who, said in turns]


def _is_functions(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, dict) and "name" in each for each in value)


def _without_repeated_prompt(row: Row, forms: list[str]) -> Row:
    """Preferences of whole conversations, which begin with the prompt: the conversations alone."""
    prompt, chosen, rejected = (row.get(name) for name in ("prompt", "chosen", "rejected"))
    if prompt is None or not (is_conversation(chosen) and is_conversation(rejected)):
        return row
    assert isinstance(chosen, list)
    assert isinstance(rejected, list)
    if len(chosen) == 1 and len(rejected) == 1 and isinstance(prompt, str):
        forms.append("`prompt`, a text before messages, is read as a message of the user")
        return row | {"prompt": [{"role": "user", "content": prompt}]}
    if _begins_with(chosen, prompt) and _begins_with(rejected, prompt):
        forms.append("`prompt` is left out, because `chosen` and `rejected` begin with it")
        return {name: value for name, value in row.items() if name != "prompt"}
    if len(chosen) > 1 or len(rejected) > 1:
        raise Ambiguous(
            "has a `prompt` with which `chosen` and `rejected` do not begin, so either can be what is asked; let them "
            "begin with it, or set dataset.columns to {chosen: chosen, rejected: rejected} to read them alone"
        )
    return row


def _begins_with(messages: list[Row], prompt: Any) -> bool:
    """Whether a conversation begins with a prompt: with its messages, or with a user's message of that text."""
    if isinstance(prompt, list):
        return len(messages) > len(prompt) and messages[: len(prompt)] == prompt
    said = [message for message in messages if message.get("role") != "system"]
    return len(said) > 1 and said[0].get("role") == "user" and text_of(said[0].get("content")) == prompt


def _message(message: Message, forms: list[str]) -> Message:
    if "from" in message and "value" in message and not {"role", "content"} & set(message):
        message = _of_sharegpt(message, forms)
    role = message.get("role")
    if isinstance(role, str) and role in ROLES:
        forms.append(f"the role {role} is read as {ROLES[role]}")
        message = {**message, "role": ROLES[role]}
    if isinstance(message.get("function_call"), dict) and message.get("tool_calls") in (None, []):
        forms.append("`function_call` is read as `tool_calls`")
        message = _with_calls(message, [message["function_call"]])
    return message


def _of_sharegpt(message: Message, forms: list[str]) -> Message:
    speaker, value = message["from"], message["value"]
    role = SHAREGPT_ROLES.get(speaker.lower(), speaker) if isinstance(speaker, str) else speaker
    rest = {name: item for name, item in message.items() if name not in ("from", "value")}
    read = {"role": role, "content": value, **rest}
    forms.append("turns of `from` and `value` are read as messages with `role` and `content`")
    if speaker in CALLS and (calls := _calls(value)):
        return _with_calls({**read, "content": None}, calls)
    return read


def _calls(text: Any) -> list[dict[str, Any]]:
    """The calls that a turn of ShareGPT holds as JSON, with `name` and `arguments`; none if it holds other text."""
    try:
        held = jsonl.decoded(text) if isinstance(text, str) else text
    except jsonl.Refused:
        return []
    calls = held if isinstance(held, list) else [held]
    return calls if all(isinstance(call, dict) and "name" in call for call in calls) else []


def _with_calls(message: Message, functions: list[dict[str, Any]]) -> Message:
    rest = {name: item for name, item in message.items() if name not in ("function_call", "tool_calls")}
    return {**rest, "tool_calls": [{"type": "function", "function": function} for function in functions]}
