"""One breakable service for the tests of this folder, and the undisturbed runs that broken ones are compared with."""

from collections.abc import Callable, Iterator

import pytest
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
def service(references: References) -> Iterator[Service]:
    """The service, whole again afterwards."""
    running = references.service
    running.schedule.clear()
    yield running
    running.heal_all()


@pytest.fixture
def trial(references: References, service: Service) -> Trial:
    """Jobs of one's own."""
    return Trial(references)


@pytest.fixture
def arm(service: Service) -> Iterator[Callable[[str], None]]:
    """Starts the API, the dispatcher and the workers again with failpoints, and without them afterwards."""

    def restart(plan: str) -> None:
        for path in (service.data / "failpoints").glob("[!f]*"):
            path.unlink()
        for name in ours(service):
            service.parts[name].restart(plan)

    yield restart
    restart("")


def ours(service: Service) -> list[str]:
    return [name for name in service.parts if name not in ("postgres", "redis")]
