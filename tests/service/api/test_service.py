"""The service around the jobs: health, login, documentation, and what an import costs."""

import subprocess
import sys
from typing import Any

import httpx2


def test_health_and_readiness(http: httpx2.Client) -> None:
    del http.headers["authorization"]
    assert http.get("/healthz").json() == {"status": "ok"}
    ready = http.get("/readyz")
    assert ready.status_code == 200
    assert ready.json() | {"oldest_queued_seconds": None} == {
        "status": "ready",
        "database": True,
        "broker": True,
        "storage": True,
        "dispatcher": True,
        "workers": 1,
        "oldest_queued_seconds": None,
    }


def test_the_worker_is_listed(http: httpx2.Client) -> None:
    (worker,) = [worker for worker in http.get("/v1/workers").json()["data"] if worker["alive"]]
    assert worker["slots"] == 1 and worker["devices"] == ["cpu"]


def test_the_documentation_is_served(http: httpx2.Client) -> None:
    assert "/v1/jobs" in http.get("/openapi.json").json()["paths"]


def test_a_login_link_works_once(server: Any, http: httpx2.Client) -> None:
    token = http.post("/v1/login_links").json()["token"]
    first = httpx2.post(f"{server.url}/v1/login", json={"token": token})
    assert first.status_code == 201
    with server.client(headers={"authorization": f"Bearer {first.json()['secret']}"}) as browser:
        assert browser.get("/v1/jobs").status_code == 200
    second = httpx2.post(f"{server.url}/v1/login", json={"token": token})
    assert second.status_code == 401 and "`hone login`" in second.json()["error"]["message"]


def test_the_api_never_imports_torch_nor_celery() -> None:
    code = "import sys, service.app; print([m for m in ('torch', 'celery', 'sympy') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_the_supervisor_never_imports_torch() -> None:
    code = "import sys, worker.runtime; print([m for m in ('torch', 'transformers', 'sympy') if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"
