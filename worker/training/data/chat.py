"""Conversations as token ids, through the model's own chat template, with the mask of what is learned of them."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from transformers import PreTrainedTokenizerBase

from worker.training.data.control import ControlTokens
from worker.training.data.fidelity import Fidelity, lost_in_tokens
from worker.training.data.marks import Message
from worker.training.data.notes import RowNote, RowNotes
from worker.training.data.rendering import CALL_ID, Rendering, Tools, UnsupportedConversation, normal
from worker.training.data.splitting import pieces
from worker.training.data.transcript import Transcript, Turn
from worker.training.tools.tags import CALL, CALL_END, as_messages, with_thoughts

TOOL_OUTPUT_CACHE_SIZE = 10_000


class Written(NamedTuple):
    """A conversation in the form in which the template gets it."""

    messages: list[Message]
    tools: Tools
    origins: list[int]
    """Of each message the number that it has in the row."""


class Chat:
    """A tokenizer's chat template, and the tokens at which sampling stops."""

    def __init__(
        self, tokenizer: PreTrainedTokenizerBase, control: ControlTokens, notes: RowNotes, *, has_tools: bool
    ) -> None:
        """`has_tools`: the policy calls tools, so calls must have the form that those read."""
        self._tokenizer: Any = tokenizer
        self._control, self._notes, self._has_tools = control, notes, has_tools
        self._stops = control.stops
        self._stop_texts = [str(text) for text in self._tokenizer.convert_ids_to_tokens(self._stops)]
        self._rendering = Rendering(tokenizer)
        self._tool_outputs: dict[tuple[str, str], list[int]] = {}

    def prompt(self, messages: list[Message], tools: Tools) -> list[int]:
        """A conversation that the assistant is about to answer."""
        asked = self._transcript(self._written(messages, tools)).prompt()
        (ids,) = pieces(self._tokenizer, asked.text, [], self._control.breaks(asked.text, asked.all_spans))
        self._check_kept(asked.text, ids)
        return ids

    def learned(
        self, messages: list[Message], tools: Tools, turns: Mapping[int, bool], *, rest: bool
    ) -> tuple[list[int], list[bool]]:
        """A conversation that ends with the assistant, and which of its tokens are learned: some turns, and the rest.

        `turns` says of messages of the assistant whether they are learned, `rest` of everything else. A learned turn
        begins where sampling begins, and ends with a token at which sampling stops.
        """
        _check_answered(messages, turns)
        written = self._written(messages, tools)
        last = len(written.messages) - 1
        learned = {place: turns.get(origin, rest) for place, origin in enumerate(written.origins)}
        wanted = {last, *(place for place, origin in enumerate(written.origins) if origin in turns)}
        text, found, spans = self._transcript(written).turns(wanted)
        breaks = self._control.breaks(text, spans)
        parts = pieces(self._tokenizer, text, [turn.start for turn in found.values()], breaks)
        self._check_kept(text, [token for part in parts for token in part])
        ids, mask = list(parts[0]), [rest] * len(parts[0])
        for part, (place, turn) in zip(parts[1:], found.items(), strict=True):
            if learned[place]:
                self._check_whole(written.origins[place], text, turn, spans)
            end = self._end(part, text, turn, breaks)
            if end is None and learned[place]:
                if place < last:
                    raise _endless(written.origins[place])
                part, end = [*part, self._stops[0]], len(part) + 1
            end = len(part) if end is None else end
            ids += part
            mask += [learned[place]] * end + [rest] * (len(part) - end)
        return _without_tail(ids, mask)

    def tool_output(self, text: str, tools: Tools, name: str) -> list[int]:
        """All that stands between a call and the assistant's next turn: the end of its turn, and the tool's output.

        It is what follows a call in a conversation that goes on with the output, whatever came before the call.
        """
        if len(self._tool_outputs) > TOOL_OUTPUT_CACHE_SIZE:
            self._tool_outputs.clear()
        if (name, text) not in self._tool_outputs:
            self._tool_outputs[name, text] = self._behind_call(text, tools, name)
        return self._tool_outputs[name, text]

    def _behind_call(self, text: str, tools: Tools, name: str) -> list[int]:
        call = {"id": CALL_ID, "type": "function", "function": {"name": name, "arguments": {}}}
        messages: list[Message] = [
            {"role": "user", "content": "."},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "name": name, "tool_call_id": CALL_ID, "content": text},
        ]
        written = self._written(messages, tools)
        transcript = self._transcript(written)
        asked = transcript.prompt()
        ended = asked.text.find(CALL_END, transcript.behind(written.origins.index(1), asked))
        if ended < 0:
            raise UnsupportedConversation(f"needs calls between {CALL} and {CALL_END}")
        breaks = self._control.breaks(asked.text, asked.all_spans)
        return pieces(self._tokenizer, asked.text, [ended + len(CALL_END)], breaks)[1]

    def _written(self, messages: list[Message], tools: Tools) -> Written:
        """In the template's own form where it has one, else in Hone's tags."""
        plain, able = [normal(message) for message in messages], self._rendering.abilities
        if not able.reasoning and any(message.get("reasoning_content") for message in plain):
            self._notes.add(RowNote.REASONING)
            plain = [with_thoughts(message) for message in plain]
        if any(self._control.misread_in(text) for message in plain for text in _texts(message)):
            self._notes.add(RowNote.CONTROL)
        calls = any(message.get("tool_calls") for message in plain)
        outputs = any(message["role"] == "tool" for message in plain)
        unable = not (able.calls and able.outputs) or (self._has_tools and not (able.tools and able.tagged_calls))
        if (tools and not able.tools) or ((tools or calls or outputs) and unable):  # the same for prompt and whole
            self._notes.add(RowNote.TAGS)
            tagged = as_messages(plain, tools, has_system=able.system)
            return Written(tagged.messages, None, tagged.origins)
        return Written(plain, self._rendering.shown_tools(tools), list(range(len(plain))))

    def _transcript(self, written: Written) -> Transcript:
        return Transcript(self._rendering, written.messages, written.tools, self._notes)

    def _check_kept(self, text: str, ids: list[int]) -> None:
        """What the template writes must be what its tokens say."""
        fidelity = Fidelity(self._tokenizer)
        fidelity.compare([text], [ids])
        if characters := fidelity.lost(text):
            raise UnsupportedConversation(lost_in_tokens(characters))
        if fidelity.changed(text):
            self._notes.add(RowNote.NORMALIZED)

    def _check_whole(self, number: int, text: str, turn: Turn, spans: Sequence[tuple[int, int]]) -> None:
        """The template writes no stop within a turn: the model would never get to what stands behind it."""
        said = sorted((start, end) for start, end in spans if turn.start <= start < turn.content_end)
        starts = [turn.start, *(end for _, end in said)]
        between = (text[start:end] for start, (end, _) in zip(starts, said, strict=False))
        stop = next((stop for part in between for stop in self._stop_texts if stop in part), None)
        if stop is not None:
            raise UnsupportedConversation(
                f"cannot be learned: the model's chat template writes {stop!r}, at which sampling stops, within "
                f"message {number + 1}, so that the model would never write what stands behind it; correct the template"
            )

    def _end(self, part: list[int], text: str, turn: Turn, breaks: Sequence[int]) -> int | None:
        """How many tokens a turn has, with the one at which sampling stops; None if there is none behind its texts."""
        inside = self._count_stops(text[turn.start : turn.content_end], turn.start, breaks)
        if self._count_stops(text[turn.start : turn.limit], turn.start, breaks) == inside:
            return None
        return [place for place, token in enumerate(part) if token in self._stops][inside] + 1

    def _count_stops(self, text: str, start: int, breaks: Sequence[int]) -> int:
        """How many tokens of a text would end a response; the text and the breaks in it begin at `start`."""
        if not any(stop in text for stop in self._stop_texts):
            return 0
        within = [place - start for place in breaks if start < place < start + len(text)]
        (ids,) = pieces(self._tokenizer, text, [], within)
        return sum(token in self._stops for token in ids)


def _check_answered(messages: list[Message], turns: Mapping[int, bool]) -> None:
    if messages[-1].get("role") != "assistant":
        raise UnsupportedConversation("has messages that do not end with role 'assistant'; there is nothing to learn")
    if len(messages) == 1 or turns.get(0):
        raise UnsupportedConversation(
            "begins with the assistant, whom nobody has asked; put a message of the user before it"
            + (", or give it weight 0" if len(messages) > 1 else "")
        )


def _endless(number: int) -> UnsupportedConversation:
    return UnsupportedConversation(
        f"cannot be learned with this loss_on: the model's chat template writes no token behind message {number + 1} "
        "at which sampling stops, so the model would not learn to stop; set algorithm.loss_on to completion, with a "
        "row for each answer, or name the token in eos_token_id of the model's generation_config.json"
    )


def _texts(message: Message) -> list[str]:
    return [message["content"], message.get("reasoning_content") or ""]


def _without_tail(ids: list[int], mask: list[bool]) -> tuple[list[int], list[bool]]:
    """Without what follows the last learned token: the template's, which nobody reads."""
    end = next((place + 1 for place in range(len(mask) - 1, -1, -1) if mask[place]), 0)
    return ids[:end], mask[:end]
