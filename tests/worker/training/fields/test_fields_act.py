"""Every field of a spec acts: changing it changes what a small job does, or it stands on a list with a reason."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError
from walk.cases import ANYWHERE, ELSEWHERE, READ_ALIKE, ROWS_DECIDE, SCORES, VALUES, WHERE
from walk.leaves import LEAVES, RunJob, another, covered_elsewhere, leaves, place, plain, put, verdict

from service.domain.algorithms import GRPOSpec
from service.domain.merge import merged
from service.domain.rewards import AnyReward
from service.domain.specs import JobSpec
from worker.training.rewards.registry import build

TESTS = Path(__file__).parents[3]


@pytest.mark.parametrize("path", [path for path in LEAVES if not covered_elsewhere(path)])
def test_another_value_of_a_field_changes_what_a_job_does(path: str, run_job: RunJob) -> None:
    assert verdict(LEAVES[path], run_job) == "acts"


@pytest.mark.parametrize(
    "path", [path for path in LEAVES if path.startswith("algorithm.") and not covered_elsewhere(path)]
)
def test_in_a_plain_job_such_a_field_acts_or_is_refused(path: str, run_job: RunJob) -> None:
    """Nowhere in between: what `place` had to arrange for must be asked for by the door."""
    kind = path.split(".")[1]
    changed = merged(plain(kind), put(path, another(LEAVES[path])))
    if path.rsplit(".", 1)[-1] in ROWS_DECIDE or place(LEAVES[path])[1] == changed:
        return
    try:
        JobSpec.model_validate(changed)
    except ValidationError:
        return
    assert run_job(plain(kind)) != run_job(changed)


def test_a_field_that_nobody_reads_is_found_out(run_job: RunJob) -> None:
    class Extended(GRPOSpec):
        """With a field that nothing reads."""

        forgotten: int = 3

    def run(document: dict[str, Any]) -> list[Any]:
        """The product as it is: it knows nothing of the field."""
        return run_job(merged(document, {"algorithm": {"forgotten": None}}))

    (new,) = [leaf for leaf in leaves(Extended, "algorithm.grpo.") if leaf.path not in LEAVES]
    assert new.path == "algorithm.grpo.forgotten" and not covered_elsewhere(new.path)
    assert verdict(new, run) == "nothing changed"


@pytest.mark.parametrize("path", SCORES)
def test_another_value_of_a_rewards_field_gives_another_score(path: str) -> None:
    kind, name = path.split(".")
    given, value, response, row = SCORES[path]
    specs = [{"type": kind, **given}, {"type": kind, **given, name: value}]
    one, other = (build(TypeAdapter(AnyReward).validate_python(spec)) for spec in specs)
    assert one("", response, row) != other("", response, row)


def test_the_lists_name_fields_and_tests_that_exist() -> None:
    assert set(ELSEWHERE) <= set(LEAVES)
    assert {f"rewards.{path}" for path in SCORES} <= set(LEAVES)
    assert all(any(path.startswith(start) for path in LEAVES) for start in (*WHERE, *READ_ALIKE))
    assert all(any(path.endswith(end) for path in LEAVES) for end in (*VALUES, *ANYWHERE))
    text = "".join(path.read_text() for path in TESTS.rglob("test_*.py"))
    assert not [name for name in ELSEWHERE.values() if f"def {name}(" not in text]


def test_blocks_that_are_read_alike_have_the_fields_of_where_they_are_tried() -> None:
    for start, tried in READ_ALIKE.items():
        for path in LEAVES:
            if path.startswith(start):
                assert f"{tried}{path.removeprefix(start)}" in LEAVES
