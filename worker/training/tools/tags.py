"""Calls and answers as text, between the marks of Hermes, Qwen and LinAlgZero."""

from json import dumps
from typing import Any

from service.domain.messages import arguments_of, text_of

CALL, CALL_END = "<tool_call>", "</tool_call>"
RESPONSE, RESPONSE_END = "<tool_response>", "</tool_response>"


def response_text(answer: str) -> str:
    """What a tool answered, where there is no chat template that says how to show it."""
    return f"\n{RESPONSE}{answer}{RESPONSE_END}\n"


def as_text(message: dict[str, Any]) -> str:
    """A message of the assistant, with its calls behind its text, or of a tool."""
    text = text_of(message.get("content"))
    if message["role"] == "tool":
        return response_text(text)
    return text + "".join(_call_text(call.get("function", call)) for call in message.get("tool_calls") or [])


def _call_text(function: dict[str, Any]) -> str:
    call = {"name": function["name"], "arguments": arguments_of(function)}
    return f"{CALL}{dumps(call, separators=(',', ':'), ensure_ascii=False)}{CALL_END}"
