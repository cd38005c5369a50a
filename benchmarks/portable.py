"""Whether exports are the same models elsewhere: logits and greedy answers in transformers 4.57 and 5.x, and in peft.

    python benchmarks/portable.py [--environments DIR]

Each model is made from a config with random weights, saved, trained by Hone for a step, and its checkpoint is read by
both versions in environments of their own, which are made once. The reference is Hone's own policy.
"""

import argparse
import json
import logging
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from peers import environments
from peers.read_export import NEW_TOKENS

from worker.protocol import Saved
from worker.training import train
from worker.training.checkpoints import portable
from worker.training.checkpoints.export import ADAPTER
from worker.training.models import tiny
from worker.training.models.policy import load_policy

CPU = torch.device("cpu")
TEXT = "trace [[1,2],[3,4]]\n<think>"
VERSION_5 = ("rope_parameters", "dtype")
VERSIONS = ("transformers-4.57", "transformers-5")
SHAPE: dict[str, Any] = {
    "vocab_size": 128,  # more than the tokenizer has: for some types of model transformers 5 adds a token
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 1,
}
BASE = {"rope_theta": 500000.0, "rope_type": "default"}
LLAMA3 = {
    "rope_theta": 500000.0,
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
YARN = {"rope_theta": 1e6, "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
TWO_BASES = {
    "full_attention": {"rope_theta": 1e6, "rope_type": "default"},
    "sliding_attention": {"rope_theta": 5000.0, "rope_type": "default"},
}
WINDOW = {"sliding_window": 8, "head_dim": 8}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
GPT2 = {"vocab_size": SHAPE["vocab_size"], "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 256}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "Llama, tied": ("Llama", SHAPE | {"tie_word_embeddings": True}),
    "Llama, base 500,000": ("Llama", SHAPE | {"rope_parameters": BASE}),
    "Llama 3 scaling": ("Llama", SHAPE | {"rope_parameters": LLAMA3}),
    "Qwen2, yarn": ("Qwen2", SHAPE | {"rope_parameters": YARN}),
    "Qwen3": ("Qwen3", SHAPE | {"rope_parameters": BASE, "head_dim": 16}),
    "Qwen3 MoE": ("Qwen3Moe", SHAPE | EXPERTS | {"rope_parameters": BASE, "head_dim": 8}),
    "Mistral": ("Mistral", SHAPE | {"sliding_window": 8, "rope_parameters": BASE}),
    "Mixtral": ("Mixtral", SHAPE | {"num_local_experts": 4, "rope_parameters": BASE}),
    "Gemma": ("Gemma", SHAPE | {"head_dim": 8, "rope_parameters": BASE}),
    "Gemma 2": ("Gemma2", SHAPE | WINDOW | {"final_logit_softcapping": 2.0, "rope_parameters": BASE}),
    "Gemma 3": ("Gemma3Text", SHAPE | WINDOW | {"rope_parameters": TWO_BASES, "num_hidden_layers": 6}),
    "Phi": ("Phi", SHAPE | {"rope_parameters": BASE | {"partial_rotary_factor": 0.5}}),
    "Phi 3": ("Phi3", SHAPE | {"rope_parameters": BASE | {"partial_rotary_factor": 0.5}}),
    "GPT-NeoX": ("GPTNeoX", SHAPE | {"rope_parameters": BASE | {"partial_rotary_factor": 0.5}}),
    "StableLM": ("StableLm", SHAPE | {"rope_parameters": BASE | {"partial_rotary_factor": 0.5}}),
    "OLMo 2": ("Olmo2", SHAPE | {"rope_parameters": BASE}),
    "OLMo 3": ("Olmo3", SHAPE | {"sliding_window": 8}),
    "Granite": ("Granite", SHAPE | {"logits_scaling": 8.0, "rope_parameters": BASE}),
    "Cohere": ("Cohere", SHAPE | {"logit_scale": 0.25, "rope_parameters": BASE}),
    "GPT-2": ("GPT2", GPT2 | {"bos_token_id": 1, "eos_token_id": 1}),
}
LORA = ("Llama, base 500,000", "Qwen3", "Gemma 2", "Phi")
"""Those that are trained with adapters too."""


class Export(NamedTuple):
    """A checkpoint of Hone's, and what is read of it."""

    name: str
    folder: Path
    adapter: Path | None
    reference: dict[str, Any]


def exports(workplace: Path) -> Iterator[Export]:
    """Each model after a step of supervised training, whole or with adapters."""
    for number, (name, (kind, shape)) in enumerate(MODELS.items()):
        start = _start(workplace / f"start-{number}", kind, shape)
        folder = _trained(start, workplace / f"run-{number}", {})
        yield Export(name, folder, None, _reference(folder))
        if name in LORA:
            folder = _trained(start, workplace / f"lora-{number}", {"lora": {"rank": 4}})
            reference = _reference(folder)
            yield Export(f"{name}, merged", folder, None, reference)
            yield Export(f"{name}, adapter", folder, folder / ADAPTER, reference)


def _start(folder: Path, kind: str, shape: dict[str, Any]) -> Path:
    torch.manual_seed(0)
    auto: Any = transformers.AutoModelForCausalLM
    model: Any = auto.from_config(getattr(transformers, f"{kind}Config")(**shape))
    for weight in model.parameters():
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=0.2)  # large enough for positions to show in the logits
    model.save_pretrained(folder)
    tokenizer = tiny.build_tokenizer()
    tokenizer.save_pretrained(folder)
    portable.rewrite(folder, model, tokenizer, "float32")
    _forget_version_5(folder / portable.CONFIG)
    return folder


def _forget_version_5(file: Path) -> None:
    """Leave only what version 4 would have written."""
    config = json.loads(file.read_text())
    file.write_text(json.dumps({name: value for name, value in config.items() if name not in VERSION_5}))


def _trained(start: Path, run: Path, changes: dict[str, Any]) -> Path:
    spec = {
        "algorithm": {"type": "sft", "batch_size": 4},
        "model": str(start),
        "dataset": {"source": "linear-algebra", "size": 8, "style": "symbolic"},
        "optimizer": {"learning_rate": 1e-2, "warmup_steps": 0},
        "steps": 1,
    }
    (saved,) = [event for event in train(spec | changes, run) if isinstance(event, Saved)]
    return Path(saved.directory)


@torch.no_grad()
def _reference(folder: Path) -> dict[str, Any]:
    policy = load_policy(str(folder), 0, CPU, "fp32")
    ids = policy.tokenizer(TEXT).input_ids
    greedy = list(ids)
    for _ in range(NEW_TOKENS):
        logits = policy.model(input_ids=torch.tensor([greedy])).logits[0]
        greedy.append(int(logits[-1].argmax()))
        if greedy[-1] in policy.stops:
            break
    return {"ids": ids, "logits": policy.model(input_ids=torch.tensor([ids])).logits[0], "greedy": greedy}


def read(version: str, options: argparse.Namespace, exported: list[Export], workplace: Path) -> list[dict[str, Any]]:
    """The answers of an environment."""
    task, answers = workplace / f"{version}.json", workplace / f"{version}.pt"
    places = [(str(each.folder), each.adapter and str(each.adapter)) for each in exported]
    task.write_text(json.dumps([{"folder": folder, "adapter": adapter, "text": TEXT} for folder, adapter in places]))
    command = [environments.python(version, options.environments), "-m", "peers.read_export", str(task), str(answers)]
    subprocess.run(command, check=True, cwd=Path(__file__).parent, stderr=subprocess.DEVNULL)
    return list(torch.load(answers, weights_only=True))


def verdict(reference: dict[str, Any], answer: dict[str, Any]) -> str:
    """The largest difference of logits, and whether tokens and greedy answer are the same."""
    if "error" in answer:
        return str(answer["error"])
    if answer["ids"] != reference["ids"]:
        return "other tokens"
    difference = float((answer["logits"] - reference["logits"]).abs().max())
    return f"{difference:.1e}" + ("" if answer["greedy"] == reference["greedy"] else ", another greedy answer")


def main() -> None:
    """A table: a line for each export, a column for each version."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--environments", type=Path, default=environments.DEFAULT)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as name:
        exported = list(exports(Path(name)))
        answers = [read(version, options, exported, Path(name)) for version in VERSIONS]
    print(f"| export | {' | '.join(VERSIONS)} |")
    print("|---|---|---|")
    for export, *read_by in zip(exported, *answers, strict=True):
        print(f"| {export.name} | {' | '.join(verdict(export.reference, answer) for answer in read_by)} |")


if __name__ == "__main__":
    main()
