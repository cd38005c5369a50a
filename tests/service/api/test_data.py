"""Rows as another tool wrote them, over HTTP: from their upload to a job of some epochs, and to its extension."""

from pathlib import Path
from typing import Any

import httpx2

ALPACA = Path(__file__).parents[3] / "examples/data/alpaca.jsonl"


def test_rows_of_another_tool_are_uploaded_trained_on_and_trained_on_for_longer(
    server: Any, http: httpx2.Client
) -> None:
    content = ALPACA.read_bytes()
    uploaded = http.post("/v1/files", files={"file": (ALPACA.name, content)}).json()
    assert uploaded["shapes"] == ["prompt+completion"]
    assert uploaded["columns"] == ["instruction", "input", "output"]
    assert "`output` is read as `completion`, in 4 of 4 rows" in uploaded["notes"]
    assert http.get(f"/v1/files/{uploaded['id']}").json() == uploaded
    assert uploaded["bytes"] == len(content)

    spec = {
        "algorithm": {"type": "sft", "batch_size": 3},
        "dataset": {"source": uploaded["id"]},
        "steps": None,
        "epochs": 2,
    }
    job = server.submit(**spec)
    assert job["progress"]["total_steps"] is None
    done = server.wait(job["id"])
    assert done["status"] == "succeeded", done["failure"]
    assert (done["progress"]["step"], done["progress"]["total_steps"]) == (3, 3)
    assert round(done["progress"]["steps_per_epoch"], 3) == 1.333
    logged = [event["data"]["line"] for event in http.get(f"/v1/jobs/{job['id']}/logs").json()["data"]]
    assert any("dataset: `output` is read as `completion`" in line for line in logged)

    longer = http.post(f"/v1/jobs/{job['id']}/extend", json={"epochs": 1})
    assert longer.status_code == 201
    assert longer.json()["retry_of"] == job["id"]
    ended = server.wait(longer.json()["id"])
    assert (ended["status"], ended["progress"]["step"], ended["attempt"]) == ("succeeded", 4, 1)
    series = http.get(f"/v1/jobs/{ended['id']}/metrics", params={"names": "train/loss"}).json()["series"]
    assert series[0]["steps"] == [1, 2, 3, 4]
    refused = http.post(f"/v1/jobs/{job['id']}/extend", json={"steps": 1, "epochs": 1})
    assert refused.status_code == 422
    assert "leave one of them out" in refused.json()["error"]["message"]
    for nothing in ({}, {"steps": None}):
        refused = http.post(f"/v1/jobs/{job['id']}/extend", json=nothing)
        assert refused.json()["error"]["message"].startswith("steps: is needed, or epochs")
    refused = http.post(f"/v1/jobs/{job['id']}/extend", json={"epochs": 0.01})
    assert refused.status_code == 422
    assert "0.01 more make no further batch: an epoch has 1.33333 steps" in refused.json()["error"]["message"]
