"""pi_old is the policy before a step's first update, by the pass that trains; the sampler is another matter."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from worker.training.algorithm import build
from worker.training.setup.job import Setup

Make = Callable[..., Setup]
RL = {"prompts_per_step": 4, "num_generations": 4, "max_completion_length": 24}
KINDS: dict[str, dict[str, Any]] = {
    "grpo": {"beta": 0.0, "clip_eps": 3e-4, "clip_eps_high": 4e-4},
    "grpo by response": {"beta": 0.0, "clip_eps": 3e-4, "clip_eps_high": 4e-4, "importance_level": "sequence"},
    "grpo with entropy": {"beta": 0.0, "entropy_coef": 0.01},
    "ppo": {"num_iterations": 1},
    "importance_sampling": {"num_iterations": 1},
    "reinforce": {},
    "mirror_descent": {},
}


def algorithm(make_setup: Make, kind: str, precision: str, **changes: Any) -> tuple[Setup, Any]:
    own = RL | KINDS[kind] | changes.pop("algorithm_changes", {})
    rewards = [{"type": "regex", "pattern": "[a-c]"}]
    setup = make_setup(kind.split()[0], algorithm_changes=own, precision=precision, rewards=rewards, **changes)
    return setup, build(setup)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("packing", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_ratio_of_an_unused_policy_is_exactly_1(
    make_setup: Make, kind: str, precision: str, *, packing: bool
) -> None:
    _, one_update = algorithm(make_setup, kind, precision, packing=packing)
    metrics = one_update.advance(0).metrics
    assert metrics["policy/ratio"] == pytest.approx(1, abs=1e-12) and metrics["policy/ratio_max"] == 1
    assert metrics["policy/kl_old"] == 0 and metrics.get("policy/clip_fraction", 0) == 0
    assert 0 < metrics["policy/sampler_logp_diff"] < (1e-4 if precision == "fp32" else 0.1)
    assert metrics["policy/sampler_ratio_max"] > 1


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("packing", [False, True])
@pytest.mark.parametrize("kind", ["grpo", "grpo by response", "grpo with entropy", "ppo", "mirror_descent"])
def test_before_a_step_moves_the_weights_every_ratio_of_its_minibatches_is_exactly_1(
    make_setup: Make, kind: str, precision: str, *, packing: bool
) -> None:
    changes = {"minibatches": 3, "num_iterations": 2}
    still = {"learning_rate": 1e-30, "weight_decay": 0.0}  # in fp32 the weights do not move by it
    _, several = algorithm(make_setup, kind, precision, packing=packing, algorithm_changes=changes, optimizer=still)
    metrics = several.advance(0).metrics
    for number in (1, 2):
        assert metrics[f"policy/ratio_max@{number}"] == 1 and metrics[f"policy/kl_old@{number}"] == 0
    assert metrics.get("policy/clip_fraction", 0) == 0


@pytest.mark.parametrize(("changes", "passes"), [({}, 1), ({"num_iterations": 3}, 3), ({"minibatches": 4}, 1.75)])
def test_there_is_a_second_forward_pass_only_where_a_later_minibatch_needs_it(
    make_setup: Make, changes: dict[str, Any], passes: float
) -> None:
    setup, grpo = algorithm(
        make_setup, "grpo", "fp32", packing=False, algorithm_changes={"zero_variance": "off"} | changes
    )
    experience = grpo._rollouts.collect(0)
    rows: list[int] = []
    setup.policy.model.base_model.register_forward_pre_hook(
        lambda _, arguments, named: rows.append(len(named["input_ids"])), with_kwargs=True
    )
    grpo.learn(0, experience)
    assert sum(rows) == passes * 16


def test_a_policy_that_moves_between_updates_has_ratios_that_each_pass_reports(make_setup: Make) -> None:
    _, grpo = algorithm(make_setup, "grpo", "fp32", algorithm_changes={"num_iterations": 3})
    metrics = grpo.advance(0).metrics
    assert metrics["policy/ratio_max@1"] == 1 < metrics["policy/ratio_max@2"]
    assert metrics["policy/kl_old@1"] == 0 < min(metrics["policy/kl_old@2"], metrics["policy/kl_old@3"])
    assert metrics["policy/ratio_max"] == max(metrics[f"policy/ratio_max@{number}"] for number in (1, 2, 3))


def test_a_sampler_that_disagrees_is_measured_and_its_tokens_are_weighted_up_to_the_cap(make_setup: Make) -> None:
    """The sampler's log-probabilities are shifted by hand: pi_old / sampler is e and 1/e in turn."""
    losses = {}
    for cap in (None, 1.0, 2.0, 100.0):
        correction = None if cap is None else {"type": "truncated", "cap": cap}
        _, grpo = algorithm(make_setup, "grpo", "fp32", algorithm_changes={"sampler_correction": correction})
        experience = grpo._rollouts.collect(0)
        sign = 1 - 2 * (torch.arange(experience.sampler_BT.shape[1]) % 2)
        experience.sampler_BT.sub_(sign)
        metrics = grpo.learn(0, experience)
        assert metrics["policy/sampler_logp_diff"] == pytest.approx(1, abs=1e-4)
        assert metrics["policy/sampler_ratio_max"] == pytest.approx(2.71828, abs=1e-3)
        assert metrics["policy/ratio_max"] == 1
        losses[cap] = metrics["train/grad_norm"]
    assert len({round(norm, 6) for norm in losses.values()}) == 4
    assert losses[1.0] < losses[2.0] < losses[100.0]


def test_a_correction_is_refused_where_it_would_do_nothing(make_setup: Make) -> None:
    correction = {"type": "truncated"}
    with pytest.raises(ValueError, match="one squared error for a response"):
        make_setup("mirror_descent", algorithm_changes={"sampler_correction": correction})
    with pytest.raises(ValueError, match="no effect on partial rollouts"):
        make_setup("grpo", algorithm_changes={"sampler_correction": correction, "partial_rollout_length": 4})


def test_the_kl_to_the_start_is_reported_at_beta_0_where_it_is_asked_for(make_setup: Make) -> None:
    weights = []
    for asked in (False, True):
        setup, grpo = algorithm(make_setup, "grpo", "fp32", algorithm_changes={"report_kl": asked})
        metrics = [grpo.advance(step).metrics for step in range(2)]
        assert ("policy/kl_response" in metrics[1]) is ("policy/kl" in metrics[1]) is asked
        weights.append(list(setup.policy.model.parameters()))
    assert all(map(torch.equal, *weights))
    assert metrics[0]["policy/kl_response"] == pytest.approx(0, abs=1e-3) != metrics[1]["policy/kl_response"]
    with pytest.raises(ValueError, match="report_kl"):
        make_setup("grpo", algorithm_changes={"report_kl": True, "beta": 0.1})


def test_partial_rollouts_are_compared_with_the_policies_that_sampled_them(make_setup: Make) -> None:
    _, grpo = algorithm(make_setup, "grpo", "fp32", algorithm_changes={"partial_rollout_length": 6})
    experience = grpo._rollouts.collect(0)
    experience.sampler_BT.sub_(0.5)  # as if an older policy had found each token less likely
    assert grpo.learn(0, experience)["policy/ratio"] == pytest.approx(math.exp(0.5), abs=1e-4)
