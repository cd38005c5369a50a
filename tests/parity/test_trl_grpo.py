"""GRPO against TRL 1.16: the same weights and the same responses give the same loss, gradient and advantages.

Shapes: P prompts, G responses each, B = P*G responses, T tokens.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from service.domain.algorithms import AdvantageNorm, GRPOSpec
from worker.training.algorithms import grpo
from worker.training.experience.collect import Experience
from worker.training.models import packing, tiny
from worker.training.models.logprobs import frozen_logprobs
from worker.training.models.policy import Policy, load_policy
from worker.training.objectives.advantages import normalized
from worker.training.objectives.aggregate import Averages
from worker.training.policy_optimization.policy_gradient import PolicyLoss, weights
from worker.training.sequences.batching import Tokens, lengths
from worker.training.updates.gradients import accumulate

pytest.importorskip("trl", reason="TRL is not installed: pip install -c requirements.lock -e '.[peers]'")
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing. is deprecated:FutureWarning")

PROMPTS, GENERATIONS, LONGEST = 2, 4, 9
EXACT = 1e-6
Trainer = Callable[..., Any]


class Rollouts(NamedTuple):
    """Responses that were sampled some updates ago, so that the ratios are not 1."""

    sequences: list[Tokens]
    old_BT: Tensor
    ref_BT: Tensor
    advantage_B: Tensor
    truncated_B: Tensor


@pytest.fixture
def policy() -> Policy:
    return load_policy("tiny", 0, torch.device("cpu"), "fp32")


@pytest.fixture
def rollouts(policy: Policy) -> Rollouts:
    generator = torch.Generator().manual_seed(0)

    def ids(count: int) -> list[int]:
        return torch.randint(7, 100, (count,), generator=generator).tolist()

    prompts = [ids(5), ids(3)]
    sequences = [
        Tokens(prompts[row // GENERATIONS], ids(length)) for row, length in enumerate([9, 4, 1, 7, 3, 9, 6, 2])
    ]
    logp_BT = frozen_logprobs(policy, sequences, 1.0, 10_000)
    old_BT, ref_BT = (logp_BT + 0.4 * torch.randn(logp_BT.shape, generator=generator) for _ in range(2))
    truncated_B = torch.tensor([len(row.completion) == LONGEST for row in sequences])
    return Rollouts(sequences, old_BT, ref_BT, torch.randn(len(sequences), generator=generator), truncated_B)


@pytest.fixture
def trainer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trainer:
    """Makes TRL's trainer of the tiny model."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    from datasets import Dataset
    from trl import GRPOConfig, GRPOTrainer

    model, tokenizer = tiny.build(0)
    model.save_pretrained(tmp_path / "model")

    def make(rewards: list[float] | None = None, rollout: Callable[..., Any] | None = None, **changes: Any) -> Any:
        options: dict[str, Any] = {
            "output_dir": str(tmp_path / "out"),
            "use_cpu": True,
            "bf16": False,
            "report_to": "none",
            "gradient_checkpointing": False,
            "per_device_train_batch_size": PROMPTS * GENERATIONS,
            "num_generations": GENERATIONS,
            "max_completion_length": LONGEST,
        }
        return GRPOTrainer(
            model=str(tmp_path / "model"),
            reward_funcs=lambda completions, **_: rewards,
            args=GRPOConfig(**options | changes),
            train_dataset=Dataset.from_list([{"prompt": "a"}] * PROMPTS * GENERATIONS),
            processing_class=tokenizer,
            rollout_func=rollout,
        )

    return make


def peers_loss(peer: Any, rollouts: Rollouts) -> Tensor:
    """TRL's loss, its gradient left at its model's weights."""
    from trl.trainer.utils import pad

    def padded(rows: list[list[int]], side: str) -> tuple[Tensor, Tensor]:
        ids = [torch.tensor(row) for row in rows]
        mask = [torch.ones_like(row) for row in ids]
        return pad(ids, padding_value=0, padding_side=side), pad(mask, padding_value=0, padding_side=side)

    prompt_ids, prompt_mask = padded([row.prompt for row in rollouts.sequences], "left")
    completion_ids, completion_mask = padded([row.completion for row in rollouts.sequences], "right")
    if peer.mask_truncated_completions:
        completion_mask = completion_mask * ~rollouts.truncated_B[:, None]
    peer.model.eval()  # one batch without accumulation; the model has no dropout
    loss: Tensor = peer._compute_loss(
        peer.model,
        {
            "prompt_ids": prompt_ids,
            "prompt_mask": prompt_mask,
            "completion_ids": completion_ids,
            "completion_mask": completion_mask,
            "advantages": rollouts.advantage_B,
            "old_per_token_logps": rollouts.old_BT,
            "ref_per_token_logps": rollouts.ref_BT,
            "num_items_in_batch": completion_mask.sum(),
        },
    )
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.detach()


def our_loss(policy: Policy, spec: GRPOSpec, rollouts: Rollouts, budget: int) -> Tensor:
    """Ours, its gradient left at the policy's weights. Truncated responses are left out where they do not count."""
    counts_B = ~rollouts.truncated_B if spec.mask_truncated else torch.ones_like(rollouts.truncated_B)
    place_B = counts_B.nonzero()[:, 0]
    sequences = [rollouts.sequences[place] for place in place_B]
    old_BT, ref_BT, advantage_B = rollouts.old_BT[place_B], rollouts.ref_BT[place_B], rollouts.advantage_B[place_B]
    length_B = lengths(sequences, policy.device)
    experience = Experience(sequences, old_BT, length_B, torch.zeros(len(sequences)), place_B, {}, [], ref_BT)
    rows = list(range(len(sequences)))
    loss = PolicyLoss(
        sequences=sequences,
        rows=rows,
        weight_N=weights(experience, rows, spec, spec.loss_aggregation),
        packing=False,
        policy=policy,
        spec=spec,
        objective=grpo.GRPOObjective(spec),
        experience=experience,
        advantage_BT=advantage_B[:, None],
        old_BT=old_BT,
        beta=spec.beta,
        is_first=False,
        number=None,
    )
    return accumulate(loss, budget, Averages())


