"""Tokens of tools within a response: read, but no part of any loss, as if what surrounds them stood side by side.

Holes are put into tensors whose right results are known: those of the same tokens without holes.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from service.domain.algorithms import GRPOSpec, ImportanceSamplingSpec, MirrorDescentSpec, PPOSpec
from worker.training.algorithms.grpo import GRPOObjective, grpo
from worker.training.algorithms.importance_sampling import ImportanceSamplingObjective
from worker.training.algorithms.mirror_descent import MirrorDescentObjective
from worker.training.algorithms.ppo import PPOObjective
from worker.training.algorithms.sft import SFTLoss
from worker.training.experience.collect import Experience
from worker.training.models.logprobs import Predicted, frozen_logprobs
from worker.training.models.packing import enable_if_supported
from worker.training.objectives.advantages import gae, on_last_token, whitened
from worker.training.objectives.aggregate import Averages, row_weights
from worker.training.objectives.surrogate import Batch
from worker.training.policy_optimization.critic import Critic, explained_variance
from worker.training.policy_optimization.policy_gradient import Objective, token_kl
from worker.training.sequences.batching import Tokens, lengths
from worker.training.setup.job import Setup
from worker.training.updates.gradients import accumulate

PLACES = [0, 1, 4, 5, 6]
"""Where the five tokens of each of two responses stand among tools' tokens."""
LENGTH = 8


def spread(values: Tensor, filling: float = 0.0) -> Tensor:
    """The same with holes, in which something else stands."""
    whole = torch.full((len(values), LENGTH), filling, dtype=values.dtype)
    whole[:, PLACES] = values
    return whole


