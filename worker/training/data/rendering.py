"""A chat template at work: messages in the form that templates expect, and what the template can show.

Whether a template has a form for tools, calls, outputs, thoughts and the system's message is found by showing it words
that it cannot know.
"""

from collections.abc import Callable, Sequence
from functools import cached_property
from json import dumps, loads
from typing import Any, NamedTuple

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from service.domain.messages import arguments_of, text_of
from worker.training.data.marks import Message, variants
from worker.training.models.end_of_turn import in_parts
from worker.training.tools.tags import CALL, CALL_END

Tools = list[dict[str, Any]] | None
CALL_ID = "call00000"
"""Nine letters and digits, as Mistral's template demands."""


class UnsupportedConversation(Exception):
    """A chat template cannot show a conversation; the text continues 'dataset, row 3 ...'."""


class Abilities(NamedTuple):
    """What a template shows of a conversation, beside what users and the assistant say."""

    system: bool
    """The system's message, in front of everything also when the conversation goes on (Mistral's moves it)."""
    reasoning: bool
    """`reasoning_content` of the last answer."""
    tools: bool
    calls: bool
    outputs: bool
    tagged_calls: bool
    """Whether calls are JSON between `<tool_call>` and `</tool_call>`, as `tools/calls.py` reads them."""


class Rendering:
    """A tokenizer's chat template."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer: Any = tokenizer
        self._tools: dict[str, Tools] = {}

    def text(self, messages: Sequence[Message], tools: Tools, *, asks: bool = False) -> str:
        """What the template writes; `asks`: with the beginning of the answer, so that the assistant continues.

        UnsupportedConversation if the template refuses it. `messages` are as `normal` gives them.
        """
        try:
            try:
                return self._apply(_as_json(messages) if self._wants_json else messages, tools, asks=asks)
            except TypeError:  # a template that adds the arguments of calls to text wants them as JSON
                return self._apply(_as_json(messages), tools, asks=asks)
        except (TemplateError, TypeError, ValueError) as error:
            raise UnsupportedConversation(
                f"is refused by the model's chat template: {' '.join(str(error).split())[:300]}"
            ) from error

    @cached_property
    def abilities(self) -> Abilities:
        """Found once for a template."""
        calls = self._written([_ASKED, _CALL], tools=_TOOLS)
        return Abilities(
            system=self._keeps_system(),
            reasoning="zqThought" in self._written([_ASKED, _ANSWER | {"reasoning_content": "zqThought"}]),
            tools="zqTool" in self._written([_ASKED], tools=_TOOLS, asks=True),
            calls=all(word in calls for word in ("zqName", "zqKey", "zqValue")),
            outputs="zqOutput" in self._written([_ASKED, _CALL, _OUTPUT], tools=_TOOLS, asks=True),
            tagged_calls=_has_tags(calls),
        )

    def _keeps_system(self) -> bool:
        system, first = {"role": "system", "content": "zqSystem"}, {"role": "user", "content": "zqAsked"}
        written = self._written([system, first, _ANSWER, _ASKED])
        return -1 < written.find("zqSystem") < written.find("zqAsked")

    def shown_tools(self, tools: Tools) -> Tools:
        """The tools in a form that the template shows; UnsupportedConversation names what it leaves out."""
        if not tools:
            return None
        key = dumps(tools)
        if key not in self._tools:
            self._tools[key] = self._shown(tools)
        return self._tools[key]

    def _shown(self, tools: list[dict[str, Any]]) -> Tools:
        wrapped = [tool if "function" in tool else {"type": "function", "function": tool} for tool in tools]
        lost = ""
        for form in (tools, wrapped):
            written = self._written([_ASKED], tools=form, asks=True)
            words = ((field, word) for n, tool in enumerate(form) for field, word in _words(tool, f"tools[{n}]"))
            missing = [field for field, word in words if not any(each in written for each in variants(word))]
            if not missing:
                return form
            lost = lost or missing[0]
        raise UnsupportedConversation(f"loses '{lost}', which the model's chat template does not show")

    @cached_property
    def _wants_json(self) -> bool:
        """Whether arguments that are no text would be printed as Python's, {'a': True}."""
        try:
            return "'zqKey'" in self._apply([_ASKED, _CALL], _TOOLS)
        except (TemplateError, TypeError, ValueError):
            return False  # refused anyway, or added to text, which `text` sees to

    def _written(self, messages: list[Message], *, tools: Tools = None, asks: bool = False) -> str:
        """Nothing if the template refuses it."""
        try:
            return self.text(messages, tools, asks=asks)
        except UnsupportedConversation:
            return ""

    @cached_property
    def _wants_parts(self) -> bool:
        """Whether contents must be lists of parts, as templates of models that see images have them."""
        return not _shows(self._write, [_SPOKEN]) and _shows(self._write, [in_parts(_SPOKEN)])

    def _apply(self, messages: Sequence[Message], tools: Tools, *, asks: bool = False) -> str:
        contents = [in_parts(message) for message in messages] if self._wants_parts else list(messages)
        return self._write(contents, tools=tools or None, add_generation_prompt=asks)

    def _write(self, messages: list[Message], **options: Any) -> str:
        return str(self._tokenizer.apply_chat_template(messages, tokenize=False, **options))


