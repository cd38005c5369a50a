import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor, nn
from torch.testing import assert_close

from service.domain.algorithms import LossAggregation
from worker.protocol import Assignment, Step
from worker.training.decoding.generate import Sampling, generate
from worker.training.loop import run
from worker.training.models import packing, tiny
from worker.training.models.logprobs import Predicted, frozen_logprobs, predict
from worker.training.models.policy import Policy
from worker.training.models.recompute import recompute
from worker.training.objectives.aggregate import Averages, TokenLosses, row_weights
from worker.training.policy_optimization.critic import Critic
from worker.training.sequences import attention
from worker.training.sequences.batching import MicroBatch, Tokens, lengths, micro_batches
from worker.training.updates.gradients import TokenLoss, accumulate

CPU = torch.device("cpu")
WORDS = 103
SMALL: dict[str, Any] = {
    "vocab_size": WORDS,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 1,
}
GPT2 = {"vocab_size": WORDS, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}
TOKENS = {"pad_token_id": 0, "bos_token_id": None, "eos_token_id": 1}
PACKS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", SMALL | {"num_key_value_heads": 4}),
    "llama with grouped queries": ("Llama", SMALL),
    "gpt2": ("GPT2", GPT2 | TOKENS),
    "qwen2": ("Qwen2", SMALL),
    "qwen3": ("Qwen3", SMALL | {"head_dim": 12}),
    "mixture of experts": (
        "Qwen3Moe",
        SMALL | {"head_dim": 8, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16},
    ),
}
STAYS_PADDED: dict[str, tuple[str, dict[str, Any]]] = {
    "a sliding window": ("Mistral", SMALL | {"sliding_window": 8}),
    "a window wider than any trial": ("Mistral", SMALL | {"sliding_window": 100}),
    "windows in some layers": (
        "Qwen2",
        SMALL | {"use_sliding_window": True, "sliding_window": 100, "max_window_layers": 1},
    ),
    "soft caps": ("Gemma2", SMALL | {"head_dim": 8}),
    "sinks": ("GptOss", SMALL | {"head_dim": 8, "num_local_experts": 2, "num_experts_per_tok": 1}),
    "biases by distance": ("Falcon", SMALL | {"alibi": True, "new_decoder_architecture": True}),
    "a recurrent state": ("Mamba", {"vocab_size": WORDS, "hidden_size": 16, "num_hidden_layers": 2} | TOKENS),
}


def _policy(shape: tuple[str, dict[str, Any]]) -> Policy:
    kind, fields = shape
    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(**fields)
    model = getattr(transformers, f"{kind}LMHeadModel" if kind == "GPT2" else f"{kind}ForCausalLM")(config).eval()
    for weight in model.parameters():
        if weight.ndim > 1:
            nn.init.normal_(weight, std=0.2)  # so that what is attended to matters
    return Policy(model, tiny.build_tokenizer(), CPU, torch.float32)


def _sequences(prompts: int = 5) -> list[Tokens]:
    """Prompts with one to four completions of 1 to 24 tokens, and a long one with short completions."""
    generator = torch.Generator().manual_seed(0)

    def draw(low: int, high: int) -> int:
        return int(torch.randint(low, high, (1,), generator=generator))

    def ids(length: int) -> list[int]:
        return [draw(2, WORDS) for _ in range(length)]

    asked = [ids(draw(1, 20)) for _ in range(prompts)]
    longest = ids(60)
    short = [Tokens(longest, ids(draw(2, 9))) for _ in range(6)]
    return [*(Tokens(prompt, ids(draw(1, 25))) for prompt in asked for _ in range(draw(1, 5))), *short]


