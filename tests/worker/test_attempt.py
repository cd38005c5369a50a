"""An attempt counts a renewal of its lease once it is committed, not before."""

from typing import Any

import pytest

from hone.errors import LeaseLost, Unavailable
from service import commands, failpoints
from worker.attempt import Attempt, Claim


@pytest.fixture
def attempt(bench: Any, claim: Claim) -> Attempt:
    """Its renewal is due."""
    made: Attempt = bench.attempt(claim, lease_seconds=30)
    made._renewed_at -= 20
    assert made.renewal_is_due
    return made


def test_a_renewal_that_is_not_committed_stays_due(
    attempt: Attempt, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("HONE_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(failpoints, "_faults", failpoints.parse("lease.renewed=error"))
    with pytest.raises(Unavailable):
        attempt.renew()
    assert attempt.renewal_is_due
    assert attempt.renew() == "running" and not attempt.renewal_is_due


def test_a_write_that_fails_leaves_it_due(attempt: Attempt) -> None:
    with pytest.raises(Unavailable), attempt.transaction():
        raise Unavailable("the database does not answer")
    assert attempt.renewal_is_due


def test_an_attempt_that_lost_its_job_neither_looks_nor_writes(attempt: Attempt) -> None:
    with attempt.database.transaction() as session:
        commands.cancel(session, attempt.claim.owner, attempt.job_id)
    assert attempt.peek() == "cancelling"
    attempt.claim = Claim(attempt.job_id, attempt.claim.attempt + 1, attempt.spec, attempt.claim.owner, [])
    with pytest.raises(LeaseLost):
        attempt.peek()
    with pytest.raises(LeaseLost):
        attempt.renew()
