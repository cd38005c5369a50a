"""Every refusal has one shape, names the field and the remedy, and loses nothing."""

import json
from pathlib import Path
from typing import Any

import httpx2
import pytest

GOOD: dict[str, Any] = {"algorithm": {"type": "sft"}, "dataset": {"source": "linear-algebra"}, "steps": 1}
GRPO: dict[str, Any] = GOOD | {"algorithm": {"type": "grpo"}, "rewards": [{"type": "math"}]}


def refusal(answer: httpx2.Response, status: int) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert answer.headers["x-request-id"]
    return dict(error)


def test_malformed_json_says_where(http: httpx2.Client) -> None:
    answer = http.post("/v1/jobs", content=b'{"steps": 3,,}', headers={"content-type": "application/json"})
    error = refusal(answer, 400)
    assert error["code"] == "invalid_json" and "character 12" in error["message"]


def test_an_unknown_field_is_refused_with_its_path_and_the_closest_known_field(http: httpx2.Client) -> None:
    error = refusal(http.post("/v1/jobs", json=GRPO | {"algorithm": {"type": "grpo", "num_generatons": 4}}), 422)
    assert error["param"] == "algorithm.num_generatons"
    assert "did you mean 'num_generations'?" in error["message"]


@pytest.mark.parametrize(
    ("change", "param", "reason"),
    [
        ({"steps": 0}, "steps", "greater than or equal to 1"),
        (
            {"algorithm": {"type": "grpo", "num_generations": 1}},
            "algorithm.num_generations",
            "equal to 2",
        ),
        ({"algorithm": {"type": "dpo"}}, "algorithm", "'type' is 'dpo', but must be one of 'sft', 'reward_model',"),
        ({"algorithm": {}}, "algorithm", "needs a 'type'"),
        ({"algorithm": "grpo"}, "algorithm", "must be a block of fields (got 'grpo')"),
        ({"algorithm": {"type": "reinforce", "top_p": 0.9}}, "algorithm.top_p", "leave it out"),
        ({"algorithm": {"type": "ppo", "kl_target": 6}}, "algorithm.kl_target", "beta above 0"),
        ({"algorithm": {"preset": "dapo", "prompts_per_step": 8}}, "algorithm.minibatches", "prompts_per_step (8)"),
        ({"algorithm": {"preset": "dappo"}}, "algorithm.preset", "did you mean 'dapo'?"),
        ({"algorithm": {"preset": "dapo", "type": "ppo"}}, "algorithm.type", "a preset of grpo"),
        (
            {"algorithm": {"preset": "kimi_k1_5", "prompt_sampling": {"start": 2}}},
            "algorithm.prompt_sampling.start",
            "less than or equal to 1 (got 2)",
        ),
        (
            {"algorithm": {"type": "ppo", "ptx": {"dataset": {"source": "linear-algebra", "size": 0}}}},
            "algorithm.ptx.dataset.size",
            "greater than or equal to 1",
        ),
        ({"evaluation": {"num_generations": 4}}, "evaluation.temperature", "raise it"),
        ({"early_stopping": {}}, "eval_dataset", "needed by early_stopping"),
        ({"early_stopping": {}, "eval_dataset": {}}, "evaluation.every", "needed by early_stopping"),
        ({"dataset": {"source": "linear-algebra", "tasks": ["trase"]}}, "dataset.tasks.0", "'trace'"),
        ({"rewards": []}, "rewards", "at least one reward"),
        ({"rewards": [{"type": "math"}, {"type": "regex", "pattern": "("}]}, "rewards.1.pattern", "regular expression"),
        (
            {"algorithm": {"type": "ppo", "prompts_per_step": 8, "minibatches": 9}},
            "algorithm.minibatches",
            "must not exceed prompts_per_step (8)",
        ),
        ({"model": "job:ftjob-NOSUCH@best"}, "model", "no job ftjob-NOSUCH"),
        ({"model": "job:nonsense"}, "model", "job:ID[@best|@latest|@step-N]"),
        ({"depends_on": ["ftjob-NOSUCH"]}, "depends_on.0", "no job ftjob-NOSUCH"),
        ({"dataset": {"source": "file-NOSUCH"}}, "dataset.source", "no file file-NOSUCH"),
        ({"model": "/etc"}, "model", "HONE_MODEL_ROOTS"),
        ({"model": "../../etc"}, "model", "outside the allowed model directories"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(
    http: httpx2.Client, change: dict[str, Any], param: str, reason: str
) -> None:
    error = refusal(http.post("/v1/jobs", json=GRPO | change), 422)
    assert error["param"] == param
    assert reason in error["message"]


def test_all_wrong_fields_are_named_at_once(http: httpx2.Client) -> None:
    error = refusal(http.post("/v1/jobs", json=GOOD | {"steps": -1, "seed": "x"}), 422)
    assert "steps:" in error["message"] and "seed:" in error["message"]


def test_an_unknown_job_is_404(http: httpx2.Client) -> None:
    for path in ("", "/events", "/stream", "/metrics", "/samples", "/logs", "/checkpoints"):
        assert refusal(http.get(f"/v1/jobs/ftjob-NOSUCH{path}"), 404)["code"] == "job_not_found"


def test_an_unknown_endpoint_is_an_error_and_not_the_page(http: httpx2.Client) -> None:
    assert refusal(http.get("/v1/nonsense", headers={"accept": "text/html"}), 404)["code"] == "unknown_url"


def test_without_a_key_or_with_a_wrong_key_nothing_is_shown(http: httpx2.Client) -> None:
    del http.headers["authorization"]
    assert refusal(http.get("/v1/jobs"), 401)["code"] == "missing_api_key"
    wrong = http.get("/v1/jobs", headers={"authorization": "Bearer hone-wrong"})
    assert refusal(wrong, 401)["code"] == "invalid_api_key"


def test_a_viewer_looks_and_does_not_touch(server: Any) -> None:
    key = server.another_key("vera", "viewer")
    with server.client(headers={"authorization": f"Bearer {key}"}) as http:
        assert http.get("/v1/jobs").status_code == 200
        assert refusal(http.post("/v1/jobs", json=GOOD), 403)["code"] == "forbidden"


def test_nobody_sees_anothers_job(server: Any, waiting: Any) -> None:
    job = waiting()
    with server.client(headers={"authorization": f"Bearer {server.another_key('eve')}"}) as http:
        assert refusal(http.get(f"/v1/jobs/{job['id']}"), 404)
        assert refusal(http.post(f"/v1/jobs/{job['id']}/cancel"), 404)
        assert http.get("/v1/jobs").json()["data"] == []
        assert refusal(http.post("/v1/jobs", json=GOOD | {"model": f"job:{job['id']}"}), 422)["param"] == "model"


def test_cancelling_a_finished_job_is_a_conflict_that_is_not_worth_a_retry(server: Any, http: httpx2.Client) -> None:
    job = server.wait(server.submit(steps=1)["id"])
    answer = http.post(f"/v1/jobs/{job['id']}/cancel")
    assert "cannot cancel a succeeded job" in refusal(answer, 409)["message"]
    assert answer.headers["x-should-retry"] == "false"


def upload(http: httpx2.Client, content: bytes) -> httpx2.Response:
    return http.post("/v1/files", files={"file": ("rows.jsonl", content)}, data={"purpose": "fine-tune"})


def test_a_file_that_is_not_jsonl_is_refused_with_line_numbers(http: httpx2.Client) -> None:
    before = http.get("/v1/files").json()["data"]
    content = b'{"prompt": "a", "completion": "b"}\nnot json\n{"prompt": "a"}\n'
    error = refusal(upload(http, content), 422)
    assert error["param"] == "file" and error["code"] == "invalid_file"
    assert "line 2:" in error["message"] and "line 3:" in error["message"]
    assert http.get("/v1/files").json()["data"] == before


def test_a_file_without_the_columns_of_the_algorithm_is_refused_at_submission(http: httpx2.Client) -> None:
    file_id = upload(http, b'{"prompt": "1+1", "answer": "2"}\n').json()["id"]
    error = refusal(http.post("/v1/jobs", json=GOOD | {"dataset": {"source": file_id}}), 422)
    assert error["param"] == "dataset.source" and "sft needs rows of prompt+completion" in error["message"]


def test_a_reward_model_scores_and_does_not_answer_and_the_others_the_other_way_round(
    server: Any, http: httpx2.Client
) -> None:
    pairs = upload(http, b'{"prompt": "1+1=", "chosen": "2", "rejected": "3"}\n').json()["id"]
    scores = server.submit(algorithm={"type": "reward_model"}, dataset={"source": pairs}, steps=1)["id"]
    answers = server.submit(steps=1)["id"]
    rewards = [{"type": "math"}, {"type": "reward_model", "model": f"job:{answers}"}]
    error = refusal(http.post("/v1/jobs", json=GRPO | {"rewards": rewards}), 422)
    assert error["param"] == "rewards.1.model" and "trains no reward model" in error["message"]
    error = refusal(http.post("/v1/jobs", json=GOOD | {"model": f"job:{scores}"}), 422)
    assert error["param"] == "model" and "cannot answer" in error["message"]
    error = refusal(http.post("/v1/jobs", json=GRPO | {"dataset": {"source": pairs}}), 422)
    assert error["param"] == "dataset.source" and "grpo needs rows of prompt+answer" in error["message"]
    wrong = GOOD | {"algorithm": {"type": "reward_model"}, "rewards": [{"type": "math"}]}
    assert refusal(http.post("/v1/jobs", json=wrong), 422)["param"] == "rewards"
    assert {server.wait(job)["status"] for job in (scores, answers)} == {"succeeded"}


def test_an_upload_over_the_limit_is_413(http: httpx2.Client, server: Any) -> None:
    row = json.dumps({"prompt": "x" * 100, "completion": "y"}).encode() + b"\n"
    error = refusal(upload(http, row * 20_000), 413)
    assert "HONE_MAX_UPLOAD_BYTES" in error["message"]
    assert list(Path(server.data_dir / "uploads").glob("*")) == []


def test_a_body_that_lies_about_its_length_is_413_too(http: httpx2.Client) -> None:
    answer = http.post("/v1/jobs", content=(b" " * 65536 for _ in range(100)))
    assert refusal(answer, 413)["code"] == "too_large"
