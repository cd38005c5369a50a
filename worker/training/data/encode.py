"""Rows to token ids with their loss mask, and what happens to rows that are too long."""

from collections.abc import Iterator, Sequence
from typing import Literal

from transformers import PreTrainedTokenizerBase

from hone.errors import Invalid
from service.domain.datasets import AnyDataset, Dataset, FileData, RejectionSamplingData, Template
from service.domain.health_notes import Note
from service.domain.supervised import Truncation
from worker.training.data.chat import Chat
from worker.training.data.control import ControlTokens
from worker.training.data.encoded import EncodedRow, EncodedRows
from worker.training.data.fidelity import lost_in_tokens
from worker.training.data.notes import RowNote, RowNotes
from worker.training.data.rendering import Tools, UnsupportedConversation
from worker.training.data.rows import Message, Row, conversation, question, require_columns
from worker.training.data.splitting import PlainText
from worker.training.models.policy import Policy
from worker.training.sequences.batching import Tokens
from worker.training.tools.tags import as_text, response_text, with_thoughts

LossOn = Literal["completion", "assistant", "all"]
UNLIMITED = 2**31
"""More tokens than a prompt ever has."""
NEEDS = [("messages",), ("prompt", "completion"), ("text",)]
"""The columns that a row must have for its text to be learned."""