def _passed(policy: Policy, sequences: list[Tokens], packed: bool) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Log-probabilities, entropies, and the gradient of something made of both."""
    policy.packing = packed
    policy.model.zero_grad()
    batch = MicroBatch(sequences, CPU)
    assert bool(batch.inputs(packing=packed).state) == packed
    logp_BT, entropy_BT = predict(policy, batch, temperature=0.8, entropy=True)
    assert entropy_BT is not None
    torch.autograd.backward((logp_BT.square() - entropy_BT).mean())
    gradient = {name: weight.grad for name, weight in policy.model.named_parameters() if weight.grad is not None}
    return logp_BT.detach(), entropy_BT.detach(), {name: grad.clone() for name, grad in gradient.items()}


@pytest.fixture(params=PACKS)
def packing_policy(request: pytest.FixtureRequest) -> Policy:
    """A policy whose model can read packed sequences."""
    policy = packing.enable_if_supported(_policy(PACKS[request.param]))
    assert policy.packing
    return policy


def test_packed_sequences_have_the_log_probs_entropies_and_gradients_of_padded_ones(packing_policy: Policy) -> None:
    sequences = _sequences()
    padded, packed = (_passed(packing_policy, sequences, packed) for packed in (False, True))
    assert_close(packed, padded, atol=1e-5, rtol=1e-5)


def test_packed_sequences_have_the_values_of_padded_ones(packing_policy: Policy) -> None:
    critic = Critic(packing_policy)
    nn.init.ones_(critic.head.weight)
    batch, values = MicroBatch(_sequences(), CPU), []
    for critic.packing in (False, True):
        critic.zero_grad()
        value_BT = critic(batch)
        torch.autograd.backward(value_BT.square().mean())
        values.append((value_BT.detach(), [weight.grad for weight in critic.parameters() if weight.grad is not None]))
    assert_close(values[1], values[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("case", STAYS_PADDED)
def test_a_model_that_attends_in_another_way_stays_padded(case: str) -> None:
    policy = _policy(STAYS_PADDED[case])
    before = policy.model.config._attn_implementation
    sequences = _sequences(2)
    expected = frozen_logprobs(policy, sequences, 1.0, 1000)
    assert not packing.enable_if_supported(policy).packing
    assert policy.model.config._attn_implementation == before
    assert_close(frozen_logprobs(policy, sequences, 1.0, 1000), expected)


def test_a_model_that_claims_more_than_it_does_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = _policy(("StableLm", SMALL))  # it attends as it always does, whatever layout it is given
    monkeypatch.setattr(type(policy.model), "_supports_attention_backend", True)
    assert not packing.enable_if_supported(policy).packing
    assert policy.model.config._attn_implementation == attention.PLAIN


def test_each_prompt_is_read_once_for_all_its_responses(policy: Policy) -> None:
    packing.enable_if_supported(policy)
    read: list[int] = []
    embeddings: Any = policy.model.get_input_embeddings()
    embeddings.register_forward_pre_hook(lambda _, arguments: read.append(arguments[0].numel()))
    first, second = list(range(10, 40)), list(range(50, 70))
    sequences = [Tokens(prompt, [7] * length) for prompt in (first, second) for length in (5, 9, 2)]
    frozen_logprobs(policy, sequences, 1.0, 1000)
    assert read == [30 + (4 + 8 + 1) + 20 + (4 + 8 + 1)]


@dataclass(frozen=True)
class SquaredLogProbs(TokenLoss[Predicted]):
    policy: Policy

    def forward(self, batch: MicroBatch) -> Predicted:
        return predict(self.policy, batch)

    def token_losses(self, rows: list[int], predicted: Predicted, mask_BT: Tensor) -> TokenLosses:
        return predicted.logp_BT.square(), {}


@pytest.mark.parametrize("aggregation", ["token_mean", "seq_mean", "group_mean"])
def test_cutting_a_batch_into_micro_batches_does_not_change_its_gradient(
    policy: Policy, aggregation: LossAggregation
) -> None:
    packing.enable_if_supported(policy)
    sequences = [
        Tokens([2, prompt, 3, 4], [5 + prompt] * length) for prompt in range(8) for length in (3 + prompt, 19 - prompt)
    ]  # 4 + 22 - 2 tokens for each prompt
    weight_B = row_weights(lengths(sequences, CPU), aggregation, group_B=torch.arange(16) // 2)

    results = []
    for pieces in (1, 2, 4, 8):
        policy.model.zero_grad()
        budget = 8 * 24 // pieces
        assert len(micro_batches(sequences, range(16), budget, packing=True)) == pieces
        loss = SquaredLogProbs(sequences, range(16), weight_B, policy.packing, policy)
        results.append((accumulate(loss, budget, Averages()), [weight.grad for weight in policy.model.parameters()]))
    for other in results[1:]:
        assert_close(other, results[0], atol=1e-6, rtol=1e-5)


def test_recomputed_layers_follow_the_layout_too(packing_policy: Policy) -> None:
    sequences = _sequences()
    kept = _passed(packing_policy, sequences, packed=True)
    recompute(packing_policy.model)
    assert_close(_passed(packing_policy, sequences, packed=True), kept, atol=0, rtol=0)


def test_tokens_that_do_not_count_are_still_read(policy: Policy) -> None:
    packing.enable_if_supported(policy)
    prompt, completion = list(range(10, 20)), list(range(30, 42))
    mask = [place in (0, 3, 4, 11) for place in range(12)]
    rows = [Tokens(prompt, completion), Tokens(prompt, completion, mask), Tokens(prompt, completion[:3])]
    batch = MicroBatch(rows, CPU)
    for policy.packing in (False, True):
        logp_BT = predict(policy, batch).logp_BT
        assert_close(logp_BT[1], logp_BT[0] * torch.tensor(mask), atol=1e-6, rtol=0)
        assert int((logp_BT != 0).sum()) == 12 + 4 + 3


def test_in_bf16_both_layouts_differ_by_rounding_only(policy: Policy) -> None:
    packing.enable_if_supported(policy)
    sequences = _sequences()
    exact = frozen_logprobs(policy, sequences, 1.0, 1000)
    policy.dtype = torch.bfloat16
    for policy.packing in (False, True):
        assert_close(frozen_logprobs(policy, sequences, 1.0, 1000), exact, atol=0.1, rtol=0)


def test_many_contexts_of_other_lengths_are_computed_apart_and_no_less_exactly(
    policy: Policy, monkeypatch: pytest.MonkeyPatch
) -> None:
    packing.enable_if_supported(policy)
    sequences = _sequences(8)
    together = MicroBatch(sequences, CPU).packed.state["layout"]
    monkeypatch.setattr(attention, "MASK_ELEMENTS", 0)
    monkeypatch.setattr(attention, "FREE_ELEMENTS", 0)
    apart = MicroBatch(sequences, CPU).packed.state["layout"]
    assert len(apart.buckets) > len(together.buckets)
    padded, packed = (_passed(policy, sequences, packed) for packed in (False, True))
    assert_close(packed, padded, atol=1e-5, rtol=1e-5)


def test_little_of_a_bucket_is_padding() -> None:
    segments = [attention.PackedSegment(0, length) for length in range(500, 20, -7)]
    buckets = attention.layout(segments, CPU).buckets
    needed = sum(segment.scores for segment in segments)
    assert sum(bucket.segments * bucket.queries * bucket.keys for bucket in buckets) <= 1.25 * needed
    assert len(buckets) <= 10


def test_a_long_prompt_is_copied_for_few_of_its_short_completions() -> None:
    completions = [attention.PackedSegment(1000 + 10 * index, 10, 0, 1000) for index in range(64)]
    buckets = attention.layout([attention.PackedSegment(0, 1000), *completions], CPU).buckets
    assert [bucket.segments for bucket in buckets] == [1, 3]  # the prompt, and 25, 25 and 14 completions
    assert sum(bucket.segments * bucket.queries * bucket.keys for bucket in buckets[1:]) <= 1.6 * 640 * 1010


def test_long_completions_of_one_prompt_share_a_mask() -> None:
    completions = [attention.PackedSegment(20 + 50 * index, 50, 0, 20) for index in range(8)]
    _, bucket = attention.layout([attention.PackedSegment(0, 20), *completions], CPU).buckets
    assert bucket.mask is not None and bucket.mask.shape == (1, 1, 50, 70)


def test_sampling_is_the_same_after_the_model_was_made_ready(policy: Policy) -> None:
    sampling = Sampling(max_tokens=6, generations=2)
    before = generate(policy, [[10, 50], [70]], sampling)
    packing.enable_if_supported(policy)
    after = generate(policy, [[10, 50], [70]], sampling)
    assert before.sequences == after.sequences
    assert torch.equal(before.logp_BC, after.logp_BC)


def test_an_exported_model_does_not_know_of_it(policy: Policy, tmp_path: Path) -> None:
    packing.enable_if_supported(policy)
    copy.deepcopy(policy.model).save_pretrained(tmp_path)
    assert attention.PACKED not in (tmp_path / "config.json").read_text()


@pytest.mark.parametrize("algorithm", ["sft", "grpo", "ppo"])
def test_a_job_has_the_same_losses_with_and_without_packing(assign: Callable[..., Assignment], algorithm: str) -> None:
    losses = []
    for packed in (True, False):
        events = run(assign(algorithm, steps=2, packing=packed), should_stop=lambda: None)
        losses.append([event.metrics["train/loss"] for event in events if isinstance(event, Step)])
    assert len(losses[0]) == 2
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)
