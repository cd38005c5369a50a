import pytest

from worker.training.watch import LIMITS, STEPS, Limit, Watch


def _said(watch: Watch, name: str, values: list[float]) -> list[int]:
    """In which of the steps it warned."""
    return [step for step, value in enumerate(values) if watch.look({name: value})]


@pytest.mark.parametrize("limit", LIMITS, ids=lambda limit: limit.metric)
def test_it_warns_once_when_a_share_has_been_high_for_some_steps_in_a_row(limit: Limit) -> None:
    high, fine = limit.above + 0.01, limit.above
    assert _said(Watch(), limit.metric, [high] * 3 * STEPS) == [STEPS - 1]
    assert _said(Watch(), limit.metric, [fine] * 3 * STEPS) == []
    assert _said(Watch(), limit.metric, ([high] * (STEPS - 1) + [fine]) * 3) == []


def test_it_warns_again_only_after_the_share_has_been_lower() -> None:
    values = [0.9] * STEPS + [0.1] + [0.9] * STEPS
    assert _said(Watch(), "policy/truncated", values) == [STEPS - 1, 2 * STEPS]


def test_it_names_metric_share_and_remedy() -> None:
    watch = Watch()
    (said,) = [line for _ in range(STEPS) for line in watch.look({"policy/truncated": 0.75})]
    assert said.startswith("policy/truncated: for 5 steps, more than 50% of the responses are cut off")
    assert said.endswith("raise algorithm.max_completion_length")


def test_both_may_be_high_and_other_metrics_do_not_matter() -> None:
    watch = Watch()
    metrics = {"policy/truncated": 1.0, "policy/zero_variance": 1.0, "train/loss": 5.0}
    assert [len(watch.look(metrics)) for _ in range(STEPS)] == [0] * (STEPS - 1) + [2]
    assert Watch().look({"train/loss": 1.0}) == []


def test_a_resumed_job_goes_on_counting() -> None:
    first, second = Watch(), Watch()
    assert _said(first, "policy/zero_variance", [1.0] * (STEPS - 1)) == []
    second.restore(first.state())
    assert _said(second, "policy/zero_variance", [1.0]) == [0]
