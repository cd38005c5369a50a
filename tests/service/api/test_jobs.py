"""A job's life as its owner sees it over HTTP."""

import json
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx2
import pytest


@pytest.fixture(scope="module")
def finished(server: Any) -> dict[str, Any]:
    """A small job that has succeeded, with an evaluation and two checkpoints."""
    data = {"source": "linear-algebra", "tasks": ["trace"], "size": 8, "style": "symbolic", "max_entry": 3}
    job = server.submit(steps=4, eval_dataset=data | {"seed": 7}, checkpoint={"every": 2}, tags={"team": "tests"})
    done: dict[str, Any] = server.wait(job["id"])
    assert done["status"] == "succeeded", done["failure"]
    return done


def test_a_finished_job_tells_its_progress_and_last_metrics(finished: dict[str, Any]) -> None:
    assert finished["progress"]["step"] == finished["progress"]["total_steps"] == 4
    assert finished["progress"]["percent"] == 100
    assert finished["attempt"] == 1 and finished["failure"] is None
    assert {"train/loss", "eval/accuracy", "eval/loss"} <= set(finished["metrics"])
    assert finished["spec"]["optimizer"]["learning_rate"] == 1e-3 and finished["tags"] == {"team": "tests"}


def test_events_are_one_sequence_that_can_be_paged(http: httpx2.Client, finished: dict[str, Any]) -> None:
    url = f"/v1/jobs/{finished['id']}/events"
    whole = http.get(url, params={"limit": 1000}).json()["data"]
    assert [event["seq"] for event in whole] == list(range(1, finished["version"] + 1))
    assert {event["kind"] for event in whole} >= {"status", "metrics", "log", "sample", "checkpoint"}
    first = http.get(url, params={"limit": 3}).json()
    assert first["has_more"] and first["last_id"] == 3
    assert http.get(url, params={"after": 3, "limit": 1000}).json()["data"] == whole[3:]


def test_the_first_rows_are_shown_as_the_model_sees_them(http: httpx2.Client, finished: dict[str, Any]) -> None:
    (preview,) = http.get(f"/v1/jobs/{finished['id']}/events", params={"kind": "preview"}).json()["data"]
    prompt, completion = preview["data"]["rows"][0]["segments"]
    assert not prompt["learned"] and completion["learned"]
    assert prompt["text"].startswith("trace [[") and completion["text"].endswith("</answer><eos>")


def test_the_model_is_reported_as_its_files_describe_it(http: httpx2.Client, finished: dict[str, Any]) -> None:
    (loaded,) = http.get(f"/v1/jobs/{finished['id']}/events", params={"kind": "loaded"}).json()["data"]
    assert (loaded["data"]["role"], loaded["data"]["name"]) == ("policy", "tiny")
    model = loaded["data"]["model"]
    assert model["architecture"] == "LlamaForCausalLM" and model["stops"] == [{"id": 1, "text": "<eos>"}]
    assert model["tokens"] == model["embedding_rows"] == 103


def test_the_stream_is_the_same_sequence_and_can_be_resumed(http: httpx2.Client, finished: dict[str, Any]) -> None:
    url = f"/v1/jobs/{finished['id']}/stream"
    lines = http.get(url).text.splitlines()
    ids = [int(line.removeprefix("id: ")) for line in lines if line.startswith("id:")]
    assert ids == list(range(1, finished["version"] + 1))
    assert "event: end" in lines
    resumed = http.get(url, headers={"last-event-id": "5"}).text.splitlines()
    assert next(line for line in resumed if line.startswith("id:")) == "id: 6"


def test_metrics_come_as_series_without_gaps(http: httpx2.Client, finished: dict[str, Any]) -> None:
    answer = http.get(f"/v1/jobs/{finished['id']}/metrics", params={"names": "train/loss,eval/accuracy"}).json()
    by_name = {series["name"]: series for series in answer["series"]}
    assert by_name["train/loss"]["steps"] == [1, 2, 3, 4]
    assert by_name["eval/accuracy"]["steps"] == [0, 4]
    part = http.get(f"/v1/jobs/{finished['id']}/metrics", params={"names": "train/loss", "from_step": 3}).json()
    assert part["series"][0]["steps"] == [3, 4]


