from dataclasses import replace
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from torch.nn.functional import linear
from torch.testing import assert_close

from service.domain.specs import LoRASpec
from worker.training.decoding import generate as generation
from worker.training.decoding.generate import Responses, Sampling, generate
from worker.training.decoding.key_values import MIN_GROWTH, PreallocatedLayer, repeat_rows
from worker.training.decoding.prepack import Product, prepacked
from worker.training.models import lora
from worker.training.models.logprobs import frozen_logprobs, predict
from worker.training.models.policy import Policy
from worker.training.sequences.batching import MicroBatch, micro_batches

PROMPTS = ["det [[1,2],[3,4]]", "trace [[5]]", "hi"]
SMALL: dict[str, Any] = {
    "vocab_size": 103,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 1,
}
SLIDING = SMALL | {"sliding_window": 6, "head_dim": 4}
DEEPSEEK = {
    "first_k_dense_replace": 2,
    "head_dim": 4,
    "num_key_value_heads": 4,
    "q_lora_rank": None,
    "kv_lora_rank": 8,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 4,
    "v_head_dim": 6,
}
MAMBA = {"attn_layer_offset": 1, "attn_layer_period": 2, "use_mamba_kernels": False, "num_experts": 1}
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "grouped queries": ("Llama", SMALL),
    "biases": ("Qwen2", SMALL),
    "a sliding window": ("Mistral", SLIDING),
    "windows in every other layer": ("Gemma2", SLIDING),
    "learned positions": ("GPT2", {"vocab_size": 103, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64}),
    "biases by distance": ("Falcon", SMALL | {"alibi": True, "new_decoder_architecture": True}),
    "values narrower than keys": ("DeepseekV2", SMALL | DEEPSEEK),
    "convolutions in some layers": ("Lfm2", SMALL | {"layer_types": ["conv", "full_attention"]}),
    "a recurrent state in some layers": ("Jamba", SMALL | MAMBA),
}


def _ids(policy: Policy, texts: list[str]) -> list[list[int]]:
    return [policy.tokenizer(text)["input_ids"] for text in texts]


def _blurred(policy: Policy) -> Policy:
    """A policy that stops now and then: a random one repeats itself and hardly ever does."""
    with torch.no_grad():
        for weight in policy.model.parameters():
            weight.mul_(0.6)
    return policy


def _of_kind(policy: Policy, kind: str, shape: dict[str, Any]) -> Policy:
    torch.manual_seed(0)
    auto: Any = transformers.AutoModelForCausalLM
    model = auto.from_config(getattr(transformers, f"{kind}Config")(**shape)).eval()
    for weight in model.parameters():
        if weight.ndim > 1:
            torch.nn.init.normal_(weight, std=0.2)
    return replace(policy, model=model)


def _transformers_greedy(policy: Policy, prompts: list[list[int]], tokens: int) -> list[list[int]]:
    """What `generate` answers to the prompts in one batch, padded on the left, each up to its first stop."""
    model: Any = policy.model
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    stops = policy.stops
    whole = model.generate(
        ids, attention_mask=mask, max_new_tokens=tokens, do_sample=False, eos_token_id=stops, pad_token_id=0
    )
    answers = whole[:, width:].tolist()
    ends = [next((i + 1 for i, token in enumerate(row) if token in stops), tokens) for row in answers]
    return [row[:end] for row, end in zip(answers, ends, strict=True)]


def _completions(responses: Responses) -> list[list[int]]:
    return [sequence.completion for sequence in responses.sequences]


def test_greedy_decoding_equals_transformers_generate(policy: Policy) -> None:
    prompts = _ids(policy, PROMPTS)
    ours = generate(policy, prompts, Sampling(20, temperature=0.0))
    assert _completions(ours) == _transformers_greedy(policy, prompts, 20)


def test_any_of_several_stops_ends_a_response(policy: Policy) -> None:
    prompts = _ids(policy, PROMPTS)
    plain = _completions(generate(policy, prompts, Sampling(20, temperature=0.0)))
    config: Any = policy.model.generation_config
    config.eos_token_id = [policy.tokenizer.eos_token_id, plain[0][4], plain[1][11], plain[2][2]]
    ours = generate(policy, prompts, Sampling(20, temperature=0.0))
    assert _completions(ours) == _transformers_greedy(policy, prompts, 20)
    assert all(sequence.completion[-1] in policy.stops for sequence in ours.sequences)
    assert len({len(sequence.completion) for sequence in ours.sequences}) > 1
    assert ours.truncated == [False, False, False]