class Encoder:
    """Turns rows into token ids, with the model's own chat template where the dataset asks for it."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        template: Template,
        field: str,
        tools: Tools = None,
        control: ControlTokens | None = None,
        *,
        reads_file: bool = True,
    ) -> None:
        """`tools` are shown with rows that name none themselves, and are called by the policy.

        `control`: the tokens at which sampling stops, and how those in texts are read. `reads_file`: the rows are the
        user's; those that Hone makes may name tools that only a chat template shows.
        """
        self._field, self._tools, self._reads_file = field, tools, reads_file
        self._control = control or ControlTokens(tokenizer)
        self._stops = self._control.stops
        self._plain = PlainText(tokenizer, self._control)
        self._row_notes = RowNotes()
        self.notes: list[Note] = []
        """What happened to rows, for people; each note stands here once."""
        has_template = bool(getattr(tokenizer, "chat_template", None))
        has_tools = tools is not None
        self._template = Chat(tokenizer, self._control, self._row_notes, has_tools=has_tools) if has_template else None
        if template == "chat" and self._template is None:
            message = f"{field}.template is chat, but the model's tokenizer has no chat template; set it to text"
            raise Invalid(message, param=f"{field}.template")
        self._chat_prompts = self._template is not None and template != "text"

    @classmethod
    def of(
        cls, policy: Policy, dataset: AnyDataset | Dataset, field: str, notes: list[Note], tools: Tools = None
    ) -> "Encoder":
        """For rows of a dataset that a policy reads; it adds to `notes`."""
        source = dataset.prompts if isinstance(dataset, RejectionSamplingData) else dataset
        reads_file = isinstance(source, FileData)
        as_text = isinstance(source, FileData) and source.special_tokens == "text"
        control = ControlTokens(policy.tokenizer, policy.stops, as_text=as_text)
        encoder = cls(policy.tokenizer, dataset.template, field, tools, control, reads_file=reads_file)
        encoder.notes = notes
        return encoder

    def prompts(self, rows: Sequence[Row], max_prompt_tokens: int) -> list[list[int]]:
        """What the policy is asked, ready to be answered; each has fewer than `max_prompt_tokens` tokens."""
        plain = iter(self._plain.beginnings([str(row["prompt"]) for row in rows if not self._asks_in_chat(row)]))
        self._plain.compare([answer for row in rows if isinstance(answer := row.get("answer"), str)])
        prompts = [
            self._prompt(index, row) if self._asks_in_chat(row) else next(plain) for index, row in enumerate(rows)
        ]
        for index, (row, prompt) in enumerate(zip(rows, prompts, strict=True)):
            self._check_prompt(index, prompt, max_prompt_tokens)
            if not self._asks_in_chat(row):
                self._check_plain(index, row, [str(row["prompt"])])
            if self._plain.fidelity.lost(str(row.get("answer"))):
                self._row_notes.add(RowNote.ANSWER)
            self._end_row({"prompt": row["prompt"]})
        self._warn(len(rows))
        return prompts

    def responses(self, rows: Sequence[Row], texts: Sequence[str], ended: Sequence[bool]) -> list[Tokens]:
        """Responses to prompts as they would have been sampled, to the letter: no template sees them.

        Those that ended have the token at which sampling stops; the others were cut off before it.
        """
        prompts = self.prompts(rows, UNLIMITED)
        completions = self._plain.continuations(list(texts))
        return [
            Tokens(prompt, [*completion, *(self._end(completion) if end else [])])
            for prompt, completion, end in zip(prompts, completions, ended, strict=True)
        ]

    def encode_nonempty(
        self,
        rows: Sequence[Row],
        max_length: int,
        loss_on: LossOn = "completion",
        truncation: Truncation = "end",
    ) -> EncodedRows:
        """`encode`, but Invalid if no sequence is left."""
        encoded = self.encode(rows, max_length, loss_on, truncation)
        if not encoded.sequences:
            message = (
                f"nothing of {self._field} fits into {max_length:,} tokens; raise algorithm.max_length as far as the "
                "model reads, or shorten the rows"
            )
            is_ptx = self._field.startswith("algorithm.")  # such texts have no limit but the model's
            raise Invalid(message, param=self._field if is_ptx else "algorithm.max_length")
        return encoded

    def encode(self, rows: Sequence[Row], max_length: int, loss_on: LossOn, truncation: Truncation) -> EncodedRows:
        """Texts to learn from, ended by eos."""
        require_columns(rows, NEEDS, self._field, "learning from texts")
        encoded = EncodedRows(max_length, truncation, len(rows))
        for index, whole in enumerate(self._encoded_rows(rows, loss_on)):
            if len(whole.ids) > max_length:
                encoded.too_long.append(index)
            tokens = self._cut(index, whole, max_length, truncation).tokens()
            if tokens is None:
                encoded.dropped.append(index)
            else:
                encoded.sequences.append(tokens)
                encoded.rows.append(index)
        self._warn(len(rows))
        return encoded

    def _encoded_rows(self, rows: Sequence[Row], loss_on: LossOn) -> Iterator[EncodedRow]:
        """Each row, whole, and checked that it has something to learn."""
        plain = [row for row in rows if not self._is_chat(row)]
        beginnings = [str(row["prompt"] if _is_pair(row) else row["text"]) for row in plain]
        firsts = iter(self._plain.beginnings(beginnings))
        seconds = iter(self._plain.continuations([row["completion"] for row in plain if _is_plain_pair(row)]))
        for index, row in enumerate(rows):
            if self._is_chat(row):
                encoded = self._conversation(index, row, loss_on)
            elif _has_turns(row):
                encoded = self._turns(index, row, next(firsts), loss_on)
            elif _is_pair(row):
                encoded = self._pair(next(firsts), next(seconds), loss_on)
                self._check_plain(index, row, [str(row["prompt"]), row["completion"]])
            else:
                encoded = self._whole(index, next(firsts), loss_on)
                self._check_plain(index, row, [row["text"]])
            self._check_loss_mask(index, encoded, loss_on)
            self._end_row(row)
            yield encoded

    def _pair(self, prompt: list[int], completion: list[int], loss_on: LossOn) -> EncodedRow:
        ids = [*prompt, *completion, *self._end(completion)]
        return EncodedRow(ids, [loss_on == "all"] * len(prompt) + [True] * (len(ids) - len(prompt)))

    def _turns(self, index: int, row: Row, prompt: list[int], loss_on: LossOn) -> EncodedRow:
        """A completion with calls of tools, as plain text; outputs of tools are in the loss only where all is."""
        messages: list[Message] = row["completion"]
        parts = [as_text(with_thoughts(message)) for message in messages]
        ids, loss_mask = list(prompt), [loss_on == "all"] * len(prompt)
        for message, part in zip(messages, self._plain.continuations(parts), strict=True):
            tokens = part if message is not messages[-1] else [*part, *self._end(part)]
            ids += tokens
            in_loss = message.get("weight") != 0 if message["role"] == "assistant" else loss_on == "all"
            loss_mask += [in_loss] * len(tokens)
        self._check_plain(index, row, [str(row["prompt"]), *parts])
        return EncodedRow(ids, loss_mask)

    def tool_output(self, text: str, row: Row, name: str) -> list[int]:
        """What the tool of that name returned, as it stands between two turns of the response to a row."""
        if not self._asks_in_chat(row):
            return self._plain.continuations([response_text(text)])[0]
        try:
            return self._chat(0).tool_output(text, self._tools_of(row), name)
        except UnsupportedConversation as error:
            message = f"tools cannot be used with this model: the output of a tool {error}"
            raise Invalid(f"{message}; set {self._field}.template to text, or leave tools out", param="tools") from None
        finally:
            self._row_notes.forget_row()

    def _tools_of(self, row: Row) -> Tools:
        return row.get("tools") or self._tools

    def _whole(self, index: int, ids: list[int], loss_on: LossOn) -> EncodedRow:
        if loss_on != "all":
            raise self._refusal(index, f"is plain text, all of which is learned; set loss_on to all, not {loss_on}")
        ids = [*ids, *self._end(ids)]
        return EncodedRow(ids, [True] * len(ids))

    def _conversation(self, index: int, row: Row, loss_on: LossOn) -> EncodedRow:
        messages, chat = conversation(row), self._chat(index)
        turns = self._learned_turns(row, messages, loss_on)
        if loss_on != "all" and messages[-1]["role"] == "assistant" and not any(turns.values()):
            raise self._refusal(
                index,
                f"has weight 0 for all that loss_on {loss_on} learns; give a message weight 1, or leave the row out",
            )
        try:
            ids, loss_mask = chat.learned(messages, self._tools_of(row), turns, rest=loss_on == "all")
        except UnsupportedConversation as error:
            if isinstance(row.get("completion"), str) and len(turns) == 1:
                return self._as_written(index, row, loss_on)
            raise self._refusal(index, str(error)) from error
        return EncodedRow(ids, loss_mask)

    def _as_written(self, index: int, row: Row, loss_on: LossOn) -> EncodedRow:
        """A completion that the chat template would rewrite, such as a sampled one, behind the prompt as it is."""
        prompt = self._prompt(index, row)
        self._row_notes.add(RowNote.AS_WRITTEN)
        (completion,) = self._plain.continuations([row["completion"]])
        self._check_kept(index, [row["completion"]])
        return self._pair(prompt, completion, loss_on)

    def _learned_turns(self, row: Row, messages: list[Message], loss_on: LossOn) -> dict[int, bool]:
        """Of the messages of the assistant that count: whether they are learned; a weight of 0 says that they are not.

        Where all is learned, those of weight 0 are the ones that count.
        """
        said = {n: message.get("weight") != 0 for n, message in enumerate(messages) if message["role"] == "assistant"}
        if loss_on == "all":
            return {n: False for n, learned in said.items() if not learned}
        first = 0 if loss_on == "assistant" else len(question(row)) if _has_turns(row) else len(messages) - 1
        if any(messages[n].get("weight") == 1 for n in said if n < first):
            self._row_notes.add(RowNote.UNLEARNED_WEIGHT)
        return {n: learned for n, learned in said.items() if learned and n >= first}

    def _end(self, text: list[int]) -> list[int]:
        """The end-of-sequence token, unless the text ends with one at which sampling stops."""
        return [] if not self._stops or (text and text[-1] in self._stops) else self._stops[:1]

    def _cut(self, index: int, whole: EncodedRow, limit: int, truncation: Truncation) -> EncodedRow:
        length = len(whole.ids)
        if length <= limit:
            return whole
        match truncation:
            case "end":
                return EncodedRow(whole.ids[:limit], whole.loss_mask[:limit])
            case "start":
                return EncodedRow(whole.ids[-limit:], whole.loss_mask[-limit:])
            case "drop":
                return EncodedRow([], [])
            case "refuse":
                remedy = "raise algorithm.max_length, or set algorithm.truncation to end, start or drop"
                raise self._refusal(index, f"has {length:,} tokens, more than max_length ({limit:,}); {remedy}")

    def _end_row(self, row: Row) -> None:
        """Look at texts that no chat template sees, and count what happened to the row."""
        texts = (row.get(column) for column in ("prompt", "completion", "text"))
        if any(isinstance(text, str) and self._control.misread_in(text) for text in texts):
            self._row_notes.add(RowNote.CONTROL)
        self._row_notes.end_row()

    def _warn(self, rows: int) -> None:
        """Say what happened to rows that went through the chat template."""
        self.notes += [note for note in self._row_notes.take(rows, self._field) if note not in self.notes]

    def _is_chat(self, row: Row) -> bool:
        """Whether a row is learned through the template: messages always are, plain pairs as the dataset says."""
        return row.get("messages") is not None or (_is_pair(row) and self._asks_in_chat(row))

    def _asks_in_chat(self, row: Row) -> bool:
        return self._chat_prompts or isinstance(row["prompt"], list)

    def _prompt(self, index: int, row: Row) -> list[int]:
        chat = self._chat(index)
        try:
            prompt = chat.prompt(question(row), self._tools_of(row))
        except UnsupportedConversation as error:
            raise self._refusal(index, str(error)) from error
        return prompt

    def _chat(self, index: int) -> Chat:
        if self._template is None:
            raise self._refusal(index, "has messages, but the model has no chat template; use `prompt` + `completion`")
        return self._template

    def _check_plain(self, index: int, row: Row, texts: list[str]) -> None:
        """Of a row without a chat template everything must be in its tokens."""
        self._check_kept(index, texts)
        if row.get("tools") and self._reads_file:
            raise self._refusal(
                index,
                "has `tools`, for which plain text has no place, so the model would not see them; write them into the "
                "prompt and leave the column out, or use a model with a chat template (and template auto or chat)",
            )
        if row.get("tools"):
            self._row_notes.add(RowNote.TOOLS)

    def _check_kept(self, index: int, texts: list[str]) -> None:
        """The texts of a row must be what their tokens say."""
        fidelity = self._plain.fidelity
        if characters := next(filter(None, map(fidelity.lost, texts)), None):
            raise self._refusal(index, lost_in_tokens(characters))
        if any(map(fidelity.changed, texts)):
            self._row_notes.add(RowNote.NORMALIZED)

    def _check_loss_mask(self, index: int, encoded: EncodedRow, loss_on: LossOn) -> None:
        if not any(encoded.loss_mask[1:]):
            raise self._refusal(index, f"has nothing to learn with loss_on {loss_on}; give it some text")
        if encoded.loss_mask[0] and loss_on != "all":
            raise self._refusal(index, "has an empty prompt; give it some text")

    def _check_prompt(self, index: int, prompt: list[int], limit: int) -> None:
        if not prompt:
            raise self._refusal(index, "has an empty prompt; give it some text")
        if len(prompt) >= limit:
            raise self._refusal(
                index,
                f"has a prompt of {len(prompt)} tokens, but the limit is {limit - 1}; shorten it or raise the limit",
            )

    def _refusal(self, index: int, message: str) -> Invalid:
        return Invalid(f"{self._field}, row {index + 1} {message}", param=self._field)


def _is_pair(row: Row) -> bool:
    return row.get("prompt") is not None and row.get("completion") is not None


def _has_turns(row: Row) -> bool:
    """Whether its completion is messages that are written one by one: several turns, or one behind a plain prompt."""
    is_plain = isinstance(row.get("prompt"), str)
    return _is_pair(row) and isinstance(row["completion"], list) and (is_plain or len(row["completion"]) > 1)


def _is_plain_pair(row: Row) -> bool:
    return _is_pair(row) and not _has_turns(row)
