"""Chat templates in the styles of real models, with tokenizers that have their special tokens."""

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from worker.training.data.control import ControlTokens
from worker.training.data.encode import Encoder
from worker.training.models.end_of_turn import end_of_turn
from worker.training.sequences.batching import Tokens

Conversation = list[dict[str, Any]]
FOLDER = Path(__file__).parent / "templates"
TEXTS = [
    "The cat sat.\n\n\nThe dog, too.\n",
    "  so what?\n<think>\n\n</think>\n\nyes </tool_call>\n",
    '{"name": "a"}\n' * 3,
]
"""What the tokenizer merges: lines, blanks and quotes, which merge across the ends of texts."""


class Style(NamedTuple):
    """A template, and what a tokenizer of such a model has."""

    special: str
    """Tokens, blank by blank; the first is eos."""
    bos: str | None = None
    system: bool = True
    own_tools: bool = True
    """Whether it shows tools, calls and outputs in a form of its own."""
    stops: str = ""
    """Further tokens that end a response, as the model's generation_config.json declares them."""
    header: str = "assistant"
    """What no turn may teach."""


CHATML = "<|endoftext|> <|im_start|> <|im_end|>"
STYLES = {
    "chatml": Style(CHATML, own_tools=False),
    "marked": Style(CHATML, own_tools=False),
    "llama3": Style("<|eot_id|> <|begin_of_text|> <|start_header_id|> <|end_header_id|>", "<|begin_of_text|>"),
    "gemma": Style(
        "<eos> <bos> <start_of_turn> <end_of_turn>", "<bos>", system=False, own_tools=False, header="<start_of_turn>"
    ),
    "mistral": Style(
        "</s> <s> [INST] [/INST] [TOOL_CALLS] [TOOL_RESULTS] [/TOOL_RESULTS] [AVAILABLE_TOOLS] [/AVAILABLE_TOOLS]",
        "<s>",
        header="INST]",
    ),
    "r1": Style(
        "<｜end▁of▁sentence｜> <｜begin▁of▁sentence｜> <｜User｜> <｜Assistant｜>",
        "<｜begin▁of▁sentence｜>",
        own_tools=False,
        header="<｜Assistant｜>",
    ),
    "glm": Style(
        "<|endoftext|> [gMASK] <sop> <|system|> <|user|> <|assistant|> <|observation|>",
        stops="<|user|> <|observation|>",
        header="<|assistant|>",
    ),
    "hermes": Style(f"{CHATML} <s>", "<s>"),
    "qwen3": Style(CHATML),
    "opens_thoughts": Style(CHATML),
    "alpaca": Style("</s>", own_tools=False, header="###"),
    "parts": Style("<|im_end|> <|im_start|> <|close|>", own_tools=False),
    "silent_tools": Style("<|END|> <|START|> <s>", "<s>", own_tools=False),
    "llama2": Style("</s> <s>", "<s>", own_tools=False, header="INST]"),
}

CHANNELS = Style("<|return|> <|start|> <|end|> <|channel|> <|message|>")
"""Only the last turn can be learned."""


@cache
def tokenizer(name: str) -> PreTrainedTokenizerFast:
    """A byte-level BPE, with the tokens that the style has."""
    style = STYLES.get(name, CHANNELS)
    special = style.special.split()
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    core.train_from_iterator(TEXTS * 3, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet))
    core.add_special_tokens([AddedToken(token, normalized=False) for token in [*special, "<pad>"]])
    words = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=core, eos_token=special[0], bos_token=style.bos, pad_token="<pad>"
    )
    words.chat_template = (FOLDER / f"{name}.jinja").read_text()
    return words


def encoder(name: str) -> Encoder:
    """Of rows of messages, with the stops that the model declares."""
    words = tokenizer(name)
    stops: Any = words.convert_tokens_to_ids(STYLES.get(name, CHANNELS).stops.split())
    return Encoder(words, "auto", "dataset", control=ControlTokens(words, stops))


def stop_texts(name: str) -> set[str]:
    words = tokenizer(name)
    ids = {words.eos_token_id, end_of_turn(words)} - {None}
    return {str(words.convert_ids_to_tokens(token)) for token in ids} | set(STYLES[name].stops.split())


def runs(name: str, sequence: Tokens) -> list[str]:
    """The texts that are learned, hole by hole."""
    marks = sequence.loss_mask or [True] * len(sequence.completion)
    parts: list[list[int]] = [[]]
    for token, mark in zip(sequence.completion, marks, strict=True):
        if mark:
            parts[-1].append(token)
        elif parts[-1]:
            parts.append([])
    return [str(tokenizer(name).decode(part)) for part in parts if part]


def learned(name: str, row: dict[str, Any], loss_on: Any = "completion") -> list[str]:
    (sequence,) = encoder(name).encode_nonempty([row], 10_000, loss_on).sequences
    return runs(name, sequence)


def said(role: str, content: str, **fields: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **fields}


def tool(name: str = "weather") -> dict[str, Any]:
    properties = {"city": {"type": "string", "description": "where it is"}}
    parameters = {"type": "object", "properties": properties}
    return {"type": "function", "function": {"name": name, "description": "how it is", "parameters": parameters}}


def call(arguments: dict[str, Any] | str, name: str = "weather") -> dict[str, Any]:
    return {"id": "abcdefgh1", "type": "function", "function": {"name": name, "arguments": arguments}}
