from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM, PreTrainedTokenizerFast

from service.domain.errors import Invalid
from worker.training import models, tiny
from worker.training.models import Policy

CPU = torch.device("cpu")


def _refused(path: str) -> str:
    with pytest.raises(Invalid) as refusal:
        models.load(path, 0, CPU, "auto")
    assert refusal.value.param == "model"
    assert path in refusal.value.message
    return refusal.value.message


def test_an_export_loads_as_the_same_model(policy: Policy, tmp_path: Path) -> None:
    policy.model.save_pretrained(tmp_path)
    policy.tokenizer.save_pretrained(tmp_path)
    again = models.load(str(tmp_path), 7, CPU, "auto")
    state = policy.model.state_dict()
    assert all(torch.equal(weight, state[name]) for name, weight in again.model.state_dict().items())
    assert again.stops == policy.stops == [again.tokenizer.eos_token_id]
    assert again.tokenizer("<think>x")["input_ids"] == policy.tokenizer("<think>x")["input_ids"]


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    assert "config.json" in _refused(str(tmp_path))


def test_a_path_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    assert "no directory" in _refused(str(tmp_path / "nothing"))


def test_a_hub_id_that_is_not_at_hand_is_refused_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "local directory" in _refused("nobody/nothing")


def test_a_model_that_caps_its_logits_is_refused(tmp_path: Path) -> None:
    words = tiny.tokenizer()
    shape: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "head_dim": 8,
    }
    config = Gemma2Config(vocab_size=len(words), num_key_value_heads=1, final_logit_softcapping=0.5, **shape)
    torch.manual_seed(0)
    model = Gemma2ForCausalLM(config)
    torch.nn.init.normal_(model.model.embed_tokens.weight, std=2)
    _save(model, words, tmp_path)
    assert "caps its logits" in _refused(str(tmp_path))


def test_precision_is_bf16_only_where_asked_for_or_on_a_gpu() -> None:
    assert models.compute_dtype("auto", CPU) == torch.float32
    assert models.compute_dtype("bf16", CPU) == torch.bfloat16
    policy = models.load("tiny", 0, CPU, "bf16")
    assert all(weight.dtype == torch.float32 for weight in policy.model.parameters())
    with policy.autocast():
        assert policy.model.lm_head(torch.ones(1, policy.model.config.hidden_size)).dtype == torch.bfloat16


def test_gpus_that_are_not_there_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has them")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(Invalid) as refusal:
        models.choose_device([0])
    assert refusal.value.param == "resources.gpus"


def _save(model: torch.nn.Module, words: PreTrainedTokenizerFast, folder: Path) -> None:
    model.save_pretrained(folder)  # type: ignore[operator]
    words.save_pretrained(folder)
