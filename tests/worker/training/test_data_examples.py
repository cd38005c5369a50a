"""Each file of `examples/data/`, from the check of its upload to a job that has finished with it."""

from pathlib import Path
from typing import Any

import pytest

from service.domain.rows import check
from worker.protocol import Event, Finished, Previewed, Step, Warned
from worker.training import train

FOLDER = Path(__file__).parents[3] / "examples/data"
SFT: dict[str, Any] = {"algorithm": {"type": "sft", "batch_size": 4, "max_length": 1024}}
TEXT: dict[str, Any] = {"algorithm": {"type": "sft", "batch_size": 4, "loss_on": "all"}}
PAIRS: dict[str, Any] = {"algorithm": {"type": "reward_model", "batch_size": 4}}
POLICY = {"type": "grpo", "prompts_per_step": 4, "num_generations": 2, "max_completion_length": 3}
RL: dict[str, Any] = {"algorithm": POLICY, "rewards": [{"type": "exact", "extract": "whole"}]}
ALONE: dict[str, Any] = {"algorithm": POLICY, "rewards": [{"type": "regex", "pattern": "[a-z]"}]}
JOBS: dict[str, list[dict[str, Any]]] = {
    "prompt-completion": [SFT],
    "messages": [SFT],
    "text": [TEXT],
    "chosen-rejected": [PAIRS],
    "prompt-answer": [RL],
    "prompt": [ALONE],
    "sharegpt": [SFT],
    "sharegpt-tools": [SFT],
    "alpaca": [SFT],
    "dolly": [SFT],
    "prompt-response": [SFT],
    "openorca": [SFT],
    "gsm8k": [SFT, RL],
    "open-r1": [SFT, RL],
    "prompt-solution": [SFT, RL],
    "verl": [RL],
    "openai-chat": [SFT],
    "openai-functions": [SFT],
    "openai-preferences": [PAIRS],
    "ultrafeedback": [PAIRS],
    "anthropic-pairs": [PAIRS],
    "llama-factory-pairs": [PAIRS],
    "other-columns": [RL],
    "byte-order-mark": [SFT],
}
MAPPINGS = {"other-columns": {"prompt": "task", "answer": "meta.result"}}
CHAT = (
    "{% if tools %}<|im_start|>system\n{{ tools | tojson }}<|im_end|>\n{% endif %}{% for m in messages %}<|im_start|>"
    "{{ m.role }}\n{{ m.content or '' }}{% for call in m.tool_calls or [] %}<tool_call>\n{{ call.function | tojson }}\n"
    "</tool_call>{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def chat_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """One narrow layer with a chat template."""
    from transformers import LlamaForCausalLM

    from worker.training.models import tiny

    words = tiny.build_tokenizer()
    words.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    words.eos_token, words.chat_template = "<|im_end|>", CHAT
    config = tiny.config(words)
    config.hidden_size, config.intermediate_size, config.num_hidden_layers = 16, 32, 1
    config.num_attention_heads = config.num_key_value_heads = 2
    config.head_dim = 8
    folder = str(tmp_path_factory.mktemp("chat"))
    LlamaForCausalLM(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def _finished(spec: dict[str, Any], folder: Path, models: dict[str, str]) -> list[Event]:
    events = list(train({"steps": 1} | spec, folder, models=models))
    assert isinstance(events[-1], Finished)
    assert any(isinstance(event, Step) for event in events)
    return events


def test_every_file_is_tried() -> None:
    assert {path.stem for path in FOLDER.glob("*.jsonl")} == set(JOBS)
    named = (FOLDER / "README.md").read_text()
    assert not [name for name in JOBS if f"`{name}.jsonl`" not in named]


@pytest.mark.parametrize("name", JOBS)
def test_a_file_of_each_shape_is_accepted_and_trained_on(name: str, chat_model: str, tmp_path: Path) -> None:
    path = FOLDER / f"{name}.jsonl"
    with path.open("rb") as lines:
        report = check(lines)
    assert (report.problem_count, report.rows) == (0, 4)
    for number, job in enumerate(JOBS[name]):
        dataset = {"source": str(path), "columns": MAPPINGS.get(name, {})}
        events = _finished(job | {"dataset": dataset}, tmp_path / str(number), {"tiny": chat_model})
        (preview,) = (event for event in events if isinstance(event, Previewed))
        shown = "".join(segment.text for row in preview.rows for segment in row.segments)
        asked = "Write 12 in words" if name == "prompt" else "12"
        assert asked in shown
        told = [part for event in events if isinstance(event, Warned) for part in event.note.message.split("; ")]
        said_at_the_upload = [note for note in report.notes if "are read" in note or "is read" in note]
        assert {f"dataset: {note}" for note in said_at_the_upload} <= set(told)


@pytest.mark.parametrize("name", ["sft", "grpo", "reward-model"])
def test_each_spec_beside_them_trains(name: str, tmp_path: Path) -> None:
    events = list(train(FOLDER / f"{name}.yaml", tmp_path))
    assert isinstance(events[-1], Finished)
