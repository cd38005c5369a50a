"""What each preset does, not which fields it has: gradients, weights, shares, by hand or on a tiny model."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, tensor
from torch.testing import assert_close

from service.domain.presets import PRESETS
from service.domain.specs import JobSpec
from worker.training.algorithms.grpo import GRPOObjective
from worker.training.algorithms.importance_sampling import ImportanceSamplingObjective
from worker.training.algorithms.mirror_descent import mirror_descent
from worker.training.algorithms.ppo import PPO, PPOObjective
from worker.training.algorithms.reinforce import ReinforceObjective
from worker.training.data.encode import Encoder
from worker.training.experience.curriculum import level_shares
from worker.training.models.logprobs import Predicted
from worker.training.models.policy import Policy
from worker.training.objectives.aggregate import row_weights
from worker.training.objectives.shaping import gated, overlong
from worker.training.objectives.surrogate import Batch
from worker.training.rewards.registry import zero_variance_reward
from worker.training.setup.job import Setup

Make = Callable[..., Setup]
OBJECTIVES: dict[str, Callable[[Any], Any]] = {
    "reinforce": ReinforceObjective,
    "importance_sampling": ImportanceSamplingObjective,
    "grpo": GRPOObjective,
    "ppo": PPOObjective,
}
SMALL = {"prompts_per_step": 4, "num_generations": 4, "max_completion_length": 8}
REWARDS = [{"type": "regex", "pattern": "[0-9a-m]{2}"}]


def spec_of(name: str, **changes: Any) -> JobSpec:
    fields = PRESETS[name].fields
    rewarded = "rewards" in fields or fields["algorithm"]["type"] == "sft"
    needed = {"dataset": {"source": "linear-algebra"}} | ({} if rewarded else {"rewards": [{"type": "math"}]})
    return JobSpec.model_validate(needed | {"algorithm": {"preset": name}} | changes)


def gradient(name: str, ratio: float, advantage: float, log_x: float = 0.0) -> float:
    """-dL/dlogp of a response of one token with pi/pi_old = ratio and pi_ref/pi = exp(log_x)."""
    spec: Any = spec_of(name).algorithm
    logp = tensor([[-1.0]], requires_grad=True)
    old, ref = logp.detach() - tensor(ratio).log(), logp.detach() + log_x
    batch = Batch(Predicted(logp, None), old, ref, torch.ones(1, 1), spec.beta)
    loss, _ = OBJECTIVES[spec.type](spec).token_losses(batch, tensor([[advantage]]))
    return -float(torch.autograd.grad(loss.sum(), logp)[0])


def advantages(name: str, *rewards: float) -> list[float]:
    spec: Any = spec_of(name).algorithm
    values: list[float] = OBJECTIVES[spec.type](spec).advantages(tensor([rewards], dtype=torch.float32))[0].tolist()
    return values


def weight_of_lengths(name: str, *lengths: int) -> list[float]:
    """How much a token of each response weighs, the last one's as 1."""
    spec: Any = spec_of(name).algorithm
    limit = getattr(spec, "max_completion_length", None)
    weight_B = row_weights(tensor(lengths), spec.loss_aggregation, max_length=limit)
    return [round(weight, 5) for weight in (weight_B / weight_B[-1]).tolist()]


def test_reinforce_learns_from_equal_rewards_too() -> None:
    assert advantages("reinforce", 1, 1) == [1, 1]
    assert gradient("reinforce", 1, 2) == 2
    assert weight_of_lengths("reinforce", 1, 9) == [1, 1]  # the likelihood of whole responses


def test_importance_sampling_has_no_clip() -> None:
    assert [gradient("importance_sampling", ratio, 1) for ratio in (0.5, 5)] == pytest.approx([0.5, 5])


def test_ppo_stops_where_the_ratio_has_gone_far_enough() -> None:
    assert gradient("ppo", 1.19, 1) == pytest.approx(1.19) and gradient("ppo", 1.21, 1) == 0
    assert gradient("ppo", 0.79, -1) == 0 and gradient("ppo", 5.0, -1) == pytest.approx(-5)  # no dual clip


def test_grpo_compares_with_the_group_and_pulls_towards_the_reference() -> None:
    assert advantages("grpo", 1, 1, 1) == [0, 0, 0]
    assert advantages("grpo", 1, 0) == pytest.approx([0.7071, -0.7071], abs=1e-3)
    assert gradient("grpo", 1, 0, log_x=0.5) == pytest.approx(0.04 * (tensor(0.5).exp().item() - 1))
    assert weight_of_lengths("grpo", 1, 2) == [2, 1]