def test_samples_can_be_filtered(http: httpx2.Client, finished: dict[str, Any]) -> None:
    url = f"/v1/jobs/{finished['id']}/samples"
    samples = http.get(url, params={"split": "eval", "step": 0}).json()["data"]
    assert samples and all(sample["step"] == 0 and sample["answer"] for sample in samples)
    assert http.get(url, params={"min_reward": 2}).json()["data"] == []


def test_logs_tell_what_the_trainer_printed(http: httpx2.Client, finished: dict[str, Any]) -> None:
    lines = [event["data"]["line"] for event in http.get(f"/v1/jobs/{finished['id']}/logs").json()["data"]]
    assert any("parameters on cpu" in line for line in lines)


def test_a_checkpoint_downloads_and_loads_with_transformers(
    http: httpx2.Client, finished: dict[str, Any], tmp_path: Path
) -> None:
    listed = http.get(f"/v1/jobs/{finished['id']}/checkpoints").json()["data"]
    assert [row["step"] for row in listed] == [4, 2]
    archive = http.get(f"/v1/checkpoints/{listed[0]['id']}/archive").content
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        tar.extractall(tmp_path, filter="data")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = next(tmp_path.iterdir())
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    ids = tokenizer("trace [[1,2],[3,1]]", return_tensors="pt").input_ids
    assert model(ids).logits.shape[:2] == ids.shape


def test_a_file_of_a_checkpoint_can_be_fetched_in_parts(http: httpx2.Client, finished: dict[str, Any]) -> None:
    row = http.get(f"/v1/jobs/{finished['id']}/checkpoints").json()["data"][0]
    url = f"/v1/checkpoints/{row['id']}/files/config.json"
    whole = http.get(url)
    assert json.loads(whole.content)["model_type"] == "llama"
    part = http.get(url, headers={"range": "bytes=2-5"})
    assert part.status_code == 206 and part.content == whole.content[2:6]
    assert http.get(f"/v1/checkpoints/{row['id']}/files/..%2F..%2Fadmin.key").status_code == 404


def test_an_unchanged_job_answers_304(http: httpx2.Client, finished: dict[str, Any]) -> None:
    first = http.get(f"/v1/jobs/{finished['id']}")
    again = http.get(f"/v1/jobs/{finished['id']}", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304 and again.content == b""


def test_the_list_is_newest_first_filtered_and_paged(waiting: Any, http: httpx2.Client) -> None:
    job_ids = [waiting(name=f"page {n}")["id"] for n in range(3)]
    page = http.get("/v1/jobs", params={"limit": 2, "status": "queued"}).json()
    assert [job["id"] for job in page["data"]] == [job_ids[2], job_ids[1]] and page["has_more"]
    rest = http.get("/v1/jobs", params={"limit": 2, "after": page["last_id"]}).json()
    assert rest["data"][0]["id"] == job_ids[0]
    assert http.get("/v1/jobs", params={"algorithm": "ppo", "status": "failed"}).json()["data"] == []


def test_an_uploaded_file_trains(server: Any, http: httpx2.Client) -> None:
    rows = "".join(json.dumps({"prompt": f"{n}+1=", "completion": str(n + 1)}) + "\n" for n in range(20))
    answer = http.post("/v1/files", files={"file": ("sums.jsonl", rows.encode())}, data={"purpose": "fine-tune"})
    assert answer.status_code == 201, answer.text
    file = answer.json()
    assert file["rows"] == 20 and set(file["columns"]) == {"prompt", "completion"} and file["bytes"] == len(rows)
    assert http.get(f"/v1/files/{file['id']}").json() == file
    job = server.wait(server.submit(dataset={"source": file["id"]})["id"])
    assert job["status"] == "succeeded", job["failure"]


def test_the_same_idempotency_key_makes_one_job(waiting: Any, http: httpx2.Client) -> None:
    spec = waiting()["spec"]
    headers = {"idempotency-key": "once"}
    first, second = (http.post("/v1/jobs", json=spec, headers=headers) for _ in range(2))
    assert first.json()["id"] == second.json()["id"]
    other = http.post("/v1/jobs", json=spec | {"steps": 2}, headers=headers)
    assert other.status_code == 409 and other.json()["error"]["code"] == "idempotency_key_reused"
    http.post(f"/v1/jobs/{first.json()['id']}/cancel")