_SPOKEN: Message = {"role": "user", "content": "zqSpoken"}
_ASKED: Message = {"role": "user", "content": "."}
_ANSWER: Message = {"role": "assistant", "content": "zqAnswer"}
_FUNCTION = {"name": "zqName", "arguments": {"zqKey": "zqValue"}}
_CALL: Message = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"id": CALL_ID, "type": "function", "function": _FUNCTION}],
}
_OUTPUT: Message = {"role": "tool", "name": "zqName", "tool_call_id": CALL_ID, "content": "zqOutput"}
_PARAMETERS = {"type": "object", "properties": {"zqKey": {"type": "string", "description": "."}}}
_TOOLS: list[dict[str, Any]] = [
    {"type": "function", "function": {"name": "zqTool", "description": ".", "parameters": _PARAMETERS}}
]


def _shows(write: Callable[[list[Message]], str], messages: list[Message]) -> bool:
    """Whether a template writes what is said."""
    try:
        return "zqSpoken" in write(messages)
    except (TemplateError, TypeError, ValueError):
        return False


def normal(message: Message) -> Message:
    """A message as templates expect it: its content is text, nothing is null, arguments of calls are objects."""
    plain = {name: value for name, value in message.items() if value not in (None, []) and name != "weight"}
    plain["content"] = text_of(plain.get("content"))
    if calls := plain.get("tool_calls"):
        functions = [call.get("function", call) for call in calls]
        plain["tool_calls"] = [
            {name: call[name] for name in ("id",) if call.get(name)}
            | {"type": "function", "function": {"name": each["name"], "arguments": arguments_of(each)}}
            for call, each in zip(calls, functions, strict=True)
        ]
    return plain


def _as_json(messages: Sequence[Message]) -> list[Message]:
    """With the arguments of calls as text."""
    return [
        message
        if not message.get("tool_calls")
        else message | {"tool_calls": [_with_json_arguments(call) for call in message["tool_calls"]]}
        for message in messages
    ]


def _with_json_arguments(call: dict[str, Any]) -> dict[str, Any]:
    function = call["function"]
    arguments = dumps(function["arguments"], ensure_ascii=False)
    return call | {"function": function | {"arguments": arguments}}


def _has_tags(written: str) -> bool:
    _, _, rest = written.rpartition(CALL)
    text, closed, _ = rest.partition(CALL_END)
    try:
        return bool(closed) and loads(text) == _FUNCTION
    except ValueError:
        return False


def _words(value: Any, field: str) -> list[tuple[str, str]]:
    """The words of a tool's schema that a model needs: names, descriptions, the names and values of parameters."""
    found: list[tuple[str, str]] = []
    if isinstance(value, dict):
        for name, each in value.items():
            if name in ("name", "description") and isinstance(each, str):
                found.append((f"{field}.{name}", each.strip()))
            elif name == "enum" and isinstance(each, list):
                found += [(f"{field}.enum", word) for word in each if isinstance(word, str)]
            elif name == "properties" and isinstance(each, dict):
                found += [(f"{field}.properties.{word}", word) for word in each]
                found += [
                    item for word, schema in each.items() for item in _words(schema, f"{field}.properties.{word}")
                ]
            else:
                found += _words(each, f"{field}.{name}")
    elif isinstance(value, list):
        found = [item for place, each in enumerate(value) for item in _words(each, f"{field}[{place}]")]
    return found
