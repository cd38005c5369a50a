"""A run that goes wrong is told of at each step at which something is wrong, in the same words."""

import math
import random
from typing import Any

import pytest

from service.domain.health_notes import CODES
from service.domain.specs import JobSpec
from worker.training.run_monitor import LIMITS, STEPS, WINDOW, Limit, RunMonitor

TRAINED = {"train/loss": 0.0}
"""What a step in which the policy is trained reports."""
SFT = JobSpec.model_validate({"algorithm": {"type": "sft"}, "dataset": {"source": "linear-algebra"}})


def grpo(**algorithm: Any) -> JobSpec:
    fields = {"type": "grpo", **algorithm}
    rewards = [{"type": "math"}]
    return JobSpec.model_validate({"algorithm": fields, "dataset": {"source": "linear-algebra"}, "rewards": rewards})


def noted(monitor: RunMonitor, name: str, values: list[float], **others: float) -> list[int]:
    """In which of the steps something was wrong."""
    return [step for step, value in enumerate(values) if monitor.observe({name: value, **others})]


def codes(monitor: RunMonitor, name: str, values: list[float], **others: float) -> set[str]:
    return {note.code for value in values for note in monitor.observe({name: value, **others})}


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.metric)
def test_a_share_is_noted_from_when_it_has_been_high_for_some_steps_until_it_is_lower(limit: Limit) -> None:
    high, fine = limit.above + 0.01, limit.above
    assert noted(RunMonitor(grpo()), limit.metric, [high] * 2 * STEPS) == list(range(STEPS - 1, 2 * STEPS))
    assert noted(RunMonitor(grpo()), limit.metric, [fine] * 3 * STEPS) == []
    assert noted(RunMonitor(grpo()), limit.metric, ([high] * (STEPS - 1) + [fine]) * 3) == []


def test_a_note_has_a_code_a_sentence_a_remedy_and_its_metric_and_its_words_do_not_change() -> None:
    monitor = RunMonitor(grpo())
    first, second = [note for _ in range(STEPS + 1) for note in monitor.observe({"policy/truncated": 0.75})]
    assert first == second and first.code == "responses_cut" and first.param == "policy/truncated"
    assert first.message.startswith("policy/truncated: for 5 steps, more than 50% of the responses are cut off")
    assert first.remedy == "raise algorithm.max_completion_length"


def test_the_advice_about_groups_that_agree_depends_on_whether_they_are_right() -> None:
    advice = []
    for accuracy in (0.0, 0.5, 1.0):
        monitor = RunMonitor(grpo())
        metrics = {"policy/zero_variance": 1.0, "policy/accuracy": accuracy}
        [note] = [note for _ in range(STEPS) for note in monitor.observe(metrics)]
        advice.append(str(note.remedy))
    assert advice[0].startswith("nearly no response is right: use easier prompts")
    assert advice[1].startswith("use easier or harder prompts")
    assert advice[2].startswith("nearly all responses are right: use harder prompts")


@pytest.mark.parametrize(
    "losses",
    [
        [2.0 + step for step in range(22)],  # rises from the start
        [4.0, 3.0, 2.0, 1.0, 0.5, *[0.1] * 20, *[3.0] * 5],  # falls and explodes, to less than it began with
        [0.1] * 10 + [23.8] * 5,
    ],
)
def test_a_loss_that_explodes_is_noted(losses: list[float]) -> None:
    assert codes(RunMonitor(SFT), "train/loss", losses) == {"loss_rose"}


@pytest.mark.parametrize("seed", range(3))
def test_a_loss_that_falls_with_noise_is_not(seed: int) -> None:
    rng = random.Random(seed)
    losses = [4 * math.exp(-step / 50) + abs(rng.gauss(0, 0.3)) for step in range(300)]
    assert codes(RunMonitor(SFT), "train/loss", losses) == set()


