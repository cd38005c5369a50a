"""Jobs from submit to download over HTTP: supervised training, then reinforcement learning from its checkpoint."""

import json
from typing import Any

import httpx2

DATA = {"source": "linear-algebra", "tasks": ["trace"], "size": 32, "style": "symbolic", "max_entry": 3}
HELD_OUT = DATA | {"size": 8, "seed": 9}
POLICY = {"prompts_per_step": 4, "num_generations": 2, "max_completion_length": 24}
REWARDS = [{"type": "exact"}, {"type": "format", "weight": 0.2}]
LONG: dict[str, Any] = {"steps": 100_000, "checkpoint": {"every": 20}}


def training(job: dict[str, Any]) -> bool:
    return bool(job["progress"]["step"] >= 3)


def test_grpo_and_ppo_start_from_a_supervised_job_that_had_not_ended_when_they_were_queued(
    server: Any, http: httpx2.Client
) -> None:
    first = server.submit(dataset=DATA, eval_dataset=HELD_OUT, steps=10)
    later = {
        kind: server.submit(
            algorithm={"type": kind, **POLICY},
            model=f"job:{first['id']}@latest",
            dataset=DATA,
            eval_dataset=HELD_OUT,
            rewards=REWARDS,
            steps=2,
        )
        for kind in ("grpo", "ppo")
    }
    assert [job["blocked_by"] for job in later.values()] == [[first["id"]]] * 2
    for kind, queued in later.items():
        job = server.wait(queued["id"])
        assert job["status"] == "succeeded", job["failure"]
        assert {"policy/reward", "eval/accuracy", "policy/completion_length"} <= set(job["metrics"])
        assert ("critic/loss" in job["metrics"]) == (kind == "ppo")
        samples = http.get(f"/v1/jobs/{job['id']}/samples", params={"split": "train"}).json()["data"]
        assert samples and set(samples[0]["rewards"]) == {"exact", "format"}
    before = http.get(f"/v1/jobs/{first['id']}/metrics", params={"names": "eval/accuracy"}).json()
    after = http.get(f"/v1/jobs/{later['grpo']['id']}/metrics", params={"names": "eval/accuracy"}).json()
    assert before["series"][0]["values"][-1] == after["series"][0]["values"][0]  # the same weights, scored again


def test_a_reward_model_learns_from_pairs_and_then_scores_responses(server: Any, http: httpx2.Client) -> None:
    rows = [{"prompt": f"trace [[{n},1],[2,3]]", "chosen": "a" * (n % 7 + 1), "rejected": "b"} for n in range(24)]
    ids = []
    for part in (rows[:16], rows[16:]):
        content = "".join(json.dumps(row) + "\n" for row in part).encode()
        answer = http.post("/v1/files", files={"file": ("pairs.jsonl", content)}, data={"purpose": "fine-tune"})
        ids.append(answer.json()["id"])
    pairs = {"dataset": {"source": ids[0]}, "eval_dataset": {"source": ids[1]}}
    first = server.submit(algorithm={"type": "reward_model", "batch_size": 8}, steps=8, **pairs)
    judge = f"job:{first['id']}"
    rewards = [{"type": "reward_model", "model": judge}, {"type": "format", "weight": 0.2}]
    changes = {"grpo": {}, "ppo": {"critic_model": judge}}
    later = [
        server.submit(algorithm={"type": kind, **POLICY, **own}, dataset=DATA, rewards=rewards, steps=2)
        for kind, own in changes.items()
    ]
    assert [job["blocked_by"] for job in later] == [[first["id"]]] * 2
    metrics = server.wait(first["id"])["metrics"]
    assert {"train/accuracy", "eval/loss", "eval/margin"} <= set(metrics) and metrics["eval/accuracy"] == 1
    for queued in later:
        job = server.wait(queued["id"])
        assert job["status"] == "succeeded", job["failure"]
        assert {"reward/reward_model", "reward/format"} <= set(job["metrics"])
        samples = http.get(f"/v1/jobs/{job['id']}/samples", params={"split": "train"}).json()["data"]
        assert samples and set(samples[0]["rewards"]) == {"reward_model", "format"}


def test_the_child_of_a_cancelled_job_fails_and_names_its_parent(server: Any, http: httpx2.Client) -> None:
    parent = server.submit(**LONG)
    child = server.submit(depends_on=[parent["id"]])
    assert http.post(f"/v1/jobs/{parent['id']}/cancel").status_code == 200
    job = server.wait(child["id"])
    assert job["status"] == "failed" and job["failure"]["category"] == "user"
    assert parent["id"] in job["failure"]["message"]


def test_a_running_job_is_cancelled_within_seconds_and_keeps_its_checkpoint(server: Any, http: httpx2.Client) -> None:
    job = server.submit(**LONG)
    server.wait(job["id"], until=lambda job: job["progress"]["step"] > 20)
    http.post(f"/v1/jobs/{job['id']}/cancel")
    assert server.wait(job["id"], seconds=60)["status"] == "cancelled"
    assert http.get(f"/v1/jobs/{job['id']}/checkpoints").json()["data"]
    events = http.get(f"/v1/jobs/{job['id']}/events", params={"kind": "status", "limit": 1000}).json()["data"]
    assert [event["data"]["status"] for event in events][-2:] == ["cancelling", "cancelled"]


def test_only_the_newest_and_the_best_checkpoints_stay(server: Any, http: httpx2.Client) -> None:
    checkpoint = {"every": 1, "keep_last": 2, "keep_best": "train/loss"}
    job = server.wait(server.submit(steps=6, checkpoint=checkpoint)["id"])
    assert job["status"] == "succeeded", job["failure"]
    rows = http.get(f"/v1/jobs/{job['id']}/checkpoints").json()["data"]
    losses = http.get(f"/v1/jobs/{job['id']}/metrics", params={"names": "train/loss"}).json()["series"][0]["values"]
    best = losses.index(min(losses)) + 1
    assert {row["step"] for row in rows} == {5, 6, best}
    assert [row["step"] for row in rows if row["best"]] == [best]
    folder = server.data_dir / "storage" / "checkpoints" / job["id"]
    named = {f"step-{row['step']}-attempt-1" for row in rows}
    server.wait(job["id"], 60, until=lambda _: {path.name for path in folder.iterdir()} == named)  # by the dispatcher


def test_a_model_that_does_not_exist_fails_the_job_with_a_sentence(server: Any) -> None:
    job = server.wait(server.submit(model="nobody/no-such-model")["id"])
    assert job["status"] == "failed" and job["failure"]["category"] == "user"
    assert "nobody/no-such-model" in job["failure"]["message"]
