"""The table of metrics and what small jobs report agree, in both directions."""

from pathlib import Path
from typing import Any

import pytest
from walk.cases import EVAL, OWN, POLICIES
from walk.leaves import plain

from service.domain.merge import merged
from service.domain.metrics import METRICS, describe

RULES = {"rewards": [{"type": "regex", "pattern": "[a-m]"}, {"type": "exact", "weight": 0.5}]}
KL = {"beta": 0.1, "num_iterations": 2}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    # algorithm and changes of a small job that together report everything
    "sft": ("sft", EVAL | RULES),
    "reward_model": ("reward_model", {"eval_dataset": {"source": "file-2"}}),
    "reinforce": ("reinforce", RULES | {"algorithm": {"report_kl": True}}),
    "importance_sampling": ("importance_sampling", RULES),
    "mirror_descent": ("mirror_descent", RULES),
    "grpo": ("grpo", merged(RULES | EVAL, {"algorithm": KL | {"zero_variance": "resample"}})),
    "grpo, sampled evaluation": (
        "grpo",
        merged(RULES | EVAL, {"evaluation": {"num_generations": 2, "temperature": 1.0, "pass_at": [2]}}),
    ),
    "grpo, tools": (
        "grpo",
        merged(RULES | EVAL, {"tools": {}, "dataset": {"template": "text"}, "eval_dataset": {"template": "text"}}),
    ),
    "ppo": (
        "ppo",
        merged(RULES, {"algorithm": KL | {"value_clip": 0.2, "ptx": {"dataset": {"source": "file-1"}}}}),
    ),
}
OF_EVERY_POLICY = {
    "train/loss",
    "train/grad_norm",
    "train/learning_rate",
    "train/tokens",
    "policy/reward",
    "policy/accuracy",
    "policy/advantage_std",
    "policy/zero_variance",
    "policy/counted",
    "policy/ratio",
    "policy/ratio_max",
    "policy/kl_old",
    "policy/entropy",
    "policy/truncated",
    "policy/completion_length",
    "policy/sampler_logp_diff",
    "policy/sampler_ratio",
    "policy/sampler_ratio_max",
    "reward/errors",
}


@pytest.fixture(scope="module")
def reported(models: dict[str, str], files: dict[str, str], tmp_path_factory: Any) -> dict[str, set[str]]:
    """The names of all metrics of one step of each case."""
    from worker.protocol import Assignment, Evaluated, Step
    from worker.training.loop import run

    names: dict[str, set[str]] = {}
    for case, (kind, changes) in CASES.items():
        spec = merged(plain(kind), changes) | {"steps": 1}
        folder: Path = tmp_path_factory.mktemp("job")
        assignment = Assignment(
            job_id="ftjob-9", attempt=1, spec=spec, directory=str(folder), models=models, files=files
        )
        events = [event for event in run(assignment, lambda: None) if isinstance(event, Step | Evaluated)]
        names[case] = {name for event in events for name in event.metrics}
    return names


def test_every_algorithm_is_among_the_cases() -> None:
    assert {kind for kind, _ in CASES.values()} == set(OWN)


def test_what_is_reported_is_documented(reported: dict[str, set[str]]) -> None:
    assert not [name for names in reported.values() for name in names if describe(name) is None]


def test_what_is_documented_is_reported(reported: dict[str, set[str]]) -> None:
    """Of a family one name is enough, if it has no entry of its own."""
    names = set().union(*reported.values())
    for entry in METRICS:
        found = {name for name in names - set(METRICS) if name.startswith(entry)} if entry[-1] in "/@" else names
        assert found if entry[-1] in "/@" else entry in found, f"no job reports {entry}"


@pytest.mark.parametrize("kind", POLICIES)
def test_every_algorithm_that_samples_reports_its_ratios_and_what_it_sampled(
    reported: dict[str, set[str]], kind: str
) -> None:
    assert reported[kind] >= OF_EVERY_POLICY


@pytest.mark.parametrize("kind", ["importance_sampling", "mirror_descent", "grpo", "ppo"])
def test_a_second_pass_over_the_responses_has_its_own_ratios(reported: dict[str, set[str]], kind: str) -> None:
    for name in ("policy/ratio", "policy/ratio_max", "policy/kl_old"):
        assert {f"{name}@1", f"{name}@2"} <= reported[kind]


@pytest.mark.parametrize("kind", ["reinforce", "grpo"])
def test_a_kl_that_is_asked_for_is_reported(reported: dict[str, set[str]], kind: str) -> None:
    assert {"policy/kl", "policy/kl_response"} <= reported[kind]