def gradients(model: Any) -> dict[str, Tensor]:
    return {name: weight.grad for name, weight in model.named_parameters() if weight.grad is not None}


PLAIN = {"loss_type": "grpo", "beta": 0.04, "use_bias_correction_kl": False}
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "grpo": ({}, PLAIN),
    "grpo, the KL corrected by the ratio": ({"kl_ratio_correction": True}, PLAIN | {"use_bias_correction_kl": True}),
    "grpo, another clip above 1": ({"clip_eps_high": 0.5}, PLAIN | {"epsilon_high": 0.5}),
    "grpo at a temperature": ({"temperature": 0.7}, PLAIN | {"temperature": 0.7}),
    "grpo without the truncated": ({"mask_truncated": True}, PLAIN | {"mask_truncated_completions": True}),
    # A delta below 1 + epsilon, against which TRL's documentation advises, caps positive advantages there; ours do not.
    "grpo, dual clip, there called delta": ({"dual_clip": 1.3}, PLAIN | {"delta": 1.3}),
    "dapo": ({"loss_aggregation": "token_mean"}, PLAIN | {"loss_type": "dapo"}),
    "dapo without the truncated": (
        {"loss_aggregation": "token_mean", "mask_truncated": True},
        PLAIN | {"loss_type": "dapo", "mask_truncated_completions": True},
    ),
    "bnpo, which on one batch is dapo": ({"loss_aggregation": "token_mean"}, PLAIN | {"loss_type": "bnpo"}),
    "dr_grpo": (
        {"loss_aggregation": "const", "max_completion_length": LONGEST},
        PLAIN | {"loss_type": "dr_grpo"},
    ),
    "gspo": (
        {"importance_level": "sequence", "beta": 0.0, "clip_eps": 3e-4, "clip_eps_high": 4e-4},
        {"importance_sampling_level": "sequence", "loss_type": "grpo", "epsilon": 3e-4, "epsilon_high": 4e-4},
    ),
    "gspo with a corrected KL": (
        {"importance_level": "sequence", "kl_ratio_correction": True},
        PLAIN | {"importance_sampling_level": "sequence", "use_bias_correction_kl": True},
    ),
}


def counted_share(peer_options: dict[str, Any], rollouts: Rollouts) -> float:
    """TRL leaves masked responses in the number that its mean over responses is divided by; here they do not count."""
    masked = peer_options.get("mask_truncated_completions", False) and peer_options["loss_type"] == "grpo"
    return float((~rollouts.truncated_B).float().mean()) if masked else 1.0


@pytest.mark.parametrize(("our_options", "peer_options"), CASES.values(), ids=list(CASES))
def test_loss_and_gradient_are_trls(
    our_options: dict[str, Any], peer_options: dict[str, Any], policy: Policy, rollouts: Rollouts, trainer: Trainer
) -> None:
    peer = trainer(**peer_options)
    share = counted_share(peer_options, rollouts)
    expected = peers_loss(peer, rollouts) / share
    theirs = {name: gradient / share for name, gradient in gradients(peer.model).items()}
    assert max(gradient.abs().max() for gradient in theirs.values()) > 1e-3

    def ours_agrees(budget: int) -> None:
        policy.model.zero_grad()
        assert_close(our_loss(policy, GRPOSpec(**our_options), rollouts, budget), expected, atol=EXACT, rtol=EXACT)
        assert_close(gradients(policy.model), theirs, atol=EXACT, rtol=EXACT)

    ours_agrees(budget=16)  # padded, in pieces
    assert packing.enable_if_supported(policy).packing
    ours_agrees(budget=10_000)  # in one row, in which prompts are shared


REWARDS = [1.0, 0.0, 0.0, 3.0, 0.5, 0.5, 0.5, 0.5]  # the second group has nothing to compare
ADVANTAGES: list[tuple[AdvantageNorm, str]] = [("group_std", "group"), ("batch_std", "batch"), ("group_mean", "none")]


@pytest.mark.parametrize(("ours", "theirs"), ADVANTAGES)
def test_advantages_are_trls(
    ours: AdvantageNorm, theirs: str, trainer: Trainer, rollouts: Rollouts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")  # its `rollout_func` is what lets us choose the responses

    def rollout(prompts: list[str], _: Any) -> dict[str, Any]:
        rows = rollouts.sequences
        completions = [row.completion for row in rows]
        return {"prompt_ids": [row.prompt for row in rows], "completion_ids": completions, "logprobs": None}

    peer = trainer(REWARDS, rollout, scale_rewards=theirs, beta=0.0)
    peer_batch = peer._generate_and_score_completions([{"prompt": "a"}] * len(REWARDS))
    advantage_PG = normalized(torch.tensor(REWARDS).view(PROMPTS, GENERATIONS), ours)
    assert_close(advantage_PG.flatten(), peer_batch["advantages"], atol=EXACT, rtol=EXACT)


def test_leave_one_out_compares_with_the_mean_of_the_others() -> None:
    advantage_PG = normalized(torch.tensor(REWARDS).view(PROMPTS, GENERATIONS), "leave_one_out")
    by_hand = [[1 - 3 / 3, 0 - 4 / 3, 0 - 4 / 3, 3 - 1 / 3], [0.0, 0.0, 0.0, 0.0]]
    assert_close(advantage_PG, torch.tensor(by_hand))
