"""The token that a chat template writes behind what the assistant says: a model that learns it stops there."""

from collections.abc import Collection
from functools import lru_cache
from typing import Any

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

SAID, ASKED = "zqSaid", "zqAsked"
"""Words that no template writes of its own."""
TURNS = [
    {"role": "user", "content": "."},
    {"role": "assistant", "content": SAID},
    {"role": "user", "content": ASKED},
]


def end_of_turn(tokenizer: PreTrainedTokenizerBase, known: Collection[int] = ()) -> int | None:
    """The first token of the tokenizer's own (no piece of text) behind the assistant's turn; None if there is none.

    `<|im_end|>`, `<|eot_id|>`, `<end_of_turn>`, `</s>`; where a template writes nothing there, as GLM's, it is the
    header of the next turn (`<|user|>`). If one of `known`, or eos, stands there, it is that one. The last turn counts
    more than one in the middle: gpt-oss ends only that one with a token that ends a response.
    """
    template = getattr(tokenizer, "chat_template", None)
    return _found(tokenizer, str(template), tuple(known)) if template else None


def in_parts(message: dict[str, Any]) -> dict[str, Any]:
    """With its content as a list of parts."""
    return message | {"content": [{"type": "text", "text": message["content"]}]}


@lru_cache(maxsize=32)
def _found(tokenizer: PreTrainedTokenizerBase, _template: str, known: tuple[int, ...]) -> int | None:
    """The template is in the key, since it may be set on a tokenizer later."""
    for turns in (TURNS[:2], TURNS):
        for form in (turns, [in_parts(turn) for turn in turns]):
            try:
                text: Any = tokenizer.apply_chat_template(form, tokenize=False)
            except (TemplateError, TypeError, ValueError):
                continue  # such a conversation is no measure of this template
            said, _, behind = str(text).rpartition(SAID)
            end = _first_own(tokenizer, behind.partition(ASKED)[0], known) if said else None
            if end is not None:
                return end
    return None


def _first_own(tokenizer: PreTrainedTokenizerBase, text: str, known: tuple[int, ...]) -> int | None:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    stops = {*known, tokenizer.eos_token_id}
    own = {*tokenizer.added_tokens_decoder, *tokenizer.all_special_ids} - ({tokenizer.bos_token_id} - stops)
    found = [token for token in ids if token in own]
    return next((token for token in found if token in stops), found[0] if found else None)
