"""What no reward could judge does not count, nor what is masked: a step is the one of the others alone."""

import math
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, tensor
from torch.testing import assert_close

from hone.errors import Invalid
from service.domain.algorithms import AdvantageNorm
from worker.training.algorithm import build
from worker.training.algorithms.mirror_descent import MirrorDescentObjective
from worker.training.experience.collect import Experience
from worker.training.experience.evaluate import Evaluation
from worker.training.experience.prompts import success_rates
from worker.training.objectives.advantages import equal_rewards, normalized
from worker.training.objectives.aggregate import row_weights
from worker.training.objectives.shaping import gated
from worker.training.rewards.pool import RewardPool, Score
from worker.training.setup.job import Setup

Make = Callable[..., Setup]
NORMS: list[AdvantageNorm] = ["none", "group_mean", "group_std", "leave_one_out"]
NAN = math.nan


def patterns(seed: int, prompts: int = 5, generations: int = 4) -> tuple[Tensor, Tensor]:
    """Rewards [P, G], and which of them count: some groups whole, some with one, some with none."""
    rng = random.Random(seed)
    reward = tensor([[rng.choice([0.0, 0.3, 1.0, rng.random()]) for _ in range(generations)] for _ in range(prompts)])
    counts = tensor([[rng.random() < rng.choice([0.2, 0.7, 1.0]) for _ in range(generations)] for _ in range(prompts)])
    return reward, counts


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("seed", range(8))
def test_the_advantages_of_a_group_are_those_of_its_responses_that_count(norm: AdvantageNorm, seed: int) -> None:
    reward, counts = patterns(seed)
    advantage = normalized(reward.where(counts, NAN), norm)
    assert advantage.isnan().equal(~counts)
    for group, some, own in zip(reward, counts, advantage, strict=True):
        if some.sum() > 1:
            assert_close(own[some], normalized(group[some][None], norm)[0], atol=1e-6, rtol=1e-6)
        elif some.sum() == 1 and norm != "none":
            assert own[some].item() == 0  # alone, it has nothing to be compared with


