"""A conversation as the chat template finally writes it, with the place of each turn of the assistant's in it.

    text    = prompt + last turn
    prompt  = what the policy would be asked before its last turn, to the letter
    turn    = from where sampling would begin (behind the header that the template writes) to what is written behind it

All comes from whole conversations; no turn is looked for as what it adds to the turns before it, because templates
write earlier turns otherwise than the last one (Qwen3 and DeepSeek-R1 leave their thoughts out). Where the template
writes the last answer behind another header than it lets the model answer (DeepSeek-R1: `<think>`), the answer is put
behind the latter, with its thoughts.
"""

import re
from collections.abc import Collection, Iterator
from typing import NamedTuple

from worker.training.data.marks import STRUCTURE, Marked, Marks, Message, Text, variants
from worker.training.data.notes import RowNote, RowNotes
from worker.training.data.rendering import Rendering, Tools, UnsupportedConversation
from worker.training.tools.tags import THINK, THINK_END

OPENED_TAG = re.compile(r"[<\[][^<>\[\]]*$")


class Turn(NamedTuple):
    """Places of a turn of the assistant's in a text, in characters."""

    start: int
    """Where sampling would begin."""
    content_end: int
    """Behind the last text of the turn: what ends the turn stands here or later."""
    limit: int
    """Where the next text of the conversation begins."""


class Conversation(NamedTuple):
    """The text of a conversation."""

    text: str
    turns: dict[int, Turn]
    """The wanted turns of the assistant, in order, by the number of their message."""
    spans: list[tuple[int, int]]
    """The places of what the row says; all else is the template's."""


