"""From a file of conversations to a model that answers like them, and stops."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from chat_styles import said, tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from service.domain.datasets import FileData
from worker.protocol import Assignment, Previewed, Saved
from worker.training import loop
from worker.training.data.encode import Encoder
from worker.training.decoding.generate import Sampling, generate
from worker.training.models.policy import load_policy

MESSAGES = [
    said("user", "Weather?"),
    said("assistant", "Rain."),
    said("user", "So?"),
    said("assistant", "Stay in.", reasoning_content="Wet."),
]


def _model(folder: Path, name: str) -> str:
    """A narrow Llama with the tokenizer and the template of a style."""
    words = tokenizer(name)
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    config = LlamaConfig(vocab_size=len(words), max_position_embeddings=512, eos_token_id=words.eos_token_id, **sizes)
    LlamaForCausalLM(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("name", ["qwen3", "gemma"])
def test_a_model_learns_every_answer_of_a_conversation_and_where_it_ends(name: str, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({"messages": MESSAGES}) + "\n")
    spec = {
        "algorithm": {"type": "sft", "batch_size": 1, "loss_on": "assistant", "max_length": 512},
        "dataset": {"source": "file-1"},
        "optimizer": {"learning_rate": 3e-3, "warmup_steps": 5, "schedule": "constant"},
        "model": "small",
        "steps": 50,
    }
    files, models = {"file-1": str(tmp_path / "rows.jsonl")}, {"small": _model(tmp_path / "model", name)}
    assignment = Assignment(
        job_id="ftjob-1", attempt=1, spec=spec, directory=str(tmp_path / "job"), models=models, files=files
    )
    (tmp_path / "job").mkdir()
    events = list(loop.run(assignment, lambda: None))
    (row,) = next(event.rows for event in events if isinstance(event, Previewed))
    shown = [segment.text for segment in row.segments if segment.learned]
    policy = load_policy(
        next(event.directory for event in events if isinstance(event, Saved)), 0, torch.device("cpu"), "fp32"
    )
    ends = [str(policy.tokenizer.decode([stop])) for stop in policy.stops]
    assert len(shown) == 2 and all(any(text.endswith(end) for end in ends) for text in shown)
    dataset = FileData(source="file-1")
    reads = Encoder.of(policy, dataset, "dataset", [])
    asked = [{"prompt": MESSAGES[:count]} for count in (1, 3)]
    answers = generate(policy, reads.prompts(asked, 512), Sampling(60, temperature=0), 2)
    said_by_model = [str(policy.tokenizer.decode(sequence.completion)) for sequence in answers.sequences]
    assert answers.truncated == [False, False]
    assert said_by_model[1] == shown[1] and "Wet." in shown[1] and "Stay in." in shown[1]
    assert "Rain." in said_by_model[0]
