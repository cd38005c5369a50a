"""One breakable service for the tests of this folder, and the undisturbed runs that broken ones are compared with."""

from collections.abc import Callable, Iterator
from functools import partial

import pytest
from rig import walk
from rig.service import Service, serving
from rig.trial import References, Trial


@pytest.fixture(scope="session")
def references(request: pytest.FixtureRequest) -> Iterator[References]:
    """The service, and what each spec computes in it when nothing is broken."""
    failed_before = request.session.testsfailed
    with serving(lambda: request.session.testsfailed > failed_before, workers=2, disk_mb=500) as running:
        made = References(running)
        made.make(["sft", "grpo", "ppo"])
        yield made


@pytest.fixture
def service(references: References, request: pytest.FixtureRequest) -> Iterator[Service]:
    """The service, whole again afterwards; without failpoints, unless the test arms it."""
    running = references.service
    running.schedule.clear()
    if "arm" not in request.fixturenames:
        walk.arm(running, "")
    yield running
    running.heal_all()


@pytest.fixture
def trial(references: References, service: Service) -> Trial:
    """Jobs of one's own."""
    return Trial(references)


@pytest.fixture
def arm(service: Service) -> Callable[[str], None]:
    """Starts the API, the dispatcher and the workers again with failpoints, which stay until others are wanted: each
    start costs seconds.
    """
    return partial(walk.arm, service)