class Transcript:
    """A conversation in the hands of a chat template."""

    def __init__(self, rendering: Rendering, messages: list[Message], tools: Tools, notes: RowNotes) -> None:
        """`messages` are as `rendering.normal` gives them."""
        self._rendering, self._tools, self._notes = rendering, tools, notes
        self._plain, self._marks = messages, Marks(messages)

    def prompt(self) -> Marked:
        """All messages, and the beginning of an answer; every text of them is there."""
        return self._checked(len(self._plain), asks=True, accounted=range(len(self._plain)))

    def behind(self, number: int, written: Marked) -> int:
        """The place behind the last text of a message."""
        return max((end for each, _ in self._marks.of(number) for _, end in written.spans.get(each, [])), default=0)

    def turns(self, wanted: Collection[int]) -> Conversation:
        """A conversation that ends with the assistant, with some of its turns."""
        last = len(self._plain) - 1
        prompt = self._checked(last, asks=True, accounted=range(last))
        text, last_turn, spans = self._last(prompt)
        turns = {number: self._earlier(number, prompt) for number in sorted(wanted) if number < last}
        turns |= {last: last_turn} if last in wanted else {}
        return Conversation(text, turns, [*prompt.all_spans, *spans])

    def _last(self, prompt: Marked) -> tuple[str, Turn, list[tuple[int, int]]]:
        """The whole text, the last turn in it, and the places of what that says."""
        last = len(self._plain) - 1
        whole = self._checked(last + 1, asks=False, accounted=())
        continues = whole.text.startswith(prompt.text)
        start = len(prompt.text) if continues else self._start(last, whole, prompt)
        if not continues or not self._asks(last, prompt):
            self._check_header(last, start, whole)
        body = whole.text[start:]
        inside = whole.text[:start].rstrip().endswith(THINK)  # of a thought that the header has opened
        thought = "" if inside else self._lost_thought(whole)
        self._account([last], whole.behind(start), excused=bool(thought))
        content_end = self.behind(last, whole.behind(start)) or start
        self._check_alone(last, Turn(start, content_end, len(whole.text)), whole)
        bridge = "" if inside or (continues and not thought) else _bridge(prompt.text, thought, body)
        text = prompt.text + bridge + body
        shift = len(text) - len(whole.text)
        said = [(at + shift, end + shift) for at, end in whole.all_spans if at >= start]
        turn = Turn(len(prompt.text), content_end + shift, len(text))
        return text, turn, [(len(prompt.text), len(prompt.text) + len(bridge)), *said]

    def _earlier(self, number: int, prompt: Marked) -> Turn:
        asked = self._marks.read(self._rendering.text(self._marks.messages[:number], self._tools, asks=True))
        start = self._start(number, prompt, asked)
        if not self._asks(number, asked):
            self._check_header(number, start, prompt)
        content_end = self.behind(number, prompt.behind(start)) or start
        turn = Turn(start, content_end, self._limit(number, content_end, prompt))
        self._check_alone(number, turn, prompt)
        return turn

    def _asks(self, count: int, asked: Marked) -> bool:
        """Whether the template writes the beginning of an answer when it is asked to."""
        return self._rendering.text(self._plain[:count], self._tools) != asked.text

    def _check_header(self, number: int, start: int, written: Marked) -> None:
        """No words of the template stand between where sampling begins and the answer: they would be learned."""
        own = [(at, text.kind) for each, text in self._marks.of(number) for at, _ in written.spans.get(each, [])]
        first, kind = min(((at, kind) for at, kind in own if at >= start), default=(start, "content"))
        header = "" if kind == "call" else STRUCTURE.sub("", written.text[start:first])
        if re.search(r"\w", header):
            raise UnsupportedConversation(
                f"cannot be learned: the model's chat template writes {header.strip()!r} before message {number + 1}, "
                "but not where it lets the model begin an answer (add_generation_prompt), so that the model would "
                "learn to write it; correct the template"
            )

    def _check_alone(self, number: int, turn: Turn, written: Marked) -> None:
        """No text of another message stands within a turn: it would be learned."""
        for each, text in enumerate(self._marks.texts):
            places = written.spans.get(each, [])
            if text.message != number and any(turn.start <= at < turn.content_end for at, _ in places):
                raise UnsupportedConversation(
                    f"cannot be learned: the model's chat template writes message {text.message + 1} within message "
                    f"{number + 1}; move what is said beside a call into a message of its own, or leave it out"
                )

    def _limit(self, number: int, place: int, written: Marked) -> int:
        """Where the first text of a later message begins behind a place, or the end."""
        later = (each for each, text in enumerate(self._marks.texts) if text.message > number)
        starts = (at for each in later for at, _ in written.spans.get(each, []) if at >= place)
        return min(starts, default=len(written.text))

    def _start(self, number: int, written: Marked, asked: Marked) -> int:
        """Where a turn begins in what was written: behind as much as is there of the header that asks for it."""
        places = [(end, text) for text, spans in asked.spans.items() for _, end in spans]
        behind, before = max(places, default=(0, None))
        header = asked.text[behind:]
        own = [at for each, _ in self._marks.of(number) for at, _ in written.spans.get(each, [])]
        bound = min(own, default=len(written.text))
        anchors = [0] if before is None else [end for _, end in written.spans.get(before, []) if end <= bound]
        if not anchors:
            raise UnsupportedConversation(
                f"cannot be learned: the model's chat template moves the text before message {number + 1} elsewhere "
                "when the conversation goes on; make a row of each turn, and set algorithm.loss_on to completion"
            )
        shared = _shared(header, written.text[max(anchors) : bound])
        if shared < len(header) and number < len(self._plain) - 1:
            self._notes.add(RowNote.HEADERS)
        return max(anchors) + shared

    def _lost_thought(self, whole: Marked) -> str:
        """The last answer up to what it says behind its thoughts, if the template leaves all of these out."""
        last = len(self._plain) - 1
        content = self._plain[last]["content"]
        thoughts = [
            number for number, text in self._marks.of(last) if (text.kind, text.field) == ("thought", "content")
        ]
        lost = bool(thoughts) and not any(number in whole.spans for number in thoughts)
        end = content.rfind(THINK_END) + len(THINK_END)
        return content[: len(content) - len(content[end:].lstrip())] if lost else ""

    def _checked(self, count: int, *, asks: bool, accounted: Collection[int]) -> Marked:
        """The first messages, which must read the same with marks and without them."""
        marked = self._marks.read(self._rendering.text(self._marks.messages[:count], self._tools, asks=asks))
        plain = self._rendering.text(self._plain[:count], self._tools, asks=asks)
        if marked.text != plain:
            for _, text in self._texts_of(range(count)):
                if not any(variant in plain for variant in variants(text.text)):
                    raise self._lost(text.message, text.field)
            raise UnsupportedConversation(
                "is written by the model's chat template in a form that depends on its texts, so what is learned "
                "cannot be told from the rest; change the template or the texts"
            )
        self._account(accounted, marked)
        return marked

    def _account(self, messages: Collection[int], written: Marked, *, excused: bool = False) -> None:
        """Every text of some messages must be in what was written; `excused`: thoughts need not."""
        last = len(self._plain) - 1
        for number, text in self._texts_of(messages):
            is_answer = self._plain[text.message]["role"] == "assistant"
            if written.shows(number, text.text) or (excused and text.kind == "thought"):
                if is_answer and text.kind == "content" and written.trims(number, text):
                    self._notes.add(RowNote.TRIMMED)
                continue
            if text.kind == "name":
                self._notes.add(RowNote.NAMES)
            elif text.kind == "thought" and number not in written.spans and text.message < last:
                self._notes.add(RowNote.THOUGHTS)
            elif number in written.spans and not is_answer:
                self._notes.add(RowNote.REWRITTEN)
            else:
                raise self._lost(text.message, text.field)
        for number in messages:
            self._check_facts(number, written)

    def _texts_of(self, messages: Collection[int]) -> Iterator[tuple[int, Text]]:
        return ((number, text) for message in messages for number, text in self._marks.of(message))

    def _check_facts(self, number: int, written: Marked) -> None:
        """Names of arguments, and their values that are no text, stand between the texts of other messages."""
        facts = [fact for fact in self._marks.facts if fact.message == number]
        if not facts:
            return
        before = [end for other in range(number) if (end := self.behind(other, written))]
        behind = self.behind(number, written)
        turn = written.text[
            max((end for end in before if end <= behind), default=0) : self._limit(number, behind, written)
        ]
        for fact in facts:
            if not any(each in turn for each in variants(fact.value)):
                raise self._lost(number, fact.field)

    def _lost(self, message: int, field: str) -> UnsupportedConversation:
        return UnsupportedConversation(
            f"loses '{field}' of message {message + 1}, which the model's chat template does not show as it is; write "
            "it into a text that the template shows, or use another template"
        )


