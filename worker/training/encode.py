"""Rows to token ids: which of them are learned, and what becomes of rows that are too long."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from transformers import PreTrainedTokenizerBase

from service.domain.datasets import Template
from service.domain.errors import Invalid
from service.domain.supervised import Truncation
from worker.training.batching import Tokens
from worker.training.chat import Chat, Misfit, Tools
from worker.training.data import Message, Row, conversation, question, require
from worker.training.tools.tags import as_text, response_text

LossOn = Literal["completion", "assistant", "all"]
NEEDS = [("messages",), ("prompt", "completion"), ("text",)]
"""The columns of rows to learn from."""


class Marked(NamedTuple):
    """A text as ids, and which of them are learned."""

    ids: list[int]
    learned: list[bool]

    def tokens(self) -> Tokens | None:
        """The same from its first learned token to its last one; None if there is none. Nothing predicts token 0."""
        places = [place for place, learned in enumerate(self.learned) if learned and place > 0]
        if not places:
            return None
        first, end = places[0], places[-1] + 1
        hole = len(places) < end - first
        return Tokens(self.ids[:first], self.ids[first:end], self.learned[first:end] if hole else None)


@dataclass(frozen=True)
class Encoded:
    """Rows as sequences, and what became of those that were too long."""

    limit: int
    """Tokens."""
    truncation: Truncation
    total: int = 0
    """Rows, whatever became of them."""
    sequences: list[Tokens] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    """Which row each sequence comes from."""
    too_long: list[int] = field(default_factory=list)
    """Rows beyond the limit."""
    dropped: list[int] = field(default_factory=list)
    """Rows of which nothing that is learned is left."""

    @property
    def warnings(self) -> list[str]:
        """What a person should know, as sentences."""
        cut = len(set(self.too_long) - set(self.dropped))
        told = [(cut, f"and lose their {self.truncation}"), (len(self.dropped), "and are dropped")]
        return [
            f"{count:,} of {self.total:,} rows are longer than max_length ({self.limit:,} tokens) {fate}"
            for count, fate in told
            if count
        ]


class Encoder:
    """Turns rows into token ids, with the model's own chat template where the dataset asks for it."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        template: Template,
        field: str,
        tools: Tools = None,
    ) -> None:
        """`tools` are shown with rows that name none themselves."""
        self._tokenizer, self._field, self._tools = tokenizer, field, tools
        self._template = Chat(tokenizer) if getattr(tokenizer, "chat_template", None) else None
        if template == "chat" and self._template is None:
            message = f"{field}.template is chat, but the model's tokenizer has no chat template; set it to text"
            raise Invalid(message, param=f"{field}.template")
        self._chat_prompts = self._template is not None and template != "text"

    def prompts(self, rows: Sequence[Row], room: int) -> list[list[int]]:
        """What the policy is asked, ready to be answered; each may have at most `room` tokens."""
        plain = iter(self._text([row["prompt"] for row in rows if not self._asks_in_chat(row)]))
        prompts = [
            self._prompt(index, row) if self._asks_in_chat(row) else next(plain) for index, row in enumerate(rows)
        ]
        for index, prompt in enumerate(prompts):
            self._check_prompt(index, prompt, room)
        return prompts

    def pairs(
        self,
        rows: Sequence[Row],
        max_length: int,
        loss_on: LossOn = "completion",
        truncation: Truncation = "end",
    ) -> Encoded:
        """Texts to learn from, ended by eos; Invalid if none is left of them."""
        encoded = self.encode(rows, max_length, loss_on, truncation)
        if not encoded.sequences:
            message = f"nothing of {self._field} fits into {max_length:,} tokens; raise algorithm.max_length"
            own = self._field.startswith("algorithm.")  # texts beside the reward have no limit but the model's
            raise Invalid(message, param=self._field if own else "algorithm.max_length")
        return encoded

    def encode(self, rows: Sequence[Row], max_length: int, loss_on: LossOn, truncation: Truncation) -> Encoded:
        """The same, even if nothing is left."""
        require(rows, NEEDS, self._field, "learning from texts")
        encoded = Encoded(max_length, truncation, len(rows))
        for index, whole in enumerate(self._marked(rows, loss_on)):
            if len(whole.ids) > max_length:
                encoded.too_long.append(index)
            tokens = self._cut(index, whole, max_length, truncation).tokens()
            if tokens is None:
                encoded.dropped.append(index)
            else:
                encoded.sequences.append(tokens)
                encoded.rows.append(index)
        return encoded

    def _marked(self, rows: Sequence[Row], loss_on: LossOn) -> Iterator[Marked]:
        """Each row, whole, and checked that it has something to learn."""
        plain = [row for row in rows if not self._is_chat(row)]
        firsts = iter(self._text([str(row["prompt"] if _is_pair(row) else row["text"]) for row in plain]))
        seconds = iter(self._text([row["completion"] for row in plain if _is_plain_pair(row)], special=False))
        for index, row in enumerate(rows):
            if self._is_chat(row):
                marked = self._conversation(index, row, loss_on)
            elif _has_turns(row):
                marked = self._turns(next(firsts), row["completion"], loss_on)
            elif _is_pair(row):
                marked = self._pair(next(firsts), next(seconds), loss_on)
            else:
                marked = self._whole(index, next(firsts), loss_on)
            self._check_marks(index, marked, loss_on)
            yield marked

    def _pair(self, prompt: list[int], completion: list[int], loss_on: LossOn) -> Marked:
        ids = [*prompt, *completion, *self._end(completion)]
        return Marked(ids, [loss_on == "all"] * len(prompt) + [True] * (len(ids) - len(prompt)))

    def _turns(self, prompt: list[int], messages: list[Message], loss_on: LossOn) -> Marked:
        """A completion with calls of tools, as plain text; what tools answer is learned only where all is."""
        parts = [as_text(message) for message in messages]
        ids, learned = list(prompt), [loss_on == "all"] * len(prompt)
        for message, part in zip(messages, self._text(parts, special=False), strict=True):
            said = part if message is not messages[-1] else [*part, *self._end(part)]
            ids += said
            learned += [loss_on == "all" or message["role"] == "assistant"] * len(said)
        return Marked(ids, learned)

    def heard(self, answer: str, row: Row) -> list[int]:
        """What a tool answers, as it stands between two turns of the response to a row."""
        if not self._asks_in_chat(row):
            return self._text([response_text(answer)], special=False)[0]
        try:
            return self._chat(0).heard(answer, self._tools_of(row))
        except Misfit as misfit:
            message = f"tools cannot be used with this model: an answer of a tool {misfit}"
            raise Invalid(f"{message}; set {self._field}.template to text, or leave tools out", param="tools") from None

    def _tools_of(self, row: Row) -> Tools:
        return row.get("tools") or self._tools

    def _whole(self, index: int, ids: list[int], loss_on: LossOn) -> Marked:
        if loss_on != "all":
            raise self._refusal(index, f"is plain text, all of which is learned; set loss_on to all, not {loss_on}")
        ids = [*ids, *self._end(ids[-1:])]
        return Marked(ids, [True] * len(ids))

    def _conversation(self, index: int, row: Row, loss_on: LossOn) -> Marked:
        messages, tools, chat = conversation(row), self._tools_of(row), self._chat(index)
        try:
            ids, start = chat.answered(messages, tools)
            learned = [loss_on == "all" or place >= start for place in range(len(ids))]
            if loss_on == "assistant" or (loss_on == "completion" and _has_turns(row)):
                ids, learned = chat.said(messages, tools)
            if loss_on == "completion" and _has_turns(row):
                asked = len(chat.prompt(question(row), tools))
                learned = [said and place >= asked for place, said in enumerate(learned)]
        except Misfit as misfit:
            raise self._refusal(index, str(misfit)) from misfit
        end = self._end(ids[start:])
        return Marked([*ids, *end], [*learned, *(True for _ in end)])

    def _end(self, answer: list[int]) -> list[int]:
        """The end-of-sequence token, unless the answer has it."""
        eos = self._tokenizer.eos_token_id
        return [] if eos is None or eos in answer else [int(eos)]

    def _cut(self, index: int, whole: Marked, limit: int, truncation: Truncation) -> Marked:
        length = len(whole.ids)
        if length <= limit:
            return whole
        match truncation:
            case "end":
                return Marked(whole.ids[:limit], whole.learned[:limit])
            case "start":
                return Marked(whole.ids[-limit:], whole.learned[-limit:])
            case "drop":
                return Marked([], [])
            case "refuse":
                remedy = "raise algorithm.max_length, or set algorithm.truncation to end, start or drop"
                raise self._refusal(index, f"has {length:,} tokens, more than max_length ({limit:,}); {remedy}")

    def _is_chat(self, row: Row) -> bool:
        """Whether a row is learned through the template: messages always are, plain pairs as the dataset says."""
        return row.get("messages") is not None or (_is_pair(row) and self._asks_in_chat(row))

    def _asks_in_chat(self, row: Row) -> bool:
        return self._chat_prompts or isinstance(row["prompt"], list)

    def _prompt(self, index: int, row: Row) -> list[int]:
        try:
            return self._chat(index).prompt(question(row), self._tools_of(row))
        except Misfit as misfit:
            raise self._refusal(index, str(misfit)) from misfit

    def _chat(self, index: int) -> Chat:
        if self._template is None:
            raise self._refusal(index, "has messages, but the model has no chat template; use `prompt` + `completion`")
        return self._template

    def _text(self, texts: list[str], special: bool = True) -> list[list[int]]:
        if not texts:
            return []
        ids: list[list[int]] = self._tokenizer(texts, add_special_tokens=special)["input_ids"]
        return ids

    def _check_marks(self, index: int, marked: Marked, loss_on: LossOn) -> None:
        if not any(marked.learned[1:]):
            raise self._refusal(index, f"has nothing to learn with loss_on {loss_on}; give it some text")
        if marked.learned[0] and loss_on != "all":
            raise self._refusal(index, "has an empty prompt; give it some text")

    def _check_prompt(self, index: int, prompt: list[int], limit: int) -> None:
        if not prompt:
            raise self._refusal(index, "has an empty prompt; give it some text")
        if len(prompt) >= limit:
            raise self._refusal(
                index,
                f"has a prompt of {len(prompt)} tokens, which leaves no room in {limit}; shorten it or raise the limit",
            )

    def _refusal(self, index: int, message: str) -> Invalid:
        return Invalid(f"{self._field}, row {index + 1} {message}", param=self._field)


def _is_pair(row: Row) -> bool:
    return row.get("prompt") is not None and row.get("completion") is not None


def _has_turns(row: Row) -> bool:
    """Whether its completion is a list of messages: several turns, with what tools answered in between."""
    return _is_pair(row) and isinstance(row["completion"], list) and len(row["completion"]) > 1


def _is_plain_pair(row: Row) -> bool:
    return _is_pair(row) and not _has_turns(row)
