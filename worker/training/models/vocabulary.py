"""Whether each token that a tokenizer can give has a row in the model's embedding and head.

Without one a token is an index out of range, which on a GPU ends the process with an assertion of the device.
"""

import re
from collections.abc import Iterator
from typing import Any

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hone.errors import Invalid

CONTROL = re.compile(r"[<\[].+[>\]]")
"""How tokens look that frame texts, also where a tokenizer does not declare them."""
DECLARED = ("bos_token_id", "eos_token_id", "pad_token_id")


def rows(model: PreTrainedModel) -> int:
    """How many tokens embedding and head have room for."""
    tables: Any = (model.get_input_embeddings(), model.get_output_embeddings())  # type: ignore[no-untyped-call]
    return min(int(table.weight.shape[0]) for table in tables if table is not None)


def check(path: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Invalid (param `model`) names a token of the tokenizer, or one that a config declares, that has no row."""
    room, known = rows(model), tokenizer.get_vocab()
    if beyond := _without_row(room, known):
        index, token = beyond[0]
        message = f"model '{path}': its tokenizer has {len(known):,} tokens, its embedding {room:,} rows"
        which = (
            f"{token!r} has id {index}" if len(beyond) == 1 else f"{len(beyond):,} have none, first {token!r} ({index})"
        )
        remedy = "give the tokenizer that belongs to the model, or set resize_embeddings, which adds the rows"
        raise Invalid(f"{message}: {which}; {remedy}", param="model")
    for file, name, index in _declared(model):
        if index >= room:
            message = f"model '{path}': {name} in its {file} is {index}, but its embedding has {room:,} rows"
            raise Invalid(f"{message}; correct {file}", param="model")
        if name == "eos_token_id" and (text := _ordinary_text(tokenizer, index)) is not None:
            message = f"model '{path}': {name} in its {file} is {index}, which its tokenizer reads as {text!r}"
            remedy = f"give the tokenizer that belongs to the model, or correct {file}"
            raise Invalid(f"{message}, so that every response would end at that text; {remedy}", param="model")


@torch.no_grad()
def add_rows(path: str, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Give each token without a row the mean of the others, in embedding and head; returns how many rows are new.

    The mean is a function of the weights alone, so a reference model and a resumed job get the same rows.
    """
    room = rows(model)
    beyond = _without_row(room, tokenizer.get_vocab())
    if not beyond:
        return 0
    try:
        model.resize_token_embeddings(beyond[-1][0] + 1, mean_resizing=False)
    except (AttributeError, NotImplementedError, TypeError) as error:
        message = f"model '{path}' ({type(model).__name__}) cannot get more rows in its embedding: {error}"
        raise Invalid(f"{message}; give the tokenizer that belongs to it", param="resize_embeddings") from error
    tables: Any = (model.get_input_embeddings(), model.get_output_embeddings())  # type: ignore[no-untyped-call]
    for table in tables:
        for weight in (table.weight, getattr(table, "bias", None)):
            if weight is not None:
                weight[room:] = weight[:room].mean(dim=0)
    return rows(model) - room


def _ordinary_text(tokenizer: Any, index: int) -> str | None:
    """The text of a token that is neither special nor looks like it; None for one that does, or that there is not."""
    if index in {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}:
        return None
    token = tokenizer.convert_ids_to_tokens(index)
    if not isinstance(token, str) or CONTROL.fullmatch(token):
        return None
    return str(tokenizer.decode([index], clean_up_tokenization_spaces=False))


def _without_row(room: int, known: dict[str, int]) -> list[tuple[int, str]]:
    """Ids and tokens beyond the embedding."""
    return sorted((index, token) for token, index in known.items() if index >= room)


def _declared(model: PreTrainedModel) -> Iterator[tuple[str, str, int]]:
    """The file, the field and the id of each special token outside the tokenizer."""
    generation: Any = model.generation_config
    for file, config in (("config.json", model.config.get_text_config()), ("generation_config.json", generation)):
        for name in DECLARED:
            value = getattr(config, name, None)
            for index in value if isinstance(value, list) else [value]:
                if isinstance(index, int):
                    yield file, name, index