def _shared(header: str, written: str) -> int:
    """How many characters of what was written are the header: all of it, or as much as the template writes there.

    The two may part within a tag (`<think>` and `<tool_call>`), which belongs to the turn then, and may meet again
    behind something that only one of them has.
    """
    pairs = zip(header, written, strict=False)
    shared = next((place for place, (one, other) in enumerate(pairs) if one != other), min(len(header), len(written)))
    if shared < len(header) and (opened := OPENED_TAG.search(header[:shared])):
        shared = opened.start()
    again = (header[place:] for place in range(shared + 1, len(header)))
    rest = next((part for part in again if part.strip() and written.startswith(part, shared)), "")
    return shared + len(rest)


def _bridge(prompt: str, thought: str, body: str) -> str:
    """What an answer needs between the prompt and what the template writes of it: its thoughts, without a tag that the
    prompt opens already; if it has none, the end of the thoughts that the prompt opens."""
    opened = prompt.rstrip().endswith(THINK)
    if not thought:
        return f"\n{THINK_END}\n\n" if opened else ""
    if opened and thought.lstrip().startswith(THINK):
        thought = thought.lstrip().removeprefix(THINK)
        if prompt.endswith("\n"):
            thought = thought.removeprefix("\n")
    return thought.rstrip() if body[:1].isspace() else thought