def test_rloo_compares_each_with_the_other() -> None:
    assert advantages("rloo", 1, 0) == [1, -1]


def test_theory_weighs_tokens_alike_and_trl_sft_as_well_whatever_the_mean() -> None:
    assert weight_of_lengths("theory", 1, 9) == weight_of_lengths("trl_sft_default", 1, 9) == [1, 1]
    sums = row_weights(tensor([3, 5]), spec_of("theory").algorithm.loss_aggregation)  # type: ignore[union-attr]
    means = row_weights(tensor([3, 5]), spec_of("trl_sft_default").algorithm.loss_aggregation)  # type: ignore[union-attr]
    assert_close(sums / means, tensor([4.0, 4.0]))  # a mean over the 8 tokens, a sum in the mean over 2 rows


def targets_of(make_setup: Make, name: str, **own: Any) -> tuple[Any, Any, Tensor]:
    """A PPO preset's targets for one batch; its algorithm; the rewards on the last tokens."""
    setup = make_setup("ppo", algorithm_changes={"preset": name} | SMALL | own, rewards=REWARDS)
    algorithm = PPO(setup, setup.spec.algorithm)  # type: ignore[arg-type]
    experience = algorithm._rollouts.collect(0)
    return algorithm, experience, algorithm.targets(experience).return_BT


def test_open_reasoner_zero_returns_the_reward_at_every_token(make_setup: Make) -> None:
    _, experience, return_BT = targets_of(make_setup, "open_reasoner_zero", minibatches=1, critic_minibatches=2)
    assert_close(return_BT, experience.reward_B[:, None] * experience.mask_BT)
    assert gradient("open_reasoner_zero", 1.3, 1) == 0


def test_instructgpt_pays_for_its_kl_in_the_reward_and_the_loss_has_none() -> None:
    assert gradient("instructgpt", 1, 1, log_x=3.0) == 1
    assert gradient("instructgpt", 1.3, 1) == 0


def test_instructgpts_ptx_has_eight_texts_for_each_response() -> None:
    ptx = {"dataset": {"source": "linear-algebra"}, "coef": 27.8, "batch_size": 512}
    spec: Any = spec_of("instructgpt", algorithm={"preset": "instructgpt", "ptx": ptx}).algorithm
    responses = spec.prompts_per_step * spec.num_generations / spec.minibatches
    assert spec.ptx.batch_size / responses == 8
    assert "batch_size: 512" in PRESETS["instructgpt"].notes


def test_deepseek_r1_lets_ratios_move_far_before_it_clips() -> None:
    assert gradient("deepseek_r1", 10.9, 1) == pytest.approx(10.9) and gradient("deepseek_r1", 11.1, 1) == 0
    assert gradient("deepseek_r1", 1, 0, log_x=0.5) == pytest.approx(0.001 * (tensor(0.5).exp().item() - 1), rel=1e-3)


WITHOUT = {"prompt_sampling": None, "length_penalty": 0, "length_penalty_warmup_steps": 0}


@pytest.fixture
def kimi(make_setup: Make) -> Callable[..., float]:
    """The norm of the gradients of a step of the preset, with a rate at which the tiny model moves."""

    def norm(**own: Any) -> float:
        fields = PRESETS["kimi_k1_5"].fields["algorithm"] | SMALL | {"partial_rollout_length": None}
        setup = make_setup(
            "mirror_descent",
            algorithm_changes=fields | WITHOUT | own,
            optimizer={"learning_rate": 0.01, "schedule": "constant"},
            rewards=REWARDS,
        )
        return mirror_descent(setup, setup.spec.algorithm).advance(0).metrics["train/grad_norm"]  # type: ignore[arg-type]

    return norm


def test_kimis_tau_matters(kimi: Callable[..., float]) -> None:
    assert abs(kimi() - kimi(tau=5.0)) > 0.01 * kimi()
    once = {"num_iterations": 1, "minibatches": 1}  # where it could not: log(pi / pi_old) is 0
    assert kimi(**once) == pytest.approx(kimi(**once, tau=5.0), rel=1e-5)