@pytest.mark.parametrize("name", SHAPES)
def test_other_architectures_decode_as_in_transformers(policy: Policy, name: str) -> None:
    policy = _of_kind(policy, *SHAPES[name])
    for prompts in (_ids(policy, PROMPTS), _ids(policy, PROMPTS[:1])):
        ours = generate(policy, prompts, Sampling(20, temperature=0.0, generations=2))
        theirs = _transformers_greedy(policy, prompts, 20)
        assert _completions(ours) == [row for row in theirs for _ in range(2)]


def test_its_logprobs_are_the_trainers_at_any_temperature(policy: Policy) -> None:
    policy = _blurred(policy)
    for temperature in (1.0, 0.6, 1.7):
        responses = generate(policy, _ids(policy, PROMPTS), Sampling(30, temperature, generations=6, seed=3))
        forced = frozen_logprobs(policy, responses.sequences, temperature, budget=500)
        assert_close(responses.logp_BC, forced, atol=1e-5, rtol=0)
        assert (responses.logp_BC.sum(1) < 0).all()


def test_adapters_take_part(policy: Policy) -> None:
    policy = _blurred(policy)
    policy.adapters = lora.inject(policy.model, LoRASpec(rank=4), 0, torch.float32)
    with torch.no_grad():
        for name, weight in policy.model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.3)
    for version in (policy, policy.without_adapters()):
        responses = generate(version, _ids(policy, PROMPTS), Sampling(12, generations=3))
        assert_close(
            responses.logp_BC, frozen_logprobs(version, responses.sequences, 1.0, budget=500), atol=1e-5, rtol=0
        )


def test_in_bf16_it_is_as_far_from_the_trainer_as_rounding(policy: Policy) -> None:
    policy = replace(_blurred(policy), dtype=torch.bfloat16)
    responses = generate(policy, _ids(policy, PROMPTS), Sampling(30, generations=6))
    forced = frozen_logprobs(policy, responses.sequences, 1.0, budget=500)
    assert float((responses.logp_BC - forced).abs().mean()) < 0.005
    assert all(weight.dtype == torch.float32 for weight in policy.model.parameters())


def test_a_response_ends_with_eos_or_at_the_limit(policy: Policy) -> None:
    policy = _blurred(policy)
    responses = generate(policy, _ids(policy, PROMPTS), Sampling(60, generations=8))
    eos = policy.tokenizer.eos_token_id
    for sequence, cut in zip(responses.sequences, responses.truncated, strict=True):
        assert eos not in sequence.completion[:-1]
        assert cut == (sequence.completion[-1] != eos)
        assert len(sequence.completion) == 60 or not cut
    assert any(responses.truncated) and not all(responses.truncated)


def test_a_response_does_not_depend_on_what_else_is_in_the_batch(policy: Policy) -> None:
    policy = _blurred(policy)
    together = generate(policy, _ids(policy, PROMPTS), Sampling(24, generations=2, seed=5))
    alone = generate(policy, _ids(policy, PROMPTS[:1]), Sampling(24, generations=2, seed=5))
    assert _completions(together)[:2] == _completions(alone)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_batch_that_is_cut_gives_the_same_responses(policy: Policy, dtype: torch.dtype) -> None:
    policy = replace(_blurred(policy), dtype=dtype)
    prompts, sampling = _ids(policy, PROMPTS), Sampling(20, generations=4, seed=1)
    whole = generate(policy, prompts, sampling)
    for batch_size in (1, 3, 4, 9):
        cut = generate(policy, prompts, sampling, batch_size)
        assert cut.sequences == whole.sequences and cut.truncated == whole.truncated
        rounding = 0.01 if dtype == torch.bfloat16 else 1e-5  # some processors multiply bf16 by the size of the batch
        assert_close(cut.logp_BC, whole.logp_BC, atol=rounding, rtol=0)
        assert_close(cut.entropy, whole.entropy, atol=rounding, rtol=0)


