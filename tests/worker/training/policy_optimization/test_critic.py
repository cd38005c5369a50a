from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.testing import assert_close
from transformers import LlamaForCausalLM

from hone.errors import Invalid
from worker.training.models import tiny
from worker.training.models.policy import load_policy
from worker.training.policy_optimization import critic
from worker.training.sequences.batching import MicroBatch, Tokens
from worker.training.setup.job import Setup

CPU = torch.device("cpu")
BATCH = MicroBatch([Tokens([1, 5, 9], [7, 3])], CPU)
Make = Callable[..., Setup]


def _with(setup: Setup, path: Path) -> Setup:
    setup.models["other"] = str(path)
    return setup


def _exported(folder: Path, seed: int = 3) -> Path:
    other = load_policy("tiny", seed, CPU, "fp32")
    other.model.save_pretrained(folder)
    other.tokenizer.save_pretrained(folder)
    return folder


def test_a_critic_starts_from_the_policys_model_in_weights_of_its_own_and_says_0(make_setup: Make) -> None:
    setup = make_setup("ppo")
    built = critic.build(setup, None)
    policy_weights = dict(setup.policy.model.base_model.named_parameters())
    for name, weight in built.backbone.named_parameters():
        assert torch.equal(weight, policy_weights[name])
        assert weight.data_ptr() != policy_weights[name].data_ptr()
    assert not built(BATCH).any()


def test_a_critic_takes_another_models_backbone(make_setup: Make, tmp_path: Path) -> None:
    setup = _with(make_setup("ppo", algorithm_changes={"critic_model": "other"}), _exported(tmp_path))
    built = critic.build(setup, "other")
    theirs = dict(load_policy("tiny", 3, CPU, "fp32").model.base_model.named_parameters())
    assert all(torch.equal(weight, theirs[name]) for name, weight in built.backbone.named_parameters())
    assert not built(BATCH).any()


def test_a_critic_from_a_reward_model_starts_with_its_head(make_setup: Make, tmp_path: Path) -> None:
    head = nn.Linear(96, 1)
    save_file(dict(head.state_dict()), _exported(tmp_path) / "reward_head.safetensors")
    built = critic.build(_with(make_setup("ppo"), tmp_path), "other")
    hidden = load_policy("tiny", 3, CPU, "fp32").hidden(torch.tensor([[1, 5, 9, 7]]))
    assert_close(built(BATCH), head(hidden)[:, 2:, 0])


def test_a_critic_with_another_vocabulary_is_refused(make_setup: Make, tmp_path: Path) -> None:
    words = tiny.build_tokenizer()
    words.add_tokens(["<more>"])
    LlamaForCausalLM(tiny.config(words)).save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    with pytest.raises(Invalid, match="another vocabulary") as refusal:
        critic.build(_with(make_setup("ppo"), tmp_path), "other")
    assert refusal.value.param == "algorithm.critic_model"


def test_a_critic_model_that_is_not_there_is_named_by_its_field(make_setup: Make, tmp_path: Path) -> None:
    with pytest.raises(Invalid) as refusal:
        critic.build(_with(make_setup("ppo"), tmp_path), "other")
    assert refusal.value.param == "algorithm.critic_model"


def test_a_critic_beside_adapters_is_trained_whole(make_setup: Make) -> None:
    setup = make_setup("ppo", lora={"rank": 2})
    built = critic.build(setup, None)
    assert all(weight.requires_grad for weight in built.parameters())
    assert not any("lora" in name for name, _ in built.named_parameters())