def test_kimi_draws_hard_prompts_more_often_within_its_curriculum() -> None:
    from worker.training.experience.prompts import Prompts

    rows = [{"difficulty": row} for row in range(20)]
    prompts = Prompts(rows, spec_of("kimi_k1_5").algorithm.prompt_sampling, seed=0)  # type: ignore[union-attr]
    prompts.record_success([0, 1], [1.0, 1.0])
    drawn = [row for _ in range(100) for row in prompts.draw(0, 1)]
    assert set(drawn) <= {0, 1, 2, 3}  # the easiest fifth
    assert sum(row < 2 for row in drawn) < 20  # solved


def test_dapo_replaces_prompts_that_are_all_wrong_whatever_their_lengths_cost() -> None:
    spec: Any = spec_of("dapo")
    assert zero_variance_reward(spec) == "math" and spec.algorithm.zero_variance == "resample"
    cost_B = overlong(tensor([16_384, 18_432, 20_480, 100]), 20_480, 4096)
    assert cost_B.tolist() == [0, -0.5, -1, 0]
    assert len(set(gated(cost_B, torch.zeros(4), 4).tolist())) == 1  # no variance: replaced
    assert gated(cost_B, tensor([0.0, 1, 0, 0]), 4).tolist() == cost_B.tolist()
    assert gradient("dapo", 1.27, 1) == pytest.approx(1.27) and gradient("dapo", 1.29, 1) == 0
    assert gradient("dapo", 0.79, -1) == 0
    assert weight_of_lengths("dapo", 1, 9) == [1, 1]


def test_dr_grpo_divides_by_neither_spread_nor_length() -> None:
    assert advantages("dr_grpo", 1, 0) == [0.5, -0.5]
    assert advantages("dr_grpo", 0.1, 0) == pytest.approx([0.05, -0.05])
    assert weight_of_lengths("dr_grpo", 1, 9) == [1, 1]


@pytest.mark.parametrize("name", ["gspo", "linalgzero"])
def test_one_ratio_of_a_whole_response_is_clipped_within_a_hair(name: str) -> None:
    assert gradient(name, 1.0003, 1) > 0 and gradient(name, 1.0005, 1) == 0
    assert gradient(name, 0.9998, -1) < 0 and gradient(name, 0.9996, -1) == 0


def test_linalgzeros_last_sixth_has_seventy_percent_three_call_problems() -> None:
    order: Any = spec_of("linalgzero").algorithm.prompt_sampling  # type: ignore[union-attr]
    last = range(order.steps * 5 // 6, order.steps)
    shares = [level_shares([1, 2, 3], step / order.steps, order.sigma, order.easiest_share) for step in last]
    assert torch.stack(shares).mean(dim=0).tolist() == pytest.approx([0.1, 0.2, 0.7], abs=0.02)


def test_linalgzero_sft_learns_the_prompt_and_trl_does_not(policy: Policy) -> None:
    row = {"prompt": "1+1=", "completion": "2"}
    learned = {}
    for name in ("linalgzero_sft", "trl_sft_default"):
        spec: Any = spec_of(name).algorithm
        encoder = Encoder(policy.tokenizer, "auto", "dataset")
        (sequence,) = encoder.encode([row], 64, spec.loss_on, spec.truncation).sequences
        learned[name] = policy.tokenizer.decode(sequence.completion, skip_special_tokens=True)
    assert learned["trl_sft_default"] == "2" and str(learned["linalgzero_sft"]).endswith("+1=2")


def test_trl_default_counts_tokens_alike_and_has_no_kl() -> None:
    assert weight_of_lengths("trl_default", 1, 9) == [1, 1]
    assert gradient("trl_default", 1, 0, log_x=3.0) == 0


@pytest.mark.parametrize("name", ["verl_default", "verl_grpo"])
def test_verl_bounds_the_ratio_of_bad_responses(name: str) -> None:
    assert gradient(name, 2.9, -1) == pytest.approx(-2.9) and gradient(name, 3.1, -1) == 0
    assert weight_of_lengths(name, 1, 9) == [1, 1]


def test_verl_default_whitens_its_advantages(make_setup: Make) -> None:
    algorithm, experience, _ = targets_of(make_setup, "verl_default", num_generations=4)
    advantage = algorithm.targets(experience).advantage_BT[experience.mask_BT.bool()]
    assert_close(advantage.mean(), tensor(0.0), atol=1e-5, rtol=0)
