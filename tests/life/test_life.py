"""A job's life as a model checker sees it: whatever happens in whatever order, over the real API on a real PostgreSQL.

Users ask over HTTP, workers and the dispatcher go to the rows, as they do. `machine.model` says what should be.
"""

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from machine.life import Life
from machine.world import Service


def test_no_order_of_events_breaks_the_life_of_a_job(service: Service, request: pytest.FixtureRequest) -> None:
    """The same lives in each run, unless --hypothesis-seed asks for others, and --lives for more."""
    Life.service = service
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=int(request.config.getoption("lives")),
            stateful_step_count=30,
            phases=[Phase.generate],  # shrinking would take longer than the test may
            deadline=None,
            derandomize=request.config.getoption("hypothesis_seed") is None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
