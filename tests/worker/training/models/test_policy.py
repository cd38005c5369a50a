from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from torch.testing import assert_close
from transformers import PreTrainedModel

from hone.errors import Invalid
from worker.training.decoding import decodable
from worker.training.models import head, logit_transform, tiny
from worker.training.models.head import PLAIN, Head, Transform
from worker.training.models.logprobs import predict
from worker.training.models.policy import Policy, choose_device, compute_dtype, load_policy
from worker.training.sequences.batching import MicroBatch, Tokens

CPU = torch.device("cpu")
WORDS = tiny.build_tokenizer()
SMALL: dict[str, Any] = {
    "vocab_size": len(WORDS),
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 1,
}
WINDOW = {"sliding_window": 4}
GPT2 = {"vocab_size": len(WORDS), "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32, "bos_token_id": 1}
OPT = {"vocab_size": len(WORDS), "hidden_size": 16, "ffn_dim": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
TRAINED: dict[str, tuple[str, dict[str, Any], Transform]] = {
    "Llama, tied": ("Llama", SMALL | {"tie_word_embeddings": True}, PLAIN),
    "Llama, untied": ("Llama", SMALL, PLAIN),
    "Qwen2": ("Qwen2", SMALL, PLAIN),
    "Qwen3": ("Qwen3", SMALL, PLAIN),
    "GPT-2": ("GPT2", GPT2 | {"eos_token_id": 1}, PLAIN),
    "Gemma 2": ("Gemma2", SMALL | WINDOW | {"head_dim": 8, "final_logit_softcapping": 2.0}, Transform(1.0, 2.0)),
    "Gemma 3": ("Gemma3Text", SMALL | WINDOW | {"head_dim": 8, "final_logit_softcapping": 3.0}, Transform(1.0, 3.0)),
    "Gemma 3 without a cap": ("Gemma3Text", SMALL | WINDOW | {"head_dim": 8}, PLAIN),
    "Granite divides": ("Granite", SMALL | {"logits_scaling": 8.0}, Transform(1 / 8)),
    "HyperCLOVA X multiplies": ("HyperCLOVAX", SMALL | {"logits_scaling": 8.0}, Transform(8.0)),
    "Cohere": ("Cohere", SMALL | {"logit_scale": 1 / 16}, Transform(1 / 16)),
    "Cohere 2": ("Cohere2", SMALL | WINDOW | {"logit_scale": 0.25}, Transform(0.25)),
    "MPT ignores its scale": ("Mpt", {"vocab_size": len(WORDS), "d_model": 16, "n_layers": 2, "n_heads": 2}, PLAIN),
    "OPT with a narrow head": ("OPT", OPT | {"word_embed_proj_dim": 8, "max_position_embeddings": 32}, PLAIN),
    "Phi with a bias": ("Phi", SMALL | {"num_key_value_heads": 2}, PLAIN),
    "Mistral": ("Mistral", SMALL | WINDOW, PLAIN),
    "Mixtral": ("Mixtral", SMALL | {"num_local_experts": 2}, PLAIN),
}


def _built(kind: str, shape: dict[str, Any]) -> PreTrainedModel:
    """From a config, with weights that make differences show."""
    config = getattr(transformers, f"{kind}Config")(**shape)
    torch.manual_seed(0)
    auto: Any = transformers.AutoModelForCausalLM
    model: Any = auto.from_config(config)
    for weight in model.parameters():
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=0.3)
    return model.eval()  # type: ignore[no-any-return]


def _policy(model: PreTrainedModel, name: str) -> Policy:
    return Policy(model, WORDS, CPU, torch.float32, logit_transform.find(model, name))


@pytest.mark.parametrize("name", TRAINED)
def test_log_probabilities_are_those_of_the_models_own_logits(name: str) -> None:
    kind, shape, transform = TRAINED[name]
    policy = _policy(_built(kind, shape), name)
    assert policy.transform == transform
    rows = [Tokens([1, 5, 9], [7, 3, 4, 8, 2]), Tokens([6], [2, 2, 9])]
    ours_BT = predict(policy, MicroBatch(rows, CPU)).logp_BT
    for row, ours_T in zip(rows, ours_BT, strict=True):
        whole = [*row.prompt, *row.completion]
        logp_LV = policy.model(input_ids=torch.tensor([whole])).logits[0].log_softmax(-1)
        theirs = [logp_LV[place - 1, whole[place]] for place in range(len(row.prompt), len(whole))]
        assert_close(ours_T[: len(theirs)], torch.stack(theirs))
    decodable.check(policy)


def test_the_gradient_goes_through_scales_and_caps() -> None:
    for name in ("Gemma 2", "Granite divides", "Phi with a bias"):
        kind, shape, _ = TRAINED[name]
        policy = _policy(_built(kind, shape), name)
        weights = list(policy.model.parameters())
        row = Tokens([1, 5, 9], [7, 3, 4])
        ours = torch.autograd.grad(predict(policy, MicroBatch([row], CPU)).logp_BT.sum(), weights)
        logp_LV = policy.model(input_ids=torch.tensor([[*row.prompt, *row.completion]])).logits[0].log_softmax(-1)
        theirs = torch.autograd.grad(sum(logp_LV[place + 2, row.completion[place]] for place in range(3)), weights)
        assert_close(ours, theirs)


@pytest.mark.parametrize("tile", [8, 10_000])
def test_the_tiled_head_follows_scale_and_cap(monkeypatch: pytest.MonkeyPatch, tile: int) -> None:
    monkeypatch.setattr(head, "TILE_ELEMENTS", tile)
    generator = torch.Generator().manual_seed(0)
    hidden, weight, bias = (
        torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()
        for shape in [(5, 3), (4, 3), (4,)]
    )
    target = torch.tensor([0, 3, 1, 1, 2])

    def both(hidden: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        capped = Head(weight, bias, torch.float64, Transform(1.5, 2.0))
        return capped.logprobs_and_entropy(hidden, target, 0.7)

    logits = 2 * torch.tanh(1.5 * (hidden @ weight.T + bias) / 2) / 0.7
    logp, entropy = both(hidden, weight, bias)
    assert_close(logp, logits.log_softmax(-1).gather(1, target[:, None])[:, 0])
    assert_close(entropy, -(logits.softmax(-1) * logits.log_softmax(-1)).sum(-1))
    assert torch.autograd.gradcheck(both, (hidden, weight, bias))


@pytest.mark.parametrize(
    ("kind", "shape", "reason"),
    [
        ("Bert", SMALL | {"is_decoder": True}, "more to its logits than project, scale and cap"),
        ("XLNet", {"vocab_size": len(WORDS), "d_model": 16, "n_layer": 1, "n_head": 2, "d_inner": 24}, "looks ahead"),
        ("Gemma3Text", SMALL | WINDOW | {"head_dim": 8, "use_bidirectional_attention": True}, "looks ahead"),
    ],
)
def test_models_that_are_no_decoders_with_a_linear_head_are_refused(
    kind: str, shape: dict[str, Any], reason: str
) -> None:
    with pytest.raises(Invalid, match=reason) as refusal:
        logit_transform.find(_built(kind, shape), "this one")
    assert refusal.value.param == "model"
    assert "this one" in refusal.value.message


def test_an_encoder_decoder_is_refused(tmp_path: Path) -> None:
    transformers.T5Config(vocab_size=len(WORDS)).save_pretrained(tmp_path)
    assert "has an encoder" in _refused(str(tmp_path))


@pytest.mark.parametrize(
    ("kind", "shape"),
    [
        ("Mamba", {"vocab_size": len(WORDS), "hidden_size": 16, "num_hidden_layers": 1, "state_size": 4}),
        ("Rwkv", {"vocab_size": len(WORDS), "hidden_size": 16, "num_hidden_layers": 2, "attention_hidden_size": 16}),
    ],
)
def test_a_model_without_a_key_value_cache_can_be_trained_but_not_sampled_from(
    kind: str, shape: dict[str, Any]
) -> None:
    policy = _policy(_built(kind, shape), kind)
    assert predict(policy, MicroBatch([Tokens([1, 5], [7, 3])], CPU)).logp_BT.isfinite().all()
    with pytest.raises(Invalid, match="cannot be decoded with the key-value cache") as refusal:
        decodable.check(policy)
    assert refusal.value.param == "model"
    assert "sft" in refusal.value.message


def _refused(path: str) -> str:
    with pytest.raises(Invalid) as refusal:
        load_policy(path, 0, CPU, "auto")
    assert refusal.value.param == "model"
    assert path in refusal.value.message
    return refusal.value.message


def test_an_export_loads_as_the_same_model(policy: Policy, tmp_path: Path) -> None:
    policy.model.save_pretrained(tmp_path)
    policy.tokenizer.save_pretrained(tmp_path)
    again = load_policy(str(tmp_path), 7, CPU, "auto")
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


def test_precision_is_bf16_only_where_asked_for_or_on_a_gpu() -> None:
    assert compute_dtype("auto", CPU) == torch.float32
    assert compute_dtype("bf16", CPU) == torch.bfloat16
    policy = load_policy("tiny", 0, CPU, "bf16")
    assert all(weight.dtype == torch.float32 for weight in policy.model.parameters())
    with policy.autocast():
        assert policy.model.lm_head(torch.ones(1, policy.model.config.hidden_size)).dtype == torch.bfloat16


def test_gpus_that_are_not_there_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has them")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(Invalid) as refusal:
        choose_device([0])
    assert refusal.value.param == "resources.gpus"
