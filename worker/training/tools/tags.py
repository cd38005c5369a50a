"""Calls and outputs as text, between the marks of Hermes, Qwen and LinAlgZero.

Where a chat template has no form of its own for tools, their calls or their outputs, a conversation is written with
these marks in ordinary messages (`as_messages`): every template shows those.
"""

from json import dumps
from typing import Any, NamedTuple

from service.domain.messages import arguments_of, text_of

CALL, CALL_END = "<tool_call>", "</tool_call>"
RESPONSE, RESPONSE_END = "<tool_response>", "</tool_response>"
THINK, THINK_END = "<think>", "</think>"


class TaggedConversation(NamedTuple):
    """A conversation whose messages are only text, and the number of the message that each one was before."""

    messages: list[dict[str, Any]]
    origins: list[int]


def response_text(text: str) -> str:
    """The output of a tool, where there is no chat template that says how to show it."""
    return f"\n{RESPONSE}{text}{RESPONSE_END}\n"


def as_text(message: dict[str, Any]) -> str:
    """A message of the assistant, with its calls behind its text, or of a tool."""
    text = text_of(message.get("content"))
    if message["role"] == "tool":
        return response_text(text)
    return text + "".join(_call_text(call.get("function", call)) for call in message.get("tool_calls") or [])


def with_thoughts(message: dict[str, Any]) -> dict[str, Any]:
    """A message with its thoughts in its content."""
    plain = {name: value for name, value in message.items() if name != "reasoning_content"}
    if not (thoughts := message.get("reasoning_content")):
        return plain
    return plain | {"content": f"{THINK}\n{thoughts}\n{THINK_END}\n\n{text_of(message.get('content'))}"}


def as_messages(messages: list[dict[str, Any]], tools: Any, *, has_system: bool) -> TaggedConversation:
    """Tools as a text in the system's message, or the user's where there is no such role; calls and outputs in tags.

    Outputs of tools become messages of the user, those that follow each other one message, since many templates allow
    no two messages of one role.
    """
    tagged: list[dict[str, Any]] = []
    origins: list[int] = []
    for number, message in enumerate(messages):
        written = _tagged(message)
        if tagged and message["role"] == "tool" and messages[number - 1]["role"] == "tool":
            tagged[-1] = tagged[-1] | {"content": f"{tagged[-1]['content']}\n{written['content']}"}
        else:
            tagged.append(written)
            origins.append(number)
    if tools:
        tagged, origins = _with_tools(tagged, origins, _tools_text(tools), has_system=has_system)
    return TaggedConversation(tagged, origins)


def _tagged(message: dict[str, Any]) -> dict[str, Any]:
    if message["role"] == "tool":
        return {"role": "user", "content": response_text(text_of(message.get("content"))).strip("\n")}
    kept = {name: value for name, value in message.items() if name != "tool_calls"}
    return kept | {"content": as_text(message)}


def _with_tools(
    messages: list[dict[str, Any]], origins: list[int], text: str, *, has_system: bool
) -> tuple[list[dict[str, Any]], list[int]]:
    """With a text in the system's message, or in front of what the user asks first."""
    if has_system:
        if messages[0]["role"] != "system":
            return [{"role": "system", "content": text}, *messages], [0, *origins]
        first = messages[0] | {"content": f"{text_of(messages[0].get('content'))}\n\n{text}".strip()}
        return [first, *messages[1:]], origins
    place = next((place for place, message in enumerate(messages) if message["role"] == "user"), None)
    if place is None:
        return [{"role": "user", "content": text}, *messages], [0, *origins]
    asked = messages[place] | {"content": f"{text}\n\n{text_of(messages[place].get('content'))}"}
    return [*messages[:place], asked, *messages[place + 1 :]], origins


def _tools_text(tools: list[dict[str, Any]]) -> str:
    shown = "\n".join(dumps(tool, ensure_ascii=False) for tool in tools)
    return (
        f"You may call these tools:\n<tools>\n{shown}\n</tools>\n"
        f'To call one, write {CALL}{{"name": ..., "arguments": {{...}}}}{CALL_END}. '
        f"Its output follows between {RESPONSE} and {RESPONSE_END}."
    )


def _call_text(function: dict[str, Any]) -> str:
    call = {"name": function["name"], "arguments": arguments_of(function)}
    return f"{CALL}{dumps(call, separators=(',', ':'), ensure_ascii=False)}{CALL_END}"