def drawn(seed: int) -> Tensor:
    return torch.randn(2, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


DENSE = torch.ones(2, 5, dtype=torch.float64)
MASK = spread(DENSE)
REWARD = torch.tensor([1.0, -0.5], dtype=torch.float64)


def test_the_reward_stands_on_the_last_token_that_the_policy_sampled() -> None:
    assert_close(on_last_token(REWARD, MASK), spread(on_last_token(REWARD, DENSE)))


def test_advantages_pass_over_what_tools_answered() -> None:
    reward, value = on_last_token(REWARD, DENSE), drawn(1)
    expected = gae(reward, value, DENSE, 0.9, 0.8)
    assert_close(gae(spread(reward), spread(value, 77.0), MASK, 0.9, 0.8), spread(expected))


def test_whitening_and_explained_variance_do_not_see_holes() -> None:
    value, other = drawn(1), drawn(2)
    assert_close(whitened(spread(value, 77.0), MASK), spread(whitened(value, DENSE)))
    whole = explained_variance(spread(value, 7.0), spread(other, -7.0), MASK)
    assert whole == pytest.approx(explained_variance(value, other, DENSE))


CASES: dict[str, tuple[Objective, float]] = {
    "grpo": (GRPOObjective(GRPOSpec(num_generations=2)), 0.1),
    "grpo, dual clip": (GRPOObjective(GRPOSpec(num_generations=2, dual_clip=2.0)), 0.0),
    "gspo": (GRPOObjective(GRPOSpec(num_generations=2, importance_level="sequence")), 0.0),
    "ppo": (PPOObjective(PPOSpec()), 0.0),
    "importance sampling": (
        ImportanceSamplingObjective(ImportanceSamplingSpec(num_generations=2)),
        ImportanceSamplingSpec().beta,
    ),
    "mirror descent": (MirrorDescentObjective(MirrorDescentSpec(num_generations=2)), 0.0),
}


@pytest.mark.parametrize("aggregation", ["token_mean", "seq_mean", "seq_sum", "const", "group_mean"])
@pytest.mark.parametrize("case", CASES)
def test_a_loss_with_holes_is_the_loss_without_them_in_float64(case: str, aggregation: Any) -> None:
    objective, beta = CASES[case]
    each = case == "ppo"  # token has an advantage of its own
    advantage = drawn(5) if each else torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    group = torch.tensor([0, 0])
    weight = row_weights(torch.tensor([5, 5]), aggregation, group_B=group, max_length=9).double()[:, None]

    def loss(mask: Tensor, place: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        logp = drawn(1).requires_grad_()
        batch = Batch(Predicted(place(logp), None), place(drawn(2)), place(drawn(3)), mask, beta)
        losses, _ = objective.token_losses(batch, place(advantage) if each else advantage)
        total = (losses * weight * mask).sum()
        (gradient,) = torch.autograd.grad(total, logp)
        return total.detach(), gradient

    for ours, expected in zip(loss(MASK, spread), loss(DENSE, lambda values: values), strict=True):
        assert_close(ours, expected, atol=1e-12, rtol=0)


HOLED = [
    Tokens([5, 6, 7], [8, 9, 10, 11, 12, 13], [True, True, False, False, True, True]),
    Tokens([5, 6, 7], [20, 21, 22], None),
    Tokens([30], [31, 32, 33, 34], [True, False, False, True]),
]


@pytest.mark.parametrize("packing", [False, True])
def test_no_gradient_comes_from_predicting_what_tools_answered(policy: Any, packing: bool) -> None:
    if packing:
        policy = enable_if_supported(policy)
        assert policy.packing
    weight_B = torch.tensor([0.5, 1.5, 2.0])
    accumulate(SFTLoss(HOLED, range(3), weight_B, packing, policy), 4096, Averages())
    ours = {name: weight.grad.clone() for name, weight in policy.model.named_parameters()}
    policy.model.zero_grad()
    total = torch.zeros(())
    for weight, row in zip(weight_B, HOLED, strict=True):
        logp = policy.model(torch.tensor([[*row.prompt, *row.completion]])).logits[0].log_softmax(-1)
        for place, token in enumerate(row.completion):
            if row.loss_mask is None or row.loss_mask[place]:
                total = total - weight * logp[len(row.prompt) + place - 1, token]
    total.backward()  # type: ignore[no-untyped-call]
    for name, parameter in policy.model.named_parameters():
        assert_close(ours[name], parameter.grad, atol=2e-5, rtol=1e-4, msg=name)


def test_a_tools_tokens_are_targets_of_nothing(policy: Any) -> None:
    other = [row._replace(completion=[*row.completion]) for row in HOLED[:1]]
    experience = frozen_logprobs(policy, HOLED[:1], 1.0, 64)
    assert (experience[0, 2:4] == 0).all() and (experience[0, [0, 1, 4, 5]] != 0).all()
    other[0].completion[3] = 99  # read by what follows
    changed = frozen_logprobs(policy, other, 1.0, 64)
    assert torch.equal(experience[0, :2], changed[0, :2]) and (experience[0, 4:] != changed[0, 4:]).all()


def _experience(setup: Setup, rewards: Tensor) -> Experience:
    sequences = [HOLED[0], HOLED[0]._replace(completion=[8, 9, 10, 11, 14, 15]), *HOLED[1:]]
    old_BT = frozen_logprobs(setup.policy, sequences, 1.0, 4096)
    return Experience(sequences, old_BT, lengths(sequences, old_BT.device), rewards, torch.arange(4), {}, [])


def test_an_experience_knows_which_tokens_the_policy_sampled(make_setup: Callable[..., Setup]) -> None:
    experience = _experience(make_setup("grpo"), torch.zeros(4))
    marks = [[1, 1, 0, 0, 1, 1], [1, 1, 0, 0, 1, 1], [1, 1, 1, 0, 0, 0], [1, 0, 0, 1, 0, 0]]
    assert experience.mask_BT.tolist() == marks
    assert experience.length_B.tolist() == [4, 4, 3, 2]
    spec: Any = make_setup("ppo", algorithm_changes={"beta": 0.1}).spec.algorithm
    assert not token_kl(replace(experience, ref_BT=experience.sampler_BT - 1.0), spec)[experience.mask_BT == 0].any()


def test_grpos_first_loss_with_holes_is_that_of_the_advantages(make_setup: Callable[..., Setup]) -> None:
    """All ratios are 1, so the loss is the mean over responses of -A_i, whatever the tools answered."""
    setup = make_setup("grpo", algorithm_changes={"num_generations": 2, "beta": 0.0, "loss_aggregation": "seq_mean"})
    spec: Any = setup.spec.algorithm
    experience, advantage_B = _experience(setup, torch.zeros(4)), torch.tensor([1.0, -2.0, 0.5, 0.25])
    metrics = grpo(setup, spec).update_policy(0, experience, advantage_B[:, None])
    assert metrics["train/loss"] == pytest.approx(-float(advantage_B.mean()), abs=1e-6)
    assert metrics["policy/sampler_logp_diff"] == pytest.approx(0, abs=1e-5)


def test_the_critic_values_sampled_tokens_and_reads_outputs_of_tools(policy: Any) -> None:
    critic = Critic(policy)
    torch.nn.init.normal_(critic.head.weight)
    value_BT = critic.values(HOLED, 4096)
    assert value_BT.shape == (3, 6) and (value_BT[0, 2:4] == 0).all()
    hidden = policy.model.base_model(torch.tensor([[*HOLED[0].prompt, *HOLED[0].completion]])).last_hidden_state[0]
    expected = critic.head(hidden)[:, 0]
    assert_close(value_BT[0, [0, 1, 4, 5]], expected[[2, 3, 6, 7]].detach(), atol=1e-5, rtol=0)
