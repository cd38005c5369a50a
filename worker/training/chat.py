"""Conversations as token ids, through the model's own chat template, and which of these ids the assistant says."""

import re
from collections.abc import Callable
from json import dumps
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from service.domain.messages import arguments_of, text_of
from worker.training.tools.tags import CALL_END

Message = dict[str, Any]
Tools = list[dict[str, Any]] | None
CALLING: list[dict[str, Any]] = [
    {"role": "user", "content": "."},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": "call00000", "function": {"name": "f", "arguments": {}}}],
    },
]
"""A conversation before a tool answers; any would do."""
MOST_HEARD = 10_000
GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")


class Misfit(Exception):
    """Why a conversation cannot be learned with a template; the text goes on behind the row's number."""


class Chat:
    """A tokenizer's chat template."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer: Any = tokenizer
        self._heard: dict[str, list[int]] = {}

    def prompt(self, messages: list[Message], tools: Tools) -> list[int]:
        """A conversation that the assistant is about to answer."""
        return self._ids(messages, tools, add_generation_prompt=True)

    def answered(self, messages: list[Message], tools: Tools) -> tuple[list[int], int]:
        """A conversation that the assistant has answered, and where the answer begins: behind the prompt."""
        if messages[-1].get("role") != "assistant":
            raise Misfit("has messages that do not end with role 'assistant'; there is nothing to learn")
        if len(messages) == 1:
            raise Misfit("begins with the assistant; put a message of the user before it")
        whole, prompt = self._ids(messages, tools), self.prompt(messages[:-1], tools)
        if whole[: len(prompt)] != prompt:
            prompt = self._ids(messages[:-1], tools)  # a template whose generation prompt is not how answers begin
        if whole[: len(prompt)] != prompt:
            raise Misfit("is rewritten by the chat template when the answer follows; use plain text rows")
        return whole, len(prompt)

    def heard(self, answer: str, tools: Tools) -> list[int]:
        """All that stands between a call and the assistant's next turn: the end of its turn, and what a tool answers.

        It is what an answer adds to a conversation that ends with a call, as in TRL; the conversation does not matter.
        """
        if len(self._heard) > MOST_HEARD:
            self._heard.clear()
        if answer not in self._heard:
            self._heard[answer] = self._added(answer, tools)
        return self._heard[answer]

    def _added(self, answer: str, tools: Tools) -> list[int]:
        before, start = self.answered(CALLING, tools)
        message = {"role": "tool", "name": "f", "tool_call_id": "call00000", "content": answer}
        whole = self._ids([*CALLING, message], tools, add_generation_prompt=True)
        behind = self._end_of_call(before, start)
        same = behind + (behind < len(before))  # with the token that ends the turn; some templates add a line to it
        if whole[:same] != before[:same]:
            raise Misfit("changes what the chat template wrote before")
        return whole[behind:]

    def _end_of_call(self, ids: list[int], start: int) -> int:
        """Where a sampled turn would have ended: behind its call, or where the template ends it."""
        for end in range(start + 1, len(ids) + 1):
            if CALL_END in self._tokenizer.decode(ids[start:end]):
                return end
        eos = [place for place in range(start, len(ids)) if ids[place] == self._tokenizer.eos_token_id]
        return eos[0] if eos else len(ids)

    def said(self, messages: list[Message], tools: Tools) -> tuple[list[int], list[bool]]:
        """A conversation, and which of its tokens are the assistant's, in all of its turns."""
        template = self._tokenizer.get_chat_template(None, tools)
        if GENERATION.search(template) and self._tokenizer.is_fast:
            marked = self._render(messages, tools, return_dict=True, return_assistant_tokens_mask=True)
            return list(marked["input_ids"]), [bool(said) for said in marked["assistant_masks"]]
        return self._by_prefixes(messages, tools)

    def _by_prefixes(self, messages: list[Message], tools: Tools) -> tuple[list[int], list[bool]]:
        """A turn is what it adds to the turns before; needs a template that leaves those as they are."""
        whole = self._ids(messages, tools)
        said = [False] * len(whole)
        for place, message in enumerate(messages, 1):
            if message.get("role") == "assistant":
                turns, start = self.answered(messages[:place], tools)
                if turns[-1] == self._tokenizer.eos_token_id and whole[: len(turns)] != turns:
                    turns.pop()  # some templates end the last turn, whichever that is, with a token of its own
                if whole[: len(turns)] != turns:
                    raise Misfit(
                        f"cannot be learned with loss_on assistant: the chat template writes message {place} otherwise "
                        "when the conversation goes on (some drop old reasoning); set algorithm.loss_on to completion, "
                        "with a row for each answer"
                    )
                said[start : len(turns)] = [True] * (len(turns) - start)
        return whole, said

    def _ids(self, messages: list[Message], tools: Tools, **options: Any) -> list[int]:
        return list(self._render(messages, tools, return_dict=False, **options))

    def _render(self, messages: list[Message], tools: Tools, **options: Any) -> Any:
        try:
            try:
                return self._apply([_plain(message, arguments_of) for message in messages], tools, options)
            except TypeError:  # a template that adds the arguments of calls to text wants them as JSON
                return self._apply([_plain(message, _json) for message in messages], tools, options)
        except (TemplateError, TypeError, ValueError) as error:
            raise Misfit(f"is refused by the model's chat template: {' '.join(str(error).split())[:300]}") from error

    def _apply(self, messages: list[Message], tools: Tools, options: dict[str, Any]) -> Any:
        return self._tokenizer.apply_chat_template(messages, tools=tools or None, tokenize=True, **options)


def _plain(message: Message, arguments: Callable[[dict[str, Any]], Any]) -> Message:
    """A message as templates expect it: its content is text, and nothing is null."""
    plain = {name: value for name, value in message.items() if value is not None}
    plain["content"] = text_of(plain.get("content"))
    if not plain.get("tool_calls"):
        return {name: value for name, value in plain.items() if name != "tool_calls"}
    functions = [call.get("function", call) for call in plain["tool_calls"]]
    calls = [{"name": function["name"], "arguments": arguments(function)} for function in functions]
    named = zip(plain["tool_calls"], calls, strict=True)
    plain["tool_calls"] = [{"type": "function", **call, "function": function} for call, function in named]
    return plain


def _json(function: dict[str, Any]) -> str:
    return dumps(arguments_of(function), ensure_ascii=False)
