"""An export says what it is in the words of transformers 4 and 5; benchmarks/portable.py reads it with both."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from peft import AutoPeftModelForCausalLM
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedModel

from service.domain.specs import JobSpec
from worker.protocol import Assignment, Saved
from worker.training import loop
from worker.training.checkpoints import export, portable
from worker.training.models import tiny
from worker.training.models.policy import Policy

SHAPE: dict[str, Any] = {
    "vocab_size": 103,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 1,
}
BASE = {"rope_theta": 500000.0, "rope_type": "default"}
PART = BASE | {"partial_rotary_factor": 0.5}
YARN = {"rope_theta": 1e6, "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}
FULL = {"rope_theta": 1e6, "rope_type": "linear", "factor": 8.0}
EXPERTS = {"num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 8, "head_dim": 8}
VERSION_4: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "one base": ("Llama", {"rope_parameters": BASE}, {"rope_theta": 500000.0, "rope_scaling": None}),
    "scaling": (
        "Qwen2",
        {"rope_parameters": YARN},
        {"rope_theta": 1e6, "rope_scaling": {key: YARN[key] for key in YARN if key != "rope_theta"}},
    ),
    "a part is rotated": (
        "Phi3",
        {"rope_parameters": PART},
        {"rope_theta": 500000.0, "partial_rotary_factor": 0.5, "rope_scaling": None},
    ),
    "other names": ("GPTNeoX", {"rope_parameters": PART}, {"rotary_emb_base": 500000.0, "rotary_pct": 0.5}),
    "two bases": (
        "Gemma3Text",
        {"head_dim": 8, "rope_parameters": {"full_attention": FULL, "sliding_attention": BASE}},
        {"rope_theta": 1e6, "rope_local_base_freq": 500000.0, "rope_scaling": {"rope_type": "linear", "factor": 8.0}},
    ),
    "a field that has changed its name": ("Qwen3Moe", EXPERTS, {"num_experts": 2, "num_local_experts": 2}),
    "what is the default of one version": ("Llama", {}, {"tie_word_embeddings": False, "bos_token_id": None}),
}


def _model(kind: str, shape: dict[str, Any]) -> PreTrainedModel:
    torch.manual_seed(0)
    auto: Any = AutoModelForCausalLM
    return auto.from_config(getattr(transformers, f"{kind}Config")(**SHAPE | shape))  # type: ignore[no-any-return]


def _exported(folder: Path, kind: str, shape: dict[str, Any]) -> PreTrainedModel:
    model, tokenizer = _model(kind, shape), tiny.build_tokenizer()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    portable.rewrite(folder, model, tokenizer, "float32")
    return model


def _document(folder: Path, file: str = "config.json") -> dict[str, Any]:
    return dict(json.loads((folder / file).read_text()))


@pytest.mark.parametrize("name", VERSION_4)
def test_a_config_has_the_words_of_version_4_and_reads_as_before(name: str, tmp_path: Path) -> None:
    kind, shape, words = VERSION_4[name]
    model = _exported(tmp_path, kind, shape)
    saved = _document(tmp_path)
    assert {field: saved.get(field) for field in words} == words
    assert saved["torch_dtype"] == saved["dtype"] == "float32"
    again = AutoConfig.from_pretrained(tmp_path)
    assert getattr(again, "rope_parameters", None) == getattr(model.config, "rope_parameters", None)


def test_words_that_would_be_read_otherwise_are_left_out(tmp_path: Path) -> None:
    """Version 4 has one base for all layers of this model; ours has two."""
    bases = {"full_attention": BASE, "sliding_attention": BASE | {"rope_theta": 10000.0}}
    _exported(tmp_path, "Olmo3", {"rope_parameters": bases})
    assert "rope_theta" not in _document(tmp_path)
    assert AutoConfig.from_pretrained(tmp_path).rope_parameters == bases


def test_a_tokenizer_is_of_a_class_that_both_versions_know(policy: Policy, tmp_path: Path) -> None:
    words = tiny.build_tokenizer()
    words.add_special_tokens({"additional_special_tokens": ["<answer>"]})
    policy.model.save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    portable.rewrite(tmp_path, policy.model, words, "float32")
    saved = _document(tmp_path, "tokenizer_config.json")
    assert saved["tokenizer_class"] == "PreTrainedTokenizerFast"
    assert saved["model_input_names"] == ["input_ids", "attention_mask"]  # version 4 would add token_type_ids
    assert saved["additional_special_tokens"] == ["<answer>"]
    assert "extra_special_tokens" not in saved  # a list of them ends version 4
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert again.all_special_ids == words.all_special_ids
    assert again("1 <answer>2").input_ids == words("1 <answer>2").input_ids


def test_a_folder_of_version_4_keeps_its_base_of_rotation_through_training(
    assign: Callable[..., Assignment], tmp_path: Path
) -> None:
    start = tmp_path / "start"
    _exported(start, "Llama", {"rope_parameters": BASE, "num_attention_heads": 1})
    version_4 = {name: value for name, value in _document(start).items() if name != "rope_parameters"}
    (start / "config.json").write_text(json.dumps(version_4))
    for changes in ({}, {"lora": {"rank": 2}}):
        assignment = assign("sft", model_path=str(start), steps=1, **changes)
        saved = next(event for event in loop.run(assignment, lambda: None) if isinstance(event, Saved))
        config = _document(Path(saved.directory))
        assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 500000.0


@pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing:FutureWarning")  # peft asks for it
def test_an_export_names_every_token_at_which_its_responses_end(policy: Policy, tmp_path: Path) -> None:
    words: Any = policy.tokenizer
    words.add_special_tokens({"additional_special_tokens": ["<|im_end|>"]})
    words.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    end = words.convert_tokens_to_ids("<|im_end|>")
    assert policy.stops == sorted([words.eos_token_id, end])
    policy.model.resize_token_embeddings(len(words))
    spec = JobSpec.model_validate({"algorithm": {"type": "sft"}, "dataset": {"source": "linear-algebra"}})
    export.write(tmp_path, policy, spec, 1, {})
    declared = GenerationConfig.from_pretrained(tmp_path).eos_token_id
    assert declared == policy.stops


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # of peft 0.21 with transformers 5.23
def test_an_adapter_finds_its_base(assign: Callable[..., Assignment], tmp_path: Path) -> None:
    start = str(tmp_path / "start")
    _exported(Path(start), "Llama", {})
    assignment = assign("sft", model=start, steps=1, lora={"rank": 2})
    assignment = assignment.model_copy(update={"models": {start: start}})
    saved = next(event for event in loop.run(assignment, lambda: None) if isinstance(event, Saved))
    folder = Path(saved.directory)
    adapted: Any = AutoPeftModelForCausalLM.from_pretrained(folder / "adapter")
    merged: Any = AutoModelForCausalLM.from_pretrained(folder)
    ids = torch.tensor([[1, 5, 9, 7]])
    torch.testing.assert_close(adapted(input_ids=ids).logits, merged(input_ids=ids).logits, rtol=1e-5, atol=1e-5)
    assert _document(folder / "adapter", "adapter_config.json")["base_model_name_or_path"] == start
