"""A model of one narrow layer with a chat template, a reward model like it, small files, and jobs of two steps."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Outcome = list[Any]
RunJob = Callable[[dict[str, Any]], Outcome]
CHAT = (
    "{% for tool in tools or [] %}{{ tool.function.name }} {{ tool.function.description }}"
    "{% for name, each in tool.function.parameters.properties.items() %}{{ name }} {{ each.description }}{% endfor %}"
    "{% endfor %}{% for m in messages %}{{ m['role'][0] }}:{{ m['content'] }}{% for call in m.tool_calls or [] %}"
    "<tool_call>{{ call.function | tojson }}</tool_call>{% endfor %}{{ eos_token }}\n{% endfor %}"
    "{% if add_generation_prompt %}a:{% endif %}"
)
ROWS = [
    {
        "prompt": f"{n}+3=",
        "completion": "abcdefgh"[: 3 + n % 5],
        "answer": str(n + 3),
        "chosen": "bcdefgh"[: 2 + n % 5],
        "rejected": "hgfedcb"[: 6 - n % 5],
        "difficulty": n,
        "other": -n,
    }
    for n in range(8)
]
HELD_OUT = [{"prompt": f"{n}-1=", "completion": "abcd", "answer": "a", "chosen": "a", "rejected": "b"} for n in (5, 7)]
TIMES = ("time/", "train/tokens_per_second")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """By the names that specs give them."""
    import torch
    from safetensors.torch import save_file
    from transformers import LlamaForCausalLM

    from worker.training.models import tiny

    words = tiny.build_tokenizer()
    words.chat_template = CHAT
    config = tiny.config(words)
    config.hidden_size, config.intermediate_size, config.num_hidden_layers = 16, 32, 1
    config.num_attention_heads = config.num_key_value_heads = 2
    config.head_dim, config.max_position_embeddings, config.tie_word_embeddings = 8, 1024, False
    folders = {}
    for seed, name in enumerate(("tiny", "job:ftjob-1")):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            folder = tmp_path_factory.mktemp("model")
            LlamaForCausalLM(config).save_pretrained(folder)
            words.save_pretrained(folder)
            head = {"weight": torch.randn(1, 16), "bias": torch.zeros(1)}
        if seed:
            save_file(head, folder / "reward_head.safetensors")
        folders[name] = str(folder)
    return folders


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """`file-1` to learn from, `file-2` held out."""
    folder, paths = tmp_path_factory.mktemp("rows"), {}
    for name, rows in (("file-1", ROWS), ("file-2", HELD_OUT)):
        paths[name] = str(folder / name)
        Path(paths[name]).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return paths


@pytest.fixture(scope="session")
def run_job(models: dict[str, str], files: dict[str, str]) -> RunJob:
    """Runs a spec and gives its outcome: all events but times and warnings, and the hash of each model."""

    from worker.protocol import Assignment
    from worker.training.loop import run

    known: dict[str, Outcome] = {}

    def outcome(document: dict[str, Any]) -> Outcome:
        key = json.dumps(document, sort_keys=True)
        if key not in known:
            with tempfile.TemporaryDirectory() as folder:
                assignment = Assignment(
                    job_id="ftjob-9", attempt=1, spec=document, directory=folder, models=models, files=files
                )
                known[key] = [_comparable(event) for event in run(assignment, lambda: None) if event.kind != "warned"]
        return known[key]

    return outcome


def _comparable(event: Any) -> dict[str, Any]:
    fields: dict[str, Any] = event.model_dump()
    if "metrics" in fields:
        fields["metrics"] = {name: value for name, value in fields["metrics"].items() if not name.startswith(TIMES)}
    if event.kind == "saved":
        fields["directory"] = hashlib.sha256((Path(event.directory) / "model.safetensors").read_bytes()).hexdigest()
    return fields