@pytest.mark.parametrize("seed", range(4))
def test_the_spread_of_a_batch_is_that_of_what_counts(seed: int) -> None:
    reward, counts = patterns(seed)
    advantage = normalized(reward.where(counts, NAN), "batch_std")
    means = torch.stack([group[some].mean() for group, some in zip(reward, counts, strict=True)])
    expected = (reward - means[:, None]) / (reward[counts].std() + 1e-4)
    expected = expected.masked_fill(equal_rewards(reward.where(counts, NAN))[:, None], 0.0)
    assert_close(advantage[counts], expected[counts], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("baseline", ["soft_mean", "mean"])
def test_mirror_descents_baseline_is_that_of_what_counts(make_setup: Make, baseline: str) -> None:
    spec: Any = make_setup("mirror_descent", algorithm_changes={"baseline": baseline, "tau": 0.5}).spec.algorithm
    objective = MirrorDescentObjective(spec)
    reward, counts = patterns(3)
    advantage = objective.advantages(reward.where(counts, NAN))
    for group, some, own in zip(reward, counts, advantage, strict=True):
        if some.any():
            assert_close(own[some], objective.advantages(group[some][None])[0], atol=1e-6, rtol=1e-6)


def test_rewards_1_1_0_0_of_which_one_died_have_the_advantages_of_three() -> None:
    advantage = normalized(tensor([[1.0, NAN, 0.0, 0.0]]), "group_std")[0]
    assert_close(advantage[[0, 2, 3]], tensor([1.1545, -0.5773, -0.5773]), atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("mode", ["token_mean", "seq_mean", "seq_sum", "const", "group_mean"])
def test_the_weights_are_those_of_the_groups_that_are_left(mode: Any) -> None:
    length, group = tensor([3, 5, 2, 4]), tensor([0, 0, 2, 7])
    weight = row_weights(length, mode, group_B=group, max_length=8)
    by_hand = {
        "token_mean": [1 / 14] * 4,
        "seq_mean": [1 / 12, 1 / 20, 1 / 8, 1 / 16],
        "seq_sum": [1 / 4] * 4,
        "const": [1 / 32] * 4,
        "group_mean": [1 / 24, 1 / 24, 1 / 6, 1 / 12],
    }
    assert_close(weight, tensor(by_hand[mode]))


class Losing:
    """Rewards whose process dies at some responses."""

    def __init__(self, pool: RewardPool, lost: Callable[[int], bool]) -> None:
        self._pool, self._lost = pool, lost

    def score(self, items: Any) -> list[Score]:
        scores = self._pool.score(items)
        return [replace(score, total=0.0, error="regex: its process died") if self._lost(i) else score
                for i, score in enumerate(scores)]  # fmt: skip


OWN: dict[str, dict[str, Any]] = {
    "grpo": {"beta": 0.1, "minibatches": 2, "num_iterations": 2},
    "reinforce": {"advantage_norm": "leave_one_out"},
    "importance_sampling": {"advantage_norm": "group_mean"},
    "mirror_descent": {},
    "ppo": {"whiten_advantages": True, "whiten_rewards": True, "beta": 0.1, "num_iterations": 2},
}


def prepared(make_setup: Make, kind: str, **changes: Any) -> tuple[Setup, Any]:
    own = {"prompts_per_step": 4, "num_generations": 4, "max_completion_length": 8} | OWN[kind] | changes
    setup = make_setup(kind, algorithm_changes=own, rewards=[{"type": "regex", "pattern": "[a-p]"}], packing=False)
    return setup, build(setup)


def subset(experience: Experience, rows: list[int]) -> Experience:
    """A step of which these are all the responses."""
    return Experience(
        [experience.sequences[row] for row in rows],
        experience.sampler_BT[rows],
        experience.length_B[rows],
        experience.reward_B[rows],
        experience.place_B[rows],
        {},
        [],
        None if experience.ref_BT is None else experience.ref_BT[rows],
    )


@pytest.mark.parametrize("kind", OWN)
@pytest.mark.parametrize("seed", range(2))
def test_a_step_with_errors_is_the_step_of_what_was_judged(make_setup: Make, kind: str, seed: int) -> None:
    rng = random.Random(seed)
    lost = {i for i in range(16) if rng.random() < 0.35}
    whole_setup, whole = prepared(make_setup, kind)
    part_setup, part = prepared(make_setup, kind)
    experience = whole._rollouts.collect(0)
    kept = [i for i in range(16) if i not in lost]
    assert experience.place_B.tolist() == list(range(16))
    expected = subset(replace(experience, ref_BT=whole._reference.logprobs(experience.sequences)), kept)
    theirs = whole.learn(0, expected) | whole._reference.update_reference(0, expected)
    part_setup.pool = Losing(part_setup.pool, lost.__contains__)  # type: ignore[assignment]
    ours = part.advance(0).metrics
    assert ours["reward/errors"] == len(lost) and ours["policy/counted"] == pytest.approx(len(kept) / 16)
    assert {name: ours[name] for name in theirs} == pytest.approx(theirs, abs=1e-6, rel=1e-5)
    assert ours["policy/reward"] == pytest.approx(float(expected.reward_B.mean()), abs=1e-6)
    for mine, other in zip(part_setup.policy.model.parameters(), whole_setup.policy.model.parameters(), strict=True):
        assert_close(mine, other, atol=1e-6, rtol=1e-6)


def test_masked_responses_are_in_no_mean_spread_or_loss(make_setup: Make) -> None:
    _, algorithm = prepared(make_setup, "grpo", max_completion_length=24, mask_truncated=True)
    experience = algorithm._rollouts.collect(0)
    longest = max(len(sequence.completion) for sequence in experience.sequences)
    assert 0 < len(experience.sequences) < 16 and longest <= 24
    assert experience.metrics["policy/counted"] == pytest.approx(len(experience.sequences) / 16)
    advantage_B = algorithm.advantages(replace(experience, ref_BT=None))
    for group in set((experience.place_B // 4).tolist()):
        own = experience.place_B // 4 == group
        if own.sum() > 1:
            assert_close(advantage_B[own], normalized(experience.reward_B[own][None], "group_std")[0])


def test_a_step_in_which_nothing_counts_leaves_the_weights_alone(make_setup: Make) -> None:
    for kind in OWN:
        setup, algorithm = prepared(make_setup, kind, max_completion_length=1, mask_truncated=True)
        before = [weight.detach().clone() for weight in setup.policy.model.parameters()]
        metrics = algorithm.advance(0).metrics
        assert metrics["policy/counted"] == 0 and metrics["train/loss"] == 0 and metrics["policy/truncated"] == 1
        assert all(map(torch.equal, before, setup.policy.model.parameters()))
        assert all(math.isfinite(value) for value in metrics.values())


def test_a_job_fails_when_more_responses_than_allowed_could_not_be_judged(make_setup: Make) -> None:
    setup, algorithm = prepared(make_setup, "grpo")
    setup.pool = Losing(setup.pool, lambda i: i < 9)  # type: ignore[assignment]
    with pytest.raises(Invalid, match=r"rewards failed on 9 of 16 responses, the first with: .* at most 50% may") as no:
        algorithm.advance(0)
    assert no.value.param == "max_invalid_rewards"
    setup.spec = setup.spec.model_copy(update={"max_invalid_rewards": 0.6})
    assert algorithm.advance(0).metrics["reward/errors"] == 9


def test_what_the_rewards_could_not_judge_is_told_with_the_first_reason(make_setup: Make) -> None:
    setup, algorithm = prepared(make_setup, "grpo")
    pool = setup.pool
    setup.pool = Losing(pool, lambda i: i < 3)  # type: ignore[assignment]
    algorithm.advance(0)
    [note] = [note for note in setup.notes if note.code == "rewards_failed"]
    assert note.message == "3 of 16 responses could not be judged, the first because of regex: its process died"
    setup.notes.clear()
    held_out = [{"prompt": "1+1", "answer": "2"}] * 2
    setup.pool = Losing(pool, lambda i: i < 1)  # type: ignore[assignment]
    Evaluation(make_evaluated(setup), held_out).run()
    assert [note.code for note in setup.notes] == ["rewards_failed"]


def make_evaluated(setup: Setup) -> Setup:
    """The same with held-out rows in its spec."""
    setup.spec = setup.spec.model_copy(update={"eval_dataset": setup.spec.dataset})
    return setup


def test_an_evaluation_is_over_what_was_judged(make_setup: Make) -> None:
    rows = [{"prompt": "1+1", "answer": "2"}, {"prompt": "2+2", "answer": "4"}]
    changes = {"eval_dataset": {"source": "linear-algebra"}, "rewards": [{"type": "regex", "pattern": "."}]}
    sampled = {"temperature": 1.0, "num_generations": 4, "pass_at": [1, 3]}
    setup = make_setup("grpo", evaluation=sampled, **changes)
    setup.pool = Losing(setup.pool, {0, 1, 2}.__contains__)  # type: ignore[assignment]
    metrics, _ = Evaluation(setup, rows).run()
    assert metrics["eval/accuracy"] == 1 and metrics["eval/reward"] == 1 and metrics["eval/pass@1"] == 1
    assert metrics["eval/pass@3"] == 1  # of the second prompt alone: of the first, one response was judged
    assert metrics["eval/rewards/errors"] == 3


def test_a_prompt_of_which_nothing_was_judged_keeps_its_success_rate() -> None:
    assert success_rates([True, False, True, False], [True, True, False, False], 2) == [0.5, None]


def test_groups_in_which_all_failed_do_not_learn_from_their_form() -> None:
    reward, outcome = tensor([0.0, 0.02, 0.04, 0.06, 1.0, 0.1, 1.1, NAN]), tensor([0.0, 0, 0, 0, 1, 0, 1, 0])
    by_outcome = gated(reward, outcome, 4).view(2, 4)
    assert not normalized(by_outcome, "group_std")[0].any()
    assert_close(by_outcome[1][:3], reward[4:7])
    assert normalized(reward.view(2, 4), "group_std")[0].abs().max() > 1.1  # what it was


@pytest.mark.parametrize(("by", "share"), [(None, 1.0), ("outcome", 1.0), ("reward", 0.0)])
def test_zero_variance_is_judged_by_the_outcome_where_other_terms_shape(
    make_setup: Make, by: str | None, share: float
) -> None:
    shaping = {"type": "regex", "pattern": "[a-h]", "weight": 0.1}
    own = {"zero_variance_by": by, "prompts_per_step": 2, "num_generations": 8, "beta": 0.0}
    setup = make_setup("grpo", algorithm_changes=own, rewards=[{"type": "exact"}, shaping])
    metrics = build(setup).advance(0).metrics
    assert metrics["policy/accuracy"] == 0 and metrics["policy/zero_variance"] == share
