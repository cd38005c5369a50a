"""The input of both sides: one model folder, and rows whose tokens and order are the same."""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from service.domain.datasets import LinearAlgebraData
from worker.training.data.encode import Encoder
from worker.training.data.rows import batch_rows, load_rows
from worker.training.sequences.batching import Tokens

FILE = "file-rows"
SEED = 0
NAMES = ("tokenizer.json", "chat_template.jinja", "model.safetensors")


VOCABULARY = 49_152


def random_weights() -> LlamaForCausalLM:
    """A model of SmolLM2-135M's shape."""
    torch.manual_seed(SEED)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=576,
            intermediate_size=1536,
            num_hidden_layers=30,
            num_attention_heads=9,
            num_key_value_heads=3,
            max_position_embeddings=8192,
            tie_word_embeddings=True,
        )
    )


def random_model(folder: Path) -> Path:
    """A model of SmolLM2-135M's shape with random weights; one token a character."""
    characters = "\n" + "".join(map(chr, range(32, 127)))
    tokens = ["<unknown>", *characters]
    tokens += [f"<{index}>" for index in range(len(tokens), VOCABULARY)]
    core = Tokenizer(models.WordLevel({token: index for index, token in enumerate(tokens)}, unk_token="<unknown>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    core.decoder = decoders.Fuse()
    random_weights().save_pretrained(folder)
    PreTrainedTokenizerFast(tokenizer_object=core, eos_token=tokens[-1]).save_pretrained(folder)  # type: ignore[no-untyped-call]
    return folder


def without_ends(model: Path, folder: Path) -> Path:
    """The same model, whose responses end with a token that hardly ever comes: both sides sample as many tokens.

    Also readable by older versions of transformers.
    """
    folder.mkdir()
    for path in model.iterdir():
        if path.suffix != ".json" or path.name == "tokenizer.json":
            (folder / path.name).symlink_to(path.resolve())
    config = json.loads((model / "config.json").read_text())
    end, padding = config["vocab_size"] - 1, config["vocab_size"] - 2
    ids = {"eos_token_id": end, "pad_token_id": padding, "bos_token_id": config.get("bos_token_id")}
    rope = config.get("rope_parameters") or {}
    old_names = {"rope_theta": rope["rope_theta"]} if "rope_theta" in rope else {}
    (folder / "config.json").write_text(json.dumps(config | ids | old_names))
    (folder / "generation_config.json").write_text(json.dumps(ids))
    tokenizer = AutoTokenizer.from_pretrained(model)
    names = tokenizer.convert_ids_to_tokens([end, padding])
    kind = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": names[0], "pad_token": names[1]}
    (folder / "tokenizer_config.json").write_text(json.dumps(kind))
    return folder


def rows(tokenizer: PreTrainedTokenizerBase, count: int, tasks: list[str], **changes: Any) -> list[dict[str, Any]]:
    """Linear-algebra problems; in the short notation where a token is a character."""
    style = "symbolic" if len(tokenizer("det", add_special_tokens=False)["input_ids"]) == 3 else "prose"
    document = {"tasks": tasks, "size": count, "style": style} | changes
    return load_rows(LinearAlgebraData.model_validate(document), {}, "dataset")


def in_order(count: int, steps: int, size: int) -> list[int]:
    """The rows of all steps, in the order of Hone's batches."""
    return [row for step in range(steps) for row in batch_rows(count, SEED, step, size)]


def encoded(tokenizer: PreTrainedTokenizerBase, rows: list[dict[str, Any]], max_length: int) -> list[Tokens]:
    """Rows as token ids, encoded by Hone."""
    return Encoder(tokenizer, "text", "dataset").encode_nonempty(rows, max_length).sequences


def write(rows: list[dict[str, Any]], path: Path) -> Path:
    """The rows as an uploaded file."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
