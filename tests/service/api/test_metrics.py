"""Metrics over HTTP: whole in pages of bounded size."""

import math
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from hone.client import Client
from hone.documents.metrics import MOST_POINTS
from service.persistence import metrics
from service.persistence.database import Database

POINTS = {
    "train/loss": {1: 2.5, 2: math.nan, 3: 1e-300, 2**31 - 1: -0.1},
    'train/a@b, "c"': {1: math.inf, 7: 0.1 + 0.2},
    "eval/accuracy": {5: -math.inf, 6: 1.0},
}


@pytest.fixture
def job(server: Any, waiting: Callable[..., dict[str, Any]]) -> str:
    """One with these points."""
    job_id = str(waiting()["id"])
    database = Database(server.database_url)
    with database.transaction() as session:
        for name, values in POINTS.items():
            for step, value in values.items():
                metrics.put(session, job_id, step, {name: value})
    database.close()
    return job_id


def finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def flat(answer: dict[str, Any]) -> list[tuple[str, int, float | None]]:
    assert all(len(each["steps"]) == len(each["values"]) == len(each["times"]) > 0 for each in answer["series"])
    return [
        (each["name"], step, value)
        for each in answer["series"]
        for step, value in zip(each["steps"], each["values"], strict=True)
    ]


def expected(*names: str) -> list[tuple[str, int, float | None]]:
    return sorted(
        ((name, step, finite(value)) for name in names or POINTS for step, value in POINTS[name].items()),
        key=lambda point: point[:2],
    )


def test_whole_series_come_exactly_and_what_is_not_finite_is_null(http: httpx2.Client, job: str) -> None:
    answer = http.get(f"/v1/jobs/{job}/metrics").json()
    assert (answer["object"], answer["job_id"], answer["next"]) == ("metrics", job, None)
    assert sorted(flat(answer), key=lambda point: point[:2]) == expected()


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
def test_pages_add_up_to_the_whole(http: httpx2.Client, job: str, limit: int) -> None:
    points, query = list[tuple[str, int, float | None]](), {"limit": str(limit)}
    while True:
        answer = http.get(f"/v1/jobs/{job}/metrics", params=query).json()
        assert 1 <= len(flat(answer)) <= limit
        points += flat(answer)
        if answer["next"] is None:
            break
        query["after"] = answer["next"]
    assert sorted(points, key=lambda point: point[:2]) == expected() and len(points) == 8


def test_names_and_steps_choose(http: httpx2.Client, job: str) -> None:
    query: dict[str, str | int] = {"names": "train/loss,eval/accuracy", "from_step": 2, "to_step": 5}
    points = flat(http.get(f"/v1/jobs/{job}/metrics", params=query).json())
    chosen = [point for point in expected("train/loss", "eval/accuracy") if 2 <= point[1] <= 5]
    assert sorted(points, key=lambda point: point[:2]) == chosen
    assert http.get(f"/v1/jobs/{job}/metrics", params={"names": "nothing"}).json()["series"] == []


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ({"after": "nonsense"}, "after"),
        ({"after": "train/loss@-1"}, "after"),
        ({"after": "train/loss@99999999999999999999"}, "after"),
        ({"after": "@5"}, "after"),
        ({"limit": 0}, "limit"),
        ({"limit": MOST_POINTS + 1}, "limit"),
        ({"from_step": 2**63}, "from_step"),
    ],
)
def test_what_is_no_place_or_size_is_refused(http: httpx2.Client, job: str, query: dict[str, Any], param: str) -> None:
    answer = http.get(f"/v1/jobs/{job}/metrics", params=query)
    assert answer.status_code == 422 and answer.json()["error"]["param"] == param


def test_the_client_joins_the_pages_of_long_series(server: Any, job: str, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, Any]] = []
    with Client(server.url, server.key) as client:
        send = client.jobs._http.send

        def in_small_pages(method: str, path: str, **options: Any) -> Any:
            sent.append(options["params"])
            return send(method, path, **options | {"params": options["params"] | {"limit": 3}})

        monkeypatch.setattr(client.jobs._http, "send", in_small_pages)
        whole = client.jobs.metrics(job)
    assert len(sent) == 3 and whole.next is None
    points = flat(whole.model_dump())
    assert sorted(points, key=lambda point: point[:2]) == expected()
