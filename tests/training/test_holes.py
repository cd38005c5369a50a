"""Tokens of tools within a response: read, but no part of any loss, as if what surrounds them stood side by side.

Holes are put into tensors whose right results are known: those of the same tokens without holes.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from service.domain.algorithms import GRPOSpec, ImportanceSamplingSpec, MirrorDescentSpec, PPOSpec
from worker.training import grpo, importance_sampling, mirror_descent, ppo
from worker.training.advantages import gae, on_last_token, whitened
from worker.training.aggregate import Averages, row_weights
from worker.training.batching import Tokens, lengths
from worker.training.critic import Critic, explained_variance
from worker.training.experience import Experience
from worker.training.gradients import Term, accumulate
from worker.training.improve import improve, token_kl
from worker.training.logprobs import Predicted, frozen_logprobs, predict
from worker.training.packing import allow
from worker.training.setup import Setup
from worker.training.surrogate import Batch

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


def test_the_reward_stands_on_the_last_token_that_the_policy_said() -> None:
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


CASES: dict[str, tuple[Callable[..., Any], Any, bool]] = {
    "grpo": (grpo.token_losses, GRPOSpec(beta=0.1, num_generations=2), False),
    "grpo, dual clip": (grpo.token_losses, GRPOSpec(beta=0.0, num_generations=2, dual_clip=2.0), False),
    "gspo": (grpo.token_losses, GRPOSpec(beta=0.0, num_generations=2, importance_level="sequence"), False),
    "ppo": (ppo.token_losses, PPOSpec(), True),
    "importance sampling": (importance_sampling.token_losses, ImportanceSamplingSpec(num_generations=2), False),
    "mirror descent": (mirror_descent.token_losses, MirrorDescentSpec(num_generations=2), False),
}


@pytest.mark.parametrize("aggregation", ["token_mean", "seq_mean", "seq_sum", "const", "group_mean"])
@pytest.mark.parametrize("case", CASES)
def test_a_loss_with_holes_is_the_loss_without_them_in_float64(case: str, aggregation: Any) -> None:
    token_losses, spec, each = CASES[case]
    advantage = drawn(5) if each else torch.tensor([[1.0], [-1.0]], dtype=torch.float64)
    weight = row_weights(torch.tensor([5, 5]), aggregation, group_size=2, max_length=9).double()[:, None]

    def loss(mask: Tensor, place: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        logp = drawn(1).requires_grad_()
        batch = Batch(Predicted(place(logp), None), place(drawn(2)), place(drawn(3)), mask, spec.beta)
        losses, _ = token_losses(batch, place(advantage) if each else advantage, spec)
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
        policy = allow(policy)
        assert policy.packing
    weight_B = torch.tensor([0.5, 1.5, 2.0])
    term = Term(
        HOLED,
        range(3),
        weight_B,
        lambda batch: predict(policy, batch),
        lambda _, said, __: (-said.logp_BT, {}),
        packing,
    )
    accumulate(term, 4096, Averages())
    ours = {name: weight.grad.clone() for name, weight in policy.model.named_parameters()}
    policy.model.zero_grad()
    total = torch.zeros(())
    for weight, row in zip(weight_B, HOLED, strict=True):
        logp = policy.model(torch.tensor([[*row.prompt, *row.completion]])).logits[0].log_softmax(-1)
        for place, token in enumerate(row.completion):
            if row.learned is None or row.learned[place]:
                total = total - weight * logp[len(row.prompt) + place - 1, token]
    total.backward()  # type: ignore[no-untyped-call]
    for name, parameter in policy.model.named_parameters():
        assert_close(ours[name], parameter.grad, atol=2e-5, rtol=1e-4, msg=name)


def test_a_tools_tokens_are_targets_of_nothing(policy: Any) -> None:
    other = [row._replace(completion=[*row.completion]) for row in HOLED[:1]]
    seen = frozen_logprobs(policy, HOLED[:1], 1.0, 64)
    assert (seen[0, 2:4] == 0).all() and (seen[0, [0, 1, 4, 5]] != 0).all()
    other[0].completion[3] = 99  # read by what follows
    changed = frozen_logprobs(policy, other, 1.0, 64)
    assert torch.equal(seen[0, :2], changed[0, :2]) and (seen[0, 4:] != changed[0, 4:]).all()


def _seen(made: Setup, rewards: Tensor) -> Experience:
    sequences = [HOLED[0], HOLED[0]._replace(completion=[8, 9, 10, 11, 14, 15]), *HOLED[1:]]
    old_BT = frozen_logprobs(made.policy, sequences, 1.0, 4096)
    return Experience(sequences, old_BT, lengths(sequences, old_BT.device), torch.zeros(4).bool(), rewards, {}, [])


def test_an_experience_knows_which_tokens_the_policy_said(setup: Callable[..., Setup]) -> None:
    seen = _seen(setup("grpo"), torch.zeros(4))
    marks = [[1, 1, 0, 0, 1, 1], [1, 1, 0, 0, 1, 1], [1, 1, 1, 0, 0, 0], [1, 0, 0, 1, 0, 0]]
    assert seen.mask_BT.tolist() == marks
    assert seen.length_B.tolist() == [4, 4, 3, 2]
    spec: Any = setup("ppo", algorithm_changes={"beta": 0.1}).spec.algorithm
    assert not token_kl(seen, seen.old_BT - 1.0, spec)[seen.mask_BT == 0].any()


def test_grpos_first_loss_with_holes_is_that_of_the_advantages(setup: Callable[..., Setup]) -> None:
    """All ratios are 1, so the loss is the mean over responses of -A_i, whatever the tools answered."""
    made = setup("grpo", algorithm_changes={"num_generations": 2, "beta": 0.0})
    spec: Any = made.spec.algorithm
    seen, advantage_B = _seen(made, torch.zeros(4)), torch.tensor([1.0, -2.0, 0.5, 0.25])

    def losses(rows: list[int], batch: Batch) -> Any:
        return grpo.token_losses(batch, advantage_B[rows, None], spec)

    metrics = improve(made, spec, made.learner(), 0, seen, losses, "seq_mean")
    assert metrics["train/loss"] == pytest.approx(-float(advantage_B.mean()), abs=1e-6)
    assert metrics["policy/sampler_logp_diff"] == pytest.approx(0, abs=1e-5)


def test_the_critic_values_what_the_policy_said_and_reads_what_tools_answered(policy: Any) -> None:
    critic = Critic(policy)
    torch.nn.init.normal_(critic.head.weight)
    value_BT = critic.values(HOLED, 4096)
    assert value_BT.shape == (3, 6) and (value_BT[0, 2:4] == 0).all()
    hidden = policy.model.base_model(torch.tensor([[*HOLED[0].prompt, *HOLED[0].completion]])).last_hidden_state[0]
    expected = critic.head(hidden)[:, 0]
    assert_close(value_BT[0, [0, 1, 4, 5]], expected[[2, 3, 6, 7]].detach(), atol=1e-5, rtol=0)
