"""Each sixth failpoint, with each thing that can happen there; every job ends as its undisturbed twin did.

Another sixth with another `--faults-seed`; `benchmarks/faults.py --walk` goes by all of them.
"""

from collections.abc import Callable

import pytest
from rig import walk
from rig.trial import Trial

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]
Arm = Callable[[str], None]
Go = Callable[[str], None]
LIMIT_SECONDS = 600


@pytest.fixture
def go(trial: Trial, arm: Arm, request: pytest.FixtureRequest) -> Go:
    """Has jobs go by failpoints that act."""
    seed = int(request.config.getoption("faults_seed"))

    def check(action: str) -> None:
        chosen = walk.part(action, seed)
        arm(chosen.plan)
        wrong = chosen.run(trial, LIMIT_SECONDS)
        assert not wrong, trial.verdict(f"--faults-seed {seed}, {action}", wrong)

    return check


def test_a_process_killed_at_any_failpoint_costs_no_job_and_no_value(go: Go) -> None:
    go("kill")


def test_an_error_at_any_failpoint_costs_no_job_and_no_value(go: Go) -> None:
    go("error")


def test_what_was_done_but_is_said_to_have_failed_is_not_done_twice(go: Go) -> None:
    go("timeout")


def test_a_process_stalled_for_longer_than_its_lease_costs_no_job_and_no_value(go: Go) -> None:
    go("stall")


def test_the_parts_are_the_whole_walk() -> None:
    for action in walk.WAYS:
        parts = [walk.part(action, seed).names for seed in range(walk.PARTS)]
        assert frozenset().union(*parts) == walk.whole(action).names
        assert sum(map(len, parts)) == len(walk.whole(action).names)


@pytest.mark.usefixtures("arm")  # what others left armed has acted
def test_no_file_is_left_that_no_row_names(trial: Trial) -> None:
    """After all of the above."""
    assert not trial.files_left()