def test_no_more_rows_are_decoded_at_once_than_asked_for(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def watched(cache: Any, row_B: Tensor, limit: int, dtype: torch.dtype) -> bool:
        sizes.append(len(row_B))
        return repeat_rows(cache, row_B, limit, dtype)

    monkeypatch.setattr(generation, "repeat_rows", watched)
    for batch_size in (9, 8, 7, 4, 3):
        generate(policy, _ids(policy, PROMPTS), Sampling(2, generations=4), batch_size)
        sizes.append(0)
    assert sizes == [8, 4, 0, 8, 4, 0, 4, 4, 4, 0, 4, 4, 4, 0, 3, 1, 3, 1, 3, 1, 0]


def test_responses_are_numbered_from_the_first_row(policy: Policy) -> None:
    policy = _blurred(policy)
    prompts, sampling = _ids(policy, PROMPTS), Sampling(24, generations=2, seed=5)
    whole = generate(policy, prompts, sampling)
    rest = generate(policy, prompts[1:], sampling._replace(first_row=2))
    assert rest.sequences == whole.sequences[2:]


def test_other_steps_and_other_siblings_get_other_responses(policy: Policy) -> None:
    prompt = _ids(policy, PROMPTS[:1])
    steps = [generate(policy, prompt, Sampling(24, generations=2, step=step)).sequences for step in (0, 1)]
    assert len({tuple(row.completion) for responses in steps for row in responses}) == 4


def test_the_entropy_is_that_of_the_sampled_distribution(policy: Policy) -> None:
    prompt = _ids(policy, PROMPTS[:1])
    with torch.no_grad():
        logp = policy.model(torch.tensor(prompt)).logits[0, -1].log_softmax(-1)
    responses = generate(policy, prompt, Sampling(1))
    assert_close(responses.entropy, -(logp.exp() * logp).sum())


def test_top_k_and_top_p_change_tokens_log_probabilities_and_entropy_alike(policy: Policy) -> None:
    prompts = _ids(policy, PROMPTS)
    greedy = generate(policy, prompts, Sampling(12, temperature=0.0))
    for sampling in (Sampling(12, top_k=1), Sampling(12, top_p=1e-6)):
        responses = generate(policy, prompts, sampling)
        assert responses.sequences == greedy.sequences
        assert not responses.logp_BC.any() and responses.entropy == 0


def test_logits_are_held_for_a_few_rows_at_a_time(policy: Policy, monkeypatch: pytest.MonkeyPatch) -> None:
    sampling = Sampling(9, generations=3)
    whole = generate(policy, _ids(policy, PROMPTS), sampling)
    monkeypatch.setattr(generation, "TILE_ELEMENTS", 2 * 103)
    assert generate(policy, _ids(policy, PROMPTS), sampling).sequences == whole.sequences


def test_padding_does_not_change_a_logprob(policy: Policy) -> None:
    sequences = generate(policy, _ids(policy, PROMPTS), Sampling(9)).sequences
    padded = frozen_logprobs(policy, sequences, 1.0, budget=10_000)
    for row, sequence in enumerate(sequences):
        alone = predict(policy, MicroBatch([sequence], policy.device)).logp_BT
        assert_close(padded[row, : len(sequence.completion)], alone[0].detach(), atol=1e-5, rtol=0)


def test_micro_batches_keep_to_the_budget_and_lose_no_row(policy: Policy) -> None:
    sequences = generate(policy, _ids(policy, PROMPTS), Sampling(9, generations=4)).sequences
    groups = micro_batches(sequences, range(12), budget=64)
    assert sorted(row for group in groups for row in group) == list(range(12))
    assert all(len(group) * max(sequences[row].total for row in group) <= 64 for group in groups)
    assert len(micro_batches(sequences, [0], budget=1)) == 1


def _columns(start: int, end: int) -> Tensor:
    return torch.arange(start, end, dtype=torch.float32)[None, None, :, None].expand(4, 3, -1, 2)


def test_buffers_grow_and_forget_nothing() -> None:
    layer = PreallocatedLayer(_columns(0, 5), -_columns(0, 5), 1000, torch.float32)
    for end in range(6, 3 * MIN_GROWTH):
        keys, values = layer.update(*(sign * _columns(end - 1, end) for sign in (1, -1)))
    layer.reorder_cache(torch.tensor([0, 2, 3]))
    assert torch.equal(keys, _columns(0, end)) and torch.equal(values, -keys)
    assert torch.equal(layer.keys, keys[[0, 2, 3]]) and torch.equal(layer.values, values[[0, 2, 3]])
    assert layer.get_seq_length() == end


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("bias", [True, False])
def test_a_prepared_product_is_the_linear_layers(dtype: torch.dtype, bias: bool) -> None:
    torch.manual_seed(0)
    layer, x = torch.nn.Linear(40, 50, bias), torch.randn(3, 7, 40)
    with torch.no_grad(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        expected, product = layer(x), Product(layer.weight, layer.bias, dtype)
        # Kernels of some processors round the product before they add the bias, others only the sum.
        rounding = torch.finfo(dtype).eps * (linear(x, layer.weight).abs() + expected.abs()) + 1e-6
        assert ((product(x) - expected).abs() <= rounding).all()
        turned = product(x.transpose(0, 1)) - expected.transpose(0, 1)
        assert (turned.abs() <= rounding.transpose(0, 1)).all()


def test_layers_are_as_before_after_a_rollout_that_failed(policy: Policy) -> None:
    layers = [layer for layer in policy.model.modules() if isinstance(layer, torch.nn.Linear)]
    with pytest.raises(MemoryError), prepacked(policy):
        assert sum("forward" in vars(layer) for layer in layers) == len(layers) - 1  # all but the head
        raise MemoryError
    assert not any("forward" in vars(layer) for layer in layers)