def test_the_loss_of_a_policy_gradient_says_nothing() -> None:
    assert codes(RunMonitor(grpo()), "train/loss", [float(step) for step in range(50)]) == set()


@pytest.mark.parametrize(
    ("rewards", "code"),
    [
        ([0.3] * 3 * WINDOW, "reward_flat"),
        ([0.0] * 3 * WINDOW, "reward_flat"),
        ([0.3 + 0.1 * (-1) ** step for step in range(80)], "reward_flat"),
        ([0.8 - 0.01 * step for step in range(80)], "reward_fell"),
    ],
)
def test_a_reward_that_is_flat_or_falls_is_noted(rewards: list[float], code: str) -> None:
    assert codes(RunMonitor(grpo()), "policy/reward", rewards, **TRAINED) == {code}


def test_a_reward_that_rises_or_that_is_full_from_the_start_is_not() -> None:
    rng = random.Random(1)
    rising = [0.2 + 0.005 * step + rng.gauss(0, 0.05) for step in range(100)]
    assert codes(RunMonitor(grpo()), "policy/reward", rising, **TRAINED) == set()
    full = {"policy/accuracy": 1.0}
    assert not [note for monitor in [RunMonitor(grpo())] for _ in range(90) if (note := _full(monitor, full))]


def _full(monitor: RunMonitor, metrics: dict[str, float]) -> list[Any]:
    return monitor.observe({"policy/reward": 1.0, **metrics, **TRAINED})


def test_a_kl_that_its_target_does_not_hold_is_noted() -> None:
    steered = grpo(beta=0.05, kl_target=2.0)
    assert codes(RunMonitor(steered), "policy/kl_response", [7.0] * 2 * STEPS) == {"kl_high"}
    assert codes(RunMonitor(steered), "policy/kl_response", [5.0] * 4 * STEPS) == set()
    assert codes(RunMonitor(grpo()), "policy/kl_response", [7.0] * 4 * STEPS) == set()


def test_a_policy_that_is_sure_and_wrong_is_noted() -> None:
    wrong, right = {"policy/accuracy": 0.2}, {"policy/accuracy": 0.97}
    assert codes(RunMonitor(grpo()), "policy/entropy", [0.001] * STEPS, **wrong) == {"entropy_low"}
    assert codes(RunMonitor(grpo()), "policy/entropy", [0.001] * STEPS, **right) == set()


def test_a_reward_says_nothing_while_the_policy_is_not_trained() -> None:
    warming = RunMonitor(grpo())
    assert not [note for _ in range(4 * WINDOW) for note in warming.observe({"policy/reward": 0.3})]


def test_a_loss_on_held_out_rows_that_rises_is_noted() -> None:
    monitor = RunMonitor(SFT)
    seen = [bool(monitor.observe_evaluation({"eval/loss": loss})) for loss in (3.0, 2.0, 2.01, 2.2, 2.3, 1.9)]
    assert seen == [False, False, False, False, True, False]
    assert not monitor.observe_evaluation({"eval/accuracy": 0.1})


def test_a_resumed_job_goes_on_counting() -> None:
    values = [0.3 + 0.1 * (-1) ** step for step in range(3 * WINDOW)]
    first, second = RunMonitor(grpo()), RunMonitor(grpo())
    assert codes(first, "policy/reward", values[:-1], **TRAINED) == set()
    second.restore(first.state())
    assert codes(second, "policy/reward", values[-1:], **TRAINED) == {"reward_flat"}


def test_what_earlier_versions_stored_is_read() -> None:
    monitor = RunMonitor(grpo())
    monitor.restore({"policy/truncated": 0, "policy/zero_variance": STEPS - 1})
    assert noted(monitor, "policy/zero_variance", [1.0]) == [0]


def test_every_code_has_a_severity_and_a_sentence() -> None:
    assert all(meaning.sentence and not meaning.sentence.endswith(".") for meaning in CODES.values())
