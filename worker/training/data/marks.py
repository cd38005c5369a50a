"""Where each text of a conversation stands in what a chat template writes of it.

The template writes the conversation a second time, with a mark before and behind each text. Without its marks this must
be what it writes otherwise; then the marks say where each text stands, and a text without marks was not written at all.

    content    "<think>\nso</think> yes\n"
    marked     "<think>\nzqm0sso" + "zqm0e</think> zqm1syes" + "zqm1e\n"

Templates look into texts: they cut white space and thoughts off. So white space and tags stay outside of the marks.
"""

import re
from collections.abc import Iterator
from json import dumps
from typing import Any, Literal, NamedTuple

from worker.training.tools.tags import THINK_END

Message = dict[str, Any]
Kind = Literal["content", "thought", "call", "name"]
STRUCTURE = re.compile(r"(</?(?:think|tool_call|tool_response)>|\[/?THINK\])")
"""What templates split texts at."""


class Text(NamedTuple):
    """A piece of text of a message, without the white space around it."""

    message: int
    field: str
    text: str
    kind: Kind
    before: str
    behind: str
    """White space."""


class Fact(NamedTuple):
    """A value of a call that cannot be marked: the name of an argument, a number, true, false or null."""

    message: int
    field: str
    value: Any


class Marked(NamedTuple):
    """What a template wrote, without the marks, and the places of each text in it."""

    text: str
    spans: dict[int, list[tuple[int, int]]]
    """From the number of a text to its places, first character and the one behind the last."""

    @property
    def all_spans(self) -> list[tuple[int, int]]:
        """The places of all texts."""
        return [span for spans in self.spans.values() for span in spans]

    def behind(self, start: int) -> "Marked":
        """The same with the places that are not before a character."""
        spans = {number: [span for span in each if span[0] >= start] for number, each in self.spans.items()}
        return Marked(self.text, {number: each for number, each in spans.items() if each})

    def trims(self, number: int, text: Text) -> bool:
        """Whether the white space around a text is nowhere."""
        around = [
            (self.text[:start].endswith(text.before) and self.text.startswith(text.behind, end))
            for start, end in self.spans.get(number, [])
        ]
        return bool(around) and not any(around)

    def shows(self, number: int, text: str) -> bool:
        """Whether a text stands there as it was given, or escaped as in JSON or Python."""
        written = {self.text[start:end] for start, end in self.spans.get(number, [])}
        return any(variant in written for variant in variants(text))


class Marks:
    """The marks around all texts of a conversation."""

    def __init__(self, messages: list[Message]) -> None:
        """`messages` are as `rendering.normal` gives them."""
        self.texts: list[Text] = []
        self.facts: list[Fact] = []
        self._word = "zqm"
        while self._word in dumps(messages, ensure_ascii=False):
            self._word += "q"
        self.messages = [self._message(number, message) for number, message in enumerate(messages)]

    def read(self, written: str) -> Marked:
        """What a template wrote of `messages`, or of the first of them."""
        parts: list[str] = []
        begun: dict[int, int] = {}
        spans: dict[int, list[tuple[int, int]]] = {}
        behind = length = 0
        for mark in re.finditer(rf"{self._word}(\d+)([se])", written):
            parts.append(written[behind : mark.start()])
            behind, length = mark.end(), length + mark.start() - behind
            number = int(mark[1])
            if mark[2] == "s":
                begun[number] = length
            elif number in begun:
                spans.setdefault(number, []).append((begun.pop(number), length))
        return Marked("".join([*parts, written[behind:]]), spans)

    def of(self, message: int) -> Iterator[tuple[int, Text]]:
        """The texts of a message, with their numbers."""
        return ((number, text) for number, text in enumerate(self.texts) if text.message == message)

    def _message(self, number: int, message: Message) -> Message:
        marked = dict(message)
        if reasoning := message.get("reasoning_content"):
            marked["reasoning_content"] = self._text(number, "reasoning_content", reasoning, "thought")
        marked["content"] = self._content(number, message)
        if message["role"] != "tool" and message.get("name"):
            marked["name"] = self._text(number, "name", message["name"], "name")
        if message.get("tool_calls"):
            marked["tool_calls"] = [self._call(number, place, call) for place, call in enumerate(message["tool_calls"])]
        return marked

    def _content(self, number: int, message: Message) -> str:
        content, place, parts = message["content"], 0, []
        thought_end = content.rfind(THINK_END) if message["role"] == "assistant" else -1
        for piece in STRUCTURE.split(content):
            kind: Kind = "thought" if place < thought_end else "content"
            is_structure, known = STRUCTURE.fullmatch(piece) is not None, len(self.texts)
            parts.append(piece if is_structure else self._text(number, "content", piece, kind))
            if place and len(self.texts) > known:
                self.texts[-1] = self.texts[-1]._replace(before="")  # between a tag and a text it is no matter
            place += len(piece)
            if place < len(content) and len(self.texts) > known:
                self.texts[-1] = self.texts[-1]._replace(behind="")
        return "".join(parts)

    def _call(self, number: int, place: int, call: dict[str, Any]) -> dict[str, Any]:
        function, field = call["function"], f"tool_calls[{place}].function"
        name = self._text(number, f"{field}.name", function["name"], "call")
        arguments = self._value(number, f"{field}.arguments", function["arguments"])
        return call | {"function": function | {"name": name, "arguments": arguments}}

    def _value(self, number: int, field: str, value: Any) -> Any:
        match value:
            case dict():
                self.facts += [Fact(number, f"{field}.{name}", name) for name in value]
                return {name: self._value(number, f"{field}.{name}", each) for name, each in value.items()}
            case list():
                return [self._value(number, f"{field}[{place}]", each) for place, each in enumerate(value)]
            case str():
                return self._text(number, field, value, "call")
        self.facts.append(Fact(number, field, value))
        return value

    def _text(self, message: int, field: str, text: str, kind: Kind) -> str:
        core = text.strip()
        if not core:
            return text
        number = len(self.texts)
        before, _, behind = text.partition(core)
        self.texts.append(Text(message, field, core, kind, before, behind))
        return f"{before}{self._word}{number}s{core}{self._word}{number}e{behind}"


def variants(value: Any) -> set[str]:
    """The ways in which templates write a value: as it is, as JSON, or as Python."""
    if not isinstance(value, str):
        return {str(value), dumps(value)}
    return {value, dumps(value)[1:-1], dumps(value, ensure_ascii=False)[1:-1], repr(value)[1:-1]}
